"""WooCommerce's own webhooks, as captured from a running shop (9.9.5), and their traps."""

import base64
import hmac
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent
from platform_relay.stores.native import Ignored, NativeEvent, Page, ParsedWebhook, Unreadable, Unverified
from platform_relay.stores.woocommerce.adapter import WooCommerce
from platform_relay.stores.woocommerce.events import financial_status, parse_webhook, to_event
from tests.contract.bench import Bench

PAYLOADS = Path(__file__).parent / "payloads" / "woocommerce"
SECRET = b"the-secret-of-these-tests"


def received(name: str) -> tuple[dict[str, str], bytes]:
    """A captured webhook, signed anew with our secret."""
    captured = json.loads((PAYLOADS / f"{name}.json").read_text())
    raw = captured["body_raw"].encode()
    headers = {key.lower(): value for key, value in captured["headers"].items()}
    return signed(headers, raw), raw


def signed(headers: dict[str, str], raw: bytes) -> dict[str, str]:
    digest = base64.b64encode(hmac.new(SECRET, raw, "sha256").digest()).decode()
    return {**headers, "x-wc-webhook-signature": digest} if "x-wc-webhook-topic" in headers else headers


def webhook(name: str) -> ParsedWebhook:
    return parse_webhook(*received(name), SECRET)


def test_a_customer() -> None:
    parsed = webhook("customer.created")
    assert isinstance(parsed, NativeEvent)
    assert isinstance(parsed.event, CustomerEvent)
    assert (parsed.event.id, parsed.event.email, parsed.event.firstName, parsed.event.phone) == (
        "2",
        "jane@example.com",
        "Jane",
        "+49123",
    )
    assert parsed.event.updatedAt is not None


@pytest.mark.parametrize(
    ("name", "status"),
    [("order.created", "pending"), ("order.updated.pending", "pending"), ("order.updated.processing", "paid")],
)
def test_an_order(name: str, status: str) -> None:
    parsed = webhook(name)
    assert isinstance(parsed, NativeEvent)
    assert isinstance(parsed.event, OrderEvent)
    event = parsed.event
    assert (event.id, event.customerId, event.email, event.financialStatus) == ("44", "2", "jane@example.com", status)
    assert (str(event.totalPrice), event.currency, str(event.subtotalPrice)) == ("45.00", "EUR", "50.00")
    assert event.lineItems is not None
    assert (event.lineItems[0].productId, event.lineItems[0].quantity, str(event.lineItems[0].price)) == (
        "43",
        Decimal(2),
        "25.00",
    )
    assert event.discountCodes is not None
    assert [(code.code, str(code.amount)) for code in event.discountCodes] == [("FIX5", "5.00")]


def test_a_product() -> None:
    parsed = webhook("product.created")
    assert isinstance(parsed, NativeEvent)
    assert isinstance(parsed.event, ProductEvent)
    assert (parsed.event.id, parsed.event.title, parsed.event.status) == ("43", "Mug", "active")


def test_two_orders_of_one_second_share_a_delivery_id_and_are_two_messages() -> None:
    (first_headers, first), (second_headers, second) = (
        received(f"order.created.same_delivery_id_{each}") for each in "ab"
    )
    assert first_headers["x-wc-webhook-delivery-id"] == second_headers["x-wc-webhook-delivery-id"]
    one, other = parse_webhook(first_headers, first, SECRET), parse_webhook(second_headers, second, SECRET)
    assert isinstance(one, NativeEvent)
    assert isinstance(other, NativeEvent)
    assert one.dedupe_key != other.dedupe_key


def test_created_and_updated_with_the_same_body_are_one() -> None:
    headers, raw = received("order.created")
    updated = {**headers, "x-wc-webhook-topic": "order.updated"}
    one, other = parse_webhook(headers, raw, SECRET), parse_webhook(updated, raw, SECRET)
    assert isinstance(one, NativeEvent)
    assert isinstance(other, NativeEvent)
    assert one.dedupe_key == other.dedupe_key


@pytest.mark.parametrize(
    "name",
    [
        "ping_on_webhook_create",
        "order.deleted",
        "customer.deleted",
        "coupon.created",
        "coupon.updated.resource_gone_error_body",
    ],
)
def test_what_is_not_relayed(name: str) -> None:
    parsed = webhook(name)
    assert isinstance(parsed, Ignored)
    assert parsed.reason.code is ReasonCode.NOT_APPLICABLE
    assert parsed.reason.facts["explanation"]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", ReasonCode.STORE_WEBHOOKS_UNREADABLE),
        (b"[]", ReasonCode.ENTITY_UNREADABLE),
        (b'{"id":1,"line_items":7,"billing":"jane@x.y"}', ReasonCode.ENTITY_UNREADABLE),
    ],
)
def test_a_signed_body_that_cannot_be_read(raw: bytes, code: ReasonCode) -> None:
    parsed = parse_webhook(signed({"x-wc-webhook-topic": "order.updated"}, raw), raw, SECRET)
    assert isinstance(parsed, Unreadable)
    assert (parsed.reason.code, parsed.id) == (code, "1" if b"id" in raw else None)
    assert "@" not in repr(parsed.reason)


def test_a_signed_error_body_of_an_order_that_is_gone() -> None:
    raw = b'{"code":"woocommerce_rest_shop_order_invalid_id","message":"Invalid ID.","data":{"status":404}}'
    parsed = parse_webhook(signed({"x-wc-webhook-topic": "order.updated"}, raw), raw, SECRET)
    assert isinstance(parsed, Ignored)
    assert parsed.reason.code is ReasonCode.GONE_FROM_STORE


def test_an_orders_id_in_a_product_deletion_deletes_nothing() -> None:
    raw = b'{"id":44}'
    assert isinstance(parse_webhook(signed({"x-wc-webhook-topic": "product.deleted"}, raw), raw, SECRET), Ignored)


@pytest.mark.parametrize("change", [b" ", b"\n", b"x"])
def test_a_changed_body_is_refused(change: bytes) -> None:
    headers, raw = received("order.created")
    refused = parse_webhook(headers, raw + change, SECRET)
    assert isinstance(refused, Unverified)
    assert refused.reason.code is ReasonCode.SIGNATURE_WRONG
    assert refused.reason.facts["setting"] == "WOOCOMMERCE__WEBHOOK_SECRET"
    assert isinstance(parse_webhook({**headers, "x-wc-webhook-signature": ""}, raw, SECRET), Unverified)
    assert isinstance(parse_webhook(headers, raw, b"another secret"), Unverified)


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ({"status": "on-hold"}, "pending"),
        ({"status": "failed"}, "pending"),
        ({"status": "completed"}, "paid"),
        ({"status": "processing", "refunds": [{"id": 1}]}, "partially_refunded"),
        ({"status": "refunded", "refunds": [{"id": 1}]}, "refunded"),
        ({"status": "cancelled"}, "voided"),
        ({"status": "shipped-by-plugin", "date_paid_gmt": "2026-01-01T00:00:00"}, "paid"),
        ({"status": "shipped-by-plugin"}, "pending"),
        ({"status": "partial-payment", "date_paid_gmt": "2026-01-01T00:00:00"}, "partially_paid"),
        ({"status": "partially-paid", "date_paid_gmt": "2026-01-01T00:00:00"}, "partially_paid"),
        ({"status": "partial-paid"}, "partially_paid"),
    ],
)
def test_financial_states(shown: dict[str, object], status: str) -> None:
    assert financial_status(shown) == status


@pytest.mark.parametrize("status", ["trash", "checkout-draft", "auto-draft"])
def test_what_is_no_order(status: str) -> None:
    assert isinstance(to_event(EventKind.ORDER, {"id": 1, "status": status}), Ignored)


def test_a_guest_order_has_no_customer() -> None:
    shown = {
        "id": 1,
        "status": "processing",
        "currency": "JPY",
        "total": "1200",
        "customer_id": 0,
        "billing": {"email": "a@b.de"},
    }
    parsed = to_event(EventKind.ORDER, shown)
    assert isinstance(parsed, NativeEvent)
    assert isinstance(parsed.event, OrderEvent)
    assert (parsed.event.customerId, parsed.event.email, str(parsed.event.totalPrice)) == (None, "a@b.de", "1200")


on_bench = pytest.mark.parametrize("bench", ["woocommerce"], indirect=True)


@on_bench
async def test_long_descriptions_are_not_requested(bench: Bench) -> None:
    """100 products with descriptions of 14 KB are one small response."""
    products = [{"id": number, "name": "Mug", "description": "x" * 14_000} for number in range(1, 101)]
    bench.simulator.control("seed", products=products)
    assert isinstance(bench.adapter, WooCommerce)
    page = await bench.adapter.list_entities(EventKind.PRODUCT, None, None)
    assert isinstance(page, Page)
    assert len(page.events) == 100
    [call] = bench.simulator.ledger()
    assert "description" not in call["query"]


@on_bench
async def test_customers_of_every_role_are_listed(bench: Bench) -> None:
    roles = ["customer", "subscriber", "administrator", "shop_manager"]
    customers = [{"id": number, "email": f"{role}@b.de", "role": role} for number, role in enumerate(roles, 1)]
    bench.simulator.control("seed", customers=customers)
    assert isinstance(bench.adapter, WooCommerce)
    page = await bench.adapter.list_entities(EventKind.CUSTOMER, None, None)
    assert isinstance(page, Page)
    assert [event.event.id for event in page.events] == ["1", "2", "3", "4"]
    assert await bench.adapter.count(EventKind.CUSTOMER) == 4


@on_bench
async def test_drafts_make_the_number_of_orders_unknown(bench: Bench) -> None:
    """WooCommerce counts a cart that is a `checkout-draft`, which is no order yet, among the orders."""
    assert isinstance(bench.adapter, WooCommerce)
    bench.simulator.control("seed", orders=[{"id": 1, "status": "processing"}])
    assert await bench.adapter.count(EventKind.ORDER) == 1
    assert await bench.adapter.count(EventKind.ORDER, datetime(2040, 1, 1, tzinfo=UTC)) == 0
    bench.simulator.control("seed", orders=[{"id": 2, "status": "checkout-draft"}])
    assert await bench.adapter.count(EventKind.ORDER) is None


@on_bench
async def test_a_list_without_the_header_of_its_length(bench: Bench) -> None:
    """A proxy removed X-WP-Total: a full page means that another one follows, and the number is unknown."""
    bench.simulator.control("seed", products=[{"id": number, "name": "Mug"} for number in range(1, 151)])
    headers = {"content-type": "application/json"}
    bench.misbehave(("GET", "^/wp-json/wc/v3/products$"), mode="apply_then", headers=headers, persistent=True)
    assert isinstance(bench.adapter, WooCommerce)
    ids: list[str] = []
    cursor: str | None = None
    while not ids or cursor:
        page = await bench.adapter.list_entities(EventKind.PRODUCT, None, cursor)
        assert isinstance(page, Page)
        ids, cursor = [*ids, *(event.event.id for event in page.events)], page.next
    assert ids == [str(number) for number in range(1, 151)]
    assert await bench.adapter.count(EventKind.PRODUCT) is None
