"""BigCommerce's webhooks, orders, customers and products, translated into events. Pure.

A webhook contains only the id of an entity
(`{"scope", "store_id", "data": {"type", "id"}, "hash", "created_at", "producer"}`). It is signed according to Standard Webhooks
(https://www.standardwebhooks.com); the key is the client secret as bytes (not verified).

Financial status; the first line that fits applies (payment_status is often empty):

    status 4 Refunded                                refunded
    status 14 Partially Refunded                     partially_refunded
    status 5 Cancelled, 6 Declined                   voided
    payment_status void, void pending, declined      voided
    payment_status refunded, partially refunded      refunded, partially_refunded
    payment_status authorized, capture pending       authorized
    payment_status captured, paid                    paid
    payment_status pending, held for review          pending
    status 2, 3, 8, 9, 10, 11, 13 (in progress)      paid
    any other status (1, 7, 12)                      pending
    status 0 Incomplete                              not an order yet: not relayed
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Final

from pydantic import JsonValue, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from platform_relay.core import exact_json
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.stores.native import (
    NativeEvent,
    ParsedWebhook,
    ToFetch,
    invalid_signature,
    native_event,
    not_relayed,
    unreadable_webhook,
)
from platform_relay.stores.parsing import NULL, Row, objects, reported, set_fields, value_at

TOPICS: Final = (
    "store/customer/created", "store/customer/updated", "store/order/created", "store/order/updated",
    "store/order/statusUpdated", "store/product/created", "store/product/updated",
)  # fmt: skip
KINDS: Final[Mapping[str, EventKind]] = {
    "customer": EventKind.CUSTOMER,
    "order": EventKind.ORDER,
    "product": EventKind.PRODUCT,
}
INCOMPLETE: Final = 0
BY_STATUS: Final = {4: "refunded", 14: "partially_refunded", 5: "voided", 6: "voided"}
BY_PAYMENT: Final = {
    "void": "voided", "void pending": "voided", "declined": "voided", "refunded": "refunded",
    "partially refunded": "partially_refunded", "authorized": "authorized", "capture pending": "authorized",
    "captured": "paid", "paid": "paid", "pending": "pending", "held for review": "pending",
}  # fmt: skip
IN_PROGRESS: Final = frozenset({2, 3, 8, 9, 10, 11, 13})


def parse_webhook(headers: Mapping[str, str], raw: bytes, secret: str, store_hash: str) -> ParsedWebhook:
    """See `native.ReceivesWebhooks`. `store_hash` is part of the store's address."""
    try:
        body = Webhook(secret.encode()).verify(raw, dict(headers))
    except WebhookVerificationError as error:
        return invalid_signature("BIGCOMMERCE__CLIENT_SECRET", str(error))
    except (ValueError, RecursionError):
        return unreadable_webhook("BigCommerce", "its body is not JSON")
    data = value_at(body, "data")
    if not isinstance(body, dict) or not isinstance(data, dict):
        return unreadable_webhook("BigCommerce", "its body contains no entity")
    if body.get("producer") != f"stores/{store_hash}":
        return not_relayed("the webhook comes from another store with the same app")
    scope, entity = body.get("scope"), data.get("id")
    if scope not in TOPICS or not isinstance(entity, int) or isinstance(entity, bool):
        return not_relayed(f"the scope {str(scope)[:60]!r} is not relayed")
    kind = KINDS[str(scope).split("/")[1]]
    return ToFetch(kind, str(entity), f"bigcommerce:{scope}:{entity}:{body.get('created_at')}:{body.get('hash')}")


def customer_event(row: Row) -> NativeEvent | None:
    """Translate a customer of V3."""
    return _event(
        EventKind.CUSTOMER,
        lambda: {
            "id": row["id"],
            "email": reported(row, "email"),
            "firstName": reported(row, "first_name"),
            "lastName": reported(row, "last_name"),
            "phone": reported(row, "phone"),
            "createdAt": row.get("date_created"),
            "updatedAt": row["date_modified"],
        },
    )


def order_event(row: Row, items: list[JsonValue], coupons: list[JsonValue]) -> NativeEvent | None:
    """Translate an order of V2 with its products and coupons. It is paid in `default_currency_code` (not verified)."""
    return _event(
        EventKind.ORDER,
        lambda: {
            "id": row["id"],
            "customerId": row.get("customer_id") or None,  # 0: a guest
            "email": reported(row, "billing_address", "email"),
            "financialStatus": financial_status(row),
            "currency": row.get("default_currency_code") or row["currency_code"],
            "totalPrice": _money(row["total_inc_tax"]),
            "subtotalPrice": _money(row.get("subtotal_inc_tax")),
            "lineItems": [
                {
                    "productId": item.get("product_id") or None,
                    "variantId": item.get("variant_id") or None,
                    "title": item.get("name"),
                    "quantity": item.get("quantity"),
                    "price": _money(item.get("price_inc_tax")),
                }
                for item in objects(items)
            ],
            "discountCodes": [
                {"code": used["code"], "amount": _money(used.get("discount"))} for used in objects(coupons)
            ],
            "createdAt": _parse_rfc2822(row.get("date_created")),
            "updatedAt": _parse_rfc2822(row["date_modified"]),
        },
    )


def product_event(row: Row) -> NativeEvent | None:
    """Translate a product of V3 with `include=variants,images`."""
    variants, images = row.get("variants"), objects(row.get("images"))
    image = next((item for item in images if item.get("is_thumbnail") is True), images[0] if images else {})
    return _event(
        EventKind.PRODUCT,
        lambda: {
            "id": row["id"],
            "title": reported(row, "name"),
            "imageUrl": NULL if row.get("images") == [] else reported(image, "url_standard"),
            "status": "active" if row.get("is_visible") is True else "hidden",
            "externalUrlHandle": str(value_at(row, "custom_url", "url") or "").strip("/")
            or reported(row, "custom_url", "url"),
            "variants": [_variant(item) for item in objects(variants)] if isinstance(variants, list) else None,
            "updatedAt": row["date_modified"],
        },
    )


def financial_status(row: Row) -> str:
    """The financial status of an order, by the table above."""
    status = row.get("status_id")
    payment = str(row.get("payment_status") or "").lower()
    number = status if isinstance(status, int) else -1
    return BY_STATUS.get(number) or BY_PAYMENT.get(payment) or ("paid" if number in IN_PROGRESS else "pending")


def _variant(row: Row) -> dict[str, object]:
    labels = [str(option.get("label")) for option in objects(row.get("option_values"))]
    title = " / ".join(labels) or row.get("sku")
    return {"externalVariantId": row["id"], "title": title or None, "imageUrl": row.get("image_url") or None}


def _event(kind: EventKind, translate: Callable[[], dict[str, object]]) -> NativeEvent | None:
    """Create the event; None if a field is missing or has an unexpected value."""
    try:
        event = EVENTS[kind].model_validate(set_fields(translate()))
    except (InvalidOperation, KeyError, TypeError, ValueError, ValidationError):
        return None
    if event.updatedAt is None:
        return None
    return native_event("bigcommerce", kind, event)


def _money(value: JsonValue) -> str | None:
    """`19.9800` → `19.98`. BigCommerce returns four decimal places."""
    if value is None:
        return None
    amount = Decimal(str(value))
    cents = amount.quantize(Decimal("0.01"))
    return exact_json.plain(cents if cents == amount else amount)


def _parse_rfc2822(value: JsonValue) -> datetime | None:
    return parsedate_to_datetime(str(value)) if value else None
