"""Saleor's customers, orders and products, translated into events, from webhooks, lists and single entities.

A webhook of the relay contains the fields of its subscription (`saleor.documents`), which are those of the lists. A webhook
that somebody else set up contains other fields, or, without a subscription, an array with one object in snake_case, which
lacks an order's customer and payment. For these the entity is fetched.

Financial status of an order; the first line that fits applies:

    status EXPIRED                                                                          expired
    paymentStatus FULLY_REFUNDED; something refunded and nothing charged any more           refunded
    paymentStatus PARTIALLY_REFUNDED; something refunded                                    partially_refunded
    status CANCELED                                                                         voided
    chargeStatus FULL or OVERCHARGED; paymentStatus FULLY_CHARGED                           paid
    chargeStatus PARTIAL; paymentStatus PARTIALLY_CHARGED                                   partially_paid
    authorizeStatus FULL or PARTIAL                                                         authorized
    otherwise                                                                               pending
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import InvalidOperation
from typing import Final, cast

from pydantic import JsonValue, ValidationError

from platform_relay.core import exact_json
from platform_relay.inbox.events import (
    CustomerEvent,
    EventKind,
    FinancialStatus,
    OrderEvent,
    ProductEvent,
)
from platform_relay.stores.native import (
    NativeEvent,
    Page,
    ParsedWebhook,
    ToFetch,
    native_event,
    not_relayed,
    unreadable_webhook,
)
from platform_relay.stores.parsing import Null, amount_with_cents, parse_time, reported, set_fields, value_at
from platform_relay.stores.saleor import documents as documents
from platform_relay.stores.saleor.api import RESPONSES, Node, SaleorApi, nodes

LISTS: Final[Mapping[EventKind, tuple[str, str]]] = {
    EventKind.CUSTOMER: ("customers", documents.CUSTOMERS),
    EventKind.ORDER: ("orders", documents.ORDERS),
    EventKind.PRODUCT: ("products", documents.PRODUCTS),
}
SINGLE: Final[Mapping[EventKind, tuple[str, str]]] = {
    EventKind.CUSTOMER: ("user", documents.CUSTOMER),
    EventKind.ORDER: ("order", documents.ORDER),
    EventKind.PRODUCT: ("product", documents.PRODUCT),
}
LEGACY: Final[Mapping[str, EventKind]] = {
    "User": EventKind.CUSTOMER,
    "Order": EventKind.ORDER,
    "Product": EventKind.PRODUCT,
}


async def fetch_entity(api: SaleorApi, kind: EventKind, entity_id: str, channel: str) -> NativeEvent | None:
    """Return one entity by its id; None if it does not exist."""
    field, document = SINGLE[kind]
    data = await api.read(document, f"the {kind.removesuffix('s')}", id=entity_id)
    node = data.get(field)
    if not isinstance(node, dict):
        return None
    if event := to_event(kind, node, channel):
        return event
    raise RESPONSES.unreadable_entity(kind, entity_id)


async def list_entities(
    api: SaleorApi, kind: EventKind, since: datetime | None, cursor: str | None, channel: str
) -> Page:
    """Return a page of the entities that changed since `since`. The cursor is `since`, a bar, and Saleor's own cursor."""
    if cursor:
        start, _, after = cursor.partition("|")
    else:
        start, after = (since.astimezone(UTC).isoformat() if since else ""), ""
    field, document = LISTS[kind]
    updated: JsonValue = {"gte": start} if start else None
    data = await api.read(document, f"the list of {kind}", after=after or None, updated=updated)
    listed = data.get(field)
    if not isinstance(listed, dict) or not isinstance(listed.get("edges"), list):
        raise RESPONSES.unreadable(f"the list of {kind}", "it does not contain the list")
    events = (to_event(kind, node, channel) for node in nodes(listed) if node.get("status") != "DRAFT")
    has_next = value_at(listed, "pageInfo", "hasNextPage") is True
    cursor = f"{start}|{value_at(listed, 'pageInfo', 'endCursor')}" if has_next else None
    return Page(tuple(event for event in events if event), cursor)


def parse_webhook(headers: Mapping[str, str], raw: bytes, channel: str) -> ParsedWebhook:
    """Translate a verified webhook."""
    name = headers.get("saleor-event") or headers.get("x-saleor-event") or "an event without a name"
    try:
        body = cast("JsonValue", exact_json.loads(raw))  # with Decimals instead of floats
    except ValueError:
        return unreadable_webhook("Saleor", f"{name}: its body is not JSON")
    if name.endswith("_deleted") and not name.startswith("product_variant"):
        return not_relayed(f"{name}: deletions are not relayed")
    entity = _entity(body)
    if entity is None:
        return not_relayed(f"{name}: it contains no customer, order or product")
    kind, node = entity
    if str(node.get("status")).upper() == "DRAFT":
        return not_relayed(f"{name}: a draft is not an order yet")
    entity_id = node.get("id")
    if not isinstance(entity_id, str) or not entity_id:
        return not_relayed(f"{name}: the {kind} has no id")
    complete = to_event(kind, node, channel) if "updatedAt" in node else None
    return complete or ToFetch(kind, entity_id, f"saleor:{kind}:{entity_id}:{hashlib.sha256(raw).hexdigest()[:32]}")


def _entity(body: JsonValue) -> tuple[EventKind, Node] | None:
    """The customer, order or product in the body of a subscription, or in a body without one (an array with one object)."""
    if isinstance(body, list):
        first = body[0] if body else None
        kind = LEGACY.get(str(first.get("type"))) if isinstance(first, dict) else None
        return (kind, first) if kind and isinstance(first, dict) else None
    if not isinstance(body, dict):
        return None
    variant = body.get("productVariant")
    inside: Node = {**body, **(variant if isinstance(variant, dict) else {})}
    for kind, (field, _) in SINGLE.items():
        node = inside.get(field)
        if isinstance(node, dict):
            return kind, node
    return None


def to_event(kind: EventKind, node: Node, channel: str) -> NativeEvent | None:
    """Translate an entity with the fields of `saleor.documents`; None if it cannot be read."""
    try:
        event = _event(kind, node, channel)
    except (ValidationError, InvalidOperation, ValueError, KeyError):
        return None
    return native_event("saleor", kind, event)


def _event(kind: EventKind, node: Node, channel: str) -> CustomerEvent | OrderEvent | ProductEvent:
    match kind:
        case EventKind.CUSTOMER:
            return customer(node)
        case EventKind.ORDER:
            return order(node)
        case EventKind.PRODUCT:
            return product(node, channel)


def customer(node: Node) -> CustomerEvent:
    """Translate a user. Raises ValueError or KeyError if it cannot be read."""
    return CustomerEvent.model_validate(
        set_fields(
            {
                "id": str(node["id"]),
                "email": _reported_text(node, "email"),
                "firstName": _reported_text(node, "firstName"),
                "lastName": _reported_text(node, "lastName"),
                "createdAt": parse_time(node.get("dateJoined")),
                "updatedAt": parse_time(node["updatedAt"]),
            }
        )
    )


def order(node: Node) -> OrderEvent:
    """Translate an order. Raises ValueError or KeyError if it cannot be read."""
    total, code = value_at(node, "total", "gross"), _text(node.get("voucherCode"))
    vouchers = [row for row in nodes(node.get("discounts")) if row.get("type") == "VOUCHER"]
    discount = sum((amount_with_cents(value_at(row, "total", "amount")) for row in vouchers), amount_with_cents(0))
    return OrderEvent.model_validate(
        set_fields(
            {
                "id": str(node["id"]),
                "customerId": _text(value_at(node, "user", "id")),
                "email": _reported_text(node, "userEmail"),
                "financialStatus": financial_status(node),
                "currency": str(value_at(total, "currency")),
                "totalPrice": amount_with_cents(value_at(total, "amount")),
                "subtotalPrice": amount_with_cents(value_at(node, "subtotal", "gross", "amount")),
                "lineItems": [_line(row) for row in nodes(node["lines"])],
                "discountCodes": [set_fields({"code": code, "amount": discount if vouchers else None})] if code else [],
                "createdAt": parse_time(node.get("created")),
                "updatedAt": parse_time(node["updatedAt"]),
            }
        )
    )


def _line(node: Node) -> dict[str, object]:
    names = [_text(node.get("productName")), _text(node.get("variantName"))]
    quantity = node.get("quantity")
    return set_fields(
        {
            "productId": _text(value_at(node, "variant", "product", "id")),
            "variantId": _text(value_at(node, "variant", "id")) or _text(node.get("productVariantId")),
            "title": " – ".join(name for name in names if name) or None,
            "quantity": quantity if isinstance(quantity, int) else None,
            "price": amount_with_cents(value_at(node, "unitPrice", "gross", "amount")),
        }
    )


def financial_status(node: Node) -> FinancialStatus:
    """The financial status of an order, by the table above. Raises KeyError if the payment is missing."""
    charge, authorized, paid = node["chargeStatus"], node["authorizeStatus"], node.get("paymentStatus")
    refunded, charged = (
        amount_with_cents(value_at(node, "totalRefunded", "amount")),
        amount_with_cents(value_at(node, "totalCharged", "amount")),
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
    return next((status for applies, status in rules if applies), "pending")


def product(node: Node, channel: str) -> ProductEvent:
    """Translate a product as it is in `channel`. Raises ValueError or KeyError if it cannot be read.

    Variants are sent only if all of them are known, because the Platform deletes the others.
    """
    listings = [row for row in nodes(node.get("channelListings")) if value_at(row, "channel", "slug") == channel]
    connection = node.get("productVariants")
    complete = value_at(connection, "pageInfo", "hasNextPage") is False
    variants = [
        set_fields({"externalVariantId": str(row["id"]), "title": _text(row.get("name")), "position": position})
        for position, row in enumerate(nodes(connection), 1)
    ]
    return ProductEvent.model_validate(
        set_fields(
            {
                "id": str(node["id"]),
                "title": _reported_text(node, "name"),
                "imageUrl": _reported_text(node, "thumbnail", "url"),
                "status": "active" if any(row.get("isPublished") is True for row in listings) else "draft",
                "externalUrlHandle": _reported_text(node, "slug"),
                "variants": variants if complete else None,
                "updatedAt": parse_time(node["updatedAt"]),
            }
        )
    )


def _reported_text(node: Node, *path: str) -> str | Null | None:
    value = reported(node, *path)
    return value if isinstance(value, Null) else _text(value)


def _text(value: JsonValue) -> str | None:
    return value or None if isinstance(value, str) else None
