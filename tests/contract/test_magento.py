"""What only Magento does: two calls per coupon, a token that expires, errors as templates, days for dates."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import pytest

from platform_relay.core import exact_json
from platform_relay.core.http import HttpResponse
from platform_relay.core.http_messages import Headers
from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.base import CouponKind, Ready, StoreCoupon, differences
from platform_relay.stores.magento.api import error_text
from platform_relay.stores.magento.rules import Market, coupon_body, last_day, parse_coupon, rule_body, rule_name
from tests.contract.bench import Bench, differences_of, order, restrictions_of
from tests.contract.doubles.magento import RESOURCES
from tests.contract.test_misbehaving_shop import FAULTS

pytestmark = pytest.mark.parametrize("bench", ["magento"], indirect=True)
SWAGGER = Path(__file__).parents[3] / "shared" / "specs" / "magento" / "magento-2.4.7-p3-swagger.json"
RULE = ("POST", "^/rest/V1/salesRules$")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 5, 12, 8, tzinfo=UTC)
MARKET = Market("EUR", frozenset({"EUR"}), BERLIN, "https://shop.example/media/", (1,), (0, 1, 2, 3))


def held(bench: Bench) -> tuple[int, int]:
    """How many rules and coupons the store holds."""
    return len(bench.simulator.state("rules")), len(bench.simulator.state("coupons"))


def logins(bench: Bench) -> int:
    return sum(entry["kind"] == "token" for entry in bench.simulator.ledger())


@pytest.mark.parametrize("call", [RULE, ("POST", "^/rest/V1/coupons$")], ids=["first call", "second call"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_crash_at_either_call_is_finished(bench: Bench, fault: str, call: tuple[str, str]) -> None:
    bench.misbehave(call, **FAULTS[fault])
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Unknown)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert held(bench) == (1, 1)


async def test_a_rule_left_without_a_code_gets_it(bench: Bench) -> None:
    bench.misbehave(bench.shop.create, mode="reset_before")
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Unknown)
    assert held(bench) == (1, 0)
    done = await bench.adapter.issue_coupon(order(title="another title by now"))
    assert isinstance(done, Done)
    assert done.result == {"store_id": str(bench.simulator.state("rules")[0]["rule_id"])}
    assert held(bench) == (1, 1)


async def test_rules_that_lost_attempts_left_are_cleared_away(bench: Bench) -> None:
    """Names are not unique: an attempt whose read-back was stale makes a second rule."""
    rule = json.loads(exact_json.dumps(rule_body(order(), MARKET, (), NOW)))
    rules = [rule, {**rule, "discount_amount": 50}, rule, {**rule, "name": rule_name(order().code.upper())}]
    bench.simulator.control("seed", rules=rules)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    names = Counter(each["name"] for each in bench.simulator.state("rules"))
    assert names == {rule_name(order().code): 1, rule_name(order().code.upper()): 1}
    assert (await bench.usable(), bench.made()) == (True, 1)


async def test_a_stale_look_up_is_settled_by_the_refusal(bench: Bench) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    bench.simulator.config(hidden=1)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    bench.simulator.config(hidden=2)
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Retry), outcome
    assert held(bench) == (1, 1)


async def test_somebody_elses_code_stays_and_our_rule_goes(bench: Bench) -> None:
    rule = json.loads(exact_json.dumps(rule_body(order(value=Decimal(9)), MARKET, (), NOW)))
    theirs = {**rule, "name": "Autumn sale", "code": order().code.upper()}
    bench.simulator.control("seed", rules=[theirs])
    for first_try in (True, False):
        outcome = await bench.adapter.issue_coupon(order(first_try=first_try))
        assert isinstance(outcome, Reject)
        assert outcome.reason.code is ReasonCode.CODE_TAKEN
        assert {"field": "value", "actual": "9.00", "expected": "5.00"} in differences_of(outcome)
        assert held(bench) == (1, 1)
    assert isinstance(await bench.adapter.retire_coupon(order().code), Done)
    assert held(bench) == (1, 0)


@pytest.mark.parametrize("same_values", [True, False])
async def test_no_rule_stays_when_the_code_turns_out_to_be_taken_after_a_lost_answer(
    bench: Bench, same_values: bool
) -> None:
    bench.misbehave(("POST", "^/rest/V1/salesRules$"), mode="apply_then", status=500, body="")
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Unknown)
    assert held(bench) == (1, 0)
    rule = json.loads(exact_json.dumps(rule_body(order(value=Decimal(5 if same_values else 9)), MARKET, (), NOW)))
    bench.simulator.control("seed", rules=[{**rule, "name": "Autumn sale", "code": order().code, "times_used": 0}])
    (theirs,) = list(bench.simulator.state("coupons"))
    theirs_has_no_limit = order(usage_limit=None)
    outcome = await bench.adapter.issue_coupon(theirs_has_no_limit)
    assert isinstance(outcome, Done if same_values else Reject), outcome
    assert [each["rule_id"] for each in bench.simulator.state("rules")] == [theirs["rule_id"]]
    assert held(bench) == (1, 1)


async def test_a_rule_that_cannot_be_deleted_after_a_refusal_is_named(bench: Bench) -> None:
    bench.misbehave(("POST", "^/rest/V1/salesRules$"), mode="apply_then", status=500, body="")
    await bench.adapter.issue_coupon(order(first_try=True))
    bench.misbehave(("DELETE", "/rest"), status=503)
    outcome = await bench.adapter.issue_coupon(order(currency="USD"))
    assert isinstance(outcome, Reject)
    (rule,) = bench.simulator.state("rules")
    assert outcome.reason.facts["store_id"] == str(rule["rule_id"])
    assert outcome.reason.facts["removed"] is False
    assert isinstance(await bench.adapter.retire_coupon(order().code), Done)
    assert held(bench) == (0, 0)


def test_a_rule_of_a_day_that_has_come_only_by_the_stores_clock_is_active(bench: Bench) -> None:
    """At midnight in the store's time zone, whose clock is some seconds or minutes ahead."""
    rule = {**rule_body(order(), MARKET, (), NOW), "rule_id": 1, "from_date": "2026-05-13"}
    for seconds, active in ((3, True), (300, True), (6 * 3600, False)):
        now = datetime(2026, 5, 13, tzinfo=BERLIN) - timedelta(seconds=seconds)
        found = parse_coupon(rule, {"code": "x"}, MARKET, {}, now.astimezone(UTC))
        assert found is not None
        assert found.active is active


async def test_a_wrong_coupon_that_cannot_be_deleted_is_named(bench: Bench) -> None:
    bench.simulator.config(distort=bench.shop.distortion)
    bench.misbehave(("DELETE", "/rest"), status=503)
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.COUPON_DIFFERS
    (rule,) = bench.simulator.state("rules")
    assert (outcome.reason.facts["removed"], outcome.reason.facts["store_id"]) == (False, str(rule["rule_id"]))


async def test_a_token_that_expires_between_any_two_calls(bench: Bench) -> None:
    bench.simulator.config(token_uses=4)
    for number in range(3):
        assert isinstance(await bench.adapter.issue_coupon(order(code=f"code{number}")), Done)
    assert held(bench) == (3, 3)
    assert logins(bench) > 3


async def test_calls_refused_together_log_in_once(bench: Bench) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert logins(bench) == 1
    bench.simulator.control("expire-tokens")
    found = await asyncio.gather(*(bench.adapter.find_coupon(order().code) for _ in range(8)))
    assert all(isinstance(each, StoreCoupon) for each in found)
    assert logins(bench) == 2


async def test_a_missing_permission_is_told_by_its_name(bench: Bench) -> None:
    bench.simulator.config(permissions=sorted({each for _, each in RESOURCES} - {"Magento_SalesRule::quote"}))
    for outcome in (await bench.adapter.check(), await bench.adapter.issue_coupon(order(first_try=True))):
        assert isinstance(outcome, Blocked), outcome
        assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
        assert "Magento_SalesRule::quote" in str(outcome.reason.facts["response"])
    bench.simulator.config(permissions=sorted({each for _, each in RESOURCES} - {"Magento_Sales::actions_view"}))
    outcome = await bench.adapter.check()
    assert isinstance(outcome, Ready)
    assert "may not read orders" in outcome.detail


async def test_a_401_that_is_not_magentos_costs_no_login(bench: Bench) -> None:
    assert await bench.adapter.find_coupon("none") is None
    before = logins(bench)
    bench.misbehave(bench.shop.find, status=401, body="<h1>Authorization Required</h1>")
    assert isinstance(await bench.adapter.find_coupon("none"), Blocked)
    assert logins(bench) == before


async def test_an_integration_token_instead_of_a_login(bench: Bench) -> None:
    bench.set("INTEGRATION_TOKEN", "integration-token")
    adapter = bench.build()
    assert isinstance(await adapter.issue_coupon(order()), Done)
    assert logins(bench) == 0
    bench.simulator.config(integration_token="of somebody else")
    outcome = await adapter.find_coupon(order().code)
    assert isinstance(outcome, Blocked)
    assert "integration-token" not in repr(outcome)
    assert logins(bench) == 0


async def test_the_renewed_token_is_a_secret_too(bench: Bench) -> None:
    await bench.adapter.find_coupon("any")
    token = next(iter(bench.simulator.state("tokens")))
    bench.misbehave(bench.shop.create, status=500, body={"message": f"you sent {token}"})
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Unknown)
    assert token not in repr(outcome)


async def test_no_login_is_possible_while_the_shop_stumbles(bench: Bench) -> None:
    bench.misbehave(("POST", "/rest/V1/integration"), mode="reset_after")
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Retry)  # nothing was ordered yet


async def test_nothing_to_log_in_with_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAGENTO__PASSWORD")
    with pytest.raises(ValueError, match="MAGENTO__INTEGRATION_TOKEN, or MAGENTO__USERNAME and MAGENTO__PASSWORD"):
        bench.build()


async def test_a_website_that_is_not_there_is_blocked(bench: Bench) -> None:
    bench.set("WEBSITE_IDS", "[7]")
    outcome = await bench.build().check()
    assert isinstance(outcome, Blocked)
    assert outcome.reason.code is ReasonCode.SETTING_WRONG
    assert outcome.reason.facts["setting"] == "MAGENTO__WEBSITE_IDS"


async def test_another_currency_is_rejected(bench: Bench) -> None:
    bench.simulator.config(currency="USD")
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.CURRENCY_MISMATCH
    assert (outcome.reason.facts["ordered"], outcome.reason.facts["currency"]) == ("EUR", "USD")
    assert bench.made() == 0


async def test_a_restriction_to_one_shopper_is_never_dropped(bench: Bench) -> None:
    outcome = await bench.adapter.issue_coupon(order(email="jane@example.com", customer_id="4711"))
    assert isinstance(outcome, Reject)
    assert "jane" not in repr(outcome)
    assert bench.made() == 0


async def test_the_expiry_is_a_day_of_the_shop(bench: Bench) -> None:
    evening = datetime(2031, 1, 31, 22, 30, tzinfo=UTC)  # 23:30 in Berlin
    assert isinstance(await bench.adapter.issue_coupon(order(expires_at=evening)), Done)
    assert bench.simulator.state("rules")[0]["to_date"] == "2031-01-31"
    found = await bench.adapter.find_coupon(order().code)
    assert isinstance(found, StoreCoupon)
    assert found.expires_at == evening  # as noted in the description
    assert isinstance(await bench.adapter.issue_coupon(order(expires_at=evening.replace(hour=8))), Done)
    other = await bench.adapter.issue_coupon(order(expires_at=evening.replace(hour=23, minute=30)))
    assert isinstance(other, Reject)
    assert other.reason.code is ReasonCode.CODE_TAKEN
    assert [each["field"] for each in differences_of(other)] == ["expires_at"]


async def test_a_day_that_the_merchant_changed_is_what_counts(bench: Bench) -> None:
    noted = rule_body(order(expires_at=datetime(2031, 1, 31, 8, tzinfo=UTC)), MARKET, (), NOW)
    for rule in ({**noted, "to_date": "2031-02-28"}, {**noted, "to_date": "2031-02-28", "description": ""}):
        found = parse_coupon({**rule, "rule_id": 1}, {"code": "x"}, MARKET, {}, datetime.now(UTC))
        assert found is not None
        assert found.expires_at == datetime(2031, 2, 28, 22, 59, 59, tzinfo=UTC)


async def test_one_shopper_is_everybody_by_setting(bench: Bench) -> None:
    bench.set("ONE_CUSTOMER", "issue_unrestricted")
    adapter, wanted = bench.build(), order(email="jane@example.com", customer_id="4711")
    assert isinstance(await adapter.issue_coupon(wanted), Done)
    found = await adapter.find_coupon(wanted.code)
    assert isinstance(found, StoreCoupon)
    assert differences(wanted, found) == ()


@pytest.mark.parametrize(
    "name", ["fixed", "percentage", "free shipping", "free product", "products", "variants", "everything"]
)
async def test_what_is_read_back_is_what_was_ordered(bench: Bench, name: str) -> None:
    wanted = order(**ORDERS[name])
    assert isinstance(await bench.adapter.issue_coupon(wanted), Done)
    found = await bench.adapter.find_coupon(wanted.code)
    assert isinstance(found, StoreCoupon)
    assert differences(wanted, found) == ()


async def test_products_that_are_not_there_are_named(bench: Bench) -> None:
    bench.simulator.control("seed", products=[{"id": 7, "sku": "MUG"}])
    outcome = await bench.adapter.issue_coupon(order(product_ids=("7", "8")))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.COUPON_INVALID
    assert outcome.reason.facts["field"] == "product_ids"
    assert outcome.reason.facts["problem"] == "the store has no product 8"
    bench.simulator.control("seed", products=[{"id": 7, "sku": "MUG, blue"}, {"id": 8, "sku": "CUP"}])
    outcome = await bench.adapter.issue_coupon(order(product_ids=("7", "8")))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.NOT_SUPPORTED_BY_STORE
    assert outcome.reason.facts["field"] == "product_ids"


async def test_a_rule_with_conditions_of_the_merchant_is_another(bench: Bench) -> None:
    own = {"condition_type": "x", "aggregator_type": "any", "value": "1", "conditions": [{"attribute_name": "weight"}]}
    change = {"condition": own, "action_condition": own, "customer_group_ids": [1], "discount_qty": 3}
    bench.simulator.config(distort=change)
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.COUPON_DIFFERS
    named = " ".join(sorted(restrictions_of(outcome)))
    assert all(each in named for each in ("on the cart", "on the products", "customer_group_ids", "discount_qty"))
    assert held(bench) == (0, 0)


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2031, 1, 31, 22, 59, 59, tzinfo=UTC), date(2031, 1, 31)),
        (datetime(2031, 1, 31, 23, 0, tzinfo=UTC), date(2031, 1, 31)),  # midnight in Berlin: the day is over
        (datetime(2031, 1, 31, 23, 0, 1, tzinfo=UTC), date(2031, 2, 1)),
        (datetime(2031, 7, 31, 22, 0, 1, tzinfo=UTC), date(2031, 8, 1)),  # summer time
    ],
)
def test_the_last_day(bench: Bench, moment: datetime, day: date) -> None:
    assert last_day(moment, BERLIN) == day


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "%1 already exists.", "parameters": ["Coupon with the same code"]},
         "Coupon with the same code already exists."),
        ({"message": '"%fieldName" is not supported.', "parameters": {"fieldName": "x"}}, '"x" is not supported.'),
        ({"message": "%1 %10", "parameters": [*"abcdefghi", "ten"]}, "a ten"),
        ({"message": "One or more", "errors": [{"message": "%1 is bad", "parameters": ["it"]}]}, "One or more it is bad"),
        ({"message": None}, ""),
        (["no error"], ""),
    ],
)  # fmt: skip
def test_message_templates_are_filled_in(bench: Bench, body: Any, said: str) -> None:
    assert error_text(HttpResponse(400, Headers(), json.dumps(body).encode())) == said


ORDERS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "percentage": {"kind": CouponKind.PERCENTAGE, "value": Decimal("7.5")},
    "free shipping": {"kind": CouponKind.FREE_SHIPPING, "value": None},
    "free product": {"kind": CouponKind.FREE_PRODUCT, "value": None, "product_ids": ("7",)},
    "products": {"product_ids": ("7", "8")},
    "variants": {"kind": CouponKind.PERCENTAGE, "value": Decimal("7.5"), "variant_ids": ("71", "72")},
    "everything": {
        "minimum_spend": Decimal("30.00"), "usage_limit": None, "per_customer_limit": 2, "combinable": False,
        "expires_at": datetime(2031, 1, 31, tzinfo=UTC), "title": "Thank you", "reference": "r-1",
    },
}  # fmt: skip


@pytest.mark.parametrize("fields", ORDERS.values(), ids=list(ORDERS))
def test_bodies_fit_the_shops_own_description(bench: Bench, fields: dict[str, Any]) -> None:
    if not SWAGGER.exists():
        pytest.skip("Magento's own API description (../shared) is not here")
    described = json.loads(SWAGGER.read_text())
    wanted = order(**fields)
    skus = tuple(f"SKU-{each}" for each in wanted.items)
    for path, body in (
        ("/V1/salesRules", {"rule": rule_body(wanted, MARKET, skus, NOW)}),
        ("/V1/coupons", {"coupon": coupon_body(wanted, 1)}),
    ):
        schema = described["paths"][path]["post"]["parameters"][0]["schema"]
        jsonschema.validate(body, {**schema, "definitions": described["definitions"]})
        named = next(iter(schema["properties"].values()))["$ref"].rpartition("/")[2]
        assert set(next(iter(body.values()))) <= set(described["definitions"][named]["properties"])


@pytest.mark.parametrize(
    ("rule", "coupon"),
    [
        ({}, {}),
        ({"rule_id": "1"}, {"code": "x"}),
        ({"rule_id": 1, "discount_amount": "NaN"}, {"code": "x"}),
        ({"rule_id": 1, "discount_amount": "much"}, {"code": "x"}),
        ({"rule_id": 1, "to_date": "soon"}, {"code": "x"}),
    ],
)
def test_what_is_no_coupon(bench: Bench, rule: dict[str, Any], coupon: dict[str, Any]) -> None:
    assert parse_coupon(rule, coupon, MARKET, {}, datetime.now(UTC)) is None
