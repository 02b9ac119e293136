"""Magento's customers, orders and products in the words of `platform_relay.inbox.messages`, read from its lists.

Open source has no webhooks; Adobe Commerce has some as a module, the lists serve both. Times are UTC without a zone.

What an order's state and amounts mean, the first line that applies:

    total_refunded ≥ total_paid, or state closed       refunded
    total_refunded > 0                                 partially_refunded
    state canceled                                     voided
    total_paid ≥ grand_total, or nothing to pay and
    the state is processing or complete                paid
    total_paid > 0                                     partially_paid
    payment.amount_authorized > 0                      authorized
    else (new, pending_payment, payment_review, …)     pending
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import InvalidOperation
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue, ValidationError

from platform_relay.inbox.messages import (
    CustomerEvent,
    DiscountCode,
    FinancialStatus,
    Kind,
    LineItem,
    OrderEvent,
    ProductEvent,
)
from platform_relay.stores.failing import answers_failures
from platform_relay.stores.magento.api import RESPONSES, MagentoApi, criteria
from platform_relay.stores.native import NativeEvent, Page, native_event
from platform_relay.stores.reading import Row, with_cents

PATHS: Final[Mapping[Kind, str]] = {Kind.CUSTOMER: "customers/search", Kind.ORDER: "orders", Kind.PRODUCT: "products"}
PAGE: Final = 100
NOT_ALONE: Final = 1
"""A product's `visibility` when it is shown as a variant of another one only."""


@answers_failures
async def probe(api: MagentoApi, kind: Kind) -> list[Row]:
    """Whether the list may be read."""
    fields = {"fields": "items[id,entity_id],total_count"}
    return await api.search(PATHS[kind], f"the list of {kind}", criteria(size=1) | fields)


async def one(api: MagentoApi, kind: Kind, entity_id: str, media_url: str) -> NativeEvent | None:
    """One entity by its id; None when there is none."""
    request = f"the {kind.removesuffix('s')}"
    rows = await api.search(PATHS[kind], request, criteria(("entity_id", "eq", entity_id), size=1))
    if not rows:
        return None
    if event := translated(kind, rows[0], media_url):
        return event
    raise RESPONSES.unreadable_entity(kind, entity_id)


async def page(api: MagentoApi, kind: Kind, since: datetime | None, cursor: str | None, media_url: str) -> Page:
    """Entities changed since, by time of change and id. The cursor is the last one seen, "2026-11-23 05:28:46/17".

    Not by page number: an entity that changes meanwhile moves to the end, and another would slip through; and Magento
    answers a page behind the last one with the last one again. The rest of the cursor's second is read first.
    """
    rows: list[Row] = []
    if cursor:
        moment, _, last = cursor.partition("/")
        rows = await _rows(api, kind, ("updated_at", "eq", moment), ("entity_id", "gt", last))
    else:
        moment = since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if since else "1970-01-01 00:00:00"
    full = len(rows) >= PAGE
    if not full:
        later = await _rows(api, kind, ("updated_at", "gt" if cursor else "gteq", moment))
        rows, full = rows + later, len(later) >= PAGE
    read = (translated(kind, row, media_url) for row in rows)
    following = f"{rows[-1].get('updated_at')}/{_id(rows[-1])}" if full else None
    return Page(tuple(event for event in read if event), following)


async def _rows(api: MagentoApi, kind: Kind, *filters: tuple[str, str, str]) -> list[Row]:
    query = criteria(*filters, sort=("updated_at", "entity_id"), size=PAGE)
    return await api.search(PATHS[kind], f"the list of {kind}", query)


def _id(row: Row) -> str:
    return str(row.get("entity_id") or row.get("id") or "")


def translated(kind: Kind, row: Row, media_url: str) -> NativeEvent | None:
    """An entity in our words; None for a product that is only another's variant, and for what cannot be read.

    An e-mail address that is none is left out rather than losing the entity.
    """
    for each in (row, {**row, "email": None, "customer_email": None}):
        try:
            event = _event(kind, each, media_url)
        except (ValidationError, InvalidOperation, ValueError):
            continue
        return None if event is None else native_event("magento", kind, event)
    return None


def _event(kind: Kind, row: Row, media_url: str) -> CustomerEvent | OrderEvent | ProductEvent | None:
    match kind:
        case Kind.CUSTOMER:
            return customer(row)
        case Kind.ORDER:
            return order(row)
        case Kind.PRODUCT:
            return None if row.get("visibility") == NOT_ALONE else product(row, media_url)


def customer(row: Row) -> CustomerEvent:
    """A customer. Raises ValueError when it cannot be read."""
    born = date.fromisoformat(str(row["dob"])[:10]) if row.get("dob") else None
    return CustomerEvent(
        id=_id(row),
        email=_text(row.get("email")),
        firstName=_text(row.get("firstname")),
        lastName=_text(row.get("lastname")),
        birthdayMonth=born.month if born else None,
        birthdayDay=born.day if born else None,
        createdAt=_moment(row.get("created_at")),
        updatedAt=_moment(row.get("updated_at")),
    )


def order(row: Row) -> OrderEvent:
    """An order. Raises ValueError when it cannot be read."""
    items = row.get("items")
    rows = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    code = _text(row.get("coupon_code"))
    guest = row.get("customer_is_guest") == 1
    return OrderEvent(
        id=_id(row),
        customerId=None if guest or not row.get("customer_id") else str(row["customer_id"]),
        email=_text(row.get("customer_email")),
        financialStatus=financial_status(row),
        currency=str(row.get("order_currency_code")),
        totalPrice=with_cents(row.get("grand_total")),
        subtotalPrice=with_cents(row.get("subtotal")),
        lineItems=[_line(item, rows) for item in rows if not item.get("parent_item_id")],
        discountCodes=[DiscountCode(code=code, amount=abs(with_cents(row.get("discount_amount"))))] if code else [],
        createdAt=_moment(row.get("created_at")),
        updatedAt=_moment(row.get("updated_at")),
    )


def _line(item: Row, rows: list[Row]) -> LineItem:
    """A line; what was chosen of a configurable product is a second row, under the first."""
    chosen = next((row for row in rows if item.get("item_id") and row.get("parent_item_id") == item["item_id"]), None)
    variant = chosen if chosen and item.get("product_type") == "configurable" else None
    return LineItem(
        productId=_text(item.get("product_id")),
        variantId=_text(variant.get("product_id")) if variant else None,
        title=_text(item.get("name")),
        quantity=int(with_cents(item.get("qty_ordered"))),
        price=with_cents(item.get("price")),
    )


def financial_status(row: Mapping[str, JsonValue]) -> FinancialStatus:
    """The table at the top of this file."""
    paid, refunded, total = (with_cents(row.get(name)) for name in ("total_paid", "total_refunded", "grand_total"))
    payment = row.get("payment")
    authorized = with_cents(payment.get("amount_authorized")) if isinstance(payment, dict) else with_cents(None)
    state = row.get("state")
    rules: tuple[tuple[bool, FinancialStatus], ...] = (
        (state == "closed" or (refunded > 0 and refunded >= paid), "refunded"),
        (refunded > 0, "partially_refunded"),
        (state == "canceled", "voided"),
        (paid > 0 and paid >= total, "paid"),
        (total == 0 and state in ("processing", "complete"), "paid"),
        (paid > 0, "partially_paid"),
        (authorized > 0, "authorized"),
    )
    return next((status for holds, status in rules if holds), "pending")


def product(row: Row, media_url: str) -> ProductEvent:
    """A product. Raises ValueError when it cannot be read. Variants are products of their own here, so none are told."""
    given = row.get("custom_attributes")
    attributes = {
        str(each.get("attribute_code")): each.get("value")
        for each in (given if isinstance(given, list) else [])
        if isinstance(each, dict)
    }
    image = _text(attributes.get("image"))
    shown = image and image != "no_selection" and media_url
    return ProductEvent(
        id=_id(row),
        title=_text(row.get("name")),
        imageUrl=f"{media_url.rstrip('/')}/catalog/product/{quote(str(image).lstrip('/'))}" if shown else None,
        status="active" if row.get("status") == 1 else "draft",
        externalUrlHandle=_text(attributes.get("url_key")),
        updatedAt=_moment(row.get("updated_at")),
    )


def _text(value: JsonValue) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None


def _moment(value: JsonValue) -> datetime | None:
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC) if value else None
