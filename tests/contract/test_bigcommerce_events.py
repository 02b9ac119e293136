"""BigCommerce's webhooks in, what they name fetched, its lists read, its webhooks set up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from platform_relay.core.outcomes import Done, Reject, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent
from platform_relay.stores.bigcommerce.adapter import BigCommerce
from platform_relay.stores.bigcommerce.events import financial_status
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
    ToFetch,
    Unreadable,
    Unverified,
)
from tests.contract.bench import Bench, double

DOCUMENTED = Path(__file__).parents[3] / "shared" / "payloads" / "bigcommerce_docs"
ADDRESS = "https://relay.example/v1/store-webhooks/bigcommerce"
SECRET = "secret-fedcba9876543210"
START = datetime(2026, 11, 1, tzinfo=UTC)
BODY: dict[str, Any] = {
    "scope": "store/order/updated", "store_id": "1", "data": {"type": "order", "id": 250},
    "hash": "dd70c0976e06b67aaf671e73f49dcb79230ebf9d", "created_at": 1561479335, "producer": "stores/abc123",
}  # fmt: skip


def placed(number: int, modified: datetime = START, **fields: Any) -> dict[str, Any]:
    """An order of V2; `_products` and `_coupons` are the double's sub-resources."""
    shown: dict[str, Any] = {
        "id": number, "customer_id": 32, "status_id": 11, "payment_status": "captured", "total_inc_tax": "19.9800",
        "subtotal_inc_tax": "24.9800", "currency_code": "USD", "default_currency_code": "EUR",
        "coupon_discount": "5.0000", "billing_address": {"email": "jane@example.com"},
        "date_created": format_datetime(START), "date_modified": format_datetime(modified),
        "_products": [{"product_id": 7, "variant_id": 71, "name": "Teapot", "quantity": 2, "price_inc_tax": "12.4900"}],
        "_coupons": [{"code": "a1b2c3d4e5f6", "discount": "5.0000"}],
    }  # fmt: skip
    return {**shown, **fields}


CUSTOMER = {"id": 32, "email": "jane@example.com", "first_name": "Jane", "last_name": "Doe", "phone": "",
            "date_created": "2026-11-01T00:00:00Z", "date_modified": "2026-11-02T00:00:00Z"}  # fmt: skip
PRODUCT = {"id": 7, "name": "Teapot", "is_visible": True, "date_modified": "2026-11-02T00:00:00+00:00",
           "custom_url": {"url": "/teapot/"}, "images": [{"url_standard": "https://cdn.example/7.png"}],
           "variants": [{"id": 71, "sku": "T-B", "option_values": [{"label": "Blue"}]}]}  # fmt: skip


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    bench = Bench("bigcommerce", double("bigcommerce"), monkeypatch)
    yield bench
    await bench.aclose()


@pytest.fixture
def shop(bench: Bench) -> BigCommerce:
    assert isinstance(bench.adapter, BigCommerce)
    return bench.adapter


async def receive(shop: BigCommerce, body: Any, secret: str = SECRET, at: datetime | None = None) -> ParsedWebhook:
    text, moment = body if isinstance(body, str) else json.dumps(body), at or datetime.now(UTC)
    signature = Webhook(secret.encode()).sign("msg_1", moment, text)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(moment.timestamp())), "webhook-signature": signature}
    return await shop.parse_event(headers, text.encode())


def test_every_ability_is_there(shop: BigCommerce) -> None:
    for ability in (ReceivesWebhooks, FetchesEntities, ListsEntities, SetsUpWebhooks):
        assert isinstance(shop, ability)


async def test_a_webhook_names_what_to_fetch(shop: BigCommerce) -> None:
    parsed = await receive(shop, BODY)
    assert isinstance(parsed, ToFetch), parsed
    assert (parsed.kind, parsed.id) == (EventKind.ORDER, "250")
    assert await receive(shop, BODY) == parsed
    # BigCommerce's documents show one hash for an order's creation and its update
    for other in ({"scope": "store/order/created"}, {"created_at": 1}, {"data": {"type": "order", "id": 251}}):
        again = await receive(shop, {**BODY, **other})
        assert isinstance(again, ToFetch)
        assert again.dedupe_key != parsed.dedupe_key


async def test_the_documented_callbacks(shop: BigCommerce) -> None:
    if not DOCUMENTED.is_dir():
        pytest.skip("the documented callbacks (../shared/payloads) are not here")
    result = {}
    for path in sorted(DOCUMENTED.glob("*.json")):
        parsed = await receive(shop, path.read_text().replace("{store_hash}", "abc123"))
        result[path.stem] = (parsed.kind, parsed.id) if isinstance(parsed, ToFetch) else type(parsed)
    assert result == {
        "store_customer_created": (EventKind.CUSTOMER, "32"), "store_customer_updated": (EventKind.CUSTOMER, "32"),
        "store_order_created": (EventKind.ORDER, "250"), "store_order_statusUpdated": (EventKind.ORDER, "250"),
        "store_order_updated": (EventKind.ORDER, "250"), "store_product_inventory_order_updated": Ignored,
        "store_product_updated": (EventKind.PRODUCT, "205"), "store_sku_inventory_order_updated": Ignored,
    }  # fmt: skip


async def test_what_is_not_signed_or_old_is_refused(bench: Bench, shop: BigCommerce) -> None:
    for parsed in (
        await shop.parse_event({}, b"{}"),
        await receive(shop, BODY, secret="another-secret"),
        await receive(shop, BODY, at=datetime.now(UTC) - timedelta(hours=1)),
    ):
        assert isinstance(parsed, Unverified)
        assert parsed.reason.code is ReasonCode.SIGNATURE_WRONG
        assert parsed.reason.facts["setting"] == "BIGCOMMERCE__CLIENT_SECRET"


@pytest.mark.parametrize("signature", ["v1", "v1,a", "v1,a,b", "v1,ü", "ü", "v1,AAAA v1"])
@pytest.mark.parametrize("raw", [b"{}", b"not JSON", b"\xff\xfe"])
async def test_a_signature_of_another_form_is_not_a_signature(shop: BigCommerce, signature: str, raw: bytes) -> None:
    """The message would be stored as unreadable, without a check of its sender."""
    now = str(int(datetime.now(UTC).timestamp()))
    parsed = await shop.parse_event({"webhook-id": "m", "webhook-timestamp": now, "webhook-signature": signature}, raw)
    assert isinstance(parsed, Unverified)


@pytest.mark.parametrize(
    "body", [[], {}, "{", {**BODY, "producer": "stores/another"}, {**BODY, "scope": "store/cart/created"},
             {**BODY, "data": {"type": "order", "id": "250"}}, {**BODY, "data": {"type": "order"}}]
)  # fmt: skip
async def test_what_is_genuine_and_nothing_to_relay(shop: BigCommerce, body: Any) -> None:
    parsed = await receive(shop, body)
    assert isinstance(parsed, Ignored if isinstance(body, dict) and body else Unreadable)
    assert parsed.reason.code in (ReasonCode.NOT_APPLICABLE, ReasonCode.STORE_WEBHOOKS_UNREADABLE)


async def test_an_order_is_fetched_with_its_lines_and_codes(bench: Bench, shop: BigCommerce) -> None:
    bench.simulator.control("seed", orders=[placed(250)])
    fetched = await shop.fetch(EventKind.ORDER, "250")
    assert isinstance(fetched, NativeEvent), fetched
    event = fetched.event
    assert isinstance(event, OrderEvent)
    assert (event.customerId, event.email, event.financialStatus) == ("32", "jane@example.com", "paid")
    assert (event.currency, str(event.totalPrice), event.updatedAt) == ("EUR", "19.98", START)
    assert event.lineItems is not None
    assert (event.lineItems[0].productId, event.lineItems[0].price) == ("7", Decimal("12.49"))
    assert event.discountCodes is not None
    assert event.discountCodes[0].code == "a1b2c3d4e5f6"


async def test_a_guest_an_unplaced_order_and_none(bench: Bench, shop: BigCommerce) -> None:
    guest = placed(1, customer_id=0, coupon_discount="0.0000", _coupons=[], _products=[])
    bench.simulator.control("seed", orders=[guest, placed(2, status_id=0)])
    fetched = await shop.fetch(EventKind.ORDER, "1")
    assert isinstance(fetched, NativeEvent)
    assert isinstance(fetched.event, OrderEvent)
    assert fetched.event.customerId is None
    assert isinstance(await shop.fetch(EventKind.ORDER, "2"), Ignored)
    assert await shop.fetch(EventKind.ORDER, "3") is None
    assert await shop.fetch(EventKind.CUSTOMER, "3") is None
    assert await shop.fetch(EventKind.PRODUCT, "3") is None
    assert await shop.fetch(EventKind.ORDER, "../store") is None


async def test_an_order_whose_lines_do_not_come_is_not_half_told(bench: Bench, shop: BigCommerce) -> None:
    bench.simulator.control("seed", orders=[placed(250)])
    bench.misbehave(("GET", "^/stores/abc123/v2/orders/250/products$"), status=503)
    assert isinstance(await shop.fetch(EventKind.ORDER, "250"), Retry)


async def test_customers_and_products(bench: Bench, shop: BigCommerce) -> None:
    bench.simulator.control("seed", customers=[CUSTOMER], products=[PRODUCT])
    customer, product = await shop.fetch(EventKind.CUSTOMER, "32"), await shop.fetch(EventKind.PRODUCT, "7")
    assert isinstance(customer, NativeEvent)
    assert isinstance(customer.event, CustomerEvent)
    assert (customer.event.firstName, customer.event.phone) == ("Jane", None)
    assert isinstance(product, NativeEvent)
    assert isinstance(product.event, ProductEvent)
    assert (product.event.externalUrlHandle, product.event.status) == ("teapot", "active")
    assert product.event.variants is not None
    assert product.event.variants[0].title == "Blue"


@pytest.mark.parametrize(
    ("status_id", "payment", "result"),
    [(4, "captured", "refunded"), (14, "captured", "partially_refunded"), (5, "captured", "voided"), (6, "", "voided"),
     (11, "authorized", "authorized"), (11, "", "paid"), (10, None, "paid"), (7, "", "pending"), (1, "captured", "paid"),
     (12, "held for review", "pending"), (2, "void", "voided"), (2, "partially refunded", "partially_refunded"),
     (99, "", "pending"), (None, "odd", "pending")],
)  # fmt: skip
def test_financial_status(status_id: int | None, payment: str | None, result: str) -> None:
    assert financial_status({"status_id": status_id, "payment_status": payment}) == result


async def test_lists_come_page_by_page_from_a_time_on(bench: Bench, shop: BigCommerce) -> None:
    rows = [placed(number, START + timedelta(days=number)) for number in range(1, 14)]
    bench.simulator.control("seed", orders=[*rows, placed(99, START + timedelta(days=20), status_id=0)])
    seen, cursor = [], None
    while True:
        page = await shop.list_entities(EventKind.ORDER, START + timedelta(days=2), cursor)
        assert isinstance(page, Page), page
        seen += [each.event.id for each in page.events]
        if (cursor := page.next) is None:
            break
    assert seen == [str(number) for number in range(2, 14)]


async def test_customers_of_one_second_in_no_order(bench: Bench, shop: BigCommerce) -> None:
    """More than the largest page holds, listed in another order for each page."""
    customers = [{**CUSTOMER, "id": number, "date_created": "2026-11-01T00:00:00Z"} for number in range(1, 601)]
    later = {**CUSTOMER, "id": 601, "date_created": "2026-11-01T00:00:01Z"}
    bench.simulator.control("seed", customers=[*customers, later])
    seen, cursor = [], None
    while True:
        page = await shop.list_entities(EventKind.CUSTOMER, None, cursor)
        assert isinstance(page, Page), page
        seen += [event.event.id for event in page.events]
        if (cursor := page.next) is None:
            break
    assert sorted(seen, key=int) == [str(number) for number in range(1, 602)]


@pytest.mark.parametrize("kind", list(EventKind))
async def test_a_list_may_be_empty(shop: BigCommerce, kind: EventKind) -> None:
    assert await shop.list_entities(kind, None, None) == Page((), None)


async def test_hooks_are_set_up_once_switched_on_again_and_removed(bench: Bench, shop: BigCommerce) -> None:
    assert await shop.list_webhooks(ADDRESS) == ()
    for _ in range(2):
        for topic in shop.webhook_topics():
            assert isinstance(await shop.create_webhook(topic, ADDRESS), StoreWebhook)
    assert len(bench.simulator.state("webhooks")) == len(shop.webhook_topics())
    bench.simulator.control("switch-off")
    webhooks = await shop.list_webhooks(ADDRESS)
    assert isinstance(webhooks, tuple)
    assert not any(webhook.enabled for webhook in webhooks)
    assert isinstance(await shop.enable_webhook(webhooks[0]), Done)
    again = await shop.list_webhooks(ADDRESS)
    assert isinstance(again, tuple)
    assert [webhook.enabled for webhook in again].count(True) == 1
    for webhook in webhooks:
        for _ in range(2):
            assert isinstance(await shop.delete_webhook(webhook), Done)
    assert await shop.list_webhooks(ADDRESS) == ()
    assert isinstance(await shop.create_webhook("store/order/created", "http://relay.example"), Reject)
