"""Bodies that merchants reported (`../shared/field-reports`): a store's error, erased and fractional orders, sales at a till."""

import base64
import gzip
import hmac
from pathlib import Path

import pytest

from platform_relay.core.reasons import ReasonCode
from platform_relay.forwarding.fetch import webhook_message
from platform_relay.inbox.events import EventKind, OrderEvent
from platform_relay.inbox.messages import SKIP_WITHOUT_CUSTOMER, customer_of
from platform_relay.settings import Settings
from platform_relay.stores.native import Ignored, NativeEvent, ParsedWebhook, ParsesLargeWebhooks, Unreadable
from platform_relay.stores.shopify import events as shopify
from platform_relay.stores.woocommerce import events as woocommerce
from platform_relay.stores.woocommerce.adapter import WooCommerce

REPORTS = Path(__file__).parents[3] / "shared" / "field-reports"
SECRET = b"webhook-secret"


def reported(path: str) -> bytes:
    if not REPORTS.is_dir():
        pytest.skip("the reported bodies (../shared/field-reports) are not here")
    return (REPORTS / path).read_bytes()


def signature(raw: bytes) -> str:
    return base64.b64encode(hmac.digest(SECRET, raw, "sha256")).decode()


def woocommerce_webhook(path: str) -> ParsedWebhook:
    raw = reported(path)
    headers = {"x-wc-webhook-topic": "order.updated", "x-wc-webhook-signature": signature(raw)}
    return woocommerce.parse_webhook(headers, raw, SECRET)


def shopify_webhook(path: str) -> ParsedWebhook:
    raw = reported(path)
    headers = {"x-shopify-topic": "orders/updated", "x-shopify-hmac-sha256": signature(raw)}
    return shopify.parse_webhook(headers, raw, SECRET.decode(), "shop.example.com")


def order_of(parsed: ParsedWebhook) -> OrderEvent:
    assert isinstance(parsed, NativeEvent), parsed
    assert isinstance(parsed.event, OrderEvent)
    return parsed.event


def test_the_owner_of_the_webhooks_was_deleted() -> None:
    parsed = woocommerce_webhook("02-woo-webhook-owner-deleted/body.json")
    assert isinstance(parsed, Unreadable)
    assert parsed.reason.code is ReasonCode.STORE_WEBHOOKS_REFUSED


@pytest.mark.parametrize("name", ["after-1", "after-2", "never-seen", "account-after"])
def test_erased_orders(name: str) -> None:
    event = order_of(woocommerce_webhook(f"04-woo-erased-order/{name}.json"))
    assert (event.email, customer_of(event)) == (None, None)


def test_an_order_by_the_metre() -> None:
    event = order_of(woocommerce_webhook("05-woo-decimal-quantity/order.json"))
    assert event.lineItems is not None
    assert [str(item.quantity) for item in event.lineItems] == ["2.5"]


def test_an_edited_order() -> None:
    event = order_of(shopify_webhook("17-shopify-pos/edited-order.json"))
    assert event.lineItems is not None
    assert (str(event.totalPrice), [item.title for item in event.lineItems]) == ("30.00", ["Cup"])


def test_a_test_order() -> None:
    parsed = shopify_webhook("17-shopify-pos/test-order.json")
    assert isinstance(parsed, Ignored)
    assert (parsed.kind, parsed.id) == (EventKind.ORDER, "6200000000003")


def test_a_sale_at_the_till() -> None:
    parsed = shopify_webhook("17-shopify-pos/pos-order.json")
    message = webhook_message(lambda: parsed, b"{}", source="shopify", message_id="m")
    assert order_of(parsed).id == "6200000000001"
    assert [job.params for job in getattr(message, "jobs", ())] == [SKIP_WITHOUT_CUSTOMER]


def test_a_large_order() -> None:
    """Its 1.1 MiB are above BODY_LIMIT, and all of its lines are read."""
    raw = gzip.decompress(reported("21-large-webhook/order.json.gz"))
    limits = Settings.model_fields["body_limit"].default, Settings.model_fields["event_limit"].default
    assert limits[0] < len(raw) < limits[1]
    assert issubclass(WooCommerce, ParsesLargeWebhooks)
    headers = {"x-wc-webhook-topic": "order.updated", "x-wc-webhook-signature": signature(raw)}
    lines = order_of(woocommerce.parse_webhook(headers, raw, SECRET)).lineItems
    assert lines is not None
    assert len(lines) == 699
    assert {str(line.price) for line in lines} == {"0.10"}
