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

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue

from platform_relay.inbox.events import EventKind
from platform_relay.stores.amounts import ZERO, in_currency, money, number, refunded
from platform_relay.stores.medusa.api import RESPONSES, MedusaApi, Query, is_not_found, raise_for_status
from platform_relay.stores.native import Page, ParsedEntity
from platform_relay.stores.paging import Rows, next_rows, with_smaller_pages
from platform_relay.stores.parsing import Row, names, objects, reported, value_at
from platform_relay.stores.text import plain_text
from platform_relay.stores.translation import translate

PAGE: Final = 100
PAYMENTS: Final = "payments"
"""The second part of the list of orders: orders whose payments have changed."""
FIELDS: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: (
        "id,email,first_name,last_name,phone,has_account,created_at,updated_at,"
        "addresses.first_name,addresses.last_name,addresses.is_default_billing"
    ),
    EventKind.ORDER: (
        "id,display_id,status,email,customer_id,customer.has_account,currency_code,total,payment_status,"
        "created_at,updated_at,items.product_id,items.variant_id,items.product_title,items.title,items.quantity,"
        "items.unit_price,items.is_tax_inclusive,items.tax_lines.rate,items.adjustments.code,items.adjustments.amount,"
        "items.adjustments.is_tax_inclusive,shipping_methods.tax_lines.rate,shipping_methods.adjustments.code,"
        "shipping_methods.adjustments.amount,payment_collections.updated_at,payment_collections.refunded_amount"
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


async def fetch_entity(api: MedusaApi, kind: EventKind, entity_id: str) -> ParsedEntity | None:
    """Return one entity by its id; None if it does not exist, or if it is a guest."""
    request = f"the {kind.removesuffix('s')}"
    answer = await api.call("GET", f"{kind}/{quote(entity_id, safe='')}", [("fields", FIELDS[kind])])
    if is_not_found(answer):
        return None
    raise_for_status(answer, request)
    row = value_at(RESPONSES.json(answer, request), kind.removesuffix("s"))
    if not isinstance(row, dict):
        raise RESPONSES.unreadable(request, "it does not contain the entity", answer)
    return None if _is_guest(kind, row) else to_event(kind, row)


async def list_entities(api: MedusaApi, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:
    """Return a page of the entities that changed since `since`, in the order of the ids; then orders with changed payments.

    A cursor is the list, and the position in it: "orders [100, 100, […]]" (`paging.next_rows`).
    """
    part, _, position = (cursor or str(kind)).partition(" ")
    request = f"the list of {part}"
    fields = "id,payment_collection.order.id" if part == PAYMENTS else FIELDS[kind]

    async def read(offset: int, limit: int) -> Rows:
        return Rows(await api.read(part, part, _query(part, since, fields, limit, offset), request))

    page = await next_rows(read, position or None, size=PAGE, row_id=lambda row: str(row.get("id")))
    rows, next_cursor = page.rows, page.next and f"{part} {page.next}"
    if part == PAYMENTS:
        rows = await _orders_of(api, rows)
    elif next_cursor is None and kind is EventKind.ORDER and since is not None:
        next_cursor = PAYMENTS
    events = (to_event(kind, row) for row in rows if not _is_guest(kind, row))
    return Page.of(events, next_cursor)


async def count(api: MedusaApi, kind: EventKind, since: datetime | None) -> int | None:
    """See `native.CountsEntities`. None for orders since a time: those with changed payments cannot be counted."""
    if kind is EventKind.ORDER and since is not None:
        return None
    return await api.count(str(kind), _query(str(kind), since, "id", limit=1), f"the number of {kind}")


def _query(part: str, since: datetime | None, fields: str, limit: int = PAGE, offset: int = 0) -> Query:
    return [
        *([("updated_at[$gte]", since.astimezone(UTC).isoformat())] if since else []),
        *([("has_account", "true")] if part == EventKind.CUSTOMER else []),
        ("order", "id"),
        ("limit", str(limit)),
        ("offset", str(offset)),
        ("fields", fields),
    ]


async def _orders_of(api: MedusaApi, payments: Sequence[Row]) -> list[Row]:
    order_ids = (value_at(payment, "payment_collection", "order", "id") for payment in payments)
    ids = sorted({str(order_id) for order_id in order_ids if order_id})
    rows: list[Row] = []
    size = PAGE

    async def read(limit: int) -> list[Row]:
        query = [*(("id[]", order_id) for order_id in ids[:limit]), ("limit", str(limit))]
        return await api.read("orders", "orders", [*query, ("fields", FIELDS[EventKind.ORDER])], "the list of orders")

    while ids:
        orders, size = await with_smaller_pages(size, read)
        rows, ids = rows + orders, ids[size:]
    return rows


def to_event(kind: EventKind, row: Row) -> ParsedEntity:
    """Translate an entity."""
    fields = {EventKind.CUSTOMER: _customer, EventKind.ORDER: _order, EventKind.PRODUCT: _product}[kind]
    return translate("medusa", "Medusa", kind, row, lambda: fields(row), entity_id=row.get("id"))


def _is_guest(kind: EventKind, row: Row) -> bool:
    return kind is EventKind.CUSTOMER and row.get("has_account") is False


def _customer(row: Row) -> dict[str, object]:
    billing = next((item for item in objects(row.get("addresses")) if item.get("is_default_billing") is True), None)
    return {
        "id": row.get("id"),
        "email": reported(row, "email"),
        **names(row, "first_name", "last_name", billing),
        "phone": reported(row, "phone"),
        "createdAt": row.get("created_at"),
        "updatedAt": row.get("updated_at"),
    }


def _product(row: Row) -> dict[str, object]:
    variants = objects(row.get("variants"))
    return {
        "id": row.get("id"),
        "title": plain_text(reported(row, "title")),
        "imageUrl": reported(row, "thumbnail"),
        "status": "active" if row.get("status") == "published" else "draft",
        "externalUrlHandle": reported(row, "handle"),
        "variants": [
            {
                "externalVariantId": variant.get("id"),
                "title": plain_text(variant.get("title")),
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
    payments = objects(row.get("payment_collections"))
    subtotal = sum((_price(item) * number(item.get("quantity")) for item in items), ZERO)
    paid_back = sum((number(payment.get("refunded_amount")) for payment in payments), ZERO)
    return {
        "id": row.get("id"),
        "customerId": None if guest else row.get("customer_id"),
        "email": reported(row, "email"),
        "financialStatus": financial_status(row),
        "currency": currency,
        "totalPrice": money(row.get("total"), currency),
        "subtotalPrice": in_currency(subtotal, currency),
        "refundedAmount": refunded(paid_back, currency),
        "lineItems": [
            {
                "productId": item.get("product_id"),
                "variantId": item.get("variant_id"),
                "title": plain_text(item.get("product_title") or item.get("title")),
                "quantity": item.get("quantity"),
                "price": in_currency(_price(item), currency),
            }
            for item in items
        ],
        "discountCodes": _discounts([*items, *objects(row.get("shipping_methods"))], currency),
        "orderNumber": None if row.get("display_id") is None else str(row["display_id"]),
        "createdAt": row.get("created_at"),
        "updatedAt": _latest(row, *payments),
    }


def financial_status(row: Row) -> str:
    """The financial status of an order, by the table above."""
    status = STATUS.get(row.get("payment_status"), "pending")
    return "voided" if row.get("status") == "canceled" and status in UNPAID else status


def _discounts(discounted: list[Row], currency: str) -> list[dict[str, object]] | None:
    """The discount of each code with tax, over all items and shipping."""
    amounts: dict[str, Decimal] = {}
    for row in discounted:
        for adjustment in objects(row.get("adjustments")):
            if code := adjustment.get("code"):
                amount = _with_tax(adjustment.get("amount"), row, included=adjustment.get("is_tax_inclusive") is True)
                amounts[str(code)] = amounts.get(str(code), ZERO) + amount
    return [{"code": code, "amount": in_currency(amount, currency)} for code, amount in amounts.items()] or None


def _price(item: Row) -> Decimal:
    return _with_tax(item.get("unit_price"), item, included=item.get("is_tax_inclusive") is True)


def _with_tax(value: JsonValue, taxed: Row, *, included: bool) -> Decimal:
    """An amount of a line item or a shipping method, with the tax of its `tax_lines` (rates in percent)."""
    rates = sum((number(line.get("rate")) for line in objects(taxed.get("tax_lines"))), ZERO)
    return number(value) * (1 if included else 1 + rates / 100)


def _latest(*rows: Row) -> str | None:
    """The latest time of change. All of Medusa's times have the same format, in UTC."""
    return max((str(row["updated_at"]) for row in rows if row.get("updated_at")), default=None)
