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
from decimal import Decimal
from typing import Final

from pydantic import JsonValue

from platform_relay.inbox.events import EventKind
from platform_relay.stores.amounts import ZERO, in_currency, number, refunded
from platform_relay.stores.native import Page, ParsedEntity
from platform_relay.stores.paging import Rows, next_rows
from platform_relay.stores.parsing import Row, objects, reported, value_at, whole_number
from platform_relay.stores.text import plain_text
from platform_relay.stores.translation import translate
from platform_relay.stores.vendure.api import RESPONSES, VendureApi

PAGE: Final = 100
TIME_RESOLUTION: Final = timedelta(seconds=1)
"""Some databases of Vendure store whole seconds, and its filter excludes the given time itself."""
CUSTOMER: Final = """
    id emailAddress firstName lastName phoneNumber user { id } createdAt updatedAt
    addresses { fullName defaultBillingAddress }"""
ORDER: Final = """
    id code state active orderPlacedAt createdAt updatedAt currencyCode totalWithTax
    customer { id emailAddress user { id } }
    couponCodes discounts { adjustmentSource amountWithTax } promotions { id couponCode }
    lines { quantity unitPriceWithTax linePriceWithTax productVariant { id productId name product { name } } }
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
COUNTS: Final[Mapping[EventKind, str]] = {
    EventKind.ORDER: "query Orders($options: OrderListOptions) { orders(options: $options) { totalItems } }",
    EventKind.PRODUCT: "query Products($options: ProductListOptions) { products(options: $options) { totalItems } }",
}
SINGLE: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: f"query Customer($id: ID!) {{ customer(id: $id) {{ {CUSTOMER} }} }}",
    EventKind.ORDER: f"query Order($id: ID!) {{ order(id: $id) {{ {ORDER} }} }}",
    EventKind.PRODUCT: f"query Product($id: ID!) {{ product(id: $id) {{ {PRODUCT} }} }}",
}


async def fetch_entity(api: VendureApi, kind: EventKind, entity_id: str, digits: int) -> ParsedEntity | None:
    """Return one entity by its id; None if it does not exist, or if it is a guest or an order that is not placed."""
    name = kind.removesuffix("s")
    row = (await api.read(SINGLE[kind], {"id": entity_id}, f"the {name}")).get(name)
    if not isinstance(row, dict) or not _is_relayed(kind, row):
        return None
    return to_event(kind, row, digits)


async def list_entities(
    api: VendureApi, kind: EventKind, since: datetime | None, cursor: str | None, digits: int
) -> Page:
    """Return a page of the entities that changed since `since`, in the order of the ids."""
    request = f"the list of {kind}"

    async def read(offset: int, limit: int) -> Rows:
        options = _options(kind, since, take=limit, skip=offset)
        return Rows(await api.rows(LISTS[kind], {"options": options}, kind, request))

    page = await next_rows(read, cursor, size=PAGE, row_id=lambda row: str(row.get("id")))
    events = (to_event(kind, row, digits) for row in page.rows if _is_relayed(kind, row))
    return Page.of(events, page.next)


async def count(api: VendureApi, kind: EventKind, since: datetime | None) -> int | None:
    """See `native.CountsEntities`. None for customers, because Vendure counts guests, and since a time (see `_options`)."""
    if kind is EventKind.CUSTOMER or since is not None:
        return None
    request = f"the number of {kind}"
    data = await api.read(COUNTS[kind], {"options": _options(kind, since, take=1)}, request)
    total = whole_number(value_at(data, str(kind), "totalItems"))
    if total is None:
        raise RESPONSES.unreadable(request, "it does not contain the number")
    return total


def _options(kind: EventKind, since: datetime | None, *, take: int, skip: int = 0) -> JsonValue:
    filters: dict[str, JsonValue] = {}
    if since is not None:
        filters["updatedAt"] = {"after": (since.astimezone(UTC) - TIME_RESOLUTION).isoformat()}
    if kind is EventKind.ORDER:
        filters |= {"active": {"eq": False}, "orderPlacedAt": {"isNull": False}}
    return {"filter": filters, "sort": {"id": "ASC"}, "take": take, "skip": skip}


def to_event(kind: EventKind, row: Row, digits: int) -> ParsedEntity:
    """Translate an entity."""

    def fields() -> dict[str, object]:
        return _order(row, digits) if kind is EventKind.ORDER else ENTITIES[kind](row)

    return translate("vendure", "Vendure", kind, row, fields, entity_id=row.get("id"))


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
        "name": None if row.get("firstName") or row.get("lastName") else _billing_name(row),
        "phone": reported(row, "phoneNumber"),
        "createdAt": row.get("createdAt"),
        "updatedAt": row.get("updatedAt"),
    }


def _billing_name(row: Row) -> str | None:
    """The name of the billing address. Vendure's addresses have one field for both names."""
    addresses = objects(row.get("addresses"))
    full_names = (item.get("fullName") for item in addresses if item.get("defaultBillingAddress") is True)
    return next((str(name) for name in full_names if name), None)


def _product(row: Row) -> dict[str, object]:
    variants = objects(row.get("variants"))
    return {
        "id": row.get("id"),
        "title": plain_text(reported(row, "name")),
        "imageUrl": reported(row, "featuredAsset", "preview"),
        "status": "active" if row.get("enabled") else "draft",
        "externalUrlHandle": reported(row, "slug"),
        "variants": [
            {
                "externalVariantId": variant.get("id"),
                "title": plain_text(variant.get("name")),
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
    lines, currency = objects(row.get("lines")), str(row.get("currencyCode"))
    subtotal = sum((number(line.get("linePriceWithTax")) for line in lines), ZERO)
    return {
        "id": row.get("id"),
        "customerId": value_at(row, "customer", "id") if value_at(row, "customer", "user") else None,
        "email": reported(row, "customer", "emailAddress"),
        "financialStatus": financial_status(row),
        "currency": row.get("currencyCode"),
        "totalPrice": _money(row.get("totalWithTax"), digits, currency),
        "subtotalPrice": _money(subtotal, digits, currency),
        "refundedAmount": refunded(_sum(refunds, "total").scaleb(-digits), currency),
        "lineItems": [
            {
                "productId": value_at(line, "productVariant", "productId"),
                "variantId": value_at(line, "productVariant", "id"),
                "title": plain_text(
                    value_at(line, "productVariant", "product", "name") or value_at(line, "productVariant", "name")
                ),
                "quantity": line.get("quantity"),
                "price": _money(line.get("unitPriceWithTax"), digits, currency),
            }
            for line in lines
        ],
        "discountCodes": _discounts(row, digits, currency),
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
        (paid >= number(row.get("totalWithTax")), "paid"),
        (paid, "partially_paid"),
        (any(payment.get("state") == "Authorized" for payment in payments), "authorized"),
    )
    return next((status for applies, status in rules if applies), "pending")


def _discounts(row: Row, digits: int, currency: str) -> list[dict[str, object]] | None:
    """The codes of an order, with the discount of each, with tax."""
    codes = {f"PROMOTION:{item.get('id')}": str(item.get("couponCode")) for item in objects(row.get("promotions"))}
    used = row.get("couponCodes")
    amounts = {str(code): ZERO for code in used if code} if isinstance(used, list) else {}
    for discount in objects(row.get("discounts")):
        code = codes.get(str(discount.get("adjustmentSource")))
        if code in amounts:
            amounts[code] -= number(discount.get("amountWithTax"))
    return [{"code": code, "amount": _money(amount, digits, currency)} for code, amount in amounts.items()] or None


ENTITIES: Final = {EventKind.CUSTOMER: _customer, EventKind.PRODUCT: _product}


def _sum(rows: list[Row], name: str) -> Decimal:
    return sum((number(row.get(name)) for row in rows if row.get("state") == "Settled"), ZERO)


def _money(value: JsonValue | Decimal, digits: int, currency: str) -> Decimal | None:
    return None if value is None else in_currency(number(value).scaleb(-digits), currency)


def _latest(*rows: Row) -> str | None:
    """The latest time of change. All of Vendure's times have the same format, in UTC."""
    return max((str(row["updatedAt"]) for row in rows if row.get("updatedAt")), default=None)
