"""What only Medusa does."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent
from platform_relay.stores.base import CouponKind, StoreCoupon, differences
from platform_relay.stores.medusa.adapter import Medusa
from platform_relay.stores.medusa.coupons import parse_promotion, promotion_body
from platform_relay.stores.medusa.events import STATUS, financial_status, to_event
from platform_relay.stores.native import FetchesEntities, ListsEntities, NativeEvent, Page
from tests.contract.bench import Bench, differences_of, order
from tests.contract.doubles.carts import Line

pytestmark = pytest.mark.parametrize("bench", ["medusa"], indirect=True)
NOW = datetime(2026, 11, 23, tzinfo=UTC)
LATER = NOW + timedelta(days=3000)


def captured(name: str) -> dict[str, Any]:
    """The entity of a captured event."""
    text = (Path(__file__).parent / "payloads" / "medusa" / f"{name}.json").read_text()
    entity: dict[str, Any] = json.loads(text)["entity"]
    return entity


def changed(count: int, at: str = "2026-11-23T05:00:00.000Z", **fields: Any) -> list[dict[str, Any]]:
    """So many customers, changed one second after another unless `at` is said to be one time for all."""
    start = datetime.fromisoformat(at)
    return [
        {**captured("customer.created"), "id": f"cus_{number:04}", "updated_at": moment, **fields}
        for number in range(count)
        for moment in [(start + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")]
    ]


async def listed(bench: Bench, kind: EventKind, since: datetime | None = NOW - timedelta(days=1)) -> list[NativeEvent]:
    """All pages of a list."""
    events: list[NativeEvent] = []
    cursor: str | None = None
    while True:
        page = await shop(bench).list_entities(kind, since, cursor)
        assert isinstance(page, Page), page
        events += page.events
        cursor = page.next
        if cursor is None:
            return events


def shop(bench: Bench) -> Medusa:
    assert isinstance(bench.adapter, Medusa)
    return bench.adapter


# ---------------------------------------------------------------------------------------------------------- coupons


async def test_the_key_is_the_user_name(bench: Bench) -> None:
    bench.simulator.config(record_headers=True)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    wanted = base64.b64encode(f"{bench.secrets[0]}:".encode()).decode()
    assert {dict(entry["headers"])["authorization"] for entry in bench.simulator.ledger()} == {f"Basic {wanted}"}


async def test_a_role_without_the_right_is_blocked(bench: Bench) -> None:
    bench.simulator.config(read_only=True)
    for outcome in (await bench.adapter.check(), await bench.adapter.issue_coupon(order())):
        assert isinstance(outcome, Blocked), outcome
        assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
        assert outcome.reason.facts["status"] == 403


@pytest.mark.parametrize("currency", ["USD", None])
async def test_an_amount_needs_one_of_the_shops_currencies(bench: Bench, currency: str | None) -> None:
    """Medusa accepts any, and drops the coupon from the cart without a word (or, without one, gives it in any)."""
    outcome = await bench.adapter.issue_coupon(order(currency=currency))
    assert isinstance(outcome, Reject)
    if currency is None:
        assert outcome.reason.code is ReasonCode.NOT_SUPPORTED_BY_STORE
        assert outcome.reason.facts["field"] == "currency"
    else:
        assert outcome.reason.code is ReasonCode.CURRENCY_MISMATCH
        assert outcome.reason.facts["ordered"] == "USD"
    assert bench.made() == 0


async def test_a_deleted_coupon_comes_back_though_its_campaign_is_still_there(bench: Bench) -> None:
    wanted = order(expires_at=LATER)
    assert isinstance(await bench.adapter.issue_coupon(wanted), Done)
    bench.misbehave(("DELETE", "^/admin/campaigns/"), status=503)
    assert isinstance(await bench.adapter.retire_coupon(wanted.code), Done)
    assert len(bench.simulator.state("campaigns")) == 1
    outcome = await bench.adapter.issue_coupon(wanted)
    assert isinstance(outcome, Retry)
    assert outcome.reason.code is ReasonCode.COUPON_CLEANED_UP
    assert isinstance(await bench.adapter.issue_coupon(wanted), Done)
    assert isinstance(await bench.adapter.retire_coupon(wanted.code), Done)
    assert bench.simulator.state("campaigns") == []


async def test_a_campaign_of_the_merchant_is_not_removed(bench: Bench) -> None:
    campaign = {"id": "procamp_x", "campaign_identifier": order().code}
    theirs = {"id": "promo_x", "code": "SPRING", "campaign_id": "procamp_x"}
    bench.simulator.control("seed", campaigns=[campaign], promotions=[theirs])
    outcome = await bench.adapter.issue_coupon(order(expires_at=LATER))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    assert "campaign" in str(outcome.reason.facts["problem"])
    assert bench.simulator.state("campaigns") == [campaign]


async def test_a_stale_look_up_is_settled_by_the_duplicate(bench: Bench) -> None:
    first = await bench.adapter.issue_coupon(order())
    bench.simulator.config(hidden=1)
    again = await bench.adapter.issue_coupon(order())
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert again.result == first.result
    bench.simulator.config(hidden=2)
    unseen = await bench.adapter.issue_coupon(order())
    assert isinstance(unseen, Retry)
    assert unseen.reason.code is ReasonCode.COUPON_NOT_VISIBLE
    assert bench.made() == 1


async def test_another_spelling_is_another_coupon(bench: Bench) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order(code="SPRING")), Done)
    assert isinstance(await bench.adapter.issue_coupon(order(code="spring", value=Decimal(7))), Done)
    assert await bench.adapter.find_coupon("Spring") is None


async def test_a_refused_duplicate_of_another_status(bench: Bench) -> None:
    """`duplicate_error` is 422 in Medusa's own table of errors."""
    await bench.adapter.issue_coupon(order())
    said = f"Promotion with code: {order().code}, already exists."
    bench.misbehave(bench.shop.create, status=422, body={"type": "duplicate_error", "message": said})
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Done)


async def test_busy_is_retry(bench: Bench) -> None:
    bench.misbehave(bench.shop.create, status=409, body={"type": "conflict", "message": "The request conflicted"})
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Retry)


async def test_a_wrong_coupon_that_cannot_be_deleted_is_named(bench: Bench) -> None:
    bench.simulator.config(distort=bench.shop.distortion)
    bench.misbehave(("DELETE", "^/admin/promotions/"), status=503)
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.COUPON_DIFFERS
    assert (outcome.reason.facts["removed"], outcome.reason.facts["store_id"]) == (False, "promo_1")


async def test_an_inactive_promotion_is_another(bench: Bench) -> None:
    await bench.adapter.issue_coupon(order())
    (row,) = bench.simulator.state("promotions")
    bench.simulator.control("seed", promotions=[{**row, "status": "inactive"}])
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    assert differences_of(outcome) == [{"field": "active", "actual": "false", "expected": "true"}]


@pytest.mark.parametrize(
    ("fields", "restriction"),
    [
        (
            {"rules": [{"attribute": "region.id", "operator": "eq", "values": [{"value": "x"}]}]},
            "the rule region.id eq",
        ),
        (
            {"rules": [{"attribute": "item_total", "operator": "gte", "values": [{"value": "5"}]}]},
            "the rule item_total gte",
        ),
        ({"type": "buyget"}, "buy-get"),
        ({"is_automatic": True}, "is_automatic"),
        ({"is_tax_inclusive": False}, "its amount without tax (is_tax_inclusive is not set)"),
        ({"is_tax_inclusive": None}, "its amount without tax (is_tax_inclusive is not set)"),
        ({"campaign": {"budget": {"type": "spend", "limit": 5}}}, "a campaign budget (spend)"),
    ],
)
def test_what_no_order_can_ask_for_is_a_restriction(bench: Bench, fields: dict[str, Any], restriction: str) -> None:
    method: Any = {"type": "fixed", "target_type": "order", "value": 5, "currency_code": "eur"}
    row: dict[str, Any] = {
        "id": "p", "code": order().code, "type": "standard", "status": "active", "limit": 1, "is_tax_inclusive": True,
    }  # fmt: skip
    plain = parse_promotion({**row, "application_method": method}, NOW)
    found = parse_promotion({**row, "application_method": method, **fields}, NOW)
    assert plain is not None
    assert found is not None
    assert differences(order(), plain) == ()
    different = differences(order(), found)
    assert {each.field for each in different} == {"restrictions"}
    assert any(restriction in str(each.actual) for each in different)


def test_who_may_use_it(bench: Bench) -> None:
    """By the customer's id; a guest's id is his address, which Medusa compares with case."""
    by_id = promotion_body(order(customer_id="cus_1", email="Jane@Example.com"))["rules"]
    assert by_id == [{"attribute": "customer.id", "operator": "eq", "values": ["cus_1"]}]
    guest = promotion_body(order(customer_id="jane@example.com", email="Jane@Example.com"))["rules"]
    assert guest == [{"attribute": "email", "operator": "in", "values": ["Jane@Example.com", "jane@example.com"]}]


@pytest.mark.parametrize(
    "who", [{"customer_id": "cus_1"}, {"email": "a@b.de"}, {"customer_id": "a@b.de", "email": "a@b.de"}]
)
async def test_a_coupon_of_somebody_else_is_another(bench: Bench, who: dict[str, str]) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order(**who)), Done)
    assert isinstance(await bench.adapter.issue_coupon(order(**who)), Done)
    for other in (
        {},
        {"email": "other@b.de"},
        {"customer_id": "cus_2"},
        {"customer_id": "cus_2", "email": "other@b.de"},
    ):
        assert isinstance(await bench.adapter.issue_coupon(order(**other)), Reject), other


def test_what_is_sent(bench: Bench) -> None:
    wanted = order(
        kind=CouponKind.FREE_PRODUCT, value=None, product_ids=("prod_2", "prod_1"), minimum_spend=Decimal("3E+1"),
        usage_limit=None, per_customer_limit=2, expires_at=datetime(2027, 1, 31, 1, 2, 3, 999000, UTC), reference="r-1",
    )  # fmt: skip
    assert promotion_body(wanted) == {
        "code": wanted.code, "type": "standard", "status": "active", "is_automatic": False, "limit": None,
        "application_method": {
            "type": "percentage", "value": 100, "currency_code": "eur", "target_type": "items", "allocation": "once",
            "max_quantity": 1,
            "target_rules": [{"attribute": "items.product.id", "operator": "in", "values": ["prod_2", "prod_1"]}],
        },
        "rules": [{"attribute": "original_item_total", "operator": "gte", "values": ["30"]}],
        "campaign": {
            "name": f"Coupon {wanted.code}", "campaign_identifier": wanted.code, "ends_at": "2027-01-31T01:02:03Z",
            "budget": {"type": "use_by_attribute", "attribute": "customer_email", "limit": 2},
        },
        "metadata": {"platform_relay_reference": "r-1"},
    }  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in CouponKind if kind is not CouponKind.GIFT_CARD])
def test_only_a_fixed_amount_says_that_it_is_with_tax(bench: Bench, kind: CouponKind) -> None:
    wanted = order(kind=kind, value=Decimal(5), product_ids=("p",))
    assert promotion_body(wanted).get("is_tax_inclusive") is (True if kind is CouponKind.FIXED_AMOUNT else None)


@pytest.mark.parametrize("with_tax", [True, False])
async def test_a_percentage_is_the_same_with_and_without_tax(bench: Bench, with_tax: bool) -> None:
    wanted = order(kind=CouponKind.PERCENTAGE)
    assert isinstance(await bench.adapter.issue_coupon(wanted), Done)
    (row,) = bench.simulator.state("promotions")
    bench.simulator.control("seed", promotions=[{**row, "is_tax_inclusive": with_tax}])
    found = await bench.adapter.find_coupon(wanted.code)
    assert isinstance(found, StoreCoupon)
    assert differences(wanted, found) == ()


async def test_a_fixed_amount_without_tax_is_another_coupon(bench: Bench) -> None:
    """At 20 % tax, Medusa takes 6.00 off instead of 5.00."""
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    line = Line("7", "71", Decimal(30))
    assert bench.cart(order().code, line) == 5
    (row,) = bench.simulator.state("promotions")
    bench.simulator.control("seed", promotions=[{**row, "is_tax_inclusive": False}])
    assert bench.cart(order().code, line) == 6
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    (different,) = differences_of(outcome)
    assert different["field"] == "restrictions"
    assert "is_tax_inclusive" in str(different["actual"])


async def test_an_older_medusa_is_named(bench: Bench) -> None:
    unknown = "Invalid request: Unrecognized fields: 'is_tax_inclusive'"
    bench.misbehave(bench.shop.create, status=400, body={"type": "invalid_data", "message": unknown})
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.REJECTED_BY_DESTINATION
    assert outcome.reason.facts["response"] == f"{unknown} (the relay needs Medusa 2.13.2 or newer)"


@pytest.mark.parametrize("kind", [CouponKind.FREE_SHIPPING, CouponKind.FIXED_AMOUNT])
async def test_what_some_promotions_cannot_say(bench: Bench, kind: CouponKind) -> None:
    ordered = order(kind=kind, value=Decimal("0.1234567890123456789"), product_ids=("p",))
    outcome = await bench.adapter.issue_coupon(ordered)
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.NOT_SUPPORTED_BY_STORE
    field = "product_ids, variant_ids" if kind is CouponKind.FREE_SHIPPING else "value"
    assert outcome.reason.facts["field"] == field


# ------------------------------------------------------------------------------------------------------------ lists


def test_it_lists_and_fetches(bench: Bench) -> None:
    assert isinstance(bench.adapter, ListsEntities)
    assert isinstance(bench.adapter, FetchesEntities)


def test_a_real_order(bench: Bench) -> None:
    native = to_event(EventKind.ORDER, {**captured("order.completed"), "payment_status": "captured"})
    assert isinstance(native, NativeEvent)
    event = native.event
    assert isinstance(event, OrderEvent)
    assert (event.financialStatus, event.currency, event.totalPrice) == ("paid", "EUR", Decimal("27.40"))
    assert event.customerId == "cus_01M83CCMYBEQY0EGS9VN2SJYHH"
    assert event.email == "new@example.com"
    assert event.lineItems is not None
    assert [(item.title, item.quantity, item.price) for item in event.lineItems] == [("Mug", Decimal(1), Decimal(25))]
    assert event.discountCodes is not None
    assert [(used.code, used.amount) for used in event.discountCodes] == [("CUS1795409990", Decimal("2.50"))]
    assert event.updatedAt == datetime(2026, 11, 23, 5, 0, 2, 526000, UTC)


def test_a_capture_is_a_new_version_though_the_order_is_as_it_was(bench: Bench) -> None:
    row = captured("order.placed")
    placed = to_event(EventKind.ORDER, {**row, "payment_status": "authorized"})
    paid = to_event(
        EventKind.ORDER,
        {**row, "payment_status": "captured", "payment_collections": [{"updated_at": "2026-11-23T06:00:00.000Z"}]},
    )
    assert isinstance(placed, NativeEvent)
    assert isinstance(paid, NativeEvent)
    assert paid.event.updatedAt == datetime(2026, 11, 23, 6, tzinfo=UTC)
    assert paid.dedupe_key != placed.dedupe_key


def test_a_guest_goes_by_address(bench: Bench) -> None:
    native = to_event(EventKind.ORDER, {**captured("order.placed"), "customer": {"has_account": False}})
    assert isinstance(native, NativeEvent)
    assert isinstance(native.event, OrderEvent)
    assert native.event.customerId is None
    assert native.event.email == "jane1795409990@example.com"


@pytest.mark.parametrize("status", sorted(str(each) for each in STATUS))
def test_every_payment_status_means_something(bench: Bench, status: str) -> None:
    native = to_event(EventKind.ORDER, {**captured("order.placed"), "payment_status": status})
    assert isinstance(native, NativeEvent)
    cancelled = financial_status({"payment_status": status, "status": "canceled"})
    assert cancelled == ("voided" if STATUS[status] in ("pending", "authorized") else STATUS[status])


async def test_a_real_customer_and_product(bench: Bench) -> None:
    bench.simulator.control("seed", customers=[captured("customer.created")], products=[captured("product.updated")])
    (customer,) = await listed(bench, EventKind.CUSTOMER)
    (product,) = await listed(bench, EventKind.PRODUCT)
    assert isinstance(customer.event, CustomerEvent)
    assert customer.event.firstName == "Jane"
    assert isinstance(product.event, ProductEvent)
    assert (product.event.title, product.event.status) == ("Mug 2", "active")
    assert product.event.variants is not None
    assert [each.title for each in product.event.variants] == ["M"]
    fetched = await shop(bench).fetch(EventKind.PRODUCT, product.event.id)
    assert fetched == product
    assert await shop(bench).fetch(EventKind.PRODUCT, "prod_gone") is None


async def test_guests_are_no_customers_and_a_broken_address_is_left_out(bench: Bench) -> None:
    rows = changed(2)
    rows[0]["has_account"], rows[1]["email"] = False, "not an address"
    bench.simulator.control("seed", customers=rows)
    (only,) = await listed(bench, EventKind.CUSTOMER)
    assert (only.event.id, only.event.email) == ("cus_0001", None)  # type: ignore[union-attr]  # it is a customer


@pytest.mark.parametrize("together", [True, False])
async def test_every_page_is_read(bench: Bench, together: bool) -> None:
    rows = changed(250, **({"updated_at": "2026-11-23T05:00:00.000Z"} if together else {}))
    bench.simulator.control("seed", customers=rows)
    assert [event.event.id for event in await listed(bench, EventKind.CUSTOMER)] == [row["id"] for row in rows]


async def test_nothing_slips_through_when_an_entity_changes_while_pages_are_read(bench: Bench) -> None:
    rows = changed(150)
    bench.simulator.control("seed", customers=rows)
    first = await shop(bench).list_entities(EventKind.CUSTOMER, NOW - timedelta(days=1), None)
    assert isinstance(first, Page)
    rows[0]["updated_at"] = "2026-11-23T07:00:00.000Z"  # moves to the end
    bench.simulator.control("seed", customers=rows)
    second = await shop(bench).list_entities(EventKind.CUSTOMER, NOW - timedelta(days=1), first.next)
    assert isinstance(second, Page)
    assert {event.event.id for page in (first, second) for event in page.events} == {row["id"] for row in rows}


async def test_orders_of_changed_payments_are_listed(bench: Bench) -> None:
    row = {**captured("order.placed"), "payment_status": "captured", "updated_at": "2020-01-01T00:00:00.000Z"}
    payment = {
        "id": "pay_1",
        "updated_at": "2026-11-23T06:00:00.000Z",
        "payment_collection": {"order": {"id": row["id"]}},
    }
    bench.simulator.control("seed", orders=[row], payments=[payment])
    (found,) = await listed(bench, EventKind.ORDER)
    assert isinstance(found.event, OrderEvent)
    assert found.event.financialStatus == "paid"


async def test_a_list_that_cannot_be_read(bench: Bench) -> None:
    for fault, wanted in (({"status": 503}, Retry), ({"status": 200, "body": {"customers": 1}}, Unknown)):
        bench.misbehave(("GET", "^/admin/customers"), **fault)
        assert isinstance(await shop(bench).list_entities(EventKind.CUSTOMER, None, None), wanted)


async def test_find_shows_what_is_used(bench: Bench) -> None:
    await bench.adapter.issue_coupon(order())
    found = await bench.adapter.find_coupon(order().code)
    assert isinstance(found, StoreCoupon)
    assert found.used == 0
