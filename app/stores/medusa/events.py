"""Medusa's customers, orders and products, read from its lists and translated into events.

Medusa has no webhooks. integrations/medusa/relay.ts is a subscriber that sends the same events when they happen.

Financial status by an order's `payment_status` (with `status` canceled and nothing paid: voided):

    captured                                       paid (also for an order with a total of 0)
    partially_captured                             partially_paid
    authorized                                     authorized
    partially_authorized, not_paid, awaiting,
    requires_action                                pending
    refunded, partially_refunded                   refunded, partially_refunded
    canceled                                       voided

A capture changes the payment, but not the order's `updated_at`. Therefore the version of an order is the latest time of the
order and its payment collections, and after the list of changed orders come the orders with changed payments. A guest has a
customer without an account, and another one after registration. The orders of a guest have no customer id, only the address.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue, ValidationError

from platform_relay.core.currencies import currency_places
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.stores.medusa.api import RESPONSES, MedusaApi, Query, is_not_found, raise_for_status
from platform_relay.stores.native import NativeEvent, Page, native_event
from platform_relay.stores.parsing import Row, next_position, objects, reported, set_fields, value_at

PAGE: Final = 100
BEGINNING: Final = "1970-01-01T00:00:00Z"
PAYMENTS: Final = "payments"
"""The second part of the list of orders: orders whose payments have changed."""
FIELDS: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: "id,email,first_name,last_name,phone,has_account,created_at,updated_at",
    EventKind.ORDER: (
        "id,display_id,status,email,customer_id,customer.has_account,currency_code,total,item_subtotal,payment_status,"
        "created_at,updated_at,items.product_id,items.variant_id,items.product_title,items.title,items.quantity,"
        "items.unit_price,items.adjustments.code,items.adjustments.amount,shipping_methods.adjustments.code,"
        "shipping_methods.adjustments.amount,payment_collections.updated_at"
    ),
    EventKind.PRODUCT: (
        "id,title,handle,status,thumbnail,updated_at,"
        "variants.id,variants.title,variants.thumbnail,variants.variant_rank,variants.updated_at"
    ),
}
STATUS: Final[Mapping[JsonValue, str]] = {
    "captured": "paid",
    "partially_captured": "partially_paid",
    "authorized": "authorized",
    "partially_authorized": "pending",
    "not_paid": "pending",
    "awaiting": "pending",
    "requires_action": "pending",
    "refunded": "refunded",
    "partially_refunded": "partially_refunded",
    "canceled": "voided",
}
UNPAID: Final = frozenset({"pending", "authorized"})


async def fetch_entity(api: MedusaApi, kind: EventKind, entity_id: str) -> NativeEvent | None:
    """Return one entity by its id; None if it does not exist, or if it is a guest."""
    request = f"the {kind.removesuffix('s')}"
    answer = await api.call("GET", f"{kind}/{quote(entity_id, safe='')}", [("fields", FIELDS[kind])])
    if is_not_found(answer):
        return None
    raise_for_status(answer, request)
    row = value_at(RESPONSES.json(answer, request), kind.removesuffix("s"))
    if not isinstance(row, dict):
        raise RESPONSES.unreadable(request, "it does not contain the entity", answer)
    if _is_guest(kind, row):
        return None
    if event := to_event(kind, row):
        return event
    raise RESPONSES.unreadable_entity(kind, entity_id)


async def list_entities(api: MedusaApi, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:
    """Return a page of the entities that changed since `since`, the oldest change first; then orders with changed payments.

    A cursor is "orders 2026-11-23T05:00:02.526Z 3": continue at that time of change, after the first 3 rows of that time
    (`parsing.next_position`).
    """
    beginning = since.astimezone(UTC).isoformat() if since else BEGINNING
    part, start, skipped_rows = (cursor or f"{kind} {beginning} 0").split(" ")
    skipped = int(skipped_rows)
    fields = "updated_at,payment_collection.order.id" if part == PAYMENTS else FIELDS[kind]
    request = f"the list of {part}"
    rows = await api.read(part, part, _changed(start, skipped, fields), request)
    try:
        position = next_position(start, skipped, [row.get("updated_at") for row in rows], PAGE)
    except ValueError:
        raise RESPONSES.unreadable(request, "it contains a row without a time of change") from None
    next_cursor = f"{part} {position[0]} {position[1]}" if position else None
    if part == PAYMENTS:
        rows = await _orders_of(api, rows)
    elif next_cursor is None and kind is EventKind.ORDER and since is not None:
        next_cursor = f"{PAYMENTS} {beginning} 0"
    events = (to_event(kind, row) for row in rows if not _is_guest(kind, row))
    return Page(tuple(event for event in events if event), next_cursor)


def _changed(start: str, skipped: int, fields: str) -> Query:
    return [
        ("updated_at[$gte]", start),
        ("order", "updated_at"),
        ("limit", str(PAGE)),
        ("offset", str(skipped)),
        ("fields", fields),
    ]


async def _orders_of(api: MedusaApi, payments: list[Row]) -> list[Row]:
    order_ids = (value_at(payment, "payment_collection", "order", "id") for payment in payments)
    ids = sorted({str(order_id) for order_id in order_ids if order_id})
    if not ids:
        return []
    query = [*(("id[]", order_id) for order_id in ids), ("limit", str(PAGE)), ("fields", FIELDS[EventKind.ORDER])]
    return await api.read("orders", "orders", query, "the list of orders")


def to_event(kind: EventKind, row: Row) -> NativeEvent | None:
    """Translate an entity; None if it cannot be read. An invalid e-mail address is left out."""
    for variant in (row, {name: value for name, value in row.items() if name != "email"}):
        try:
            fields = {EventKind.CUSTOMER: _customer, EventKind.ORDER: _order, EventKind.PRODUCT: _product}[kind](
                variant
            )
            event = EVENTS[kind].model_validate(set_fields(fields))
        except (ValidationError, InvalidOperation, ValueError):
            continue
        return native_event("medusa", kind, event)
    return None


def _is_guest(kind: EventKind, row: Row) -> bool:
    return kind is EventKind.CUSTOMER and row.get("has_account") is False


def _customer(row: Row) -> dict[str, object]:
    return {
        "id": row.get("id"),
        "email": reported(row, "email"),
        "firstName": reported(row, "first_name"),
        "lastName": reported(row, "last_name"),
        "phone": reported(row, "phone"),
        "createdAt": row.get("created_at"),
        "updatedAt": row.get("updated_at"),
    }


def _product(row: Row) -> dict[str, object]:
    variants = objects(row.get("variants"))
    return {
        "id": row.get("id"),
        "title": reported(row, "title"),
        "imageUrl": reported(row, "thumbnail"),
        "status": "active" if row.get("status") == "published" else "draft",
        "externalUrlHandle": reported(row, "handle"),
        "variants": [
            {
                "externalVariantId": variant.get("id"),
                "title": variant.get("title"),
                "imageUrl": variant.get("thumbnail"),
                "position": variant.get("variant_rank"),
            }
            for variant in variants
        ],
        "updatedAt": _latest(row, *variants),
    }


def _order(row: Row) -> dict[str, object]:
    currency = str(row.get("currency_code")).upper()
    items = objects(row.get("items"))
    guest = value_at(row, "customer", "has_account") is False
    return {
        "id": row.get("id"),
        "customerId": None if guest else row.get("customer_id"),
        "email": reported(row, "email"),
        "financialStatus": financial_status(row),
        "currency": currency,
        "totalPrice": _money(row.get("total"), currency),
        "subtotalPrice": _money(row.get("item_subtotal"), currency),
        "lineItems": [
            {
                "productId": item.get("product_id"),
                "variantId": item.get("variant_id"),
                "title": item.get("product_title") or item.get("title"),
                "quantity": item.get("quantity"),
                "price": _money(item.get("unit_price"), currency),
            }
            for item in items
        ],
        "discountCodes": _discounts([*items, *objects(row.get("shipping_methods"))], currency),
        "orderNumber": None if row.get("display_id") is None else str(row["display_id"]),
        "createdAt": row.get("created_at"),
        "updatedAt": _latest(row, *objects(row.get("payment_collections"))),
    }


def financial_status(row: Row) -> str:
    """The financial status of an order, by the table above."""
    status = STATUS.get(row.get("payment_status"), "pending")
    return "voided" if row.get("status") == "canceled" and status in UNPAID else status


def _discounts(discounted: list[Row], currency: str) -> list[dict[str, object]] | None:
    """The discount of each code, over all items and shipping."""
    amounts: dict[str, Decimal] = {}
    for adjustment in (item for row in discounted for item in objects(row.get("adjustments"))):
        if code := adjustment.get("code"):
            amounts[str(code)] = amounts.get(str(code), Decimal(0)) + Decimal(str(adjustment.get("amount") or 0))
    return [{"code": code, "amount": _rounded(amount, currency)} for code, amount in amounts.items()] or None


def _money(value: JsonValue, currency: str) -> str | None:
    return None if value is None else _rounded(Decimal(str(value)), currency)


def _rounded(amount: Decimal, currency: str) -> str:
    smallest = Decimal(1).scaleb(-max(2, currency_places(currency)))
    return f"{amount.quantize(smallest, ROUND_HALF_UP):f}"


def _latest(*rows: Row) -> str | None:
    """The latest time of change. All of Medusa's times have the same format, in UTC."""
    return max((str(row["updated_at"]) for row in rows if row.get("updated_at")), default=None)
