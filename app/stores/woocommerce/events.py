"""WooCommerce's own words for customers, orders and products, in ours. Pure. Observed on WooCommerce 9.9.5.

    pending, on-hold, failed     pending      (a failed payment may be tried again)
    processing, completed        paid         partially_refunded when refunds are listed
    refunded                     refunded
    cancelled                    voided
    checkout-draft, auto-draft   no order yet: ignored
    trash                        ignored; the store may restore it
    any other (a plugin's)       paid when a payment date is set, else pending

A webhook's body is built when it is sent, not when the event happened, so `created` may show a later state, and arrive
after `updated`. Two orders of one second share a delivery id: news is known by kind, id and body instead.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final  # Any: the store's JSON

from pydantic import ValidationError

from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.messages import CustomerEvent, Kind, OrderEvent, ProductEvent
from platform_relay.stores.native import (
    Ignored,
    NativeEvent,
    Parsed,
    not_relayed,
    unreadable_entity,
    unreadable_webhook,
    wrong_signature,
)
from platform_relay.stores.reading import problem_of

Shown = Mapping[str, Any]

STATUS: Final[Mapping[str, str]] = {
    "pending": "pending",
    "on-hold": "pending",
    "failed": "pending",
    "processing": "paid",
    "completed": "paid",
    "refunded": "refunded",
    "cancelled": "voided",
}
NO_ORDER: Final = ("checkout-draft", "auto-draft", "trash")
TOPICS: Final = (
    "customer.created",
    "customer.updated",
    "order.created",
    "order.updated",
    "product.created",
    "product.updated",
)
KINDS: Final = {"customer": Kind.CUSTOMER, "order": Kind.ORDER, "product": Kind.PRODUCT}
PLACES: Final = Decimal("0.0001")
SIGNED_WITH: Final = "WOOCOMMERCE__WEBHOOK_SECRET"


def parse(headers: Mapping[str, str], raw: bytes, secret: bytes) -> Parsed:
    """A webhook of the shop: signed with base64(HMAC-SHA256(raw body, secret)) in X-WC-Webhook-Signature.

    The only unsigned one is the ping at its creation, a form with `webhook_id`; it owes nothing, so it is let in.
    """
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded") and raw.startswith(
        b"webhook_id="
    ):
        return not_relayed("the webhook is the store's unsigned ping after its creation")
    expected = base64.b64encode(hmac.digest(secret, raw, "sha256")).decode()
    if not hmac.compare_digest(headers.get("x-wc-webhook-signature", "").encode(), expected.encode()):
        return wrong_signature(SIGNED_WITH)
    topic = headers.get("x-wc-webhook-topic", "")
    resource, _, happened = topic.partition(".")
    if resource not in KINDS:
        return not_relayed(f"the topic {topic[:40]!r} is not about customers, orders or products")
    if happened not in ("created", "updated", "restored"):
        return not_relayed(f"the Platform has no counterpart of {topic[:40]!r}")
    try:
        shown = json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError):
        return unreadable_webhook("WooCommerce", "its body is not JSON")
    return event_of(KINDS[resource], shown)


def event_of(kind: Kind, shown: object) -> NativeEvent | Ignored:
    """One entity as the store's API shows it (floats read as Decimal)."""
    if not isinstance(shown, dict) or not isinstance(shown.get("id"), int) or shown.get("id") == 0:
        if isinstance(shown, dict) and shown.get("code"):  # an error instead of the entity
            return Ignored(because(ReasonCode.GONE_FROM_STORE, entity=kind.removesuffix("s")))
        return Ignored(unreadable_entity("WooCommerce", kind, None, "it is not shown"))
    if is_no_order(kind, shown):
        return not_relayed(f"the order's status is {shown['status']}")
    try:
        event = _customer(shown) if kind is Kind.CUSTOMER else _order(shown) if kind is Kind.ORDER else _product(shown)
    except (ValidationError, ArithmeticError, AttributeError, TypeError) as error:
        return Ignored(unreadable_entity("WooCommerce", kind, shown["id"], problem_of(error)))
    content = event.model_dump_json(exclude_none=True, by_alias=True)
    return NativeEvent(kind, event, f"{kind}:{event.id}:{hashlib.sha256(content.encode()).hexdigest()}")


def is_no_order(kind: Kind, shown: object) -> bool:
    """A cart, a draft or what is in the trash."""
    return kind is Kind.ORDER and isinstance(shown, dict) and shown.get("status") in NO_ORDER


def _customer(shown: Shown) -> CustomerEvent:
    billing = shown.get("billing") or {}
    return CustomerEvent.model_validate(
        _set(
            id=shown["id"],
            email=shown.get("email") or billing.get("email"),
            firstName=shown.get("first_name"),
            lastName=shown.get("last_name"),
            phone=billing.get("phone"),
            createdAt=_utc(shown.get("date_created_gmt")),
            updatedAt=_utc(shown.get("date_modified_gmt")),
        )
    )


def _order(shown: Shown) -> OrderEvent:
    items = shown.get("line_items") or []
    return OrderEvent.model_validate(
        _set(
            id=shown["id"],
            customerId=shown.get("customer_id") or None,
            email=(shown.get("billing") or {}).get("email"),
            financialStatus=financial_status(shown),
            currency=shown.get("currency"),
            totalPrice=_money(shown.get("total")),
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
                for line in shown.get("coupon_lines") or []
            ],
            createdAt=_utc(shown.get("date_created_gmt")),
            updatedAt=_utc(shown.get("date_modified_gmt")),
        )
    )


def _product(shown: Shown) -> ProductEvent:
    images = shown.get("images") or []
    return ProductEvent.model_validate(
        _set(
            id=shown["id"],
            title=shown.get("name"),
            imageUrl=images[0].get("src") if images else None,
            status="active" if shown.get("status") == "publish" else "draft",
            externalUrlHandle=shown.get("slug"),
            updatedAt=_utc(shown.get("date_modified_gmt")),
        )
    )


def financial_status(shown: Shown) -> str:
    """The Platform's word for an order's state."""
    status = str(shown.get("status", ""))
    found = STATUS.get(status) or ("paid" if shown.get("date_paid_gmt") else "pending")
    return "partially_refunded" if found == "paid" and shown.get("refunds") else found


def _utc(text: object) -> str | None:
    """The API's `…_gmt` times have no offset."""
    return f"{text}Z" if isinstance(text, str) and text else None


def _money(value: object) -> str | None:
    return None if value in (None, "") else f"{Decimal(str(value)).quantize(PLACES).normalize():f}"


def _set(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (None, "")}
