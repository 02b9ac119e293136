"""Saleor's customers, orders and products, translated into events, from webhooks, lists and single entities.

A webhook of the relay contains the fields of its subscription (`saleor.documents`), which are those of the lists. A webhook
that somebody else set up contains other fields, or, without a subscription, an array with one object in snake_case, which
lacks an order's customer and payment. For these the entity is fetched. A fixed voucher and a voucher in percent take off the
gross price where the channel's prices contain tax, and the net price elsewhere.

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
from decimal import Decimal, InvalidOperation
from typing import Final, cast

from pydantic import JsonValue

from platform_relay.core.exact_json import webhook_json
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import EventKind, FinancialStatus
from platform_relay.stores.amounts import ZERO, in_currency, money, number, refunded, saved_with_tax
from platform_relay.stores.native import (
    NativeEvent,
    Page,
    ParsedEntity,
    ParsedWebhook,
    ToFetch,
    Unreadable,
    not_relayed,
    unreadable_webhook,
)
from platform_relay.stores.paging import KeyPosition, with_smaller_pages
from platform_relay.stores.parsing import (
    Null,
    amount_with_cents,
    errors_in,
    names,
    reported,
    set_fields,
    value_at,
    whole_number,
)
from platform_relay.stores.saleor import documents as documents
from platform_relay.stores.saleor.api import RESPONSES, Node, SaleorApi, UnknownId, nodes
from platform_relay.stores.text import plain_text
from platform_relay.stores.translation import translate

LISTS: Final[Mapping[EventKind, tuple[str, str]]] = {
    EventKind.CUSTOMER: ("customers", documents.CUSTOMERS),
    EventKind.ORDER: ("orders", documents.ORDERS),
    EventKind.PRODUCT: ("products", documents.PRODUCTS),
}
PAGE: Final[Mapping[EventKind, int]] = {EventKind.CUSTOMER: 50, EventKind.ORDER: 50, EventKind.PRODUCT: 20}
COUNTS: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: documents.COUNT_CUSTOMERS,
    EventKind.ORDER: documents.COUNT_ORDERS,
    EventKind.PRODUCT: documents.COUNT_PRODUCTS,
}
SINGLE: Final[Mapping[EventKind, tuple[str, str]]] = {
    EventKind.CUSTOMER: ("user", documents.CUSTOMER),
    EventKind.ORDER: ("order", documents.ORDER),
    EventKind.PRODUCT: ("product", documents.PRODUCT),
}
NAMES: Final[Mapping[str, EventKind]] = {
    "customer": EventKind.CUSTOMER,
    "order": EventKind.ORDER,
    "product": EventKind.PRODUCT,
}
"""How the names of events begin."""
LEGACY: Final[Mapping[str, EventKind]] = {
    "User": EventKind.CUSTOMER,
    "Order": EventKind.ORDER,
    "Product": EventKind.PRODUCT,
}


async def fetch_entity(api: SaleorApi, kind: EventKind, entity_id: str, channel: str) -> ParsedEntity | None:
    """Return one entity by its id; None if it does not exist."""
    field, document = SINGLE[kind]
    try:
        data = await api.read(document, f"the {kind.removesuffix('s')}", id=entity_id)
    except UnknownId:
        return None
    node = data.get(field)
    return to_event(kind, node, channel) if isinstance(node, dict) else None


async def list_entities(
    api: SaleorApi, kind: EventKind, since: datetime | None, cursor: str | None, channel: str
) -> Page:
    """Return a page of the entities that changed since `since`, the oldest change first.

    Saleor's own cursor is a key (the time of change and the id of the last entity), so changes between pages do no harm.
    """
    position = KeyPosition.of(cursor, first="", size=PAGE[kind])
    field, document = LISTS[kind]
    request = f"the list of {kind}"

    async def read(limit: int) -> Node:
        after = position.after or None
        return await api.read(document, request, first=limit, after=after, updated=_updated(since))

    data, size = await with_smaller_pages(position.size, read)
    listed = data.get(field)
    if not isinstance(listed, dict) or not isinstance(listed.get("edges"), list):
        raise RESPONSES.unreadable(request, "it does not contain the list")
    events = (to_event(kind, node, channel) for node in nodes(listed) if node.get("status") != "DRAFT")
    has_next = value_at(listed, "pageInfo", "hasNextPage") is True
    next_cursor = KeyPosition(str(value_at(listed, "pageInfo", "endCursor")), size).cursor() if has_next else None
    return Page.of(events, next_cursor)


async def count(api: SaleorApi, kind: EventKind, since: datetime | None) -> int | None:
    """See `native.CountsEntities`."""
    request = f"the number of {kind}"
    data = await api.read(COUNTS[kind], request, updated=_updated(since))
    total = whole_number(value_at(data, LISTS[kind][0], "totalCount"))
    if total is None:
        raise RESPONSES.unreadable(request, "it does not contain the number")
    return total


def _updated(since: datetime | None) -> JsonValue:
    return {"gte": since.astimezone(UTC).isoformat()} if since else None


def parse_webhook(headers: Mapping[str, str], raw: bytes, channel: str) -> ParsedWebhook:
    """Translate a verified webhook."""
    name = headers.get("saleor-event") or headers.get("x-saleor-event") or "an event without a name"
    try:
        body = cast("JsonValue", webhook_json(raw))  # with Decimals instead of floats
    except ValueError:
        return unreadable_webhook("Saleor", f"{name}: its body is not JSON")
    if name.endswith("_deleted") and not name.startswith("product_variant"):
        return not_relayed(f"{name}: deletions are not relayed")
    return _relayed(name, body, channel, raw)


def _relayed(name: str, body: JsonValue, channel: str, raw: bytes) -> ParsedWebhook:
    """Translate the webhook of the event `name`, which is no deletion."""
    entity = _entity(body)
    errors = errors_in(body)
    kind_of_event = next((kind for word, kind in NAMES.items() if name.startswith(word)), None)
    if errors and kind_of_event and (entity is None or not entity[1].get("id")):
        return _refused(kind_of_event, errors)
    if entity is None:
        return not_relayed(f"{name}: it contains no customer, order or product")
    kind, node = entity
    entity_id = node.get("id")
    if str(node.get("status")).upper() == "DRAFT":
        return not_relayed(f"{name}: a draft is not an order yet", kind, entity_id)
    if not entity_id:
        return unreadable_webhook("Saleor", f"{name}: it has no id")
    is_past = name.startswith("product_variant_deleted")  # its product may still have the variant
    return _complete(kind, node, channel, raw, fetch=is_past or errors != [])


def _refused(kind: EventKind, errors: list[Node]) -> Unreadable:
    """Saleor could not run the subscription's query, for example without the permission, and sends errors instead of the entity."""
    codes = (value_at(error, "extensions", "exception", "code") for error in errors)
    texts = (f"{code or 'error'}: {error.get('message') or ''}" for code, error in zip(codes, errors, strict=True))
    facts = {
        "response": "; ".join(texts)[:300],
        "owner": "the app that owns the webhooks",
        "page": "docs/stores/saleor.md",
    }
    return Unreadable(because(ReasonCode.STORE_WEBHOOKS_REFUSED, entity=kind.removesuffix("s"), **facts), kind)


def _complete(kind: EventKind, node: Node, channel: str, raw: bytes, *, fetch: bool) -> ParsedWebhook:
    """The event, if the webhook has all its fields and they are not to be fetched again. Otherwise the entity is fetched."""
    entity_id = str(node["id"])
    complete = to_event(kind, node, channel) if "updatedAt" in node and not fetch else None
    if isinstance(complete, NativeEvent):
        return complete
    return ToFetch(kind, entity_id, f"saleor:{kind}:{entity_id}:{hashlib.sha256(raw).hexdigest()[:32]}")


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


def to_event(kind: EventKind, node: Node, channel: str) -> NativeEvent | Unreadable:
    """Translate an entity with the fields of `saleor.documents`."""

    def fields() -> dict[str, object]:
        match kind:
            case EventKind.CUSTOMER:
                return customer(node)
            case EventKind.ORDER:
                return order(node)
            case EventKind.PRODUCT:
                return product(node, channel)

    return translate("saleor", "Saleor", kind, node, fields, entity_id=node.get("id"), required=("updatedAt",))


def customer(node: Node) -> dict[str, object]:
    """The fields of a user. Raises KeyError if one is missing."""
    return {
        "id": node["id"],
        "email": _reported_text(node, "email"),
        **names(node, "firstName", "lastName", node.get("defaultBillingAddress")),
        "createdAt": node.get("dateJoined"),
        "updatedAt": node["updatedAt"],
    }


def order(node: Node) -> dict[str, object]:
    """The fields of an order. Raises KeyError if one is missing."""
    total, code = value_at(node, "total", "gross"), _text(node.get("voucherCode"))
    currency, lines = str(value_at(total, "currency")), nodes(node["lines"])
    saved = _saved(node, lines) if code else None
    amount = None if saved is None else in_currency(saved, currency)
    subtotal = sum((_taxed(row, "undiscountedTotalPrice", "gross") for row in lines), ZERO)
    return {
        "id": node["id"],
        "customerId": _text(value_at(node, "user", "id")),
        "email": _reported_text(node, "userEmail"),
        "financialStatus": financial_status(node),
        "currency": value_at(total, "currency"),
        "totalPrice": money(value_at(total, "amount"), currency),
        "subtotalPrice": in_currency(subtotal, currency),
        "refundedAmount": refunded(number(value_at(node, "totalRefunded", "amount")), currency),
        "lineItems": [_line(row, currency) for row in lines],
        "discountCodes": [set_fields({"code": code, "amount": amount})] if code else [],
        "createdAt": node.get("created"),
        "updatedAt": node["updatedAt"],
    }


def _saved(node: Node, lines: list[Node]) -> Decimal | None:
    """What the voucher saved, with tax; None if the order does not show it."""
    discounts = nodes(node.get("discounts")) + [row for line in lines for row in nodes(line.get("discounts"))]
    vouchers = [row for row in discounts if row.get("type") == "VOUCHER"]
    net, gross = (
        _taxed(node, "undiscountedTotal", tax) - _taxed(node, "subtotal", tax) - _taxed(node, "shippingPrice", tax)
        for tax in ("net", "gross")
    )
    if not vouchers:
        return gross if not discounts and not gross.is_nan() and gross > 0 else None
    return saved_with_tax(_sum(vouchers, "total"), _sum(discounts, "total"), net, gross)


def _sum(rows: list[Node], *path: str) -> Decimal:
    return sum((number(value_at(row, *path, "amount")) for row in rows), ZERO)


def _taxed(node: Node, field: str, tax: str) -> Decimal:
    """The `net` or `gross` part of an amount. Raises KeyError if the field is missing, as in the webhook of another app."""
    return number(value_at(node[field], tax, "amount"))


def _line(node: Node, currency: str) -> dict[str, object]:
    titles = [_text(node.get("productName")), _text(node.get("variantName"))]
    return set_fields(
        {
            "productId": _text(value_at(node, "variant", "product", "id")),
            "variantId": _text(value_at(node, "variant", "id")) or _text(node.get("productVariantId")),
            "title": plain_text(" – ".join(title for title in titles if title) or None),
            "quantity": node.get("quantity"),
            "price": in_currency(_taxed(node, "undiscountedUnitPrice", "gross"), currency),
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


def product(node: Node, channel: str) -> dict[str, object]:
    """The fields of a product as it is in `channel`. Raises KeyError if one is missing.

    Variants are sent only if all of them are known, because the Platform deletes the others.
    """
    listings = [row for row in nodes(node.get("channelListings")) if value_at(row, "channel", "slug") == channel]
    connection = node.get("productVariants")
    complete = value_at(connection, "pageInfo", "hasNextPage") is False
    variants = [
        set_fields(
            {"externalVariantId": row.get("id"), "title": plain_text(_text(row.get("name"))), "position": position}
        )
        for position, row in enumerate(nodes(connection), 1)
    ]
    return {
        "id": node["id"],
        "title": plain_text(_reported_text(node, "name")),
        "imageUrl": _reported_text(node, "thumbnail", "url"),
        "status": "active" if any(row.get("isPublished") is True for row in listings) else "draft",
        "externalUrlHandle": _reported_text(node, "slug"),
        "variants": variants if complete else None,
        "updatedAt": node["updatedAt"],
    }


def _reported_text(node: Node, *path: str) -> str | Null | None:
    value = reported(node, *path)
    return value if isinstance(value, Null) else _text(value)


def _amount(value: JsonValue) -> object:
    """The amount; a value that is not one as it is."""
    try:
        return amount_with_cents(value)
    except InvalidOperation:
        return value


def _text(value: JsonValue) -> str | None:
    return value or None if isinstance(value, str) else None
