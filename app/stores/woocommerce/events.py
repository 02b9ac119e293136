"""WooCommerce's customers, orders and products, translated into events. Pure. Observed on WooCommerce 9.9.5.

Financial status by the order's status:

    pending, on-hold, failed     pending      (a failed payment can be tried again)
    processing, completed        paid         partially_refunded if refunds are listed
    refunded                     refunded
    cancelled                    voided
    partial-payment, partially-paid, partial-paid   partially_paid (plugins for deposits and instalments)
    checkout-draft, auto-draft   not an order yet: ignored
    trash                        ignored; the store may restore it
    any other (of a plugin)      paid if a payment date is set, otherwise pending

WooCommerce builds the body of a webhook when it sends it, not when the event happens. So `created` may contain a later
state, and may arrive after `updated`. Two orders of the same second have the same delivery id, so an event is identified by
its kind, id and content.

Amounts are reported without tax, and the tax beside them. The variants of a product are products of their own with the type
`variation`, and no part of its body. So a product with variations, and the product of a variation, is fetched
(`woocommerce.variations`).

If the WordPress user who owns the webhooks may not read an entity, WooCommerce signs and sends its REST error instead.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final  # Any: the store's JSON

from platform_relay.core import exact_json
from platform_relay.core.exact_json import webhook_json
from platform_relay.core.plain_numbers import is_count
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.stores.amounts import ZERO, in_currency, money, number, refunded, unit_price
from platform_relay.stores.native import (
    Ignored,
    NativeEvent,
    ParsedEntity,
    ParsedWebhook,
    ToFetch,
    Unreadable,
    invalid_signature,
    not_relayed,
    unreadable_webhook,
)
from platform_relay.stores.parsing import NULL, first_reported, names, objects, reported, value_at
from platform_relay.stores.text import plain_text
from platform_relay.stores.translation import translate

STATUS: Final[Mapping[str, str]] = {
    "pending": "pending",
    "on-hold": "pending",
    "failed": "pending",
    "processing": "paid",
    "completed": "paid",
    "refunded": "refunded",
    "cancelled": "voided",
    "partial-payment": "partially_paid",
    "partially-paid": "partially_paid",
    "partial-paid": "partially_paid",
}
"""The last three are those of plugins for deposits (WooCommerce Deposits, Deposits & Partial Payments by Webtomizer and by
Acowebs). They set the date of payment with the first payment."""
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
VARIATIONS: Final = ("variation", "subscription_variation")
"""The types of variants; the second one belongs to a plugin, as `variable-subscription`."""
VARIABLE: Final = ("variable", "variable-subscription")
"""The types of products with variations."""
VARIANTS: Final = "relay_variations"
"""The member that `woocommerce.variations` adds to a product: its variations, None if they are too many."""
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
        return not_relayed(f"the Platform has no event for {topic[:40]!r}", KINDS[resource], _entity_id(raw))
    return _entity(KINDS[resource], raw, headers.get("x-wc-webhook-id", ""))


def _entity(kind: EventKind, raw: bytes, webhook: str) -> ParsedWebhook:
    try:
        row = webhook_json(raw)
    except ValueError:
        return unreadable_webhook("WooCommerce", "its body is not JSON")
    if isinstance(row, dict) and not row.get("id") and isinstance(row.get("code"), str):
        return _rest_error(kind, row, webhook)
    return (_product_to_fetch(row, raw) if kind is EventKind.PRODUCT else None) or to_event(kind, row)


def _product_to_fetch(row: object, raw: bytes) -> ToFetch | None:
    """The product that must be fetched with its variations; None if the body contains the complete product."""
    if not isinstance(row, dict):
        return None
    product_id = row.get("id") if has_variations(row) else row.get("parent_id") if is_variation(row) else None
    if not isinstance(product_id, int) or product_id <= 0:
        return None
    version = hashlib.sha256(raw).hexdigest()[:32]
    return ToFetch(EventKind.PRODUCT, str(product_id), f"{EventKind.PRODUCT}:{product_id}:fetch:{version}")


def is_variation(row: object) -> bool:
    """Whether this is a variant, which is sent only as a part of its product."""
    return isinstance(row, dict) and str(row.get("type")) in VARIATIONS


def has_variations(row: object) -> bool:
    """Whether this is a product with variations, which the row does not contain yet."""
    return isinstance(row, dict) and row.get("type") in VARIABLE and VARIANTS not in row


def _entity_id(raw: bytes) -> Any:  # as above
    try:
        row = webhook_json(raw)
    except ValueError:
        return None
    return exact_json.member(row, "id")


def _rest_error(kind: EventKind, row: Mapping[str, Any], webhook: str) -> Ignored | Unreadable:
    """A signed REST error instead of the entity. Only `…_invalid_id` means that the entity was deleted meanwhile."""
    entity = kind.removesuffix("s")
    if row["code"].endswith("_invalid_id"):
        return Ignored(because(ReasonCode.GONE_FROM_STORE, entity=entity))
    response = f"{row['code']}: {row.get('message') or ''}"[:300]
    owned = f"webhook {webhook} and the other webhooks" if is_count(webhook) else "webhooks"
    facts = {"entity": entity, "response": response, "owner": f"the WordPress user who owns the {owned}"}
    return Unreadable(because(ReasonCode.STORE_WEBHOOKS_REFUSED, **facts), kind)


def to_event(kind: EventKind, row: object) -> ParsedEntity:
    """Translate an entity of the store's API (with numbers read as Decimal)."""
    values: dict[str, Any] = row if isinstance(row, dict) else {}
    if is_not_an_order(kind, values):
        return not_relayed(f"the order's status is {values['status']}", kind, values.get("id"))
    if kind is EventKind.PRODUCT and is_variation(values):
        return not_relayed("a variant is sent with its product", kind, values.get("id"))
    fields = {EventKind.CUSTOMER: _customer, EventKind.ORDER: _order, EventKind.PRODUCT: _product}[kind]
    entity_id = values["id"] if isinstance(values.get("id"), int) else None
    event = translate("woocommerce", "WooCommerce", kind, values, lambda: fields(values), entity_id=entity_id)
    if not isinstance(event, NativeEvent):
        return event
    content = event.event.model_dump_json(exclude_unset=True, by_alias=True)
    return replace(event, dedupe_key=f"{kind}:{event.event.id}:{hashlib.sha256(content.encode()).hexdigest()}")


def is_not_an_order(kind: EventKind, row: object) -> bool:
    """Whether an order is a cart, a draft, or in the trash."""
    return kind is EventKind.ORDER and isinstance(row, dict) and row.get("status") in NOT_AN_ORDER


def _customer(row: dict[str, Any]) -> dict[str, object]:
    return _set(
        id=row["id"] or None,
        email=first_reported(reported(row, "email"), reported(row, "billing", "email")),
        **names(row, "first_name", "last_name", row.get("billing")),
        phone=reported(row, "billing", "phone"),
        createdAt=_utc(row.get("date_created_gmt")),
        updatedAt=_utc(row.get("date_modified_gmt")),
    )


def _order(row: dict[str, Any]) -> dict[str, object]:
    items, currency = objects(row.get("line_items")), str(row.get("currency"))
    subtotals = [_line_subtotal(item) for item in items]
    subtotal = None if None in subtotals else in_currency(sum(filter(None, subtotals), ZERO), currency)
    paid_back = sum((abs(number(refund.get("total"))) for refund in objects(row.get("refunds"))), ZERO)
    return _set(
        id=row["id"] or None,
        customerId=row.get("customer_id") or None,
        email=reported(row, "billing", "email"),
        financialStatus=financial_status(row),
        currency=row.get("currency"),
        totalPrice=money(row.get("total"), currency),
        subtotalPrice=subtotal,
        refundedAmount=refunded(paid_back, currency),
        lineItems=[
            _set(
                productId=item.get("product_id") or None,
                variantId=item.get("variation_id") or None,
                title=plain_text(item.get("name")),
                quantity=item.get("quantity"),
                price=None if amount is None else unit_price(amount, number(item.get("quantity")), currency),
            )
            for item, amount in zip(items, subtotals, strict=True)
        ],
        discountCodes=[
            _set(code=line.get("code"), amount=in_currency(_with_tax(line, "discount"), currency))
            for line in objects(row.get("coupon_lines"))
        ],
        createdAt=_utc(row.get("date_created_gmt")),
        updatedAt=_utc(row.get("date_modified_gmt")),
    )


def _product(row: dict[str, Any]) -> dict[str, object]:
    images, variations = objects(row.get("images")), row.get(VARIANTS)
    return _set(
        id=row["id"] or None,
        title=plain_text(reported(row, "name")),
        imageUrl=images[0].get("src") if images else NULL if "images" in row else None,
        status="active" if row.get("status") == "publish" else "draft",
        externalUrlHandle=reported(row, "slug"),
        variants=None if variations is None else [_variant(item, number) for number, item in enumerate(variations, 1)],
        updatedAt=_utc(row.get("date_modified_gmt")),
    )


def _variant(row: dict[str, Any], position: int) -> dict[str, object]:
    options = [str(attribute["option"]) for attribute in objects(row.get("attributes")) if attribute.get("option")]
    return _set(
        externalVariantId=row["id"],
        title=plain_text(" / ".join(options) or row.get("name") or row.get("sku")),
        imageUrl=value_at(row, "image", "src"),
        status="active" if row.get("status") == "publish" else "draft",
        position=position,
    )


def financial_status(row: Mapping[str, Any]) -> str:
    """The financial status of an order, by the table above."""
    status = str(row.get("status", ""))
    result = STATUS.get(status) or ("paid" if row.get("date_paid_gmt") else "pending")
    return "partially_refunded" if result == "paid" and row.get("refunds") else result


def _utc(text: object) -> str | None:
    """The API's `…_gmt` times have no time zone."""
    return f"{text}Z" if isinstance(text, str) and text else None


def _line_subtotal(item: dict[str, Any]) -> Decimal | None:
    """What the units of a line cost with tax, before discounts. A plugin's line without a subtotal has its total; None without
    both."""
    name = next((name for name in ("subtotal", "total") if item.get(name) not in (None, "")), None)
    return None if name is None else _with_tax(item, name)


def _with_tax(row: dict[str, Any], name: str) -> Decimal:
    """An amount that the store reports without tax, plus its tax, which is a field of its own."""
    return number(row.get(name)) + number(row.get(f"{name}_tax"))


def _set(**fields: object) -> dict[str, object]:
    """The fields that are known. NULL stays: `translate` makes it null."""
    return {name: value for name, value in fields.items() if value is not None and value != ""}
