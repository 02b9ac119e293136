"""Shopify's webhooks in, its lists read, its subscriptions set up.

The webhook bodies are written by hand from Shopify's documents: none was captured.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from platform_relay.core.outcomes import Blocked, Done, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.forwarding.fetch import store_message
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent
from platform_relay.inbox.messages import SKIP_WITHOUT_CUSTOMER
from platform_relay.stores.native import (
    FetchesEntities,
    Ignored,
    ListsEntities,
    NativeEvent,
    Page,
    ParsedWebhook,
    ReceivesWebhooks,
    SetsUpWebhooks,
    StoreWebhook,
    Unreadable,
    Unverified,
)
from platform_relay.stores.shopify.adapter import Shopify
from tests.contract.bench import Bench, double

ADDRESS = "https://relay.example/v1/store-webhooks/shopify"
SECRET = "shpss_fedcba9876543210"
ORDER: dict[str, Any] = {
    "id": 6200407294252, "admin_graphql_api_id": "gid://shopify/Order/6200407294252", "email": "jane@example.com",
    "currency": "EUR", "total_price": "19.98", "subtotal_price": "24.98", "financial_status": "paid",
    "created_at": "2026-11-23T08:00:00-05:00", "updated_at": "2026-11-23T08:00:05-05:00",
    "customer": {"id": 9001, "email": "jane@example.com"},
    "discount_codes": [{"code": "a1b2c3d4e5f6", "amount": "5.00", "type": "fixed_amount"}],
    "line_items": [{"id": 1, "product_id": 7, "variant_id": 71, "title": "Teapot", "quantity": 2, "price": "12.49"}],
}  # fmt: skip
CUSTOMER: dict[str, Any] = {
    "id": 9001, "admin_graphql_api_id": "gid://shopify/Customer/9001", "email": "jane@example.com",
    "first_name": "Jane", "last_name": "Doe", "phone": None, "tags": "vip, b2b",
    "created_at": "2026-11-01T00:00:00Z", "updated_at": "2026-11-23T00:00:00Z",
}  # fmt: skip
PRODUCT: dict[str, Any] = {
    "id": 7, "admin_graphql_api_id": "gid://shopify/Product/7", "title": "Teapot", "handle": "teapot",
    "status": "active", "image": {"src": "https://cdn.example/7.png"}, "updated_at": "2026-11-23T00:00:00Z",
    "variants": [{"id": 71, "title": "Blue", "position": 1}],
    "variant_gids": [{"admin_graphql_api_id": "gid://shopify/ProductVariant/71"}],
}  # fmt: skip


def node(number: int, updated: str = "2026-11-23T13:00:05Z", **fields: Any) -> dict[str, Any]:
    """The order above as GraphQL shows it."""
    shown: dict[str, Any] = {
        "id": f"gid://shopify/Order/{number}", "email": "jane@example.com", "currencyCode": "EUR", "test": False,
        "displayFinancialStatus": "PAID", "createdAt": "2026-11-23T13:00:00Z", "updatedAt": updated,
        "discountCodes": ["a1b2c3d4e5f6"], "customer": {"id": "gid://shopify/Customer/9001"},
        "taxesIncluded": True, "totalPriceSet": {"shopMoney": {"amount": "19.98"}},
        "currentTotalPriceSet": {"shopMoney": {"amount": "19.98"}}, "totalRefundedSet": {"shopMoney": {"amount": "0.0"}},
        "shippingLines": {"pageInfo": {"hasNextPage": False}, "nodes": []},
        "lineItems": {"pageInfo": {"hasNextPage": False}, "nodes": [
            {"title": "Teapot", "quantity": 2, "currentQuantity": 2, "product": {"id": "gid://shopify/Product/7"},
             "variant": {"id": "gid://shopify/ProductVariant/71"},
             "originalUnitPriceSet": {"shopMoney": {"amount": "12.49"}},
             "taxLines": [], "discountAllocations": []}]},
    }  # fmt: skip
    return {**shown, **fields}


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    bench = Bench("shopify", double("shopify"), monkeypatch)
    yield bench
    await bench.aclose()


@pytest.fixture
def shop(bench: Bench) -> Shopify:
    assert isinstance(bench.adapter, Shopify)
    return bench.adapter


def signed(raw: bytes, topic: str, secret: str = SECRET, **headers: str) -> dict[str, str]:
    signature = base64.b64encode(hmac.new(secret.encode(), raw, hashlib.sha256).digest()).decode()
    return {"x-shopify-topic": topic, "x-shopify-hmac-sha256": signature, **headers}


async def receive(shop: Shopify, topic: str, body: Any, **headers: str) -> ParsedWebhook:
    raw = json.dumps(body).encode()
    return await shop.parse_event(signed(raw, topic, **headers), raw)


def test_every_ability_is_there(shop: Shopify) -> None:
    for ability in (ReceivesWebhooks, FetchesEntities, ListsEntities, SetsUpWebhooks):
        assert isinstance(shop, ability)


async def test_an_order(shop: Shopify) -> None:
    parsed = await receive(shop, "orders/create", ORDER)
    assert isinstance(parsed, NativeEvent), parsed
    event = parsed.event
    assert isinstance(event, OrderEvent)
    assert (event.id, event.customerId, event.financialStatus) == ("6200407294252", "9001", "paid")
    assert (event.currency, event.totalPrice, event.subtotalPrice) == ("EUR", Decimal("19.98"), Decimal("24.98"))
    assert event.updatedAt == datetime(2026, 11, 23, 13, 0, 5, tzinfo=UTC)
    assert event.lineItems is not None
    assert (event.lineItems[0].variantId, event.lineItems[0].price) == ("71", Decimal("12.49"))
    assert event.discountCodes is not None
    assert (event.discountCodes[0].code, event.discountCodes[0].amount) == ("a1b2c3d4e5f6", Decimal(5))


async def test_a_guest_has_an_address_and_no_id(shop: Shopify) -> None:
    parsed = await receive(
        shop, "orders/create", {**ORDER, "customer": None, "email": "", "contact_email": "g@example.com"}
    )
    assert isinstance(parsed, NativeEvent)
    assert isinstance(parsed.event, OrderEvent)
    assert (parsed.event.customerId, parsed.event.email) == (None, "g@example.com")


@pytest.mark.parametrize(
    ("shown", "total", "status"),
    [(each, "1.00", each) for each in ("authorized", "pending", "paid", "partially_paid", "refunded",
                                       "partially_refunded", "voided", "expired")]
    + [(None, "1.00", "pending"), (None, "0.00", "paid")],
)  # fmt: skip
async def test_financial_status(shop: Shopify, shown: str | None, total: str, status: str) -> None:
    body = {**ORDER, "financial_status": shown, "total_price": total}
    parsed = await receive(shop, "orders/updated", body)
    assert isinstance(parsed, NativeEvent)
    assert isinstance(parsed.event, OrderEvent)
    assert parsed.event.financialStatus == status


async def test_two_versions_of_one_second_are_two_and_one_version_is_one(shop: Shopify) -> None:
    keys = []
    for topic, status in (("orders/create", "pending"), ("orders/updated", "paid"), ("orders/updated", "paid")):
        parsed = await receive(shop, topic, {**ORDER, "financial_status": status})
        assert isinstance(parsed, NativeEvent)
        keys.append(parsed.dedupe_key)
    assert keys[0] != keys[1] == keys[2]


async def test_customers_and_products(shop: Shopify) -> None:
    customer = await receive(shop, "customers/update", CUSTOMER)
    assert isinstance(customer, NativeEvent)
    assert isinstance(customer.event, CustomerEvent)
    assert (customer.event.firstName, customer.event.tags) == ("Jane", ["vip", "b2b"])
    product = await receive(shop, "products/update", PRODUCT)
    assert isinstance(product, NativeEvent)
    assert isinstance(product.event, ProductEvent)
    assert product.event.variants is not None
    assert product.event.variants[0].externalVariantId == "71"


async def test_a_list_of_variants_that_was_cut_is_left_out(shop: Shopify) -> None:
    """The Platform deletes the variants that are absent from a list."""
    parsed = await receive(shop, "products/update", {**PRODUCT, "variant_gids": [{}, {}]})
    assert isinstance(parsed, NativeEvent)
    assert isinstance(parsed.event, ProductEvent)
    assert parsed.event.variants is None


@pytest.mark.parametrize("headers", [{}, {"x-shopify-hmac-sha256": ""}, {"x-shopify-hmac-sha256": "ü"},
                                     signed(b"{}", "orders/create"), signed(b"x", "orders/create", "another")])  # fmt: skip
async def test_what_is_not_signed_is_refused(shop: Shopify, headers: dict[str, str]) -> None:
    parsed = await shop.parse_event({"x-shopify-topic": "orders/create", **headers}, b"x")
    assert isinstance(parsed, Unverified)
    assert parsed.reason.code is ReasonCode.SIGNATURE_WRONG
    assert parsed.reason.facts["setting"] == "SHOPIFY__CLIENT_SECRET"


async def test_without_the_secret_nothing_is_believed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOPIFY__CLIENT_SECRET")
    shop = bench.build()
    assert isinstance(shop, Shopify)
    for outcome in (await receive(shop, "orders/create", ORDER), await shop.create_webhook("orders/create", ADDRESS)):
        assert isinstance(outcome, Unverified | Reject)
        assert outcome.reason.code is ReasonCode.SETTING_MISSING
        assert outcome.reason.facts["setting"] == "SHOPIFY__CLIENT_SECRET"


@pytest.mark.parametrize(
    ("topic", "body"),
    [("customers/delete", {"id": 1}), ("customers/redact", {}), ("app/uninstalled", {}),
     ("orders/create", {**ORDER, "test": True})],
)  # fmt: skip
async def test_what_is_genuine_and_not_relayed(shop: Shopify, topic: str, body: Any) -> None:
    parsed = await receive(shop, topic, body)
    assert isinstance(parsed, Ignored)
    assert parsed.reason.code is ReasonCode.NOT_APPLICABLE
    assert (parsed.kind, parsed.id) == ((EventKind.ORDER, str(ORDER["id"])) if body.get("test") else (None, None))


@pytest.mark.parametrize(
    ("topic", "body"),
    [("orders/create", CUSTOMER), ("orders/create", []), ("orders/create", {"id": 1}),
     ("orders/create", {**ORDER, "total_price": "NaN"}),
     ("orders/create", {**ORDER, "financial_status": "odd"}), ("orders/create", {**ORDER, "updated_at": None}),
     ("orders/create", {**ORDER, "currency": "EU\x00"})],
)  # fmt: skip
async def test_what_is_genuine_and_cannot_be_read(shop: Shopify, topic: str, body: Any) -> None:
    parsed = await receive(shop, topic, body)
    assert isinstance(parsed, Unreadable)
    named = isinstance(body, dict) and body is not CUSTOMER
    assert parsed.id == (str(body["id"]) if named else None)
    assert parsed.reason.code is (ReasonCode.ENTITY_UNREADABLE if named else ReasonCode.STORE_WEBHOOKS_UNREADABLE)


EDITED: dict[str, Any] = {
    **ORDER, "financial_status": "partially_refunded", "total_price": "90.00", "subtotal_price": "90.00",
    "current_total_price": "30.00", "current_subtotal_price": "30.00", "discount_codes": [],
    "line_items": [
        {"product_id": 7, "variant_id": 71, "title": "Cup", "quantity": 1, "current_quantity": 1, "price": "30.00"},
        {"product_id": 8, "variant_id": 81, "title": "Bowl", "quantity": 2, "current_quantity": 0, "price": "30.00"},
        {"product_id": 9, "variant_id": 91, "title": "Jug", "quantity": 3, "current_quantity": 1, "price": "0.00"},
    ],
}  # fmt: skip


def edited_node(**changed: Any) -> dict[str, Any]:
    """The edited order as GraphQL shows it."""

    def money(amount: str) -> dict[str, Any]:
        return {"shopMoney": {"amount": amount}}

    lines = [
        {"title": item["title"], "quantity": item["quantity"], "currentQuantity": item["current_quantity"],
         "product": {"id": f"gid://shopify/Product/{item['product_id']}"},
         "variant": {"id": f"gid://shopify/ProductVariant/{item['variant_id']}"},
         "originalUnitPriceSet": money(item["price"]), "taxLines": [], "discountAllocations": []}
        for item in EDITED["line_items"]
    ]  # fmt: skip
    return node(
        ORDER["id"], displayFinancialStatus="PARTIALLY_REFUNDED", discountCodes=[], totalPriceSet=money("90.0"),
        currentTotalPriceSet=money("30.0"),
        lineItems={"pageInfo": {"hasNextPage": False}, "nodes": lines}, **changed,
    )  # fmt: skip


async def test_an_edited_order_has_its_current_lines_and_totals(bench: Bench, shop: Shopify) -> None:
    received = await receive(shop, "orders/updated", EDITED)
    assert isinstance(received, NativeEvent), received
    assert isinstance(received.event, OrderEvent)
    assert (received.event.totalPrice, received.event.subtotalPrice) == (Decimal("30.00"), Decimal("30.00"))
    assert received.event.lineItems is not None
    assert [(item.title, item.quantity) for item in received.event.lineItems] == [
        ("Cup", Decimal(1)),
        ("Jug", Decimal(1)),
    ]
    bench.simulator.control("seed", orders=[edited_node()])
    assert await shop.fetch(EventKind.ORDER, str(ORDER["id"])) == received


@pytest.mark.parametrize("status", ["refunded", "voided"])
async def test_an_order_that_is_refunded_keeps_its_lines_and_totals(shop: Shopify, status: str) -> None:
    """Everything is refunded, so nothing of it is current."""
    ended = {**EDITED, "financial_status": status, "current_total_price": "0.00", "current_subtotal_price": "0.00"}
    parsed = await receive(shop, "orders/updated", ended)
    assert isinstance(parsed, NativeEvent), parsed
    assert isinstance(parsed.event, OrderEvent)
    assert parsed.event.totalPrice == Decimal("90.00")
    assert parsed.event.lineItems is not None
    assert [item.quantity for item in parsed.event.lineItems] == [1, 2, 3]


async def test_a_test_order_is_left_out_of_webhooks_lists_and_fetches(bench: Bench, shop: Shopify) -> None:
    assert isinstance(await receive(shop, "orders/updated", {**ORDER, "test": True}), Ignored)
    bench.simulator.control("seed", orders=[node(1, test=True), node(2)])
    page = await shop.list_entities(EventKind.ORDER, None, None)
    assert isinstance(page, Page), page
    assert ([event.event.id for event in page.events], page.unreadable) == (["2"], ())
    assert isinstance(await shop.fetch(EventKind.ORDER, "1"), Ignored)


@pytest.mark.parametrize(
    "email", [{"email": "", "contact_email": None}, {"email": "deleted@site.invalid", "contact_email": None}]
)
async def test_a_sale_at_the_till_without_a_buyer_is_skipped(shop: Shopify, email: dict[str, Any]) -> None:
    parsed = await receive(shop, "orders/create", {**ORDER, **email, "customer": None, "source_name": "pos"})
    assert isinstance(parsed, NativeEvent), parsed
    message = store_message(parsed, b"{}", source="shopify", message_id="m")
    [job] = message.jobs
    assert (message.customer_ref, job.depends_on) == (None, None)
    assert SKIP_WITHOUT_CUSTOMER.items() <= job.params.items()


async def test_one_unreadable_row_does_not_end_a_list(bench: Bench, shop: Shopify) -> None:
    bench.simulator.control("seed", orders=[node(1, currencyCode="EURO"), node(2)])
    page = await shop.list_entities(EventKind.ORDER, None, None)
    assert isinstance(page, Page), page
    assert [event.event.id for event in page.events] == ["2"]
    assert [(entity.kind, entity.id) for entity in page.unreadable] == [(EventKind.ORDER, "1")]
    fetched = await shop.fetch(EventKind.ORDER, "1")
    assert isinstance(fetched, Unreadable)
    assert fetched.reason == page.unreadable[0].reason


async def test_genuine_and_no_json_or_of_another_shop(shop: Shopify) -> None:
    for raw in (b"", b"{", b"[" * 100_000):
        assert isinstance(await shop.parse_event(signed(raw, "orders/create"), raw), Unreadable)
    elsewhere = {"x-shopify-shop-domain": "another.myshopify.com"}
    assert isinstance(await receive(shop, "orders/create", ORDER, **elsewhere), Ignored)


async def test_lists_come_page_by_page_from_a_time_on(bench: Bench, shop: Shopify) -> None:
    rows = [node(number, f"2026-11-{number:02}T00:00:00Z") for number in range(1, 14)]
    bench.simulator.control("seed", orders=rows)
    seen, cursor = [], None
    while True:
        page = await shop.list_entities(EventKind.ORDER, datetime(2026, 11, 2, tzinfo=UTC), cursor)
        assert isinstance(page, Page), page
        seen += [each.event.id for each in page.events]
        if (cursor := page.next) is None:
            break
    assert seen == [str(number) for number in range(2, 14)]


async def test_a_list_and_a_webhook_tell_the_same(bench: Bench, shop: Shopify) -> None:
    bench.simulator.control("seed", orders=[node(6200407294252, discountCodes=[])])
    listed = await shop.fetch(EventKind.ORDER, "6200407294252")
    received = await receive(shop, "orders/updated", {**ORDER, "discount_codes": []})
    assert isinstance(listed, NativeEvent), listed
    assert listed == received


async def test_what_shopify_cut_is_left_out_and_what_is_gone_is_none(bench: Bench, shop: Shopify) -> None:
    bench.simulator.control("seed", orders=[node(1, lineItems={"pageInfo": {"hasNextPage": True}, "nodes": []})])
    fetched = await shop.fetch(EventKind.ORDER, "1")
    assert isinstance(fetched, NativeEvent)
    assert isinstance(fetched.event, OrderEvent)
    assert fetched.event.lineItems is None
    assert await shop.fetch(EventKind.ORDER, "2") is None


async def test_a_list_that_may_not_be_read_is_blocked(bench: Bench, shop: Shopify) -> None:
    bench.simulator.config(scopes=["write_discounts"])
    outcome = await shop.list_entities(EventKind.ORDER, None, None)
    assert isinstance(outcome, Blocked), outcome
    assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
    assert "read_orders" in str(outcome.reason.facts["response"])


async def test_webhooks_are_set_up_once_and_removed(bench: Bench, shop: Shopify) -> None:
    assert await shop.list_webhooks(ADDRESS) == ()
    for _ in range(2):
        for topic in shop.webhook_topics():
            made = await shop.create_webhook(topic, ADDRESS)
            assert isinstance(made, StoreWebhook), made
            assert (made.topic, made.enabled) == (topic, True)
    webhooks = await shop.list_webhooks(ADDRESS)
    assert isinstance(webhooks, tuple)
    assert {webhook.topic for webhook in webhooks} == set(shop.webhook_topics())
    assert len(bench.simulator.state("webhooks")) == len(shop.webhook_topics())
    assert isinstance(await shop.enable_webhook(webhooks[0]), Done)
    for webhook in webhooks:
        for _ in range(2):
            assert isinstance(await shop.delete_webhook(webhook), Done)
    assert await shop.list_webhooks(ADDRESS) == ()
    assert isinstance(await shop.create_webhook("orders/create", "http://relay.example"), Reject)
