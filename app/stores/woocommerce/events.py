"""WooCommerce's customers, orders and products, translated into events. Pure. Observed on WooCommerce 9.9.5.

Financial status by the order's status:

    pending, on-hold, failed     pending      (a failed payment can be tried again)
    processing, completed        paid         partially_refunded if refunds are listed
    refunded                     refunded
    cancelled                    voided
    checkout-draft, auto-draft   not an order yet: ignored
    trash                        ignored; the store may restore it
    any other (of a plugin)      paid if a payment date is set, otherwise pending

WooCommerce builds the body of a webhook when it sends it, not when the event happens. So `created` may contain a later
state, and may arrive after `updated`. Two orders of the same second have the same delivery id, so an event is identified by
its kind, id and content.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final  # Any: the store's JSON

from pydantic import ValidationError

from platform_relay.core import exact_json
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent
from platform_relay.stores.native import (
    Ignored,
    NativeEvent,
    ParsedWebhook,
    invalid_signature,
    not_relayed,
    unreadable_entity,
    unreadable_webhook,
)
from platform_relay.stores.parsing import NULL, first_reported, reported, set_fields, validation_problem

STATUS: Final[Mapping[str, str]] = {
    "pending": "pending",
    "on-hold": "pending",
    "failed": "pending",
    "processing": "paid",
    "completed": "paid",
    "refunded": "refunded",
    "cancelled": "voided",
}
NOT_AN_ORDER: Final = ("checkout-draft", "auto-draft", "trash")
TOPICS: Final = (
    "customer.created",
    "customer.updated",
    "order.created",
    "order.updated",
    "product.created",
    "product.updated",
)
KINDS: Final = {"customer": EventKind.CUSTOMER, "order": EventKind.ORDER, "product": EventKind.PRODUCT}
PLACES: Final = Decimal("0.0001")
SIGNED_WITH: Final = "WOOCOMMERCE__WEBHOOK_SECRET"


def parse_webhook(headers: Mapping[str, str], raw: bytes, secret: bytes) -> ParsedWebhook:
    """Verify and translate a webhook. X-WC-Webhook-Signature contains base64(HMAC-SHA256(raw body, secret)).

    Only the ping after the creation of a webhook is unsigned: a form with `webhook_id`. It is accepted, as it leads to nothing.
    """
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded") and raw.startswith(
        b"webhook_id="
    ):
        return not_relayed("it is the unsigned ping that the store sends after the creation of a webhook")
    expected = base64.b64encode(hmac.digest(secret, raw, "sha256")).decode()
    if not hmac.compare_digest(headers.get("x-wc-webhook-signature", "").encode(), expected.encode()):
        return invalid_signature(SIGNED_WITH)
    topic = headers.get("x-wc-webhook-topic", "")
    resource, _, event = topic.partition(".")
    if resource not in KINDS:
        return not_relayed(f"the topic {topic[:40]!r} is not about customers, orders or products")
    if event not in ("created", "updated", "restored"):
        return not_relayed(f"the Platform has no event for {topic[:40]!r}")
    try:
        row = exact_json.loads(raw)
    except ValueError:
        return unreadable_webhook("WooCommerce", "its body is not JSON")
    return to_event(KINDS[resource], row)


def to_event(kind: EventKind, row: object) -> NativeEvent | Ignored:
    """Translate an entity of the store's API (with numbers read as Decimal)."""
    if not isinstance(row, dict) or not isinstance(row.get("id"), int) or row.get("id") == 0:
        if isinstance(row, dict) and row.get("code"):  # an error instead of the entity
            return Ignored(because(ReasonCode.GONE_FROM_STORE, entity=kind.removesuffix("s")))
        return Ignored(unreadable_entity("WooCommerce", kind, None, "the body does not contain it"))
    if is_not_an_order(kind, row):
        return not_relayed(f"the order's status is {row['status']}")
    try:
        event = (
            _customer(row) if kind is EventKind.CUSTOMER else _order(row) if kind is EventKind.ORDER else _product(row)
        )
    except (ValidationError, ArithmeticError, AttributeError, TypeError) as error:
        return Ignored(unreadable_entity("WooCommerce", kind, row["id"], validation_problem(error)))
    content = event.model_dump_json(exclude_unset=True, by_alias=True)
    return NativeEvent(kind, event, f"{kind}:{event.id}:{hashlib.sha256(content.encode()).hexdigest()}")


def is_not_an_order(kind: EventKind, row: object) -> bool:
    """Whether an order is a cart, a draft, or in the trash."""
    return kind is EventKind.ORDER and isinstance(row, dict) and row.get("status") in NOT_AN_ORDER


def _customer(row: dict[str, Any]) -> CustomerEvent:
    return CustomerEvent.model_validate(
        _set(
            id=row["id"],
            email=first_reported(reported(row, "email"), reported(row, "billing", "email")),
            firstName=reported(row, "first_name"),
            lastName=reported(row, "last_name"),
            phone=reported(row, "billing", "phone"),
            createdAt=_utc(row.get("date_created_gmt")),
            updatedAt=_utc(row.get("date_modified_gmt")),
        )
    )


def _order(row: dict[str, Any]) -> OrderEvent:
    items = row.get("line_items") or []
    return OrderEvent.model_validate(
        _set(
            id=row["id"],
            customerId=row.get("customer_id") or None,
            email=reported(row, "billing", "email"),
            financialStatus=financial_status(row),
            currency=row.get("currency"),
            totalPrice=_money(row.get("total")),
            subtotalPrice=_money(sum((Decimal(str(item.get("total") or 0)) for item in items), Decimal(0))),
            lineItems=[
                _set(
                    productId=item.get("product_id") or None,
                    variantId=item.get("variation_id") or None,
                    title=item.get("name"),
                    quantity=item.get("quantity"),
                    price=_money(item.get("price")),
                )
                for item in items
            ],
            discountCodes=[
                _set(code=line.get("code"), amount=_money(line.get("discount")))
                for line in row.get("coupon_lines") or []
            ],
            createdAt=_utc(row.get("date_created_gmt")),
            updatedAt=_utc(row.get("date_modified_gmt")),
        )
    )


def _product(row: dict[str, Any]) -> ProductEvent:
    images = row.get("images") or []
    return ProductEvent.model_validate(
        _set(
            id=row["id"],
            title=reported(row, "name"),
            imageUrl=images[0].get("src") if images else NULL if "images" in row else None,
            status="active" if row.get("status") == "publish" else "draft",
            externalUrlHandle=reported(row, "slug"),
            updatedAt=_utc(row.get("date_modified_gmt")),
        )
    )


def financial_status(row: Mapping[str, Any]) -> str:
    """The financial status of an order, by the table above."""
    status = str(row.get("status", ""))
    result = STATUS.get(status) or ("paid" if row.get("date_paid_gmt") else "pending")
    return "partially_refunded" if result == "paid" and row.get("refunds") else result


def _utc(text: object) -> str | None:
    """The API's `…_gmt` times have no time zone."""
    return f"{text}Z" if isinstance(text, str) and text else None


def _money(value: object) -> str | None:
    return None if value in (None, "") else f"{Decimal(str(value)).quantize(PLACES).normalize():f}"


def _set(**fields: object) -> dict[str, object]:
    return set_fields({name: value for name, value in fields.items() if value != ""})
