"""The amounts of Shopify's orders with tax, from webhook bodies and from GraphQL. Pure.

In an order with `taxesIncluded`, prices and discounts contain the tax. In another order they do not: the tax is added by the
rates of the line, which also apply to what was discounted. A discount is allocated to lines; a code's discount is the sum of its
allocations to line items and shipping lines.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pydantic import JsonValue

from platform_relay.stores.amounts import ZERO, in_currency, number
from platform_relay.stores.parsing import Row, objects, value_at

REFUND: Final = "refund"


@dataclass(frozen=True, slots=True)
class TaxedLine:
    """A line item or a shipping line. `price` is the price of one unit with tax, `saved` the discount of each code with tax;
    the codes are in lower case."""

    price: Decimal
    quantity: Decimal
    saved: Mapping[str, Decimal]


def body_lines(body: Row, rows: list[Row]) -> list[TaxedLine]:
    """Some of the `line_items` or `shipping_lines` of a webhook."""
    codes = [used.get("code") for used in objects(body.get("discount_applications"))]
    included = body.get("taxes_included") is not False

    def saved(item: Row) -> Iterable[tuple[JsonValue, JsonValue]]:
        for allocation in objects(item.get("discount_allocations")):
            index = allocation.get("discount_application_index")
            yield codes[index] if isinstance(index, int) and 0 <= index < len(codes) else None, allocation.get("amount")

    return [
        _line(item.get("price"), item.get("quantity"), item.get("tax_lines"), saved(item), included=included)
        for item in rows
    ]


def node_lines(node: Row, rows: list[Row]) -> list[TaxedLine]:
    """Some of the `lineItems` or `shippingLines` of a GraphQL order."""
    included = node.get("taxesIncluded") is not False

    def saved(item: Row) -> Iterable[tuple[JsonValue, JsonValue]]:
        for allocation in objects(item.get("discountAllocations")):
            amount = value_at(allocation, "allocatedAmountSet", "shopMoney", "amount")
            yield value_at(allocation, "discountApplication", "code"), amount

    return [
        _line(
            value_at(item, "originalUnitPriceSet", "shopMoney", "amount"),
            item.get("quantity"),
            item.get("taxLines"),
            saved(item),
            included=included,
        )
        for item in rows
    ]


def subtotal(lines: list[TaxedLine], currency: str) -> Decimal:
    """The price of all units."""
    return in_currency(sum((line.price * line.quantity for line in lines), ZERO), currency)


def saved_by(code: str, lines: Iterable[TaxedLine], currency: str) -> Decimal | None:
    """What the code saved; None if no line shows it."""
    amounts = [line.saved[code.lower()] for line in lines if code.lower() in line.saved]
    return in_currency(sum(amounts, ZERO), currency) if amounts else None


def body_refunds(body: Row) -> Decimal:
    """What was paid back, from a webhook: its successful refund transactions in the order's currency."""
    transactions = (item for refund in objects(body.get("refunds")) for item in objects(refund.get("transactions")))
    return sum(
        (
            number(item.get("amount"))
            for item in transactions
            if item.get("kind") == REFUND
            and item.get("status") == "success"
            and item.get("currency", body.get("currency")) == body.get("currency")
        ),
        ZERO,
    )


def _line(
    price: JsonValue,
    quantity: JsonValue,
    tax: JsonValue,
    saved: Iterable[tuple[JsonValue, JsonValue]],
    *,
    included: bool,
) -> TaxedLine:
    rates = ZERO if included else sum((number(line.get("rate")) for line in objects(tax)), ZERO)
    by_code: dict[str, Decimal] = {}
    for code, amount in saved:
        if isinstance(code, str) and code:
            by_code[code.lower()] = by_code.get(code.lower(), ZERO) + number(amount) * (1 + rates)
    return TaxedLine(number(price) * (1 + rates), number(quantity), by_code)
