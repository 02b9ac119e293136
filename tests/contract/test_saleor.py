"""What only Saleor does: two calls per coupon, errors inside 200, three kinds of duplicate, a fuzzy search."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from graphql import ExecutionResult, GraphQLSchema, build_schema, execute, get_operation_ast, parse, validate
from graphql.execution.values import get_variable_values

from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.base import CouponKind, Ready, StoreCoupon, differences
from platform_relay.stores.saleor import documents as documents
from platform_relay.stores.saleor.loyalty_sync import KEYS, metadata
from platform_relay.stores.saleor.vouchers import Channel, listing_input, parse_voucher, voucher_input
from platform_relay.stores.saleor.vouchers import metadata as reference
from platform_relay.stores.saleor.webhooks import TOPICS
from tests.contract.bench import Bench, differences_of, order, restrictions_of
from tests.contract.doubles.saleor import CHANNELS, connection
from tests.contract.test_misbehaving_shop import FAULTS

SCHEMA = Path(__file__).parents[3] / "shared" / "specs" / "saleor" / "saleor-3.23.28.graphql"
LISTING = ("POST", "^/graphql/ListVoucher$")
NOW = datetime(2026, 5, 12, 8, tzinfo=UTC)
EU = Channel("Q2hhbm5lbDoy", "eu", "EUR")

on_bench = pytest.mark.parametrize("bench", ["saleor"], indirect=True)


def vouchers(bench: Bench) -> list[dict[str, Any]]:
    held: list[dict[str, Any]] = bench.simulator.state("vouchers")
    return held


def voucher(code: str, *, listed: bool = True, **fields: Any) -> dict[str, Any]:
    """A merchant's voucher of 5.00 EUR with this code."""
    listing = {"channel": CHANNELS[1], "discountValue": 5.0, "currency": "EUR", "minSpent": None}
    return {
        "name": code, "id": f"voucher-{code}", "type": "ENTIRE_ORDER", "discountValueType": "FIXED", "usageLimit": 1, "used": 0,
        "singleUse": False, "applyOncePerOrder": False, "applyOncePerCustomer": False, "onlyForStaff": False,
        "minCheckoutItemsQuantity": None, "startDate": "2026-01-01T00:00:00+00:00", "endDate": None, "countries": [],
        "privateMetafield": None,
        "codes": connection([{"id": f"code-{code}", "code": code, "used": 0, "isActive": True}]),
        **{name: connection([]) for name in ("products", "variants", "categories", "collections")},
        "channelListings": [listing] if listed else [], **fields,
    }  # fmt: skip


@on_bench
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_crash_at_the_second_call_is_finished(bench: Bench, fault: str) -> None:
    bench.misbehave(LISTING, **FAULTS[fault])
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Unknown)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert bench.made() == 1
    assert len(vouchers(bench)) == 1


@on_bench
@pytest.mark.parametrize("fault", ["reset before applying", "the answer is lost after applying"])
async def test_a_voucher_without_a_listing_never_applies_until_it_is_finished(bench: Bench, fault: str) -> None:
    bench.misbehave(LISTING, **FAULTS[fault])
    await bench.adapter.issue_coupon(order(first_try=True))
    assert await bench.usable() == (fault == "the answer is lost after applying")
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert await bench.usable()


@on_bench
async def test_a_half_made_voucher_with_other_values_is_not_finished(bench: Bench) -> None:
    bench.misbehave(LISTING, mode="reset_before")
    await bench.adapter.issue_coupon(order(first_try=True))
    outcome = await bench.adapter.issue_coupon(order(usage_limit=3))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    assert {"field": "usage_limit", "actual": "1", "expected": "3"} in differences_of(outcome)
    assert not await bench.usable()


@on_bench
@pytest.mark.parametrize("duplicate", ["ALREADY_EXISTS", "UNIQUE", "IntegrityError"])
async def test_each_kind_of_duplicate_is_looked_up(bench: Bench, duplicate: str) -> None:
    bench.simulator.config(duplicate=duplicate)
    bench.misbehave(LISTING, mode="reset_before")
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Unknown)
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Done)  # finished
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Done)
    other = await bench.adapter.issue_coupon(order(first_try=True, value=Decimal(7)))
    assert isinstance(other, Reject)
    assert other.reason.code is ReasonCode.CODE_TAKEN
    assert differences_of(other) == [{"field": "value", "actual": "5.00", "expected": "7"}]
    assert bench.made() == 1


@on_bench
async def test_a_stale_look_up_is_settled_by_the_refusal(bench: Bench) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    bench.simulator.config(hidden=1)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    bench.simulator.config(hidden=2)
    assert isinstance(await bench.adapter.issue_coupon(order()), Retry)
    assert bench.made() == 1


@on_bench
async def test_a_fuzzy_search_is_compared_exactly(bench: Bench) -> None:
    near = [voucher(f"{order().code}-{number}") for number in range(45)]
    bench.simulator.control("seed", vouchers=[*near, voucher(order().code.upper())])
    assert await bench.adapter.find_coupon(order().code) is None
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    found = await bench.adapter.find_coupon(order().code)
    assert isinstance(found, StoreCoupon)
    assert found.code == order().code
    assert isinstance(await bench.adapter.retire_coupon(order().code), Done)
    assert len(vouchers(bench)) == 46


@on_bench
async def test_one_code_of_several_is_taken_away_alone(bench: Bench) -> None:
    rows = [{"id": f"code-{code}", "code": code, "used": 0, "isActive": True} for code in (order().code, "OTHER")]
    bench.simulator.control("seed", vouchers=[voucher("x", codes=connection(rows))])
    assert isinstance(await bench.adapter.retire_coupon(order().code), Done)
    assert await bench.adapter.find_coupon(order().code) is None
    assert await bench.usable("OTHER")


@on_bench
@pytest.mark.parametrize(
    ("fields", "different"),
    [
        ({"channelListings": [{"channel": CHANNELS[0], "discountValue": 5.0, "currency": "USD"}]}, "active"),
        ({"onlyForStaff": True}, "onlyForStaff"),
        ({"countries": [{"code": "DE"}]}, "countries"),
        ({"categories": connection([{"id": "c"}])}, "categories"),
        ({"minCheckoutItemsQuantity": 3}, "minCheckoutItemsQuantity"),
        ({"startDate": "2099-01-01T00:00:00+00:00"}, "active"),
        ({"type": "SHIPPING"}, "kind"),
    ],
)
async def test_a_merchants_voucher_with_conditions_is_another(
    bench: Bench, fields: dict[str, Any], different: str
) -> None:
    bench.simulator.control("seed", vouchers=[voucher(order().code, **fields)])
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    assert different in {each["field"] for each in differences_of(outcome)} | restrictions_of(outcome)
    assert bench.made() == 0
    assert len(vouchers(bench)) == 1


@on_bench
async def test_what_the_second_call_refuses_leaves_no_voucher(bench: Bench) -> None:
    outcome = await bench.adapter.issue_coupon(order(value=Decimal("5.255")))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.REJECTED_BY_DESTINATION
    assert outcome.reason.facts["request"] == "the value of the coupon"
    assert "Invalid amount precision." in str(outcome.reason.facts["response"])
    assert outcome.reason.facts["removed"] is True
    assert vouchers(bench) == []


@on_bench
async def test_a_missing_permission_is_named(bench: Bench) -> None:
    bench.simulator.config(permissions=["MANAGE_DISCOUNTS", "MANAGE_ORDERS"])
    outcome = await bench.adapter.check()
    assert isinstance(outcome, Ready)
    assert "lacks MANAGE_USERS (customers), MANAGE_PRODUCTS (products)" in outcome.detail
    bench.simulator.config(permissions=["MANAGE_ORDERS"])
    outcome = await bench.adapter.check()
    assert isinstance(outcome, Blocked)
    assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
    assert outcome.reason.facts["permission"] == "MANAGE_DISCOUNTS"
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Blocked)
    assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
    assert "MANAGE_DISCOUNTS" in str(outcome.reason.facts["response"])


@on_bench
async def test_a_channel_that_is_not_there_is_blocked(bench: Bench) -> None:
    bench.set("CHANNEL", "usa")
    outcome = await bench.build().issue_coupon(order())
    assert isinstance(outcome, Blocked)
    assert outcome.reason.code is ReasonCode.SETTING_WRONG
    assert outcome.reason.facts["setting"] == "SALEOR__CHANNEL"
    assert "default-channel, eu" in str(outcome.reason.facts["problem"])


@on_bench
async def test_the_channels_currency_is_the_orders(bench: Bench) -> None:
    outcome = await bench.adapter.issue_coupon(order(currency="USD"))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.CURRENCY_MISMATCH
    assert (outcome.reason.facts["ordered"], outcome.reason.facts["currency"]) == ("USD", "EUR")


@on_bench
async def test_once_per_shopper_is_kept_and_one_shopper_alone_is_refused(bench: Bench) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order(per_customer_limit=1)), Done)
    assert vouchers(bench)[0]["applyOncePerCustomer"] is True
    outcome = await bench.adapter.issue_coupon(order(code="B", email="jane@example.com", customer_id="4711"))
    assert isinstance(outcome, Reject)
    assert "jane" not in repr(outcome)


@on_bench
async def test_one_shopper_is_everybody_by_setting(bench: Bench) -> None:
    bench.set("ONE_CUSTOMER", "issue_unrestricted")
    adapter, wanted = bench.build(), order(email="jane@example.com", customer_id="4711")
    assert isinstance(await adapter.issue_coupon(wanted), Done)
    found = await adapter.find_coupon(wanted.code)
    assert isinstance(found, StoreCoupon)
    assert differences(wanted, found) == ()


@on_bench
@pytest.mark.parametrize(
    "name", ["fixed", "percentage", "free shipping", "free product", "products", "variants", "everything"]
)
async def test_what_is_read_back_is_what_was_ordered(bench: Bench, name: str) -> None:
    wanted = order(**ORDERS[name])
    assert isinstance(await bench.adapter.issue_coupon(wanted), Done)
    found = await bench.adapter.find_coupon(wanted.code)
    assert isinstance(found, StoreCoupon)
    assert differences(wanted, found) == ()


@on_bench
@pytest.mark.parametrize("call", ["^/graphql/FindVouchers$", "^/graphql/CreateVoucher$", "^/graphql/ListVoucher$"])
@pytest.mark.parametrize(
    ("exception", "read", "write"),
    [
        ("PermissionDenied", Blocked, Blocked),
        ("ExpiredSignatureError", Blocked, Blocked),
        ("InvalidTokenError", Blocked, Blocked),
        ("ReadOnlyException", Retry, Retry),
        ("GraphQLError", Reject, Reject),
        ("OperationalError", Retry, Unknown),
        ("", Retry, Unknown),
    ],
)
async def test_errors_inside_a_200(bench: Bench, call: str, exception: str, read: type, write: type) -> None:
    error = {"message": "it went wrong", "extensions": {"exception": {"code": exception}}}
    bench.misbehave(("POST", call), status=200, body={"errors": [error], "data": None})
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, read if "Find" in call else write), outcome
    assert "it went wrong" in repr(outcome)


@on_bench
@pytest.mark.parametrize("address", ["/graphql/", "/graphql", "/"])
async def test_the_endpoints_own_address_is_taken_too(bench: Bench, address: str) -> None:
    bench.point_at(bench.simulator.url + address)
    assert isinstance(await bench.build().check(), Ready)


ORDERS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "percentage": {"kind": CouponKind.PERCENTAGE, "value": Decimal("7.5")},
    "free shipping": {"kind": CouponKind.FREE_SHIPPING, "value": None},
    "free product": {"kind": CouponKind.FREE_PRODUCT, "value": None, "product_ids": ("7",)},
    "products": {"product_ids": ("7", "UHJvZHVjdDoxMg==")},
    "variants": {"variant_ids": ("UHJvZHVjdFZhcmlhbnQ6MQ==",)},
    "everything": {
        "minimum_spend": Decimal("30.00"), "usage_limit": None, "per_customer_limit": 1, "title": "Thank you",
        "starts_at": datetime(2031, 1, 1, tzinfo=UTC), "expires_at": datetime(2031, 1, 31, tzinfo=UTC),
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def schema() -> GraphQLSchema:
    """Saleor's own schema; skips where it is not at hand."""
    if not SCHEMA.exists():
        pytest.skip("Saleor's schema (../shared) is not here")
    return build_schema(SCHEMA.read_text())


def variables() -> list[tuple[str, dict[str, Any]]]:
    """Every document with the variables that it is sent with."""
    sent: list[tuple[str, dict[str, Any]]] = []
    for fields in ORDERS.values():
        wanted = order(**fields)
        sent.append((documents.CREATE_VOUCHER, {"input": voucher_input(wanted, NOW)}))
        listed = {"input": listing_input(wanted, EU), "metadata": reference(wanted)}
        sent.append((documents.LIST_VOUCHER, {"id": "Vm91Y2hlcjox", **listed}))
    for document, after in itertools.product((documents.CUSTOMERS, documents.ORDERS, documents.PRODUCTS), (None, "x")):
        since: tuple[dict[str, str] | None, ...] = (None, {"gte": "2026-11-23T05:00:00+00:00"})
        sent += [(document, {"first": 20, "after": after, "updated": each}) for each in since]
    for document in (documents.COUNT_CUSTOMERS, documents.COUNT_ORDERS, documents.COUNT_PRODUCTS):
        sent.append((document, {"updated": None}))
    for document in (
        documents.CUSTOMER, documents.ORDER, documents.PRODUCT, documents.DELETE_VOUCHER, documents.ENABLE_WEBHOOK,
        documents.DELETE_WEBHOOK,
    ):  # fmt: skip
        sent.append((document, {"id": "x"}))
    for events, names in TOPICS.values():
        webhook = {"name": "n", "targetUrl": "https://x", "asyncEvents": list(names), "isActive": True, "query": events}
        sent += [(events, {}), (documents.CREATE_WEBHOOK, {"input": {**webhook, "secretKey": "s"}})]
    sent += [(each, {}) for each in (documents.CHANNELS, documents.PERMISSIONS, documents.WEBHOOKS)]
    sent += [(documents.FIND_VOUCHERS, {"code": "x", "after": after}) for after in (None, "y")]
    standing: dict[str, Any] = {"id": "VXNlcjox", "keys": KEYS}
    sent += [
        (documents.LOYALTY_FIELDS, standing),
        (documents.SET_LOYALTY_FIELDS, {**standing, "input": metadata({"tier": "Gold"})}),
    ]
    return [*sent, (documents.DELETE_CODES, {"ids": ["x"]})]


def test_every_document_and_its_variables_fit_the_schema(schema: GraphQLSchema) -> None:
    known = {value for name, value in vars(documents).items() if name.isupper() and not name.startswith("_")}
    assert known == {document for document, _ in variables()}
    for document, given in variables():
        parsed = parse(document)
        assert validate(schema, parsed) == [], document
        operation = get_operation_ast(parsed)
        assert operation is not None
        wrong = get_variable_values(
            schema, list(operation.variable_definitions or []), given
        )  # a list of errors, or values
        assert not isinstance(wrong, list), wrong


def test_the_doubles_vouchers_are_the_schemas(schema: GraphQLSchema) -> None:
    made = voucher(order().code)
    found = execute(
        schema, parse(documents.FIND_VOUCHERS), {"vouchers": connection([made])}, variable_values={"code": "x"}
    )
    assert isinstance(found, ExecutionResult)
    assert found.errors is None
    assert found.data is not None
    assert set(found.data["vouchers"]["edges"][0]["node"]) == set(made)


@on_bench
@pytest.mark.parametrize("refusal", ["GraphQLError", "400"])
async def test_a_voucher_whose_value_is_refused_by_the_api_itself_is_deleted(bench: Bench, refusal: str) -> None:
    error = {"message": "Invalid", "extensions": {"exception": {"code": "GraphQLError"}}}
    status = 400 if refusal == "400" else 200
    bench.misbehave(("POST", "^/graphql/ListVoucher$"), status=status, body={"errors": [error], "data": None})
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.facts["removed"] is True
    assert bench.simulator.state("vouchers") == []


@on_bench
async def test_a_voucher_of_an_attempt_with_other_values_is_made_again(bench: Bench) -> None:
    """It was not completed, and its name has the reference: it is ours. One of somebody else is left alone."""
    wanted = order(reference="r-1", title="Thank you")
    for owner in ("r-1", "r-2"):
        bench.simulator.reset()
        bench.misbehave(("POST", "^/graphql/CreateVoucher$"), mode="apply_then", status=500, body="")
        await bench.adapter.issue_coupon(replace(wanted, first_try=True, usage_limit=3, reference=owner))
        outcome = await bench.adapter.issue_coupon(wanted)
        assert isinstance(outcome, Done if owner == "r-1" else Reject), outcome
        assert len(bench.simulator.state("vouchers")) == 1


def test_what_is_sent() -> None:
    wanted = order(kind=CouponKind.FREE_PRODUCT, value=None, product_ids=("UHJvZHVjdDox",), minimum_spend=Decimal(30))
    assert voucher_input(wanted, NOW) == {
        "type": "SPECIFIC_PRODUCT", "name": wanted.code, "addCodes": [wanted.code], "discountValueType": "PERCENTAGE",
        "applyOncePerOrder": True, "applyOncePerCustomer": False, "singleUse": False, "onlyForStaff": False,
        "usageLimit": 1, "products": ["UHJvZHVjdDox"], "startDate": "2026-05-11T08:00:00+00:00",
    }  # fmt: skip
    assert listing_input(wanted, EU) == {
        "addChannels": [{"channelId": EU.id, "discountValue": "100", "minAmountSpent": "30"}]
    }


@pytest.mark.parametrize(
    "row", [{}, {"id": 1}, voucher("y"), voucher("x", startDate="soon"), voucher("x", endDate="2026-01-01T00:00:00"),
            voucher("x", channelListings=[{"channel": CHANNELS[1], "discountValue": "NaN"}])]
)  # fmt: skip
def test_what_is_no_coupon(row: dict[str, Any]) -> None:
    assert parse_voucher(row, "x", EU, datetime.now(UTC)) is None


def test_used_up_by_time() -> None:
    ended = datetime.now(UTC) - timedelta(days=1)
    found = parse_voucher(voucher("x", endDate=ended.isoformat()), "x", EU, datetime.now(UTC))
    assert found is not None
    assert not found.active
