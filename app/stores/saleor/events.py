"""Saleor's customers, orders and products in the words of `platform_relay.inbox.messages`: webhooks, lists, single ones.

A webhook of ours carries what its subscription asks for (`saleor.documents`), which is what the lists ask for too. One
that somebody else set up carries other fields, or, without a subscription, an array of one object in snake_case that
lacks an order's buyer and payment: then the entity is fetched.

What an order's state means, the first line that applies:

    status EXPIRED                                                                          expired
    paymentStatus FULLY_REFUNDED; something refunded and nothing charged any more           refunded
    paymentStatus PARTIALLY_REFUNDED; something refunded                                    partially_refunded
    status CANCELED                                                                         voided
    chargeStatus FULL or OVERCHARGED; paymentStatus FULLY_CHARGED                           paid
    chargeStatus PARTIAL; paymentStatus PARTIALLY_CHARGED                                   partially_paid
    authorizeStatus FULL or PARTIAL                                                         authorized
    else                                                                                    pending
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import InvalidOperation
from typing import Final

from pydantic import JsonValue, ValidationError

from platform_relay.inbox.messages import (
    CustomerEvent,
    DiscountCode,
    FinancialStatus,
    Kind,
    LineItem,
    OrderEvent,
    ProductEvent,
    Variant,
)
from platform_relay.stores.native import (
    NativeEvent,
    Page,
    Parsed,
    ToFetch,
    native_event,
    not_relayed,
    unreadable_webhook,
)
from platform_relay.stores.reading import with_cents, within
from platform_relay.stores.saleor import documents as documents
from platform_relay.stores.saleor.api import RESPONSES, Node, SaleorApi, nodes
from platform_relay.stores.saleor.vouchers import moment

LISTS: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.CUSTOMER: ("customers", documents.CUSTOMERS),
    Kind.ORDER: ("orders", documents.ORDERS),
    Kind.PRODUCT: ("products", documents.PRODUCTS),
}
ONES: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.CUSTOMER: ("user", documents.CUSTOMER),
    Kind.ORDER: ("order", documents.ORDER),
    Kind.PRODUCT: ("product", documents.PRODUCT),
}
LEGACY: Final[Mapping[str, Kind]] = {"User": Kind.CUSTOMER, "Order": Kind.ORDER, "Product": Kind.PRODUCT}


async def one(api: SaleorApi, kind: Kind, entity_id: str, channel: str) -> NativeEvent | None:
    """One entity by its id; None when there is none."""
    field, document = ONES[kind]
    data = await api.read(document, f"the {kind.removesuffix('s')}", id=entity_id)
    node = data.get(field)
    if not isinstance(node, dict):
        return None
    if event := translated(kind, node, channel):
        return event
    raise RESPONSES.unreadable_entity(kind, entity_id)


async def page(api: SaleorApi, kind: Kind, since: datetime | None, cursor: str | None, channel: str) -> Page:
    """Entities changed since, by time of change. The cursor is Saleor's own, with the same `since`, written before it."""
    if cursor:
        began, _, after = cursor.partition("|")
    else:
        began, after = (since.astimezone(UTC).isoformat() if since else ""), ""
    field, document = LISTS[kind]
    updated: JsonValue = {"gte": began} if began else None
    data = await api.read(document, f"the list of {kind}", after=after or None, updated=updated)
    listed = data.get(field)
    if not isinstance(listed, dict) or not isinstance(listed.get("edges"), list):
        raise RESPONSES.unreadable(f"the list of {kind}", "it has no list")
    read = (translated(kind, node, channel) for node in nodes(listed) if node.get("status") != "DRAFT")
    info = listed.get("pageInfo")
    more = isinstance(info, dict) and info.get("hasNextPage") is True
    following = f"{began}|{info.get('endCursor')}" if more and isinstance(info, dict) else None
    return Page(tuple(event for event in read if event), following)


def parsed(headers: Mapping[str, str], raw: bytes, channel: str) -> Parsed:
    """What a webhook whose signature was right says."""
    name = headers.get("saleor-event") or headers.get("x-saleor-event") or "an event without a name"
    try:
        body: JsonValue = json.loads(raw)
    except (ValueError, RecursionError):
        return unreadable_webhook("Saleor", f"{name}: the body is not JSON")
    if name.endswith("_deleted") and not name.startswith("product_variant"):
        return not_relayed(f"{name}: deletions are not relayed")
    held = _entity(body)
    if held is None:
        return not_relayed(f"{name}: it is about no customer, order or product")
    kind, node = held
    if str(node.get("status")).upper() == "DRAFT":
        return not_relayed(f"{name}: a draft is no order yet")
    entity_id = node.get("id")
    if not isinstance(entity_id, str) or not entity_id:
        return not_relayed(f"{name}: the {kind} has no id")
    complete = translated(kind, node, channel) if "updatedAt" in node else None
    return complete or ToFetch(kind, entity_id, f"saleor:{kind}:{entity_id}:{hashlib.sha256(raw).hexdigest()[:32]}")


def _entity(body: JsonValue) -> tuple[Kind, Node] | None:
    """The customer, order or product in a subscription's body, or in a body without one (an array of one)."""
    if isinstance(body, list):
        first = body[0] if body else None
        kind = LEGACY.get(str(first.get("type"))) if isinstance(first, dict) else None
        return (kind, first) if kind and isinstance(first, dict) else None
    if not isinstance(body, dict):
        return None
    variant = body.get("productVariant")
    inside: Node = {**body, **(variant if isinstance(variant, dict) else {})}
    for kind, (field, _) in ONES.items():
        node = inside.get(field)
        if isinstance(node, dict):
            return kind, node
    return None


def translated(kind: Kind, node: Node, channel: str) -> NativeEvent | None:
    """An entity with our documents' fields in our words; None when it cannot be read."""
    try:
        event = _event(kind, node, channel)
    except (ValidationError, InvalidOperation, ValueError, KeyError):
        return None
    return native_event("saleor", kind, event)


def _event(kind: Kind, node: Node, channel: str) -> CustomerEvent | OrderEvent | ProductEvent:
    match kind:
        case Kind.CUSTOMER:
            return customer(node)
        case Kind.ORDER:
            return order(node)
        case Kind.PRODUCT:
            return product(node, channel)


def customer(node: Node) -> CustomerEvent:
    """A user. Raises ValueError or KeyError when it cannot be read."""
    return CustomerEvent(
        id=str(node["id"]),
        email=_text(node.get("email")),
        firstName=_text(node.get("firstName")),
        lastName=_text(node.get("lastName")),
        createdAt=moment(node.get("dateJoined")),
        updatedAt=moment(node["updatedAt"]),
    )


def order(node: Node) -> OrderEvent:
    """An order. Raises ValueError or KeyError when it cannot be read."""
    total, code = within(node, "total", "gross"), _text(node.get("voucherCode"))
    vouchers = [each for each in nodes(node.get("discounts")) if each.get("type") == "VOUCHER"]
    saved = sum((with_cents(within(each, "total", "amount")) for each in vouchers), with_cents(0))
    return OrderEvent(
        id=str(node["id"]),
        customerId=_text(within(node, "user", "id")),
        email=_text(node.get("userEmail")),
        financialStatus=financial_status(node),
        currency=str(within(total, "currency")),
        totalPrice=with_cents(within(total, "amount")),
        subtotalPrice=with_cents(within(node, "subtotal", "gross", "amount")),
        lineItems=[_line(each) for each in nodes(node["lines"])],
        discountCodes=[DiscountCode(code=code, amount=saved if vouchers else None)] if code else [],
        createdAt=moment(node.get("created")),
        updatedAt=moment(node["updatedAt"]),
    )


def _line(node: Node) -> LineItem:
    names = [_text(node.get("productName")), _text(node.get("variantName"))]
    quantity = node.get("quantity")
    return LineItem(
        productId=_text(within(node, "variant", "product", "id")),
        variantId=_text(within(node, "variant", "id")) or _text(node.get("productVariantId")),
        title=" – ".join(name for name in names if name) or None,
        quantity=quantity if isinstance(quantity, int) else None,
        price=with_cents(within(node, "unitPrice", "gross", "amount")),
    )


def financial_status(node: Node) -> FinancialStatus:
    """The table at the top of this file. Raises KeyError when the order's payment is not told."""
    charge, authorized, paid = node["chargeStatus"], node["authorizeStatus"], node.get("paymentStatus")
    refunded, charged = (
        with_cents(within(node, "totalRefunded", "amount")),
        with_cents(within(node, "totalCharged", "amount")),
    )
    rules: tuple[tuple[bool, FinancialStatus], ...] = (
        (node["status"] == "EXPIRED", "expired"),
        (paid == "FULLY_REFUNDED" or (refunded > 0 and charged <= 0), "refunded"),
        (paid == "PARTIALLY_REFUNDED" or refunded > 0, "partially_refunded"),
        (node["status"] == "CANCELED", "voided"),
        (charge in ("FULL", "OVERCHARGED") or paid == "FULLY_CHARGED", "paid"),
        (charge == "PARTIAL" or paid == "PARTIALLY_CHARGED", "partially_paid"),
        (authorized in ("FULL", "PARTIAL"), "authorized"),
    )
    return next((status for holds, status in rules if holds), "pending")


def product(node: Node, channel: str) -> ProductEvent:
    """A product as `channel` shows it. Raises ValueError or KeyError when it cannot be read.

    Variants are told only when all of them are known, as the Platform deletes those that are not told.
    """
    listings = [each for each in nodes(node.get("channelListings")) if within(each, "channel", "slug") == channel]
    held = node.get("productVariants")
    whole = isinstance(held, dict) and within(held, "pageInfo", "hasNextPage") is False
    variants = [
        Variant(externalVariantId=str(each["id"]), title=_text(each.get("name")), position=position)
        for position, each in enumerate(nodes(held), 1)
    ]
    return ProductEvent(
        id=str(node["id"]),
        title=_text(node.get("name")),
        imageUrl=_text(within(node, "thumbnail", "url")),
        status="active" if any(each.get("isPublished") is True for each in listings) else "draft",
        externalUrlHandle=_text(node.get("slug")),
        variants=variants if whole else None,
        updatedAt=moment(node["updatedAt"]),
    )


def _text(value: JsonValue) -> str | None:
    return value or None if isinstance(value, str) else None
