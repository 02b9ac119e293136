"""Magento's customers, orders and products, read from its lists and translated into events.

Magento Open Source has no webhooks, and Adobe Commerce has a module for them; the lists work with both. Times are in UTC, without
a time zone.

Financial status of an order; the first line that fits applies:

    total_refunded ≥ total_paid, or state closed       refunded
    total_refunded > 0                                 partially_refunded
    state canceled                                     voided
    total_paid ≥ the total, or grand_total is 0 and
    the state is processing or complete                paid
    total_paid > 0                                     partially_paid
    payment.amount_authorized > 0                      authorized
    otherwise (new, pending_payment, payment_review)   pending

If the rest of a partly invoiced order was cancelled, its state is processing or complete, and total_canceled is grand_total less
total_paid (`Order::registerCancellation`). The total is then grand_total less total_canceled, and the lines are without the
cancelled units. An order that is cancelled as a whole keeps its total and its lines.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue

from platform_relay.core.plain_numbers import integer
from platform_relay.inbox.events import EventKind, FinancialStatus
from platform_relay.stores.amounts import ZERO, in_currency, money, number, refunded
from platform_relay.stores.failures import returns_failures
from platform_relay.stores.magento.api import RESPONSES, MagentoApi, criteria
from platform_relay.stores.native import Page, ParsedEntity, not_relayed
from platform_relay.stores.paging import with_smaller_pages
from platform_relay.stores.parsing import (
    NULL,
    Null,
    Row,
    amount_with_cents,
    objects,
    reported,
    set_fields,
    value_at,
    whole_number,
)
from platform_relay.stores.text import plain_text
from platform_relay.stores.translation import translate

PATHS: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: "customers/search",
    EventKind.ORDER: "orders",
    EventKind.PRODUCT: "products",
}
FIELDS: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: "id,email,firstname,lastname,dob,created_at,updated_at",
    EventKind.ORDER: (
        "entity_id,increment_id,state,status,customer_id,customer_is_guest,customer_email,order_currency_code,"
        "base_currency_code,coupon_code,grand_total,subtotal,subtotal_incl_tax,tax_amount,discount_amount,"
        "discount_tax_compensation_amount,shipping_discount_tax_compensation_amount,shipping_amount,"
        "shipping_incl_tax,shipping_discount_amount,total_paid,total_refunded,total_canceled,"
        "created_at,updated_at,payment[amount_authorized],"
        "items[item_id,parent_item_id,product_id,product_type,sku,name,qty_ordered,qty_canceled,qty_refunded,price,price_incl_tax,"
        "original_price,row_total,row_total_incl_tax,tax_amount,discount_amount]"
    ),
    EventKind.PRODUCT: "id,sku,name,type_id,status,visibility,created_at,updated_at,custom_attributes",
}
"""The fields of a list."""
PAGE: Final = 100
SAVINGS: Final = (
    "discount_amount", "subtotal_incl_tax", "subtotal", "shipping_incl_tax", "shipping_amount", "tax_amount",
    "discount_tax_compensation_amount", "shipping_discount_tax_compensation_amount",
)  # fmt: skip
NOT_VISIBLE: Final = 1
"""The `visibility` of a product that is visible only as a variant of another one."""


@returns_failures
async def read_one_row(api: MagentoApi, kind: EventKind) -> list[Row]:
    """Read one row of a list, to check the permission."""
    fields = {"fields": "items[id,entity_id],total_count"}
    return await api.search(PATHS[kind], f"the list of {kind}", criteria(size=1) | fields)


async def fetch_entity(api: MagentoApi, kind: EventKind, entity_id: str, media_url: str) -> ParsedEntity | None:
    """Return one entity by its id; None if it does not exist."""
    request = f"the {kind.removesuffix('s')}"
    rows = await api.search(PATHS[kind], request, criteria(("entity_id", "eq", entity_id), size=1))
    return to_event(kind, rows[0], media_url) if rows else None


async def list_entities(
    api: MagentoApi, kind: EventKind, since: datetime | None, cursor: str | None, media_url: str
) -> Page:
    """Return a page of the entities that changed since `since`, by time of change and id.

    The cursor is the last entity of the page before, and the page size: "2026-11-23 05:28:46/17/100". The other entities of
    this second are read first. Page numbers would not work: an entity that changes while the list is read moves to the end,
    and another entity would be missed; and after the last page, Magento returns the last page again.
    """
    last, size = (cursor.rpartition("/")[0], integer(cursor.rpartition("/")[2])) if cursor else (None, PAGE)
    (rows, full), size = await with_smaller_pages(size, lambda limit: _page(api, kind, since, last, limit))
    events = (to_event(kind, row, media_url) for row in rows)
    next_cursor = f"{rows[-1].get('updated_at')}/{_id(rows[-1])}/{size}" if full else None
    return Page.of(events, next_cursor)


async def count(api: MagentoApi, kind: EventKind, since: datetime | None) -> int | None:
    """See `native.CountsEntities`."""
    filters = [("updated_at", "gteq", _moment(since))]
    if kind is EventKind.PRODUCT:
        filters.append(("visibility", "neq", str(NOT_VISIBLE)))
    request = f"the number of {kind}"
    query = criteria(*filters, size=1) | {"fields": "items[id,entity_id],total_count"}
    total = whole_number(value_at(await api.read(PATHS[kind], request, query), "total_count"))
    if total is None:
        raise RESPONSES.unreadable(request, "it does not contain the number")
    return total


async def _page(
    api: MagentoApi, kind: EventKind, since: datetime | None, last: str | None, size: int
) -> tuple[list[Row], bool]:
    """The rows behind the `last` entity, and whether more may follow."""
    if last is None:
        rows = await _rows(api, kind, size, ("updated_at", "gteq", _moment(since)))
        return rows, len(rows) >= size
    moment, _, entity_id = last.partition("/")
    rows = await _rows(api, kind, size, ("updated_at", "eq", moment), ("entity_id", "gt", entity_id))
    if len(rows) >= size:
        return rows, True
    later = await _rows(api, kind, size, ("updated_at", "gt", moment))
    return rows + later, len(later) >= size


def _moment(since: datetime | None) -> str:
    return since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if since else "1970-01-01 00:00:00"


async def _rows(api: MagentoApi, kind: EventKind, size: int, *filters: tuple[str, str, str]) -> list[Row]:
    query = criteria(*filters, sort=("updated_at", "entity_id"), size=size)
    return await api.search(
        PATHS[kind], f"the list of {kind}", query | {"fields": f"items[{FIELDS[kind]}],total_count"}
    )


def _id(row: Row) -> str:
    return str(row.get("entity_id") or row.get("id") or "")


def to_event(kind: EventKind, row: Row, media_url: str) -> ParsedEntity:
    """Translate an entity. A product that is only a variant is Ignored."""
    if kind is EventKind.PRODUCT and row.get("visibility") == NOT_VISIBLE:
        return not_relayed("the product is visible only as a variant of another one", kind, _id(row))

    def fields() -> dict[str, object]:
        match kind:
            case EventKind.CUSTOMER:
                return customer(row)
            case EventKind.ORDER:
                return order(row)
            case EventKind.PRODUCT:
                return product(row, media_url)

    return translate("magento", "Magento", kind, row, fields, entity_id=_id(row))


def customer(row: Row) -> dict[str, object]:
    """The fields of a customer."""
    month, day = _birthday(reported(row, "dob"))
    return {
        "id": _id(row),
        "email": _reported_text(row, "email"),
        "firstName": _reported_text(row, "firstname"),
        "lastName": _reported_text(row, "lastname"),
        "birthdayMonth": month,
        "birthdayDay": day,
        "createdAt": _parse_utc(row.get("created_at")),
        "updatedAt": _parse_utc(row.get("updated_at")),
    }


def order(row: Row) -> dict[str, object]:
    """The fields of an order."""
    rows = objects(row.get("items"))
    items = [
        item for item in rows if not item.get("parent_item_id") and (_units(row, item) or not _cancelled(row, item))
    ]
    code = _text(row.get("coupon_code"))
    guest = row.get("customer_is_guest") == 1
    currency = str(row.get("order_currency_code"))
    return {
        "id": _id(row),
        "customerId": None if guest or not row.get("customer_id") else str(row["customer_id"]),
        "email": _reported_text(row, "customer_email"),
        "financialStatus": financial_status(row),
        "currency": row.get("order_currency_code"),
        "totalPrice": None if row.get("grand_total") in (None, "") else in_currency(_total(row), currency),
        "subtotalPrice": _subtotal(row, currency),
        "refundedAmount": refunded(number(row.get("total_refunded")), currency),
        "lineItems": [_line(row, item, rows, currency) for item in items],
        "discountCodes": [{"code": code, "amount": in_currency(_saved(row), currency)}] if code else [],
        "createdAt": _parse_utc(row.get("created_at")),
        "updatedAt": _parse_utc(row.get("updated_at")),
    }


def _total(row: Mapping[str, JsonValue]) -> Decimal:
    """What the customer pays: without what was cancelled of an order that continues. What was paid after the cancellation was not
    cancelled."""
    total, cancelled = number(row.get("grand_total")), number(row.get("total_canceled"))
    if row.get("state") == "canceled" or not cancelled:
        return total
    return max(total - cancelled, number(row.get("total_paid")))


def _cancelled(row: Row, item: Row) -> Decimal:
    """The units of a line that were cancelled in an order that continues."""
    return ZERO if row.get("state") == "canceled" else number(item.get("qty_canceled"))


def _units(row: Row, item: Row) -> Decimal:
    return number(item.get("qty_ordered")) - _cancelled(row, item)


def _subtotal(row: Row, currency: str) -> Decimal | None:
    if row.get("subtotal_incl_tax") in (None, ""):
        return None
    items = [item for item in objects(row.get("items")) if not item.get("parent_item_id")]
    cancelled = sum((number(item.get("price_incl_tax")) * _cancelled(row, item) for item in items), ZERO)
    return in_currency(number(row.get("subtotal_incl_tax")) - cancelled, currency)


def _saved(row: Row) -> Decimal:
    """What all cart price rules of the order saved, with tax. An order has at most one code.

    The discount is with or without tax, as the store's tax settings define. What it changed in the tax is the difference
    between the tax of the undiscounted amounts and the tax of the order; the compensation is the tax that the discount already
    contains.
    """
    amount = {name: number(row.get(name)) for name in SAVINGS}
    undiscounted = amount["subtotal_incl_tax"] - amount["subtotal"]
    undiscounted += amount["shipping_incl_tax"] - amount["shipping_amount"]
    contained = amount["discount_tax_compensation_amount"] + amount["shipping_discount_tax_compensation_amount"]
    return abs(amount["discount_amount"]) + undiscounted - amount["tax_amount"] - contained


def _line(order: Row, item: Row, rows: list[Row], currency: str) -> dict[str, object]:
    """Translate a line. The chosen variant of a configurable product is a second row under the first one."""
    chosen = next((row for row in rows if item.get("item_id") and row.get("parent_item_id") == item["item_id"]), None)
    variant = chosen if chosen and item.get("product_type") == "configurable" else None
    return set_fields(
        {
            "productId": _text(item.get("product_id")),
            "variantId": _text(variant.get("product_id")) if variant else None,
            "title": plain_text(_text(item.get("name"))),
            "quantity": _units(order, item) if _cancelled(order, item) else _amount(item.get("qty_ordered")),
            "price": money(item.get("price_incl_tax"), currency),
        }
    )


def financial_status(row: Mapping[str, JsonValue]) -> FinancialStatus:
    """The financial status of an order, by the table above."""
    paid, refunded = (amount_with_cents(row.get(name)) for name in ("total_paid", "total_refunded"))
    total, ordered = _total(row), number(row.get("grand_total"))
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
        (ordered == 0 and state in ("processing", "complete"), "paid"),
        (paid > 0, "partially_paid"),
        (authorized > 0, "authorized"),
    )
    return next((status for applies, status in rules if applies), "pending")


def product(row: Row, media_url: str) -> dict[str, object]:
    """The fields of a product. In Magento, variants are products, so none are sent."""
    attributes = {
        str(attribute.get("attribute_code")): attribute.get("value")
        for attribute in objects(row.get("custom_attributes"))
    }
    image = _text(attributes.get("image"))
    image_url: str | Null | None = NULL if image == "no_selection" or reported(attributes, "image") is NULL else None
    if image_url is None and image and media_url:
        image_url = f"{media_url.rstrip('/')}/catalog/product/{quote(image.lstrip('/'))}"
    return {
        "id": _id(row),
        "title": plain_text(_reported_text(row, "name")),
        "imageUrl": image_url,
        "status": "active" if row.get("status") == 1 else "draft",
        "externalUrlHandle": _reported_text(attributes, "url_key"),
        "updatedAt": _parse_utc(row.get("updated_at")),
    }


def _reported_text(row: Row, name: str) -> str | Null | None:
    value = reported(row, name)
    return value if isinstance(value, Null) else _text(value)


def _text(value: JsonValue) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None


def _amount(value: JsonValue) -> object:
    """The amount; a value that is not one as it is."""
    try:
        return amount_with_cents(value)
    except InvalidOperation:
        return value


def _birthday(born: JsonValue | Null) -> tuple[object, object]:
    """The month and the day. A value that is not a date, such as `0000-00-00`, gives texts that are no numbers."""
    if born is None or isinstance(born, Null):
        return born, born
    try:
        day = date.fromisoformat(str(born)[:10])
    except ValueError:
        return "not a date", "not a date"
    return day.month, day.day


def _parse_utc(value: JsonValue) -> object:
    """The time; a value that is not one as it is."""
    try:
        return datetime.fromisoformat(str(value)).replace(tzinfo=UTC) if value else None
    except ValueError:
        return value
