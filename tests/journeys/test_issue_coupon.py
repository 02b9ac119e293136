"""A redemption becomes a coupon: against the Platform's and the store's simulators and a real database."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any  # what a simulator's ledger holds
from uuid import UUID

import httpx
import pytest
from pydantic import HttpUrl, SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from platform_relay.alerts.alerts import Alerts
from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Retry, Skip, Unknown, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons import reward_rules
from platform_relay.coupons.drift_check import check_drift
from platform_relay.coupons.issue import IssueCoupon
from platform_relay.coupons.records import CouponRecord
from platform_relay.coupons.reward_rules import RewardRuleDefinition, RewardRules
from platform_relay.coupons.transitions import Coupons
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.webhooks import webhook_message
from platform_relay.setting_groups import CouponSettings
from platform_relay.stores.generic_http import GenericHttp, GenericHttpSettings
from platform_relay.stores.woocommerce.adapter import WooCommerce
from simulators.process import Simulator
from tests.journeys.handler_jobs import job, store_message, store_negative_answers

CODE = "ab12cd34ef56"
CUSTOMER = {"externalId": "42", "email": "jane@example.com"}
REDEEMED: dict[str, Any] = {
    "id": "p-1",
    "customer": CUSTOMER,
    "points": 500,
    "ruleId": "rule-5-off",
    "couponCode": CODE,
    "rewardType": "amountdiscount",
}


@pytest.fixture
async def generic(shop: Simulator) -> AsyncIterator[GenericHttp]:
    secret = SecretStr("whsec_c2ltdWxhdG9yLXNlY3JldC1zaW11bGF0b3Itc2VjcmV0")
    adapter = GenericHttp(GenericHttpSettings(url=HttpUrl(shop.url + "/relay"), secret=secret), HttpClients(2.0))
    yield adapter
    await adapter.aclose()


@pytest.fixture
def issue(store: WooCommerce, client: PlatformClient, engine: AsyncEngine) -> IssueCoupon:
    return handler(store, client, engine)


def handler(
    store: WooCommerce | GenericHttp | None, client: PlatformClient, engine: AsyncEngine, **settings: object
) -> IssueCoupon:
    return IssueCoupon(
        engine=engine,
        store=store,
        coupons=Coupons(engine),
        rules=RewardRules(engine),
        platform=client,
        alerts=Alerts(engine),
        settings=CouponSettings.model_validate({"confirm_above": None, **settings}),
    )


async def give(
    issue: IssueCoupon,
    engine: AsyncEngine,
    body: dict[str, Any] = REDEEMED,
    *,
    topic: str = "points/redeemed",
    number: int = 0,
    message_id: UUID | None = None,
    attempt: int = 1,
    uncertain: bool = False,
    age: float = 0.0,
    unlisted_for: float | None = None,
) -> Outcome:
    """One attempt of the webhook's job `number`, as the engine would make it. `unlisted_for`: the Platform did not confirm
    it several times already, first so many seconds ago."""
    raw = json.dumps(body).encode()
    identifier = message_id or await store_message(engine, topic, raw)
    spec = webhook_message(topic, raw, str(identifier)).jobs[number]
    job_id = uuid7()
    if unlisted_for is not None:
        await store_negative_answers(engine, job_id, unlisted_for)
    return await issue(
        job(
            "issue_coupon",
            raw,
            message_id=identifier,
            params=spec.params,
            attempt=attempt,
            uncertain=uncertain,
            age=age,
            identifier=job_id,
        )
    )


async def coupon(engine: AsyncEngine, code: str = CODE) -> CouponRecord:
    record = await Coupons(engine).find(code)
    assert record is not None
    return record


async def put_rule(engine: AsyncEngine, rule_id: str, **definition: object) -> None:
    async with engine.begin() as connection:
        await reward_rules.put(connection, rule_id, RewardRuleDefinition.model_validate(definition), "operator")


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("points/redeemed", []),
        ("points/redeemed", {**REDEEMED, "couponCode": "ab\N{REPLACEMENT CHARACTER}"}),
        ("customers/tier_entry_reward_earned", {"rewards": [{"couponCode": "T1"}]}),
        ("referrals/completed", {"friendReward": [{"couponCode": "F1"}]}),
    ],
)
async def test_a_coupon_that_cannot_be_read_is_dead_with_its_reason(
    issue: IssueCoupon, engine: AsyncEngine, topic: str, body: Any
) -> None:
    outcome = await give(issue, engine, body, topic=topic)
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.NO_COUPON_CODE


async def test_a_redemption_becomes_an_active_coupon_with_the_launchers_value(
    shop: Simulator, issue: IssueCoupon, engine: AsyncEngine
) -> None:
    done = await give(issue, engine)
    assert isinstance(done, Done)
    (made,) = shop.state("coupons", CODE)
    assert (made["code"], made["amount"], made["discount_type"], made["usage_limit"]) == (CODE, "5.00", "fixed_cart", 1)
    row = await coupon(engine)
    assert (row.state, row.value, row.store_id) == ("active", Decimal("5.00"), done.result["store_id"])


async def test_of_two_spellings_of_a_code_one_becomes_a_coupon(
    shop: Simulator, client: PlatformClient, generic: GenericHttp, engine: AsyncEngine
) -> None:
    """Two replicas at once; the store distinguishes the two codes and would have created both."""
    bodies = [{**REDEEMED, "couponCode": CODE}, {**REDEEMED, "couponCode": CODE.upper(), "id": "p-2"}]
    replicas = [handler(generic, client, engine) for _ in bodies]
    outcomes = await asyncio.gather(
        *(give(replica, engine, body) for replica, body in zip(replicas, bodies, strict=True))
    )
    [done] = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    [held] = [outcome for outcome in outcomes if isinstance(outcome, Reject)]
    assert held.reason.code is ReasonCode.SIMILAR_CODE
    assert held.reason.facts["other"] == done.result["code"]
    assert list(shop.state("relay")) == [done.result["code"]]
    rows = {record.state: record for record in [await coupon(engine, str(body["couponCode"])) for body in bodies]}
    assert set(rows) == {"active", "held"}
    assert rows["held"].reason == held.reason
    assert rows["held"].kind is None, "it is worth nothing in the ledger"


async def test_an_active_coupon_is_not_issued_again(shop: Simulator, issue: IssueCoupon, engine: AsyncEngine) -> None:
    assert isinstance(await give(issue, engine), Done)
    before = len(shop.ledger())
    assert isinstance(await give(issue, engine), Skip)
    assert len(shop.ledger()) == before


@pytest.mark.parametrize("kind", ["woocommerce", "generic"])
async def test_a_lost_response_leads_to_one_coupon(
    shop: Simulator,
    client: PlatformClient,
    engine: AsyncEngine,
    store: WooCommerce,
    generic: GenericHttp,
    kind: str,
) -> None:
    issue = handler(store if kind == "woocommerce" else generic, client, engine)
    message = await store_message(engine, "points/redeemed")
    shop.script(method="POST", mode="reset_after")
    assert isinstance(await give(issue, engine, message_id=message), Unknown)
    assert (await coupon(engine)).state == "pending"
    assert isinstance(await give(issue, engine, message_id=message, attempt=2, uncertain=True), Done)
    assert (await coupon(engine)).state == "active"
    created = [entry for entry in shop.ledger(applied=1) if entry["kind"] in ("coupon.create", "relay.create")]
    assert len(created) == 1


async def test_a_coupon_that_the_store_created_differently_is_held(
    shop: Simulator, issue: IssueCoupon, engine: AsyncEngine
) -> None:
    shop.config(distort={"amount": "0.00"})
    outcome = await give(issue, engine)
    assert isinstance(outcome, Reject)
    row = await coupon(engine)
    assert row.state == "held"
    assert row.reason == outcome.reason
    assert_differs(outcome, "0.00")
    assert shop.state("coupons", CODE) == [], "it must not stay usable"


def assert_differs(outcome: Reject, value: str) -> None:
    assert outcome.reason.code is ReasonCode.COUPON_DIFFERS
    assert outcome.reason.facts["code"] == CODE
    assert outcome.reason.facts["differences"] == [{"field": "value", "actual": value, "expected": "5.00"}]


async def test_a_coupon_that_differs_and_cannot_be_removed_is_named_with_the_failure(
    shop: Simulator, issue: IssueCoupon, engine: AsyncEngine
) -> None:
    shop.config(distort={"amount": "0.00"})
    shop.script(method="DELETE", persistent=True, status=503, body="")
    outcome = await give(issue, engine)
    assert isinstance(outcome, Reject)
    assert_differs(outcome, "0.00")
    assert outcome.reason.facts["removed"] is False
    failure = outcome.reason.facts["failure"]
    assert isinstance(failure, dict)
    assert failure["code"] == "destination_unavailable"


async def test_a_coupon_that_the_store_does_not_show_yet_is_read_again_and_not_created_twice(
    shop: Simulator, issue: IssueCoupon, engine: AsyncEngine
) -> None:
    message = await store_message(engine, "points/redeemed")
    shop.script(method="GET", path="/wp-json/wc/v3/coupons", status=200, body=[])
    outcome = await give(issue, engine, message_id=message)
    assert isinstance(outcome, Retry)
    assert outcome.reason == because(ReasonCode.COUPON_NOT_VISIBLE, destination="the store", code=CODE)
    row = await coupon(engine)
    assert row.state == "pending"
    assert row.store_id is not None
    assert isinstance(await give(issue, engine, message_id=message, attempt=2), Done)
    assert [entry["kind"] for entry in shop.ledger()].count("coupon.create") == 1


async def test_a_coupon_that_reads_back_differently_is_retired_and_held(
    shop: Simulator, issue: IssueCoupon, engine: AsyncEngine
) -> None:
    message = await store_message(engine, "points/redeemed")
    shop.script(method="GET", path="/wp-json/wc/v3/coupons", status=200, body=[])
    assert isinstance(await give(issue, engine, message_id=message), Retry)
    keys = httpx.BasicAuth("ck_simulator_key", "cs_simulator_key")
    (made,) = shop.client.get("/wp-json/wc/v3/coupons", params={"code": CODE}, auth=keys).json()
    shop.script(method="GET", path="/wp-json/wc/v3/coupons", status=200, body=[{**made, "amount": "9.00"}])
    outcome = await give(issue, engine, message_id=message, attempt=2)
    assert isinstance(outcome, Reject)
    assert_differs(outcome, "9.00")
    assert outcome.reason.facts["removed"] is True
    row = await coupon(engine)
    assert (row.state, row.reason) == ("held", outcome.reason)
    assert shop.state("coupons", CODE) == []


async def test_a_different_coupon_of_an_attempt_without_a_response_is_retired(
    shop: Simulator, issue: IssueCoupon, engine: AsyncEngine
) -> None:
    message = await store_message(engine, "points/redeemed")
    shop.config(distort={"amount": "0.00"})
    shop.script(method="POST", mode="reset_after")
    assert isinstance(await give(issue, engine, message_id=message), Unknown)
    assert shop.state("coupons", CODE) != []
    outcome = await give(issue, engine, message_id=message, attempt=2, uncertain=True)
    assert isinstance(outcome, Reject)
    assert_differs(outcome, "0.00")
    row = await coupon(engine)
    assert (row.state, row.reason) == ("held", outcome.reason)
    assert shop.state("coupons", CODE) == []


async def test_a_code_of_another_coupon_in_the_store_is_held_and_not_changed(
    shop: Simulator, issue: IssueCoupon, engine: AsyncEngine, store: WooCommerce
) -> None:
    await put_rule(engine, "rule-5-off", kind="percentage", value="50")
    assert isinstance(await give(issue, engine), Done)
    other = {**REDEEMED, "id": "p-2", "couponCode": CODE.upper()}
    outcome = await give(issue, engine, {**other, "ruleId": "rule-10"}, attempt=2)
    assert isinstance(outcome, Wait), "no rule yet"
    await put_rule(engine, "rule-10", kind="fixed_amount", value="7")
    outcome = await give(issue, engine, {**other, "ruleId": "rule-10"}, attempt=2)
    assert isinstance(outcome, Reject)
    assert (await coupon(engine, CODE.upper())).state == "held"
    assert [made["amount"] for made in shop.state("coupons", CODE)] == ["50.00"]
    assert await store.find_coupon(CODE) is not None


async def test_without_a_value_the_coupon_is_held_until_a_rule_exists(
    shop: Simulator, issue: IssueCoupon, engine: AsyncEngine
) -> None:
    unknown = {**REDEEMED, "ruleId": "rule-new"}
    waits = await give(issue, engine, unknown)
    assert isinstance(waits, Wait)
    assert waits.key == "reward-rule:rule-new"
    row = await coupon(engine)
    assert (row.state, row.reason) == ("held", waits.reason)
    assert waits.reason == because(ReasonCode.NO_VALUE, rule="rule-new")
    assert shop.ledger() == []
    await put_rule(engine, "rule-new", kind="fixed_amount", value="7.50")
    assert isinstance(await give(issue, engine, unknown), Done)
    row = await coupon(engine)
    assert (row.state, row.value, row.reason) == ("active", Decimal("7.50"), None)


async def test_without_a_store_the_coupon_waits_for_the_setting(client: PlatformClient, engine: AsyncEngine) -> None:
    waits = await give(handler(None, client, engine), engine)
    assert isinstance(waits, Wait)
    assert waits.key == "settings"
    assert waits.reason.code is ReasonCode.NO_STORE
    assert (await coupon(engine)).state == "held"


async def test_without_the_launcher_the_coupon_waits_unless_an_operators_rule_has_the_value(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    platform.outage(True)
    waits = await give(handler(store, client, engine), engine)
    assert isinstance(waits, Wait)
    assert waits.reason.code is ReasonCode.LAUNCHER_UNAVAILABLE
    problem = waits.reason.facts["problem"]
    assert isinstance(problem, dict)
    assert isinstance(problem["facts"], dict)
    assert problem["facts"]["destination"] == "the Platform's Launcher"
    assert waits.recheck < 60
    await put_rule(engine, "rule-5-off", kind="fixed_amount", value="4", currency="EUR")
    assert isinstance(await give(handler(store, client, engine), engine), Done)
    assert (await coupon(engine)).value == Decimal("4.00")


@pytest.mark.parametrize(
    "altered",
    [{"id": "p-2"}, {"customer": {"externalId": "43", "email": "eve@example.com"}}, {"customer": None}],
)
async def test_a_code_of_another_redemption_or_customer_is_rejected(
    shop: Simulator, issue: IssueCoupon, engine: AsyncEngine, altered: dict[str, Any]
) -> None:
    assert isinstance(await give(issue, engine), Done)
    outcome = await give(issue, engine, {**REDEEMED, **altered})
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.CODE_OF_ANOTHER_REDEMPTION
    assert outcome.reason.facts.items() >= {"code": CODE, "redemption": "p-1"}.items()
    assert "eve" not in repr(outcome.reason), "no personal data in reasons"
    assert (await coupon(engine)).state == "active"
    assert [entry["kind"] for entry in shop.ledger()].count("coupon.create") == 1


async def test_a_referral_creates_two_coupons_once(shop: Simulator, issue: IssueCoupon, engine: AsyncEngine) -> None:
    reward = {"discountType": "amountdiscount", "discountAmount": 5.5}
    referral: dict[str, Any] = {
        "id": "f-1",
        "customer": CUSTOMER,
        "friendEmail": "Friend@example.com",
        "customerReward": {"id": "w-1", "couponCode": "aaa", **reward},
        "friendReward": {"id": "w-2", "couponCode": "bbb", **reward},
    }
    for number in (0, 1):
        assert isinstance(await give(issue, engine, referral, topic="referrals/started", number=number), Done)
    joined = {**referral, "friendCustomer": {"externalId": "77", "email": "friend@example.com"}}
    for number in (0, 1):
        assert isinstance(await give(issue, engine, joined, topic="referrals/completed", number=number), Skip)
    for code in ("aaa", "bbb"):
        assert [made["amount"] for made in shop.state("coupons", code)] == ["5.50"]
    assert (await coupon(engine, "bbb")).customer_ref == "friend@example.com"


async def test_the_stores_response_decides_the_outcome(
    shop: Simulator, issue: IssueCoupon, engine: AsyncEngine
) -> None:
    message = await store_message(engine, "points/redeemed")
    for rule, expected in (
        ({"status": 401, "body": {"code": "woocommerce_rest_cannot_view"}}, Blocked),
        ({"status": 429, "body": {}}, Retry),
        ({"mode": "garbage"}, Unknown),
    ):
        shop.control("clear")
        shop.script(persistent=True, **rule)
        assert isinstance(await give(issue, engine, message_id=message), expected)
        assert (await coupon(engine)).state == "pending"


async def test_the_coupon_settings_apply_in_the_same_way_at_every_attempt(
    shop: Simulator, client: PlatformClient, engine: AsyncEngine, store: WooCommerce
) -> None:
    settings = {
        "expires_after": timedelta(days=90),
        "restrict_to_customer": True,
        "combinable": False,
        "usage_limit": 2,
    }
    issue = handler(store, client, engine, **settings)
    message = await store_message(engine, "points/redeemed")
    shop.script(method="POST", mode="reset_after")
    assert isinstance(await give(issue, engine, message_id=message), Unknown)
    assert isinstance(await give(issue, engine, message_id=message, attempt=2, uncertain=True), Done)
    found = await store.find_coupon(CODE)
    row = await coupon(engine)
    assert found is not None
    assert not isinstance(found, Done | Reject | Retry | Unknown | Blocked | Wait | Skip)
    assert (found.email, found.combinable, found.usage_limit) == ("jane@example.com", False, 2)
    assert found.expires_at == row.received_at.replace(microsecond=0) + timedelta(days=90)


async def test_a_restricted_coupon_without_a_customer_is_held(
    client: PlatformClient, engine: AsyncEngine, store: WooCommerce
) -> None:
    issue = handler(store, client, engine, restrict_to_customer=True)
    assert isinstance(await give(issue, engine, {**REDEEMED, "customer": None}), Reject)
    assert (await coupon(engine)).state == "held"


async def test_redeemed_points_without_a_code_are_rejected(issue: IssueCoupon, engine: AsyncEngine) -> None:
    outcome = await give(issue, engine, {**REDEEMED, "couponCode": None})
    assert isinstance(outcome, Reject)


async def test_a_refused_code_still_belongs_to_a_genuine_redemption(
    platform: Simulator, shop: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    issue = handler(store, client, engine, require="known")
    platform.control("customers", customers=[{"customerId": "42", "email": "jane@example.com"}])
    refused = await give(issue, engine, {**REDEEMED, "id": "evil", "customer": None})
    assert isinstance(refused, Reject)
    row = await coupon(engine)
    assert (row.state, row.reason, row.verification) == ("refused", refused.reason, "failed")
    assert shop.ledger() == []
    assert isinstance(await give(issue, engine), Done)
    row = await coupon(engine)
    assert (row.state, row.redemption_id, row.verification) == ("active", "p-1", "known")


@pytest.mark.parametrize(
    ("currency", "rule", "value", "shown"),
    [("JPY", "2.50", "2", "2"), ("EUR", "2.505", "2.50", "2.50"), ("KWD", "2.5055", "2.505", "2.505")],
)
async def test_money_has_the_decimal_places_of_its_currency_from_the_rule_to_the_store(
    platform: Simulator,
    shop: Simulator,
    client: PlatformClient,
    engine: AsyncEngine,
    generic: GenericHttp,
    currency: str,
    rule: str,
    value: str,
    shown: str,
) -> None:
    """Rounded down, and never through a float."""
    platform.config(store_currency=currency)
    await put_rule(engine, "rule-5-off", kind="fixed_amount", value=rule)
    assert isinstance(await give(handler(generic, client, engine), engine), Done)
    row = await coupon(engine)
    assert (str(row.value), row.currency) == (value, currency)
    [made] = [entry["body"] for entry in shop.ledger(applied=1) if entry["kind"] == "relay.create"]
    assert (made["value"], made["currency"]) == (shown, currency)


MUGS = [{"externalId": "4301", "title": "Red"}, {"externalId": "4302", "title": "Blue"}]


@pytest.mark.parametrize("rule", ["the Platform's", "the operator's"])
async def test_a_rule_for_variants_creates_a_coupon_for_these_only(
    platform: Simulator, shop: Simulator, issue: IssueCoupon, store: WooCommerce, engine: AsyncEngine, rule: str
) -> None:
    """The webhook's own words repeat neither product nor variants, and shake nothing off."""
    platform.control("rules", rules=[{"id": "rule-5-off", "product": {"externalId": "43"}, "variants": MUGS}])
    if rule == "the operator's":
        await put_rule(engine, "rule-5-off", kind="fixed_amount", value="5", variant_ids=["4301", "4302"])
    body = {**REDEEMED, "redeemRule": {"pointCost": 500, "discountValue": 5}}
    assert isinstance(await give(issue, engine, body), Done)
    row = await coupon(engine)
    assert row.state == "active"
    assert row.issued_spec is not None
    assert (row.issued_spec["product_ids"], row.issued_spec["variant_ids"]) == ([], ["4301", "4302"])
    assert [made["product_ids"] for made in shop.state("coupons", CODE)] == [[4301, 4302]]
    assert (await check_drift(engine, store)).findings == ()


async def test_the_generic_endpoint_receives_the_variants(
    platform: Simulator, shop: Simulator, generic: GenericHttp, client: PlatformClient, engine: AsyncEngine
) -> None:
    platform.control("rules", rules=[{"id": "rule-mug", "variants": [{"externalId": "43-red"}]}])
    body = {**REDEEMED, "ruleId": "rule-mug", "rewardType": "productdiscount", "points": 1000}
    assert isinstance(await give(handler(generic, client, engine), engine, body), Done)
    assert (await coupon(engine)).state == "active"
    made = shop.state("relay", CODE)["coupon"]
    assert (made["kind"], made["product_ids"], made["variant_ids"]) == ("free_product", [], ["43-red"])


async def test_a_rule_for_variants_without_ids_waits_for_an_operators_rule(
    platform: Simulator, shop: Simulator, issue: IssueCoupon, engine: AsyncEngine
) -> None:
    """Left out, the restriction would make the coupon worth more than the rule says."""
    platform.control("rules", rules=[{"id": "rule-mug", "variants": [{"title": "Red"}]}])
    body = {**REDEEMED, "ruleId": "rule-mug", "rewardType": "productdiscount", "points": 1000}
    waits = await give(issue, engine, body)
    assert isinstance(waits, Wait)
    assert waits.reason.code is ReasonCode.VALUE_UNCERTAIN
    assert waits.reason.facts["field"] == "variants"
    assert shop.ledger(applied=1) == []
    await put_rule(engine, "rule-mug", kind="free_product", product_ids=["431"])
    assert isinstance(await give(issue, engine, body), Done)
    assert [made["product_ids"] for made in shop.state("coupons", CODE)] == [[431]]
