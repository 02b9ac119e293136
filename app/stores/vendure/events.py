"""Vendure's customers, orders and products in the words of `platform_relay.inbox.messages`, read from its lists.

Vendure has no webhooks: integrations/vendure/relay-plugin.ts is a plugin that sends the same events as they happen.

What an order's state and payments mean (paid: settled payments, refunded: settled refunds), the first line that applies:

    state Cancelled, nothing refunded              voided
    refunded ≥ paid > 0, or state Cancelled        refunded
    refunded > 0                                   partially_refunded
    paid ≥ total (also a total of 0)               paid
    paid > 0                                       partially_paid
    a payment is authorized                        authorized
    else                                           pending

An order counts once it is placed. Settling a payment leaves the order's `updatedAt` as it was, so the version is the
latest time of the order, its payments and refunds; but the list, which Vendure filters by the order's own time, does
not show such an order again before something else changes: the plugin does. A cancelled order has a total of 0. A guest
has a customer without a user: his orders go by e-mail address.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue, ValidationError

from platform_relay.inbox.messages import EVENTS, Kind
from platform_relay.stores.native import NativeEvent, Page, native_event
from platform_relay.stores.reading import Row, following, rows, within
from platform_relay.stores.vendure.api import RESPONSES, VendureApi

PAGE: Final = 100
BEGINNING: Final = "1970-01-01T00:00:00+00:00"
TICK: Final = timedelta(seconds=1)
"""Some of its databases keep whole seconds, and its filter leaves the moment itself out."""
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
LISTS: Final[Mapping[Kind, str]] = {
    Kind.CUSTOMER: f"""
query Customers($options: CustomerListOptions) {{ customers(options: $options) {{ items {{ {CUSTOMER} }} }} }}""",
    Kind.ORDER: f"""
query Orders($options: OrderListOptions) {{ orders(options: $options) {{ items {{ {ORDER} }} }} }}""",
    Kind.PRODUCT: f"""
query Products($options: ProductListOptions) {{ products(options: $options) {{ items {{ {PRODUCT} }} }} }}""",
}
SINGLE: Final[Mapping[Kind, str]] = {
    Kind.CUSTOMER: f"query Customer($id: ID!) {{ customer(id: $id) {{ {CUSTOMER} }} }}",
    Kind.ORDER: f"query Order($id: ID!) {{ order(id: $id) {{ {ORDER} }} }}",
    Kind.PRODUCT: f"query Product($id: ID!) {{ product(id: $id) {{ {PRODUCT} }} }}",
}


async def one(api: VendureApi, kind: Kind, entity_id: str, digits: int) -> NativeEvent | None:
    """One entity by its id; None when there is none, or when it is a guest or an order that is not placed."""
    name = kind.removesuffix("s")
    row = (await api.read(SINGLE[kind], {"id": entity_id}, f"the {name}")).get(name)
    if not isinstance(row, dict) or not _counts(kind, row):
        return None
    if event := translated(kind, row, digits):
        return event
    raise RESPONSES.unreadable_entity(kind, entity_id)


async def page(api: VendureApi, kind: Kind, since: datetime | None, cursor: str | None, digits: int) -> Page:
    """Entities changed since, oldest change first.

    A cursor is "2026-11-23T05:04:24+00:00 3": go on behind that time of change, without the first 3 rows
    (`reading.following`).
    """
    beginning = (since.astimezone(UTC) - TICK).isoformat() if since else BEGINNING
    start, passed = (cursor or f"{beginning} 0").split(" ")
    seen = int(passed)
    request = f"the list of {kind}"
    rows = await api.rows(LISTS[kind], {"options": _options(kind, start, seen)}, kind, request)
    events = (translated(kind, row, digits) for row in rows if _counts(kind, row))
    try:
        position = following(start, seen, [row.get("updatedAt") for row in rows], PAGE, TICK)
    except ValueError:
        raise RESPONSES.unreadable(request, "it has a row without its time of change") from None
    after = f"{position[0]} {position[1]}" if position else None
    return Page(tuple(event for event in events if event), after)


def _options(kind: Kind, start: str, seen: int) -> JsonValue:
    return {
        "filter": {"updatedAt": {"after": start}, **({"active": {"eq": False}} if kind is Kind.ORDER else {})},
        "sort": {"updatedAt": "ASC", "id": "ASC"},
        "take": PAGE,
        "skip": seen,
    }


def translated(kind: Kind, row: Row, digits: int) -> NativeEvent | None:
    """An entity in our words; None for what cannot be read. An e-mail address that is none is left out."""
    for address in (True, False):
        try:
            fields = _order(row, digits) if kind is Kind.ORDER else ENTITIES[kind](row)
            kept = {name: value for name, value in fields.items() if value is not None}
            event = EVENTS[kind].model_validate(kept if address else {**kept, "email": None})
        except (ValidationError, InvalidOperation, ValueError):
            continue
        return native_event("vendure", kind, event)
    return None


def _counts(kind: Kind, row: Row) -> bool:
    """Guests are no customers, and carts no orders."""
    if kind is Kind.CUSTOMER:
        return row.get("user") is not None
    return kind is not Kind.ORDER or (row.get("active") is False and row.get("orderPlacedAt") is not None)


def _customer(row: Row) -> dict[str, object]:
    return {
        "id": row.get("id"),
        "email": row.get("emailAddress"),
        "firstName": row.get("firstName"),
        "lastName": row.get("lastName"),
        "phone": row.get("phoneNumber"),
        "createdAt": row.get("createdAt"),
        "updatedAt": row.get("updatedAt"),
    }


def _product(row: Row) -> dict[str, object]:
    variants = rows(row.get("variants"))
    return {
        "id": row.get("id"),
        "title": row.get("name"),
        "imageUrl": within(row, "featuredAsset", "preview"),
        "status": "active" if row.get("enabled") else "draft",
        "externalUrlHandle": row.get("slug"),
        "variants": [
            {
                "externalVariantId": variant.get("id"),
                "title": variant.get("name"),
                "imageUrl": within(variant, "featuredAsset", "preview"),
                "status": "active" if variant.get("enabled") else "draft",
                "position": position,
            }
            for position, variant in enumerate(variants)
        ],
        "updatedAt": _latest(row, *variants),
    }


def _order(row: Row, digits: int) -> dict[str, object]:
    payments = rows(row.get("payments"))
    refunds = [refund for payment in payments for refund in rows(payment.get("refunds"))]
    return {
        "id": row.get("id"),
        "customerId": within(row, "customer", "id") if within(row, "customer", "user") else None,
        "email": within(row, "customer", "emailAddress"),
        "financialStatus": financial_status(row),
        "currency": row.get("currencyCode"),
        "totalPrice": _money(row.get("totalWithTax"), digits),
        "subtotalPrice": _money(row.get("subTotalWithTax"), digits),
        "lineItems": [
            {
                "productId": within(line, "productVariant", "productId"),
                "variantId": within(line, "productVariant", "id"),
                "title": within(line, "productVariant", "product", "name") or within(line, "productVariant", "name"),
                "quantity": line.get("quantity"),
                "price": _money(line.get("unitPriceWithTax"), digits),
            }
            for line in rows(row.get("lines"))
        ],
        "discountCodes": _discounts(row, digits),
        "orderNumber": row.get("code"),
        "createdAt": row.get("orderPlacedAt") or row.get("createdAt"),
        "updatedAt": _latest(row, *payments, *refunds),
    }


def financial_status(row: Row) -> str:
    """What an order of Vendure means, by the table above."""
    payments = rows(row.get("payments"))
    refunds = [refund for payment in payments for refund in rows(payment.get("refunds"))]
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
    """The codes of an order, each with what it took off."""
    codes = {f"PROMOTION:{each.get('id')}": str(each.get("couponCode")) for each in rows(row.get("promotions"))}
    used = row.get("couponCodes")
    amounts = {str(code): Decimal(0) for code in used} if isinstance(used, list) else {}
    for discount in rows(row.get("discounts")):
        code = codes.get(str(discount.get("adjustmentSource")))
        if code in amounts:
            amounts[code] -= _number(discount.get("amountWithTax"))
    return [{"code": code, "amount": _money(str(amount), digits)} for code, amount in amounts.items()] or None


ENTITIES: Final = {Kind.CUSTOMER: _customer, Kind.PRODUCT: _product}


def _sum(rows: list[Row], name: str) -> Decimal:
    return sum((_number(row.get(name)) for row in rows if row.get("state") == "Settled"), Decimal(0))


def _money(value: JsonValue, digits: int) -> str | None:
    return None if value is None else f"{_number(value).scaleb(-digits):f}"


def _number(value: JsonValue) -> Decimal:
    return Decimal(str(value if value is not None else 0))


def _latest(*rows: Row) -> str | None:
    """The latest time of change; Vendure writes them all alike, in UTC."""
    return max((str(row["updatedAt"]) for row in rows if row.get("updatedAt")), default=None)
