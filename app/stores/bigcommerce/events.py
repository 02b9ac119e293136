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
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Final, cast

from pydantic import JsonValue
from standardwebhooks import Webhook, WebhookVerificationError

from platform_relay.core.exact_json import webhook_json
from platform_relay.inbox.events import EventKind
from platform_relay.stores.amounts import in_currency, money, number, refunded, saved_with_tax
from platform_relay.stores.native import (
    NativeEvent,
    ParsedWebhook,
    ToFetch,
    Unreadable,
    invalid_signature,
    not_relayed,
    unreadable_webhook,
)
from platform_relay.stores.parsing import NULL, Row, objects, reported, value_at
from platform_relay.stores.text import plain_text
from platform_relay.stores.translation import translate

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
    if (problem := _problem_of_signature(headers, raw, secret)) is not None:
        return invalid_signature("BIGCOMMERCE__CLIENT_SECRET", problem)
    try:
        body = cast("JsonValue", webhook_json(raw))
    except ValueError:
        return unreadable_webhook("BigCommerce", "its body is not JSON")
    data = value_at(body, "data")
    if not isinstance(body, dict) or not isinstance(data, dict):
        return unreadable_webhook("BigCommerce", "its body contains no entity")
    if body.get("producer") != f"stores/{store_hash}":
        return not_relayed("the webhook comes from another store with the same app")
    scope, entity = body.get("scope"), data.get("id")
    if scope not in TOPICS or not isinstance(entity, int) or isinstance(entity, bool):
        return not_relayed(f"the scope {str(scope)[:60]!r} is not relayed", KINDS.get(str(data.get("type"))), entity)
    kind = KINDS[str(scope).split("/")[1]]
    return ToFetch(kind, str(entity), f"bigcommerce:{scope}:{entity}:{body.get('created_at')}:{body.get('hash')}")


def _problem_of_signature(headers: Mapping[str, str], raw: bytes, secret: str) -> str | None:
    try:
        Webhook(secret.encode()).verify(raw, dict(headers), json_parse=False)
    except WebhookVerificationError as error:
        return str(error)
    except ValueError:  # a signature that is not base64, or a body that is not UTF-8
        return "its signature or its body has another form"
    return None


def customer_event(row: Row) -> NativeEvent | Unreadable:
    """Translate a customer of V3."""
    return _event(
        EventKind.CUSTOMER,
        row,
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


def order_event(row: Row, items: list[JsonValue], coupons: list[JsonValue]) -> NativeEvent | Unreadable:
    """Translate an order of V2 with its products and coupons. It is paid in `default_currency_code` (not verified).

    Prices and the subtotal are before discounts; a coupon's discount is without tax if the store's prices are (not verified).
    """
    currency = str(row.get("default_currency_code") or row.get("currency_code"))
    return _event(
        EventKind.ORDER,
        row,
        lambda: {
            "id": row["id"],
            "customerId": row.get("customer_id") or None,  # 0: a guest
            "email": reported(row, "billing_address", "email"),
            "financialStatus": financial_status(row),
            "currency": currency,
            "totalPrice": money(row["total_inc_tax"], currency),
            "subtotalPrice": money(row.get("subtotal_inc_tax"), currency),
            "refundedAmount": refunded(number(row.get("refunded_amount")), currency),
            "lineItems": [
                {
                    "productId": item.get("product_id") or None,
                    "variantId": item.get("variant_id") or None,
                    "title": plain_text(item.get("name")),
                    "quantity": item.get("quantity"),
                    "price": money(item.get("price_inc_tax"), currency),
                }
                for item in objects(items)
            ],
            "discountCodes": [
                {"code": used.get("code"), "amount": in_currency(_saved(row, used), currency)}
                for used in objects(coupons)
            ],
            "createdAt": _parse_rfc2822(row.get("date_created")),
            "updatedAt": _parse_rfc2822(row["date_modified"]),
        },
    )


def product_event(row: Row) -> NativeEvent | Unreadable:
    """Translate a product of V3 with `include=variants,images`."""
    variants, images = row.get("variants"), objects(row.get("images"))
    image = next((item for item in images if item.get("is_thumbnail") is True), images[0] if images else {})
    return _event(
        EventKind.PRODUCT,
        row,
        lambda: {
            "id": row["id"],
            "title": plain_text(reported(row, "name")),
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


def _saved(row: Row, coupon: Row) -> Decimal:
    """The discount of a coupon with tax."""
    charges = ("subtotal", "shipping_cost", "handling_cost", "wrapping_cost")
    net, gross = (
        sum((number(row.get(f"{name}_{tax}")) for name in charges), -number(row.get(f"total_{tax}")))
        for tax in ("ex_tax", "inc_tax")
    )
    all_saved = number(row.get("coupon_discount")) + number(row.get("discount_amount"))
    return saved_with_tax(number(coupon.get("discount")), all_saved, net, gross)


def _variant(row: Row) -> dict[str, object]:
    labels = [str(option.get("label")) for option in objects(row.get("option_values"))]
    title = plain_text(" / ".join(labels) or row.get("sku"))
    return {"externalVariantId": row.get("id"), "title": title or None, "imageUrl": row.get("image_url") or None}


def _event(kind: EventKind, row: Row, fields: Callable[[], dict[str, object]]) -> NativeEvent | Unreadable:
    return translate("bigcommerce", "BigCommerce", kind, row, fields, entity_id=row.get("id"), required=("updatedAt",))


def _parse_rfc2822(value: JsonValue) -> object:
    """The time; a value that is not one as it is."""
    try:
        return parsedate_to_datetime(str(value)) if value else None
    except ValueError:
        return value
