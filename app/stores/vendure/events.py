"""Vendure's customers, orders and products, read from its lists and translated into events.

Vendure has no webhooks. integrations/vendure/relay-plugin.ts is a plugin that sends the same events when they happen.

Financial status by an order's state and payments (paid: settled payments, refunded: settled refunds); the first line that fits
applies:

    state Cancelled, nothing refunded              voided
    refunded ≥ paid > 0, or state Cancelled        refunded
    refunded > 0                                   partially_refunded
    paid ≥ total (also a total of 0)               paid
    paid > 0                                       partially_paid
    a payment is authorized                        authorized
    otherwise                                      pending

An order counts once it is placed. The settlement of a payment does not change the order's `updatedAt`, so the version is the
latest time of the order, its payments and refunds. But the list, which Vendure filters by the order's own time, does not
show such an order again before something else changes; the plugin sends it. A cancelled order has a total of 0. A guest
has a customer without a user: the orders of a guest have no customer id, only the e-mail address.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue, ValidationError

from platform_relay.core import exact_json
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.stores.native import NativeEvent, Page, native_event
from platform_relay.stores.parsing import Row, next_position, objects, reported, set_fields, value_at
from platform_relay.stores.vendure.api import RESPONSES, VendureApi

PAGE: Final = 100
BEGINNING: Final = "1970-01-01T00:00:00+00:00"
TIME_RESOLUTION: Final = timedelta(seconds=1)
"""Some databases of Vendure store whole seconds, and its filter excludes the given time itself."""
CUSTOMER: Final = "id emailAddress firstName lastName phoneNumber user { id } createdAt updatedAt"
ORDER: Final = """
    id code state active orderPlacedAt createdAt updatedAt currencyCode totalWithTax subTotalWithTax
    customer { id emailAddress user { id } }
    couponCodes discounts { adjustmentSource amountWithTax } promotions { id couponCode }
    lines { quantity unitPriceWithTax productVariant { id productId name product { name } } }
    payments { amount state updatedAt refunds { total state updatedAt } }"""
PRODUCT: Final = """
    id name slug enabled updatedAt featuredAsset { preview }
    variants { id name enabled updatedAt featuredAsset { preview } }"""
LISTS: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: f"""
query Customers($options: CustomerListOptions) {{ customers(options: $options) {{ items {{ {CUSTOMER} }} }} }}""",
    EventKind.ORDER: f"""
query Orders($options: OrderListOptions) {{ orders(options: $options) {{ items {{ {ORDER} }} }} }}""",
    EventKind.PRODUCT: f"""
query Products($options: ProductListOptions) {{ products(options: $options) {{ items {{ {PRODUCT} }} }} }}""",
}
SINGLE: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: f"query Customer($id: ID!) {{ customer(id: $id) {{ {CUSTOMER} }} }}",
    EventKind.ORDER: f"query Order($id: ID!) {{ order(id: $id) {{ {ORDER} }} }}",
    EventKind.PRODUCT: f"query Product($id: ID!) {{ product(id: $id) {{ {PRODUCT} }} }}",
}


async def fetch_entity(api: VendureApi, kind: EventKind, entity_id: str, digits: int) -> NativeEvent | None:
    """Return one entity by its id; None if it does not exist, or if it is a guest or an order that is not placed."""
    name = kind.removesuffix("s")
    row = (await api.read(SINGLE[kind], {"id": entity_id}, f"the {name}")).get(name)
    if not isinstance(row, dict) or not _is_relayed(kind, row):
        return None
    if event := to_event(kind, row, digits):
        return event
    raise RESPONSES.unreadable_entity(kind, entity_id)


async def list_entities(
    api: VendureApi, kind: EventKind, since: datetime | None, cursor: str | None, digits: int
) -> Page:
    """Return a page of the entities that changed since `since`, the oldest change first.

    A cursor is "2026-11-23T05:04:24+00:00 3": continue after that time of change, after the first 3 rows
    (`parsing.next_position`).
    """
    beginning = (since.astimezone(UTC) - TIME_RESOLUTION).isoformat() if since else BEGINNING
    start, skipped_rows = (cursor or f"{beginning} 0").split(" ")
    skipped = int(skipped_rows)
    request = f"the list of {kind}"
    rows = await api.rows(LISTS[kind], {"options": _options(kind, start, skipped)}, kind, request)
    events = (to_event(kind, row, digits) for row in rows if _is_relayed(kind, row))
    try:
        position = next_position(start, skipped, [row.get("updatedAt") for row in rows], PAGE, TIME_RESOLUTION)
    except ValueError:
        raise RESPONSES.unreadable(request, "it contains a row without a time of change") from None
    next_cursor = f"{position[0]} {position[1]}" if position else None
    return Page(tuple(event for event in events if event), next_cursor)


def _options(kind: EventKind, start: str, skipped: int) -> JsonValue:
    return {
        "filter": {"updatedAt": {"after": start}, **({"active": {"eq": False}} if kind is EventKind.ORDER else {})},
        "sort": {"updatedAt": "ASC", "id": "ASC"},
        "take": PAGE,
        "skip": skipped,
    }


def to_event(kind: EventKind, row: Row, digits: int) -> NativeEvent | None:
    """Translate an entity; None if it cannot be read. An invalid e-mail address is left out."""
    for with_email in (True, False):
        try:
            fields = _order(row, digits) if kind is EventKind.ORDER else ENTITIES[kind](row)
            event = EVENTS[kind].model_validate(
                set_fields({name: value for name, value in fields.items() if with_email or name != "email"})
            )
        except (ValidationError, InvalidOperation, ValueError):
            continue
        return native_event("vendure", kind, event)
    return None


def _is_relayed(kind: EventKind, row: Row) -> bool:
    """False for guests and for carts."""
    if kind is EventKind.CUSTOMER:
        return row.get("user") is not None
    return kind is not EventKind.ORDER or (row.get("active") is False and row.get("orderPlacedAt") is not None)


def _customer(row: Row) -> dict[str, object]:
    return {
        "id": row.get("id"),
        "email": reported(row, "emailAddress"),
        "firstName": reported(row, "firstName"),
        "lastName": reported(row, "lastName"),
        "phone": reported(row, "phoneNumber"),
        "createdAt": row.get("createdAt"),
        "updatedAt": row.get("updatedAt"),
    }


def _product(row: Row) -> dict[str, object]:
    variants = objects(row.get("variants"))
    return {
        "id": row.get("id"),
        "title": reported(row, "name"),
        "imageUrl": reported(row, "featuredAsset", "preview"),
        "status": "active" if row.get("enabled") else "draft",
        "externalUrlHandle": reported(row, "slug"),
        "variants": [
            {
                "externalVariantId": variant.get("id"),
                "title": variant.get("name"),
                "imageUrl": value_at(variant, "featuredAsset", "preview"),
                "status": "active" if variant.get("enabled") else "draft",
                "position": position,
            }
            for position, variant in enumerate(variants)
        ],
        "updatedAt": _latest(row, *variants),
    }


def _order(row: Row, digits: int) -> dict[str, object]:
    payments = objects(row.get("payments"))
    refunds = [refund for payment in payments for refund in objects(payment.get("refunds"))]
    return {
        "id": row.get("id"),
        "customerId": value_at(row, "customer", "id") if value_at(row, "customer", "user") else None,
        "email": reported(row, "customer", "emailAddress"),
        "financialStatus": financial_status(row),
        "currency": row.get("currencyCode"),
        "totalPrice": _money(row.get("totalWithTax"), digits),
        "subtotalPrice": _money(row.get("subTotalWithTax"), digits),
        "lineItems": [
            {
                "productId": value_at(line, "productVariant", "productId"),
                "variantId": value_at(line, "productVariant", "id"),
                "title": value_at(line, "productVariant", "product", "name")
                or value_at(line, "productVariant", "name"),
                "quantity": line.get("quantity"),
                "price": _money(line.get("unitPriceWithTax"), digits),
            }
            for line in objects(row.get("lines"))
        ],
        "discountCodes": _discounts(row, digits),
        "orderNumber": row.get("code"),
        "createdAt": row.get("orderPlacedAt") or row.get("createdAt"),
        "updatedAt": _latest(row, *payments, *refunds),
    }


def financial_status(row: Row) -> str:
    """The financial status of an order, by the table above."""
    payments = objects(row.get("payments"))
    refunds = [refund for payment in payments for refund in objects(payment.get("refunds"))]
    paid, refunded = _sum(payments, "amount"), _sum(refunds, "total")
    cancelled = row.get("state") == "Cancelled"
    rules = (
        (cancelled and not refunded, "voided"),
        (cancelled or (refunded and refunded >= paid), "refunded"),
        (refunded, "partially_refunded"),
        (paid >= _number(row.get("totalWithTax")), "paid"),
        (paid, "partially_paid"),
        (any(payment.get("state") == "Authorized" for payment in payments), "authorized"),
    )
    return next((status for applies, status in rules if applies), "pending")


def _discounts(row: Row, digits: int) -> list[dict[str, object]] | None:
    """The codes of an order, with the discount of each."""
    codes = {f"PROMOTION:{item.get('id')}": str(item.get("couponCode")) for item in objects(row.get("promotions"))}
    used = row.get("couponCodes")
    amounts = {str(code): Decimal(0) for code in used} if isinstance(used, list) else {}
    for discount in objects(row.get("discounts")):
        code = codes.get(str(discount.get("adjustmentSource")))
        if code in amounts:
            amounts[code] -= _number(discount.get("amountWithTax"))
    return [{"code": code, "amount": _money(str(amount), digits)} for code, amount in amounts.items()] or None


ENTITIES: Final = {EventKind.CUSTOMER: _customer, EventKind.PRODUCT: _product}


def _sum(rows: list[Row], name: str) -> Decimal:
    return sum((_number(row.get(name)) for row in rows if row.get("state") == "Settled"), Decimal(0))


def _money(value: JsonValue, digits: int) -> str | None:
    return None if value is None else exact_json.plain(_number(value).scaleb(-digits))


def _number(value: JsonValue) -> Decimal:
    return Decimal(str(value if value is not None else 0))


def _latest(*rows: Row) -> str | None:
    """The latest time of change. All of Vendure's times have the same format, in UTC."""
    return max((str(row["updatedAt"]) for row in rows if row.get("updatedAt")), default=None)
