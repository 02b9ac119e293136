"""Magento's customers, orders and products, read from its lists and translated into events.

Magento Open Source has no webhooks, and Adobe Commerce has a module for them; the lists work with both. Times are in UTC, without
a time zone.

Financial status of an order; the first line that fits applies:

    total_refunded ≥ total_paid, or state closed       refunded
    total_refunded > 0                                 partially_refunded
    state canceled                                     voided
    total_paid ≥ grand_total, or a total of 0 and
    the state is processing or complete                paid
    total_paid > 0                                     partially_paid
    payment.amount_authorized > 0                      authorized
    otherwise (new, pending_payment, payment_review)   pending
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import InvalidOperation
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue, ValidationError

from platform_relay.inbox.events import (
    CustomerEvent,
    EventKind,
    FinancialStatus,
    OrderEvent,
    ProductEvent,
)
from platform_relay.stores.failures import returns_failures
from platform_relay.stores.magento.api import RESPONSES, MagentoApi, criteria
from platform_relay.stores.native import NativeEvent, Page, native_event
from platform_relay.stores.parsing import NULL, Null, Row, amount_with_cents, objects, reported, set_fields

PATHS: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: "customers/search",
    EventKind.ORDER: "orders",
    EventKind.PRODUCT: "products",
}
PAGE: Final = 100
NOT_VISIBLE: Final = 1
"""The `visibility` of a product that is visible only as a variant of another one."""


@returns_failures
async def read_one_row(api: MagentoApi, kind: EventKind) -> list[Row]:
    """Read one row of a list, to check the permission."""
    fields = {"fields": "items[id,entity_id],total_count"}
    return await api.search(PATHS[kind], f"the list of {kind}", criteria(size=1) | fields)


async def fetch_entity(api: MagentoApi, kind: EventKind, entity_id: str, media_url: str) -> NativeEvent | None:
    """Return one entity by its id; None if it does not exist."""
    request = f"the {kind.removesuffix('s')}"
    rows = await api.search(PATHS[kind], request, criteria(("entity_id", "eq", entity_id), size=1))
    if not rows:
        return None
    if event := to_event(kind, rows[0], media_url):
        return event
    raise RESPONSES.unreadable_entity(kind, entity_id)


async def list_entities(
    api: MagentoApi, kind: EventKind, since: datetime | None, cursor: str | None, media_url: str
) -> Page:
    """Return a page of the entities that changed since `since`, by time of change and id.

    The cursor is the last entity of the page before, "2026-11-23 05:28:46/17". The other entities of this second are read
    first. Page numbers would not work: an entity that changes while the list is read moves to the end, and another entity
    would be missed; and after the last page, Magento returns the last page again.
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
    events = (to_event(kind, row, media_url) for row in rows)
    next_cursor = f"{rows[-1].get('updated_at')}/{_id(rows[-1])}" if full else None
    return Page(tuple(event for event in events if event), next_cursor)


async def _rows(api: MagentoApi, kind: EventKind, *filters: tuple[str, str, str]) -> list[Row]:
    query = criteria(*filters, sort=("updated_at", "entity_id"), size=PAGE)
    return await api.search(PATHS[kind], f"the list of {kind}", query)


def _id(row: Row) -> str:
    return str(row.get("entity_id") or row.get("id") or "")


def to_event(kind: EventKind, row: Row, media_url: str) -> NativeEvent | None:
    """Translate an entity; None for a product that is only a variant, and if the entity cannot be read.

    An invalid e-mail address is left out, so that the entity is not lost.
    """
    without_email = {name: value for name, value in row.items() if name not in ("email", "customer_email")}
    for variant in (row, without_email):
        try:
            event = _event(kind, variant, media_url)
        except (ValidationError, InvalidOperation, ValueError):
            continue
        return None if event is None else native_event("magento", kind, event)
    return None


def _event(kind: EventKind, row: Row, media_url: str) -> CustomerEvent | OrderEvent | ProductEvent | None:
    match kind:
        case EventKind.CUSTOMER:
            return customer(row)
        case EventKind.ORDER:
            return order(row)
        case EventKind.PRODUCT:
            return None if row.get("visibility") == NOT_VISIBLE else product(row, media_url)


def customer(row: Row) -> CustomerEvent:
    """Translate a customer. Raises ValueError if it cannot be read."""
    born = date.fromisoformat(str(row["dob"])[:10]) if row.get("dob") else None
    return CustomerEvent.model_validate(
        set_fields(
            {
                "id": _id(row),
                "email": _reported_text(row, "email"),
                "firstName": _reported_text(row, "firstname"),
                "lastName": _reported_text(row, "lastname"),
                "birthdayMonth": born.month if born else reported(row, "dob"),
                "birthdayDay": born.day if born else reported(row, "dob"),
                "createdAt": _parse_utc(row.get("created_at")),
                "updatedAt": _parse_utc(row.get("updated_at")),
            }
        )
    )


def order(row: Row) -> OrderEvent:
    """Translate an order. Raises ValueError if it cannot be read."""
    rows = objects(row.get("items"))
    code = _text(row.get("coupon_code"))
    guest = row.get("customer_is_guest") == 1
    return OrderEvent.model_validate(
        set_fields(
            {
                "id": _id(row),
                "customerId": None if guest or not row.get("customer_id") else str(row["customer_id"]),
                "email": _reported_text(row, "customer_email"),
                "financialStatus": financial_status(row),
                "currency": str(row.get("order_currency_code")),
                "totalPrice": amount_with_cents(row.get("grand_total")),
                "subtotalPrice": amount_with_cents(row.get("subtotal")),
                "lineItems": [_line(item, rows) for item in rows if not item.get("parent_item_id")],
                "discountCodes": [{"code": code, "amount": abs(amount_with_cents(row.get("discount_amount")))}]
                if code
                else [],
                "createdAt": _parse_utc(row.get("created_at")),
                "updatedAt": _parse_utc(row.get("updated_at")),
            }
        )
    )


def _line(item: Row, rows: list[Row]) -> dict[str, object]:
    """Translate a line. The chosen variant of a configurable product is a second row under the first one."""
    chosen = next((row for row in rows if item.get("item_id") and row.get("parent_item_id") == item["item_id"]), None)
    variant = chosen if chosen and item.get("product_type") == "configurable" else None
    return set_fields(
        {
            "productId": _text(item.get("product_id")),
            "variantId": _text(variant.get("product_id")) if variant else None,
            "title": _text(item.get("name")),
            "quantity": int(amount_with_cents(item.get("qty_ordered"))),
            "price": amount_with_cents(item.get("price")),
        }
    )


def financial_status(row: Mapping[str, JsonValue]) -> FinancialStatus:
    """The financial status of an order, by the table above."""
    paid, refunded, total = (
        amount_with_cents(row.get(name)) for name in ("total_paid", "total_refunded", "grand_total")
    )
    payment = row.get("payment")
    authorized = (
        amount_with_cents(payment.get("amount_authorized")) if isinstance(payment, dict) else amount_with_cents(None)
    )
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
    return next((status for applies, status in rules if applies), "pending")


def product(row: Row, media_url: str) -> ProductEvent:
    """Translate a product. Raises ValueError if it cannot be read. In Magento, variants are products, so none are sent."""
    attributes = {
        str(attribute.get("attribute_code")): attribute.get("value")
        for attribute in objects(row.get("custom_attributes"))
    }
    image = _text(attributes.get("image"))
    image_url: str | Null | None = NULL if image == "no_selection" or reported(attributes, "image") is NULL else None
    if image_url is None and image and media_url:
        image_url = f"{media_url.rstrip('/')}/catalog/product/{quote(image.lstrip('/'))}"
    return ProductEvent.model_validate(
        set_fields(
            {
                "id": _id(row),
                "title": _reported_text(row, "name"),
                "imageUrl": image_url,
                "status": "active" if row.get("status") == 1 else "draft",
                "externalUrlHandle": _reported_text(attributes, "url_key"),
                "updatedAt": _parse_utc(row.get("updated_at")),
            }
        )
    )


def _reported_text(row: Row, name: str) -> str | Null | None:
    value = reported(row, name)
    return value if isinstance(value, Null) else _text(value)


def _text(value: JsonValue) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None


def _parse_utc(value: JsonValue) -> datetime | None:
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC) if value else None
