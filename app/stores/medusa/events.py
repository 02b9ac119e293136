"""Medusa's customers, orders and products in the words of `platform_relay.inbox.messages`, read from its lists.

Medusa has no webhooks: integrations/medusa/relay.ts is a subscriber that sends the same events as they happen.

What an order's `payment_status` means (`status` canceled before money moved: voided):

    captured                                       paid (Medusa says so of an order over 0, too)
    partially_captured                             partially_paid
    authorized                                     authorized
    partially_authorized, not_paid, awaiting,
    requires_action                                pending
    refunded, partially_refunded                   refunded, partially_refunded
    canceled                                       voided

A capture changes the payment and leaves the order's `updated_at` as it was. Therefore an order's version is the latest
time of the order and its payment collections, and the list of changed orders is followed by the orders of changed
payments. A guest has a customer without an account, another one after registering: his orders go by e-mail address.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue, ValidationError

from platform_relay.core.currencies import currency_places
from platform_relay.inbox.messages import EVENTS, Kind
from platform_relay.stores.medusa.api import RESPONSES, MedusaApi, Query, Row, gone, succeeded
from platform_relay.stores.native import NativeEvent, Page, native_event
from platform_relay.stores.reading import following, rows, within

PAGE: Final = 100
BEGINNING: Final = "1970-01-01T00:00:00Z"
PAYMENTS: Final = "payments"
"""The second part of the list of orders."""
FIELDS: Final[Mapping[Kind, str]] = {
    Kind.CUSTOMER: "id,email,first_name,last_name,phone,has_account,created_at,updated_at",
    Kind.ORDER: (
        "id,display_id,status,email,customer_id,customer.has_account,currency_code,total,item_subtotal,payment_status,"
        "created_at,updated_at,items.product_id,items.variant_id,items.product_title,items.title,items.quantity,"
        "items.unit_price,items.adjustments.code,items.adjustments.amount,shipping_methods.adjustments.code,"
        "shipping_methods.adjustments.amount,payment_collections.updated_at"
    ),
    Kind.PRODUCT: (
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


async def one(api: MedusaApi, kind: Kind, entity_id: str) -> NativeEvent | None:
    """One entity by its id; None when there is none, or when it is a guest."""
    request = f"the {kind.removesuffix('s')}"
    answer = await api.call("GET", f"{kind}/{quote(entity_id, safe='')}", [("fields", FIELDS[kind])])
    if gone(answer):
        return None
    succeeded(answer, request)
    value = RESPONSES.document(answer, request)
    row = value.get(kind.removesuffix("s")) if isinstance(value, dict) else None
    if not isinstance(row, dict):
        raise RESPONSES.unreadable(request, f"it has no entity of {kind}", answer)
    if _is_guest(kind, row):
        return None
    if event := translated(kind, row):
        return event
    raise RESPONSES.unreadable_entity(kind, entity_id)


async def page(api: MedusaApi, kind: Kind, since: datetime | None, cursor: str | None) -> Page:
    """Entities changed since, oldest change first; for orders then those whose payments changed since.

    A cursor is "orders 2026-11-23T05:00:02.526Z 3": go on at that time of change, without the first 3 rows of that
    time (`reading.following`).
    """
    beginning = since.astimezone(UTC).isoformat() if since else BEGINNING
    part, start, passed = (cursor or f"{kind} {beginning} 0").split(" ")
    seen = int(passed)
    fields = "updated_at,payment_collection.order.id" if part == PAYMENTS else FIELDS[kind]
    request = f"the list of {part}"
    rows = await api.read(part, part, _changed(start, seen, fields), request)
    try:
        position = following(start, seen, [row.get("updated_at") for row in rows], PAGE)
    except ValueError:
        raise RESPONSES.unreadable(request, "it has a row without its time of change") from None
    after = f"{part} {position[0]} {position[1]}" if position else None
    if part == PAYMENTS:
        rows = await _orders_of(api, rows)
    elif after is None and kind is Kind.ORDER and since is not None:
        after = f"{PAYMENTS} {beginning} 0"
    events = (translated(kind, row) for row in rows if not _is_guest(kind, row))
    return Page(tuple(event for event in events if event), after)


def _changed(start: str, seen: int, fields: str) -> Query:
    return [
        ("updated_at[$gte]", start),
        ("order", "updated_at"),
        ("limit", str(PAGE)),
        ("offset", str(seen)),
        ("fields", fields),
    ]


async def _orders_of(api: MedusaApi, payments: list[Row]) -> list[Row]:
    named = (within(payment, "payment_collection", "order", "id") for payment in payments)
    ids = sorted({str(each) for each in named if each})
    if not ids:
        return []
    query = [*(("id[]", each) for each in ids), ("limit", str(PAGE)), ("fields", FIELDS[Kind.ORDER])]
    return await api.read("orders", "orders", query, "the list of orders")


def translated(kind: Kind, row: Row) -> NativeEvent | None:
    """An entity in our words; None for what cannot be read. An e-mail address that is none is left out."""
    for each in (row, {**row, "email": None}):
        try:
            fields = {Kind.CUSTOMER: _customer, Kind.ORDER: _order, Kind.PRODUCT: _product}[kind](each)
            event = EVENTS[kind].model_validate({name: value for name, value in fields.items() if value is not None})
        except (ValidationError, InvalidOperation, ValueError):
            continue
        return native_event("medusa", kind, event)
    return None


def _is_guest(kind: Kind, row: Row) -> bool:
    return kind is Kind.CUSTOMER and row.get("has_account") is False


def _customer(row: Row) -> dict[str, object]:
    return {
        "id": row.get("id"),
        "email": row.get("email"),
        "firstName": row.get("first_name"),
        "lastName": row.get("last_name"),
        "phone": row.get("phone"),
        "createdAt": row.get("created_at"),
        "updatedAt": row.get("updated_at"),
    }


def _product(row: Row) -> dict[str, object]:
    variants = rows(row.get("variants"))
    return {
        "id": row.get("id"),
        "title": row.get("title"),
        "imageUrl": row.get("thumbnail"),
        "status": "active" if row.get("status") == "published" else "draft",
        "externalUrlHandle": row.get("handle"),
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
    items = rows(row.get("items"))
    guest = within(row, "customer", "has_account") is False
    return {
        "id": row.get("id"),
        "customerId": None if guest else row.get("customer_id"),
        "email": row.get("email"),
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
        "discountCodes": _discounts([*items, *rows(row.get("shipping_methods"))], currency),
        "orderNumber": None if row.get("display_id") is None else str(row["display_id"]),
        "createdAt": row.get("created_at"),
        "updatedAt": _latest(row, *rows(row.get("payment_collections"))),
    }


def financial_status(row: Row) -> str:
    """What an order object of Medusa means, by the table above."""
    status = STATUS.get(row.get("payment_status"), "pending")
    return "voided" if row.get("status") == "canceled" and status in UNPAID else status


def _discounts(discounted: list[Row], currency: str) -> list[dict[str, object]] | None:
    """What each code took off, over all items and shipping."""
    amounts: dict[str, Decimal] = {}
    for adjustment in (each for row in discounted for each in rows(row.get("adjustments"))):
        if code := adjustment.get("code"):
            amounts[str(code)] = amounts.get(str(code), Decimal(0)) + Decimal(str(adjustment.get("amount") or 0))
    return [{"code": code, "amount": _rounded(amount, currency)} for code, amount in amounts.items()] or None


def _money(value: JsonValue, currency: str) -> str | None:
    return None if value is None else _rounded(Decimal(str(value)), currency)


def _rounded(amount: Decimal, currency: str) -> str:
    smallest = Decimal(1).scaleb(-max(2, currency_places(currency)))
    return f"{amount.quantize(smallest, ROUND_HALF_UP):f}"


def _latest(*rows: Row) -> str | None:
    """The latest time of change; Medusa writes them all alike, in UTC."""
    return max((str(row["updated_at"]) for row in rows if row.get("updated_at")), default=None)
