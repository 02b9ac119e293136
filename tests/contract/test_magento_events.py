"""Magento's lists and what their entities mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from platform_relay.core.outcomes import Blocked, Outcome, Retry, Unknown
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent
from platform_relay.stores.magento.adapter import Magento
from platform_relay.stores.magento.events import PAGE, financial_status, to_event
from platform_relay.stores.native import FetchesEntities, Ignored, ListsEntities, NativeEvent, Page, Unreadable
from tests.contract.bench import Bench

PAYLOADS = Path(__file__).parent / "payloads" / "magento"
ORDER: dict[str, Any] = json.loads((PAYLOADS / "GET_orders.json").read_text())["items"][0]
MEDIA = "https://shop.example/media/"
START = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)

on_bench = pytest.mark.parametrize("bench", ["magento"], indirect=True)


def magento(bench: Bench) -> Magento:
    assert isinstance(bench.adapter, Magento)
    return bench.adapter


def customers(count: int, same_second: int = 1) -> list[dict[str, Any]]:
    """`count` customers, `same_second` of them changed in one second each, the newest first."""
    return [
        {
            "id": number, "email": f"c{number}@example.com", "firstname": "C", "lastname": str(number),
            "updated_at": f"{START + timedelta(seconds=number // same_second):%Y-%m-%d %H:%M:%S}",
        }
        for number in range(count, 0, -1)
    ]  # fmt: skip


async def read_all(bench: Bench, since: datetime | None = None) -> list[NativeEvent]:
    events: list[NativeEvent] = []
    cursor: str | None = None
    while True:
        page = await magento(bench).list_entities(EventKind.CUSTOMER, since, cursor)
        assert isinstance(page, Page), page
        events += page.events
        cursor = page.next
        if cursor is None:
            return events


@on_bench
async def test_what_it_can_do(bench: Bench) -> None:
    assert isinstance(bench.adapter, ListsEntities)
    assert isinstance(bench.adapter, FetchesEntities)


@on_bench
@pytest.mark.parametrize("same_second", [1, 40, 3 * PAGE])
async def test_a_list_is_read_whole_and_once(bench: Bench, same_second: int) -> None:
    """More of one second than a page holds, and a page behind the last one, which Magento answers with the last."""
    count = 2 * PAGE + PAGE // 2
    bench.simulator.control("seed", customers=customers(count, same_second))
    read = await read_all(bench)
    assert sorted(int(each.event.id) for each in read) == list(range(1, count + 1))
    times = [each.event.updatedAt for each in read]
    assert times == sorted(times, key=str)


@on_bench
async def test_only_what_changed_since(bench: Bench) -> None:
    bench.simulator.control("seed", customers=customers(20))
    read = await read_all(bench, since=START + timedelta(seconds=18))
    assert [each.event.id for each in read] == ["18", "19", "20"]


@on_bench
async def test_what_changes_while_it_is_read_hides_nothing(bench: Bench) -> None:
    rows = customers(PAGE + 10)
    bench.simulator.control("seed", customers=rows)
    first = await magento(bench).list_entities(EventKind.CUSTOMER, None, None)
    assert isinstance(first, Page)
    rows[-1]["updated_at"] = "2026-11-24 00:00:00"  # the first of the first page moves to the end
    bench.simulator.control("seed", customers=rows)
    second = await magento(bench).list_entities(EventKind.CUSTOMER, None, first.next)
    assert isinstance(second, Page)
    assert [each.event.id for each in second.events] == [*(str(PAGE + each) for each in range(1, 11)), "1"]


@on_bench
async def test_one_by_its_id(bench: Bench) -> None:
    bench.simulator.control("seed", orders=[ORDER])
    found = await magento(bench).fetch(EventKind.ORDER, "1")
    assert isinstance(found, NativeEvent)
    assert found == to_event(EventKind.ORDER, ORDER, MEDIA)
    assert await magento(bench).fetch(EventKind.ORDER, "2") is None


@on_bench
@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"status": 503, "body": "<h1>maintenance</h1>"}, Retry),
        ({"mode": "garbage"}, Unknown),
        ({"status": 404, "body": {"message": "Request does not match any route."}}, Blocked),
    ],
)
async def test_a_list_without_an_answer(bench: Bench, fault: dict[str, Any], outcome: type[Outcome]) -> None:
    bench.misbehave(("GET", "^/rest/V1/orders$"), **fault)
    assert isinstance(await magento(bench).list_entities(EventKind.ORDER, None, None), outcome)


def test_a_real_order() -> None:
    read = to_event(EventKind.ORDER, ORDER, MEDIA)
    assert isinstance(read, NativeEvent)
    event = read.event
    assert isinstance(event, OrderEvent)
    assert (event.id, event.customerId, event.email) == ("1", None, "jane@example.com")
    assert (event.currency, event.totalPrice, event.subtotalPrice) == ("EUR", Decimal("55.00"), Decimal("50.00"))
    assert event.financialStatus == "pending"
    assert event.updatedAt == datetime(2026, 11, 23, 5, 28, 46, tzinfo=UTC)
    assert event.discountCodes is not None
    assert [(each.code, each.amount) for each in event.discountCodes] == [("spring-10", Decimal("5.00"))]
    assert event.lineItems is not None
    assert [(each.productId, each.title, each.quantity, each.price) for each in event.lineItems] == [
        ("1", "Mug", Decimal(2), Decimal("25.00"))
    ]


def test_a_configurable_product_is_one_line() -> None:
    item: dict[str, Any] = {"name": "Shirt", "qty_ordered": 1, "price": 20}
    parent: dict[str, Any] = {**item, "item_id": 5, "product_id": 70, "product_type": "configurable"}
    child: dict[str, Any] = {**item, "item_id": 6, "parent_item_id": 5, "product_id": 71, "price": 0}
    read = to_event(EventKind.ORDER, {**ORDER, "items": [parent, child]}, MEDIA)
    assert isinstance(read, NativeEvent)
    assert isinstance(read.event, OrderEvent)
    assert read.event.lineItems is not None
    assert [(each.productId, each.variantId) for each in read.event.lineItems] == [("70", "71")]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"state": "new"}, "pending"),
        ({"state": "payment_review"}, "pending"),
        ({"state": "processing", "payment": {"amount_authorized": 55}}, "authorized"),
        ({"state": "processing", "total_paid": 20}, "partially_paid"),
        ({"state": "processing", "total_paid": 55}, "paid"),
        ({"state": "complete", "total_paid": 55}, "paid"),
        ({"state": "holded", "total_paid": 55}, "paid"),
        ({"state": "processing", "grand_total": 0}, "paid"),
        ({"state": "canceled"}, "voided"),
        ({"state": "canceled", "total_canceled": 55}, "voided"),
        ({"state": "complete", "total_paid": 33, "total_canceled": 22}, "paid"),
        ({"state": "processing", "total_paid": 33, "total_canceled": 22}, "paid"),
        ({"state": "complete", "total_paid": 33, "total_canceled": 0}, "partially_paid"),
        ({"state": "complete", "total_canceled": 55}, "pending"),  # invoiced, and not paid yet
        ({"state": "complete", "total_canceled": 55, "total_paid": 33}, "paid"),
        ({"state": "closed", "total_paid": 33, "total_canceled": 22, "total_refunded": 33}, "refunded"),
        ({"state": "processing", "total_paid": 55, "total_refunded": 5}, "partially_refunded"),
        ({"state": "closed", "total_paid": 55, "total_refunded": 55}, "refunded"),
        ({"state": "complete", "total_paid": 55, "total_refunded": 55}, "refunded"),
    ],
)
def test_financial_status(fields: dict[str, Any], status: str) -> None:
    assert financial_status({"grand_total": 55, **fields}) == status


PARTLY: dict[str, Any] = {
    **ORDER, "state": "complete", "grand_total": 100, "total_paid": 60, "total_canceled": 40, "subtotal_incl_tax": 100,
    "coupon_code": None,
    "items": [
        {"item_id": 1, "product_id": 7, "name": "Cup", "qty_ordered": 3, "qty_canceled": 1, "price_incl_tax": 20},
        {"item_id": 2, "product_id": 8, "name": "Bowl", "qty_ordered": 1, "qty_canceled": 1, "price_incl_tax": 20},
        {"item_id": 3, "product_id": 9, "name": "Jug", "qty_ordered": 1, "qty_canceled": 0, "price_incl_tax": 20},
    ],
}  # fmt: skip


@on_bench
@pytest.mark.parametrize(
    ("state", "total", "subtotal", "lines"),
    [
        ("complete", "60.00", "60.00", [("Cup", 2), ("Jug", 1)]),
        ("canceled", "100.00", "100.00", [("Cup", 3), ("Bowl", 1), ("Jug", 1)]),
    ],
)
async def test_the_rest_of_an_order_that_was_cancelled_is_not_part_of_it(
    bench: Bench, state: str, total: str, subtotal: str, lines: list[tuple[str, int]]
) -> None:
    bench.simulator.control("seed", orders=[{**PARTLY, "state": state}])
    page = await magento(bench).list_entities(EventKind.ORDER, None, None)
    assert isinstance(page, Page)
    [event] = [native.event for native in page.events]
    assert isinstance(event, OrderEvent)
    assert (str(event.totalPrice), str(event.subtotalPrice)) == (total, subtotal)
    assert event.financialStatus == ("paid" if state == "complete" else "voided")
    assert event.lineItems is not None
    assert [(line.title, int(line.quantity or 0)) for line in event.lineItems] == lines


def test_a_customer() -> None:
    row: dict[str, Any] = {
        "id": 7, "email": "jane@example.com", "firstname": "Jane", "lastname": "Doe", "dob": "1990-02-28",
        "created_at": "2026-11-23 05:00:00", "updated_at": "2026-11-23 06:00:00",
    }  # fmt: skip
    read = to_event(EventKind.CUSTOMER, row, MEDIA)
    assert isinstance(read, NativeEvent)
    assert isinstance(read.event, CustomerEvent)
    assert (read.event.id, read.event.firstName, read.event.birthdayMonth, read.event.birthdayDay) == (
        "7",
        "Jane",
        2,
        28,
    )
    assert read.dedupe_key.startswith("magento:customers:7:2026-11-23T06:00:00+00:00:")
    again = to_event(EventKind.CUSTOMER, {**row, "lastname": "Roe"}, MEDIA)
    assert isinstance(again, NativeEvent)
    assert again.dedupe_key != read.dedupe_key


def test_an_address_that_is_none_does_not_lose_the_entity() -> None:
    read = to_event(EventKind.ORDER, {**ORDER, "customer_email": "n/a"}, MEDIA)
    assert isinstance(read, NativeEvent)
    assert isinstance(read.event, OrderEvent)
    assert read.event.email is None


def test_products() -> None:
    row: dict[str, Any] = {
        "id": 7, "sku": "MUG", "name": "Mug", "status": 1, "visibility": 4, "updated_at": "2026-11-23 05:00:00",
        "custom_attributes": [
            {"attribute_code": "image", "value": "/m/u/mug blue.jpg"}, {"attribute_code": "url_key", "value": "mug"},
            {"attribute_code": "category_ids", "value": ["2"]},
        ],
    }  # fmt: skip
    read = to_event(EventKind.PRODUCT, row, MEDIA)
    assert isinstance(read, NativeEvent)
    assert isinstance(read.event, ProductEvent)
    assert (read.event.title, read.event.status, read.event.externalUrlHandle) == ("Mug", "active", "mug")
    assert read.event.imageUrl == "https://shop.example/media/catalog/product/m/u/mug%20blue.jpg"
    assert read.event.variants is None
    assert isinstance(to_event(EventKind.PRODUCT, {**row, "visibility": 1}, MEDIA), Ignored)


@pytest.mark.parametrize(
    ("row", "field"),
    [({}, "id"), ({"entity_id": 1}, "currency"), ({**ORDER, "grand_total": "NaN"}, "totalPrice")],
)
def test_what_cannot_be_read(row: dict[str, Any], field: str | None) -> None:
    parsed = to_event(EventKind.ORDER, row, MEDIA)
    assert isinstance(parsed, Unreadable)
    assert parsed.reason.facts.get("field") == field
