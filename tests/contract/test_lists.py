"""Every adapter lists every entity, whatever happens in the store between two pages."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from platform_relay.inbox.events import EventKind
from platform_relay.stores.native import CountsEntities, ListsEntities, Page
from tests.contract.bench import SHOPS, Bench
from tests.contract.doubles.saleor import connection

START = datetime(2026, 11, 23, 5, tzinfo=UTC)
ROWS = {"shopify": 130, "saleor": 60, "bigcommerce": 130}
"""More than two pages; for the other stores 270."""
Row = dict[str, Any]


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def bare(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def woocommerce(kind: EventKind, number: int, at: datetime) -> Row:
    row: Row = {"id": number, "date_created_gmt": bare(START), "date_modified_gmt": bare(at)}
    more: dict[EventKind, Row] = {
        EventKind.CUSTOMER: {"email": f"c{number}@example.com", "role": ("customer", "subscriber")[number % 2]},
        EventKind.ORDER: {"status": "processing", "currency": "EUR", "total": "5.00", "line_items": [], "billing": {}},
        EventKind.PRODUCT: {"name": f"Mug {number}", "slug": f"mug-{number}", "status": "publish", "images": []},
    }  # fmt: skip
    return row | more[kind]


def bigcommerce(kind: EventKind, number: int, at: datetime) -> Row:
    if kind is EventKind.ORDER:
        times = {"date_created": format_datetime(START), "date_modified": format_datetime(at)}
        return {"id": number, "status_id": 11, "currency_code": "EUR", "total_inc_tax": "5.0000", **times}
    row: Row = {"id": number, "date_created": iso(START + timedelta(seconds=number // 60)), "date_modified": iso(at)}
    if kind is EventKind.CUSTOMER:
        return row | {"email": f"c{number}@example.com", "first_name": "C", "last_name": str(number)}
    return row | {"name": f"Mug {number}", "is_visible": True, "variants": [], "images": []}


def magento(kind: EventKind, number: int, at: datetime) -> Row:
    times: Row = {"created_at": f"{START:%Y-%m-%d %H:%M:%S}", "updated_at": f"{at:%Y-%m-%d %H:%M:%S}"}
    more: dict[EventKind, Row] = {
        EventKind.CUSTOMER: {"id": number, "email": f"c{number}@example.com", "firstname": "C", "lastname": "D"},
        EventKind.ORDER: {"entity_id": number, "state": "new", "grand_total": 5, "order_currency_code": "EUR", "items": []},
        EventKind.PRODUCT: {"id": number, "sku": f"s{number}", "name": "Mug", "status": 1, "visibility": 4},
    }  # fmt: skip
    return times | more[kind]


def saleor(kind: EventKind, number: int, at: datetime) -> Row:
    row: Row = {"id": f"id-{number:04}", "updatedAt": at.isoformat()}
    money = {"gross": {"amount": 5.0, "currency": "EUR"}}
    nothing = {"amount": 0.0}
    variants = {**connection([]), "pageInfo": {"hasNextPage": False}}
    more: dict[EventKind, Row] = {
        EventKind.CUSTOMER: {"email": f"c{number}@example.com", "firstName": "C", "lastName": "D", "dateJoined": None},
        EventKind.ORDER: {
            "userEmail": "c@example.com", "user": None, "created": START.isoformat(), "status": "UNFULFILLED",
            "paymentStatus": "NOT_CHARGED", "chargeStatus": "NONE", "authorizeStatus": "NONE", "voucherCode": None,
            "total": money, "subtotal": money, "totalCharged": nothing, "totalRefunded": nothing, "discounts": [], "lines": [],
        },
        EventKind.PRODUCT: {
            "name": "Mug", "slug": f"mug-{number}", "thumbnail": None, "channelListings": [], "productVariants": variants,
        },
    }  # fmt: skip
    return row | more[kind]


def shopify(kind: EventKind, number: int, at: datetime) -> Row:
    name = {EventKind.CUSTOMER: "Customer", EventKind.ORDER: "Order", EventKind.PRODUCT: "Product"}[kind]
    row: Row = {"id": f"gid://shopify/{name}/{1000 + number}", "createdAt": iso(START), "updatedAt": iso(at)}
    money, nothing = {"shopMoney": {"amount": "5.00"}}, {"shopMoney": {"amount": "0.00"}}
    empty = {"nodes": [], "pageInfo": {"hasNextPage": False}}
    more: dict[EventKind, Row] = {
        EventKind.CUSTOMER: {
            "firstName": "C", "lastName": "D", "tags": [], "defaultEmailAddress": None, "defaultPhoneNumber": None,
            "defaultAddress": None,
        },
        EventKind.ORDER: {
            "email": "c@example.com", "test": False, "currencyCode": "EUR", "displayFinancialStatus": "PAID",
            "discountCodes": [], "customer": {"id": "gid://shopify/Customer/1"}, "taxesIncluded": True, "totalPriceSet": money,
            "totalRefundedSet": nothing, "currentTotalPriceSet": money, "lineItems": empty, "shippingLines": empty,
        },
        EventKind.PRODUCT: {
            "title": "Mug", "handle": f"mug-{number}", "status": "ACTIVE", "featuredMedia": None, "variants": empty,
        },
    }  # fmt: skip
    return row | more[kind]


def medusa(kind: EventKind, number: int, at: datetime) -> Row:
    row: Row = {"id": f"id_{number:04}", "created_at": iso(START), "updated_at": iso(at)}
    more: dict[EventKind, Row] = {
        EventKind.CUSTOMER: {"email": f"c{number}@example.com", "has_account": True},
        EventKind.ORDER: {
            "email": "c@example.com", "status": "pending", "currency_code": "eur", "total": 5, "item_subtotal": 5,
            "payment_status": "not_paid", "items": [], "shipping_methods": [], "payment_collections": [],
        },
        EventKind.PRODUCT: {"title": "Mug", "handle": f"mug-{number}", "status": "published", "variants": []},
    }  # fmt: skip
    return row | more[kind]


def vendure(kind: EventKind, number: int, at: datetime) -> Row:
    row: Row = {"id": str(number), "createdAt": iso(START), "updatedAt": iso(at)}
    more: dict[EventKind, Row] = {
        EventKind.CUSTOMER: {"emailAddress": f"c{number}@example.com", "user": {"id": "3"}},
        EventKind.ORDER: {
            "code": f"C{number}", "state": "PaymentSettled", "active": False, "orderPlacedAt": iso(START),
            "currencyCode": "EUR", "totalWithTax": 500, "subTotalWithTax": 500, "customer": None, "couponCodes": [],
            "discounts": [], "promotions": [], "lines": [], "payments": [],
        },
        EventKind.PRODUCT: {"name": "Mug", "slug": f"mug-{number}", "enabled": True, "variants": []},
    }  # fmt: skip
    return row | more[kind]


ROW: dict[str, Callable[[EventKind, int, datetime], Row]] = {
    "woocommerce": woocommerce, "bigcommerce": bigcommerce, "magento": magento, "saleor": saleor, "shopify": shopify,
    "medusa": medusa, "vendure": vendure,
}  # fmt: skip


class Store:
    """The entities of one kind in a store: number -> time of change."""

    def __init__(self, bench: Bench, kind: EventKind, times: dict[int, datetime], **fields: Any) -> None:
        self.bench, self.kind, self.times, self.fields = bench, kind, times, fields
        self.show()

    def show(self) -> None:
        """Put the entities into the store, in no order."""
        rows = [ROW[self.bench.name](self.kind, number, at) | self.fields for number, at in self.times.items()]
        random.Random(len(rows)).shuffle(rows)
        self.bench.simulator.control("replace", **{str(self.kind): rows})

    def id(self, number: int) -> str:
        """The id in events."""
        row_id = ROW[self.bench.name](self.kind, number, START)
        return str(row_id.get("id", row_id.get("entity_id"))).rpartition("/")[2]


def lister(bench: Bench) -> ListsEntities:
    if bench.name == "saleor":
        bench.simulator.config(page=20)
    adapter: object = bench.adapter
    if not isinstance(adapter, ListsEntities):
        pytest.skip("the adapter has no lists")
    return adapter


async def read(
    bench: Bench, kind: EventKind, since: datetime | None, between: Callable[[int], None] = lambda _: None
) -> Counter[str]:
    """The listed ids, and how often each was listed. `between` is called after each page that is not the last."""
    adapter, listed, cursor = lister(bench), Counter[str](), None
    for number in range(500):
        page = await adapter.list_entities(kind, since, cursor)
        assert isinstance(page, Page), page
        listed.update(event.event.id for event in page.events)
        cursor = page.next
        if cursor is None:
            return listed
        between(number)
    pytest.fail("the list has no end")


def natural(count: int) -> dict[int, datetime]:
    """Times of change with some equal ones, not in the order of the numbers."""
    chance = random.Random(7)
    return {number: START + timedelta(seconds=chance.randrange(count // 2)) for number in range(1, count + 1)}


listing = pytest.mark.parametrize("bench", sorted(set(SHOPS) - {"generic_http"}), indirect=True)
kinds = pytest.mark.parametrize("kind", list(EventKind))
times = pytest.mark.parametrize("since", [None, START - timedelta(hours=1)])


@listing
@kinds
@times
async def test_more_of_one_second_than_a_page_holds(bench: Bench, kind: EventKind, since: datetime | None) -> None:
    count = ROWS.get(bench.name, 270)
    store = Store(bench, kind, dict.fromkeys(range(1, count + 1), START))
    assert await read(bench, kind, since) == Counter(store.id(number) for number in store.times)


@listing
@kinds
@times
async def test_edits_and_deletions_between_pages(bench: Bench, kind: EventKind, since: datetime | None) -> None:
    """Five entities are edited and three are deleted after each of the first pages; every other one is listed."""
    count = ROWS.get(bench.name, 270)
    store, chance = Store(bench, kind, natural(count)), random.Random(3)

    def change(number: int) -> None:
        for edited in chance.sample(sorted(store.times), 5 if number < 40 else 0):
            store.times[edited] = START + timedelta(minutes=10 + number)
        for deleted in chance.sample(sorted(store.times), 3 if number < 20 else 0):
            del store.times[deleted]
        store.show()

    listed = await read(bench, kind, since, change)
    missing = {store.id(number) for number in store.times} - set(listed)
    assert not missing


@listing
@kinds
async def test_deletions_among_equal_times(bench: Bench, kind: EventKind) -> None:
    """The last rows that were read are deleted, and the first ones."""
    count = ROWS.get(bench.name, 270)
    store = Store(bench, kind, dict.fromkeys(range(1, count + 1), START))

    def change(number: int) -> None:
        numbers = sorted(store.times)
        middle = len(numbers) * (number + 1) // 3 % len(numbers)
        for deleted in {*numbers[:2], *numbers[max(0, middle - 4) : middle]}:
            del store.times[deleted]
        store.show()

    listed = await read(bench, kind, None, lambda number: change(number) if number < 8 else None)
    assert {store.id(number) for number in store.times} <= set(listed)


@listing
@kinds
async def test_only_what_changed_since(bench: Bench, kind: EventKind) -> None:
    store = Store(bench, kind, {number: START + timedelta(seconds=number) for number in range(1, 30)})
    listed = await read(bench, kind, START + timedelta(seconds=20))
    expected = {store.id(number) for number in range(20, 30)}
    assert expected <= set(listed)
    assert len(listed) <= len(expected) + 1  # Vendure has whole seconds, and lists one more


@listing
@kinds
async def test_a_page_that_is_too_large_is_read_in_smaller_parts(bench: Bench, kind: EventKind) -> None:
    padding: Row = {}
    if bench.name == "shopify":
        price = {"shopMoney": {"amount": "5.00"}}
        line = {
            "title": "x" * 3000, "quantity": 1, "currentQuantity": 1, "product": None, "variant": None, "taxLines": [],
            "originalUnitPriceSet": price, "discountAllocations": [],
        }  # fmt: skip
        padding = {"title": "x" * 1500, "lineItems": {"nodes": [line], "pageInfo": {"hasNextPage": False}}}
    elif bench.name in ROWS:  # their simulators show also what was not requested
        padding = {"padding": "x" * 2000}
    store = Store(bench, kind, natural(40), **padding)
    adapter: Any = bench.adapter
    ids = await read(bench, kind, None)
    calls = len(bench.simulator.ledger())
    adapter._http.body_cap = 2500  # noqa: SLF001  # bytes
    assert await read(bench, kind, None) == ids == Counter(store.id(number) for number in store.times)
    assert len(bench.simulator.ledger()) - calls > calls


async def shopify_count(bench: Bench, kind: EventKind) -> object:
    assert isinstance(bench.adapter, CountsEntities)
    return await bench.adapter.count(kind)


@listing
@kinds
async def test_the_count_is_the_number_of_listed_entities(bench: Bench, kind: EventKind) -> None:
    if bench.name == "shopify":
        scopes = bench.simulator.config()["scopes"]
        assert await shopify_count(bench, kind) == (None if kind is EventKind.ORDER else 0)
        bench.simulator.config(scopes=[*scopes, "read_all_orders"])
    store = Store(bench, kind, natural(30))
    adapter: object = lister(bench)
    assert isinstance(adapter, CountsEntities)
    for since in (None, START + timedelta(seconds=8)):
        number = await adapter.count(kind, since)
        if number is not None:
            assert number == len(await read(bench, kind, since))
    unknown = {("bigcommerce", EventKind.ORDER), ("vendure", EventKind.CUSTOMER)}
    assert await adapter.count(kind) == (None if (bench.name, kind) in unknown else len(store.times))
