"""What only Vendure does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent
from platform_relay.stores import build
from platform_relay.stores.base import CouponKind, Ready, StoreCoupon, differences
from platform_relay.stores.native import FetchesEntities, ListsEntities, NativeEvent, Page
from platform_relay.stores.vendure.adapter import Vendure
from platform_relay.stores.vendure.coupons import Market, parse_promotion, promotion_input
from platform_relay.stores.vendure.events import financial_status
from tests.contract.bench import CODE, Bench, differences_of, order

pytestmark = pytest.mark.parametrize("bench", ["vendure"], indirect=True)
NOW = datetime(2026, 11, 23, tzinfo=UTC)
HALF: dict[str, Any] = {"kind": CouponKind.PERCENTAGE, "value": Decimal(50)}
MARKET = Market("web", "EUR", frozenset({"EUR"}), "en", 2)
LOGIN = ("POST", "^/admin-api/Login$")
DELETE = ("POST", "^/admin-api/DeletePromotion$")


def shop(bench: Bench) -> Vendure:
    assert isinstance(bench.adapter, Vendure)
    return bench.adapter


def calls(bench: Bench, kind: str) -> int:
    tally = bench.simulator.summary()["kinds"].get(kind)
    return tally["received"] if tally else 0


def held(bench: Bench) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = bench.simulator.state("promotions")
    return rows


async def with_duplicate(bench: Bench, **changes: Any) -> None:
    """The coupon as ordered, and a second promotion of its code."""
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    bench.simulator.control("seed", promotions=[{**held(bench)[0], "id": "99", **changes}])


def discount(value: str) -> Any:
    return [{"code": "order_fixed_discount", "args": [{"name": "discount", "value": value}]}]


# ------------------------------------------------------------------------------------------------------- duplicates


async def test_it_looks_before_every_creation(bench: Bench) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Done)
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Done)
    assert bench.made() == 1


async def test_a_surplus_duplicate_is_retired_and_the_oldest_stays(bench: Bench) -> None:
    await with_duplicate(bench)
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Done)
    assert outcome.result == {"store_id": "1"}
    assert [row["id"] for row in held(bench)] == ["1"]


async def test_a_duplicate_that_cannot_be_retired_is_no_success(bench: Bench) -> None:
    await with_duplicate(bench)
    bench.misbehave(DELETE, status=503)
    assert isinstance(await bench.adapter.issue_coupon(order()), Retry)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert len(held(bench)) == 1


async def test_two_made_at_once_become_one(bench: Bench) -> None:
    """The lookup before shows nothing (another program makes the same coupon), the one after shows both."""
    await bench.adapter.issue_coupon(order())
    bench.simulator.config(hidden=1)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert bench.made() == 2
    assert [row["id"] for row in held(bench)] == ["1"]


async def test_a_duplicate_shows_in_the_read_back(bench: Bench) -> None:
    await with_duplicate(bench)
    found = await bench.adapter.find_coupon(CODE)
    assert isinstance(found, StoreCoupon)
    (duplicate,) = differences(order(), found)
    assert duplicate.field == "restrictions"
    assert "a duplicate, promotion 99" in str(duplicate.actual)


@pytest.mark.parametrize("code", [CODE, CODE.upper()])
async def test_a_promotion_of_the_merchant_is_left_alone(bench: Bench, code: str) -> None:
    """Also in another spelling: the customer's entry has no case, and the discounts would add up."""
    await with_duplicate(bench, couponCode=code, actions=discount("700"))
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    assert differences_of(outcome) == [{"field": "value", "actual": "7.00", "expected": "5.00"}]
    assert len(held(bench)) == 2


async def test_a_disabled_one_does_not_count_beside_ours(bench: Bench) -> None:
    await with_duplicate(bench, enabled=False, actions=discount("700"))
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert len(held(bench)) == 2
    found = await bench.adapter.find_coupon(CODE)
    assert isinstance(found, StoreCoupon)
    assert differences(order(), found) == ()


async def test_ours_goes_again_when_somebody_else_was_faster(bench: Bench) -> None:
    await with_duplicate(bench, actions=discount("700"))
    await bench.adapter._delete("1")  # type: ignore[attr-defined]  # leaves the other one  # noqa: SLF001
    bench.simulator.config(hidden=1)
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    assert outcome.reason.facts["removed"] is True
    assert [row["id"] for row in held(bench)] == ["99"]


async def test_all_of_the_code_are_retired_and_only_they(bench: Bench) -> None:
    await with_duplicate(bench)
    bench.simulator.control("seed", promotions=[{**held(bench)[0], "id": "100", "couponCode": CODE.upper()}])
    assert isinstance(await bench.adapter.retire_coupon(CODE), Done)
    assert [row["id"] for row in held(bench)] == ["100"]


async def test_one_deleted_meanwhile_is_retired(bench: Bench) -> None:
    await bench.adapter.issue_coupon(order())
    is_not_found = {"errors": [{"message": "No Promotion", "extensions": {"code": "ENTITY_NOT_FOUND"}}], "data": None}
    bench.misbehave(DELETE, mode="apply_then", status=200, body=is_not_found)
    assert isinstance(await bench.adapter.retire_coupon(CODE), Done)


# ------------------------------------------------------------------------------------------------------- one customer


@pytest.mark.parametrize("who", [{"email": "a@b.de"}, {"customer_id": "7"}, {"email": "a@b.de", "customer_id": "7"}])
async def test_one_customer_is_refused_or_left_out_as_the_setting_says(bench: Bench, who: dict[str, str]) -> None:
    outcome = await bench.adapter.issue_coupon(order(**who))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.NOT_SUPPORTED_BY_STORE
    assert set(str(outcome.reason.facts["field"]).split(", ")) >= set(who)
    assert "a@b.de" not in repr(outcome)
    assert bench.made() == 0
    bench.set("ONE_CUSTOMER", "issue_unrestricted")
    adapter = bench.build()
    assert isinstance(await adapter.issue_coupon(order(**who)), Done)
    found = await adapter.find_coupon(CODE)
    assert isinstance(found, StoreCoupon)
    assert differences(order(**who), found) == ()


# ------------------------------------------------------------------------------------------------------- being let in


async def test_a_session_that_ended_is_renewed_once_for_all(bench: Bench) -> None:
    await asyncio.gather(*(bench.adapter.find_coupon("x") for _ in range(6)))
    assert calls(bench, "Login") == 1
    bench.simulator.control("expire")
    assert await asyncio.gather(*(bench.adapter.find_coupon("x") for _ in range(6))) == [None] * 6
    assert calls(bench, "Login") == 2
    bench.simulator.control("expire")
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert bench.made() == 1


async def test_a_missing_permission_is_blocked_after_one_renewal(bench: Bench) -> None:
    bench.simulator.config(permissions=["ReadPromotion", "CreatePromotion"])
    outcome = await bench.adapter.check()
    assert isinstance(outcome, Blocked), outcome
    assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
    assert calls(bench, "Login") == 2


@pytest.mark.parametrize("missing", ["ReadPromotion", "CreatePromotion", "DeletePromotion"])
async def test_check_misses_every_permission(bench: Bench, missing: str) -> None:
    needed = {"ReadPromotion", "CreatePromotion", "DeletePromotion"}
    bench.simulator.config(permissions=sorted(needed - {missing}))
    assert isinstance(await bench.adapter.check(), Blocked)
    bench.simulator.config(permissions=sorted(needed))
    assert isinstance(await bench.adapter.check(), Ready)


async def test_a_shop_that_gives_no_token(bench: Bench) -> None:
    bench.simulator.config(token_in_header=False)
    outcome = await bench.adapter.check()
    assert isinstance(outcome, Blocked)
    assert outcome.reason.code is ReasonCode.STORE_NOT_READY
    assert "tokenMethod" in str(outcome.reason.facts["problem"])


async def test_a_login_that_cannot_be_answered(bench: Bench) -> None:
    bench.misbehave(LOGIN, status=503)
    assert isinstance(await bench.adapter.issue_coupon(order()), Retry)
    bench.misbehave(LOGIN, status=200, body={"data": {"login": None}})
    assert isinstance(await bench.adapter.issue_coupon(order()), Unknown)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)


async def test_an_api_key(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.simulator.config(record_headers=True)
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"VENDURE__{name}")
    bench.set("API_KEY", "0123456789abcdef:0123456789abcdef")
    bench.set("CHANNEL_TOKEN", "channel-of-the-shop")
    adapter = bench.build()
    assert isinstance(await adapter.issue_coupon(order()), Done)
    assert calls(bench, "Login") == 0
    assert {dict(entry["headers"])["vendure-token"] for entry in bench.simulator.ledger()} == {"channel-of-the-shop"}
    bench.simulator.config(api_key="another")
    outcome = await adapter.issue_coupon(order())
    assert isinstance(outcome, Blocked)
    assert "0123456789abcdef" not in repr(outcome)


async def test_the_session_is_a_secret_too(bench: Bench) -> None:
    bench.simulator.config(record_headers=True)
    await bench.adapter.find_coupon("x")
    session = dict(bench.simulator.ledger()[-1]["headers"])["authorization"].removeprefix("Bearer ")
    bench.misbehave(bench.shop.create, status=500, body=f"you said {session}")
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Unknown)
    assert session not in repr(outcome)


def test_one_way_in_is_needed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VENDURE__PASSWORD")
    with pytest.raises(ValueError, match="VENDURE__API_KEY, or VENDURE__USERNAME"):
        build("vendure", HttpClients(3))


# ------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("code", "status", "wanted"),
    [
        ("BAD_USER_INPUT", 200, Reject),
        ("USER_INPUT_ERROR", 200, Reject),
        ("GRAPHQL_VALIDATION_FAILED", 400, Blocked),
        ("FORBIDDEN", 200, Blocked),
        ("INTERNAL_SERVER_ERROR", 200, Unknown),
        ("INTERNAL_SERVER_ERROR", 500, Unknown),
    ],
)
async def test_errors_inside_an_answer(bench: Bench, code: str, status: int, wanted: type) -> None:
    body = {"errors": [{"message": "as it is", "extensions": {"code": code}}], "data": None}
    bench.misbehave(bench.shop.create, status=status, body=body, times=2)
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, wanted), outcome
    assert "as it is" in repr(outcome)


async def test_a_result_that_is_an_error(bench: Bench) -> None:
    result = {
        "__typename": "MissingConditionsError",
        "errorCode": "MISSING_CONDITIONS_ERROR",
        "message": "no condition",
    }
    bench.misbehave(bench.shop.create, status=200, body={"data": {"createPromotion": result}})
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.REJECTED_BY_DESTINATION
    assert outcome.reason.facts["response"] == "MISSING_CONDITIONS_ERROR no condition"


async def test_a_wrong_coupon_that_cannot_be_deleted_is_named(bench: Bench) -> None:
    bench.simulator.config(distort=bench.shop.distortion)
    bench.misbehave(DELETE, status=503)
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.COUPON_DIFFERS
    assert (outcome.reason.facts["removed"], outcome.reason.facts["store_id"]) == (False, "1")


# ------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("config", "fields", "code", "facts"),
    [
        ({"currencies": ["USD"]}, {}, ReasonCode.CURRENCY_MISMATCH, {"ordered": "EUR", "currency": "USD"}),
        ({"currencies": ["EUR", "JPY"]}, {}, ReasonCode.NOT_SUPPORTED_BY_STORE, {"field": "currency"}),
        ({"digits": 0}, {"value": Decimal("5.50")}, ReasonCode.NOT_SUPPORTED_BY_STORE, {"field": "value"}),
        ({}, {"minimum_spend": Decimal("5.005")}, ReasonCode.NOT_SUPPORTED_BY_STORE, {"field": "value"}),
        (
            {"currencies": ["EUR", "JPY"]},
            {"kind": CouponKind.PERCENTAGE, "minimum_spend": Decimal(5)},
            ReasonCode.NOT_SUPPORTED_BY_STORE,
            {"field": "currency"},
        ),
        ({}, {"product_ids": ("1",)}, ReasonCode.NOT_SUPPORTED_BY_STORE, {"field": "product_ids"}),
        ({}, {**HALF, "product_ids": ("100",)}, ReasonCode.COUPON_INVALID, {"problem": "the store has no product 100"}),
    ],
)
async def test_what_the_channel_cannot_say(
    bench: Bench, config: dict[str, Any], fields: dict[str, Any], code: ReasonCode, facts: dict[str, str]
) -> None:
    bench.simulator.config(**config)
    outcome = await bench.adapter.issue_coupon(order(**fields))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is code
    assert facts.items() <= outcome.reason.facts.items()
    assert bench.made() == 0


@pytest.mark.parametrize(("digits", "value"), [(2, "500"), (3, "5000"), (0, "5")])
async def test_amounts_are_minor_units_by_the_servers_precision(bench: Bench, digits: int, value: str) -> None:
    bench.simulator.config(digits=digits)
    assert isinstance(await bench.adapter.issue_coupon(order(value=Decimal(5))), Done)
    assert held(bench)[0]["actions"] == discount(value)


def test_what_is_sent(bench: Bench) -> None:
    wanted = order(
        kind=CouponKind.FREE_PRODUCT, value=None, product_ids=("1",), minimum_spend=Decimal("3E+1"), usage_limit=None,
        per_customer_limit=2, expires_at=datetime(2027, 1, 31, 1, 2, 3, 999000, UTC), reference="r-1", title="Thanks",
    )  # fmt: skip
    of_one = {"amountX": "1", "variantIdsX": '["11", "12"]', "amountY": "1", "variantIdsY": '["11", "12"]'}
    assert promotion_input(wanted, MARKET, ("11", "12")) == {
        "enabled": True, "couponCode": CODE, "startsAt": None, "endsAt": "2027-01-31T01:02:03Z", "usageLimit": None,
        "perCustomerUsageLimit": 2, "actions": [{"code": "buy_x_get_y_free", "arguments": []}],
        "conditions": [
            {"code": "minimum_order_amount",
             "arguments": [{"name": "amount", "value": "3000"}, {"name": "taxInclusive", "value": "true"}]},
            {"code": "buy_x_get_y_free", "arguments": [{"name": name, "value": of_one[name]} for name in of_one]},
        ],
        "translations": [{"languageCode": "en", "name": "Thanks", "description": "Redemption r-1"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("conditions", "actions"),
    [
        ([("customer_group", {"customerGroupId": "1"})], discount("500")),
        ([("minimum_order_amount", {"amount": "3000", "taxInclusive": "false"})], discount("500")),
        ([("minimum_order_amount", {"amount": "many", "taxInclusive": "true"})], discount("500")),
        ([("contains_products", {"minimum": "2", "productVariantIds": '["1"]'})], discount("500")),
        ([], [*discount("500"), *discount("500")]),
        ([], discount("NaN")),
        ([], [{"code": "facet_based_discount", "args": []}]),
        (
            [("buy_x_get_y_free", {"amountX": "1", "amountY": "1", "variantIdsX": "[]", "variantIdsY": "[]"})],
            discount("500"),
        ),
        ([], []),
    ],
)
def test_what_no_order_can_ask_for_is_a_difference(bench: Bench, conditions: Any, actions: Any) -> None:
    read: Any = [
        {"code": code, "args": [{"name": k, "value": v} for k, v in args.items()]} for code, args in conditions
    ]
    row: dict[str, Any] = {"id": "1", "enabled": True, "couponCode": CODE, "usageLimit": 1}
    plain = parse_promotion({**row, "conditions": [], "actions": discount("500")}, MARKET, {}, NOW)
    found = parse_promotion({**row, "conditions": read, "actions": actions}, MARKET, {}, NOW)
    assert plain is not None
    assert found is not None
    assert differences(order(), plain) == ()
    assert differences(order(), found) != ()


# ------------------------------------------------------------------------------------------------------- lists


def row_of_order(**fields: Any) -> dict[str, Any]:
    """An order as the lists show it, with the values of a captured one."""
    return {
        "id": "23", "code": "JMNU72A5AR5FVTGN", "state": "PaymentSettled", "active": False,
        "orderPlacedAt": "2026-11-23T05:04:26.651Z", "createdAt": "2026-11-23T05:04:26.000Z",
        "updatedAt": "2026-11-23T05:04:26.000Z", "currencyCode": "USD", "totalWithTax": 2740,
        "customer": {"id": "3", "emailAddress": "o@example.com", "user": None}, "couponCodes": ["PERC"],
        "discounts": [{"adjustmentSource": "PROMOTION:25", "amountWithTax": -250}],
        "promotions": [{"id": "25", "couponCode": "PERC"}],
        "lines": [{"quantity": 1, "unitPriceWithTax": 2500, "linePriceWithTax": 2500,
                   "productVariant": {"id": "1", "productId": "1", "name": "Mug"}}],
        "payments": [{"amount": 2740, "state": "Settled", "updatedAt": "2026-11-23T06:00:00.000Z", "refunds": []}],
        **fields,
    }  # fmt: skip


def row_of_customer(number: int, **fields: Any) -> dict[str, Any]:
    moment = (NOW + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "id": str(number), "emailAddress": f"c{number}@example.com", "firstName": "Jane", "lastName": "Doe",
        "phoneNumber": None, "user": {"id": "3"}, "createdAt": moment, "updatedAt": moment, **fields,
    }  # fmt: skip


async def listed(bench: Bench, kind: EventKind) -> list[NativeEvent]:
    """All pages of a list."""
    events: list[NativeEvent] = []
    cursor: str | None = None
    while True:
        page = await shop(bench).list_entities(kind, NOW - timedelta(days=1), cursor)
        assert isinstance(page, Page), page
        events += page.events
        cursor = page.next
        if cursor is None:
            return events


async def test_an_order(bench: Bench) -> None:
    assert isinstance(bench.adapter, ListsEntities)
    assert isinstance(bench.adapter, FetchesEntities)
    cart = row_of_order(id="24", active=True, orderPlacedAt=None)
    bench.simulator.control("seed", orders=[row_of_order(), cart])
    (native,) = await listed(bench, EventKind.ORDER)
    event = native.event
    assert isinstance(event, OrderEvent)
    assert (event.id, event.financialStatus, event.currency, event.totalPrice) == (
        "23",
        "paid",
        "USD",
        Decimal("27.40"),
    )
    assert (event.customerId, event.email) == (None, "o@example.com")
    assert event.discountCodes is not None
    assert [(used.code, used.amount) for used in event.discountCodes] == [("PERC", Decimal("2.50"))]
    assert event.updatedAt == datetime(2026, 11, 23, 6, tzinfo=UTC)
    assert await shop(bench).fetch(EventKind.ORDER, "23") == native
    assert await shop(bench).fetch(EventKind.ORDER, "24") is None
    assert await shop(bench).fetch(EventKind.ORDER, "99") is None


@pytest.mark.parametrize(
    ("state", "payments", "refunds", "wanted"),
    [
        ("PaymentSettled", [("Settled", 2740)], [], "paid"),
        ("Delivered", [("Settled", 2740)], [], "paid"),
        ("PaymentAuthorized", [("Authorized", 2740)], [], "authorized"),
        ("ArrangingAdditionalPayment", [("Settled", 2000)], [], "partially_paid"),
        ("PaymentSettled", [("Settled", 2740)], [("Settled", 500)], "partially_refunded"),
        ("PaymentSettled", [("Settled", 2740)], [("Pending", 500)], "paid"),
        ("PaymentSettled", [("Settled", 2740)], [("Settled", 2740)], "refunded"),
        ("Cancelled", [("Settled", 2740)], [("Settled", 2740)], "refunded"),
        ("Cancelled", [("Authorized", 2740)], [], "voided"),
        ("ArrangingPayment", [("Declined", 2740)], [], "pending"),
    ],
)
def test_financial_status(
    bench: Bench, state: str, payments: list[tuple[str, int]], refunds: list[tuple[str, int]], wanted: str
) -> None:
    given: Any = [{"state": each, "total": total} for each, total in refunds]
    rows: Any = [{"state": each, "amount": amount, "refunds": given} for each, amount in payments]
    assert financial_status({"state": state, "totalWithTax": 2740, "payments": rows}) == wanted


@pytest.mark.parametrize("errors", ["a text", ["a text"], {"message": "it went wrong"}])
async def test_errors_of_any_form_do_not_mean_that_the_entity_is_gone(bench: Bench, errors: object) -> None:
    bench.misbehave(("POST", "^/admin-api/Order$"), status=200, body={"errors": errors, "data": {"order": None}})
    assert isinstance(await shop(bench).fetch(EventKind.ORDER, "23"), Retry)


def test_nothing_to_pay_is_paid(bench: Bench) -> None:
    assert financial_status({"state": "PaymentSettled", "totalWithTax": 0, "payments": []}) == "paid"


async def test_customers_and_products(bench: Bench) -> None:
    guest, broken = row_of_customer(1, user=None), row_of_customer(2, emailAddress="none")
    variants = [
        {"id": "1", "name": "M", "enabled": True, "updatedAt": "2026-11-23T07:00:00.000Z", "featuredAsset": None}
    ]
    product = {
        "id": "1", "name": "Mug", "slug": "mug", "enabled": True, "updatedAt": "2026-11-23T05:00:00.000Z",
        "featuredAsset": {"preview": "https://shop.example/mug.jpg"}, "variants": variants,
    }  # fmt: skip
    bench.simulator.control("seed", customers=[guest, broken], products=[product])
    (customer,) = await listed(bench, EventKind.CUSTOMER)
    assert isinstance(customer.event, CustomerEvent)
    assert (customer.event.id, customer.event.email) == ("2", None)
    (mug,) = await listed(bench, EventKind.PRODUCT)
    assert isinstance(mug.event, ProductEvent)
    assert (mug.event.title, mug.event.status, mug.event.externalUrlHandle) == ("Mug", "active", "mug")
    assert mug.event.updatedAt == datetime(2026, 11, 23, 7, tzinfo=UTC)


@pytest.mark.parametrize("together", [True, False])
async def test_every_page_is_read(bench: Bench, together: bool) -> None:
    at = {"updatedAt": "2026-11-23T00:00:00.000Z"} if together else {}
    bench.simulator.control("seed", customers=[row_of_customer(number, **at) for number in range(1, 251)])
    assert [event.event.id for event in await listed(bench, EventKind.CUSTOMER)] == [
        str(number) for number in range(1, 251)
    ]


async def test_nothing_slips_through_when_an_entity_changes_while_pages_are_read(bench: Bench) -> None:
    rows = [row_of_customer(number) for number in range(1, 151)]
    bench.simulator.control("seed", customers=rows)
    first = await shop(bench).list_entities(EventKind.CUSTOMER, NOW - timedelta(days=1), None)
    assert isinstance(first, Page)
    rows[0]["updatedAt"] = "2026-11-23T07:00:00.000Z"  # moves to the end
    bench.simulator.control("seed", customers=rows)
    second = await shop(bench).list_entities(EventKind.CUSTOMER, NOW - timedelta(days=1), first.next)
    assert isinstance(second, Page)
    assert {event.event.id for page in (first, second) for event in page.events} == {row["id"] for row in rows}


async def test_a_list_that_may_not_be_read(bench: Bench) -> None:
    bench.simulator.config(permissions=["ReadPromotion"])
    outcome = await shop(bench).list_entities(EventKind.ORDER, None, None)
    assert isinstance(outcome, Blocked)
