"""Bodies that merchants reported (`../shared/field-reports`): a store's error, erased and fractional orders, sales at a till."""

import base64
import gzip
import hmac
from pathlib import Path

import pytest

from platform_relay.core.reasons import ReasonCode
from platform_relay.forwarding.fetch import webhook_message
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent
from platform_relay.inbox.messages import SKIP_WITHOUT_CUSTOMER, customer_of
from platform_relay.settings import Settings
from platform_relay.stores.native import Ignored, NativeEvent, ParsedWebhook, ParsesLargeWebhooks, Unreadable
from platform_relay.stores.saleor import events as saleor
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


BROKEN = b"m\xc4nec\xc3\xa3 \xff"


@pytest.mark.parametrize("store", ["woocommerce", "shopify", "saleor"])
def test_a_text_with_broken_bytes(store: str) -> None:
    """Shopify/shopify-api-js #320: the signature fits, but a text is not UTF-8. It is taken, with replacement characters."""
    parsed: ParsedWebhook
    if store == "woocommerce":
        raw = (
            b'{"id": 7, "email": "a@example.com", "first_name": "%b", "date_modified_gmt": "2026-01-01T00:00:00"}'
            % BROKEN
        )
        headers = {"x-wc-webhook-topic": "customer.updated", "x-wc-webhook-signature": signature(raw)}
        parsed = woocommerce.parse_webhook(headers, raw, SECRET)
    elif store == "shopify":
        raw = b'{"id": 7, "email": "a@example.com", "first_name": "%b", "updated_at": "2026-01-01T00:00:00Z"}' % BROKEN
        headers = {"x-shopify-topic": "customers/update", "x-shopify-hmac-sha256": signature(raw)}
        parsed = shopify.parse_webhook(headers, raw, SECRET.decode(), "shop.example.com")
    else:
        raw = b'{"user": {"id": "VXNlcjo3", "email": "a@example.com", "firstName": "%b", "lastName": "x",' % BROKEN
        raw += b' "updatedAt": "2026-01-01T00:00:00+00:00"}}'
        parsed = saleor.parse_webhook({"saleor-event": "customer_updated"}, raw, "eu")
    assert isinstance(parsed, NativeEvent), parsed
    assert isinstance(parsed.event, CustomerEvent)
    assert (parsed.event.email, parsed.event.firstName) == ("a@example.com", "m\ufffdnec\u00e3 \ufffd")


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=UTF-8"]
)
def test_the_ping_of_woocommerce_is_not_signed(content_type: str) -> None:
    """woocommerce/woocommerce #15642, cleura/webhook-receiver #5: an answer that is not 2xx switches the webhook off."""
    parsed = woocommerce.parse_webhook({"content-type": content_type}, b"webhook_id=3", SECRET)
    assert isinstance(parsed, Ignored)


def test_slashes_and_ampersands_are_signed_as_they_were_sent() -> None:
    """Shopify/shopify-express #15 and #114: libraries that sign the JSON that they parsed and wrote again refuse such bodies."""
    raw = rb'{"id": 8, "email": "a@example.com", "note": "a\/b \u0026 \u003cc\u003e", "updated_at": "2026-01-01T00:00:00Z"}'
    headers = {"x-shopify-topic": "customers/update", "x-shopify-hmac-sha256": signature(raw)}
    assert isinstance(shopify.parse_webhook(headers, raw, SECRET.decode(), "shop.example.com"), NativeEvent)
