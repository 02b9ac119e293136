"""The amounts of an order, with one meaning for all stores (the table in docs/stores.md). Pure.

    price                  one unit: with tax, before discounts
    subtotalPrice          all units: with tax, before discounts, without shipping and fees
    totalPrice             what the customer pays: with tax and shipping, after discounts; refunds do not change it
    discountCodes.amount   what the customer saves by the code: with tax, on items and shipping
    refundedAmount         what was paid back so far; absent if nothing was

Amounts are exact decimals. Each is rounded once, half up, to the decimal places of the order's currency. So a subtotal may
differ from the sum of its rounded prices by a few of the smallest units.

A value that is no amount becomes NaN, and so does every sum and product with it. An event does not accept NaN, so its field is
named as one that cannot be read, and the other amounts are not lost.
"""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from platform_relay.core import plain_numbers
from platform_relay.core.currencies import currency_places

ZERO: Final = Decimal(0)
NAN: Final = Decimal("NaN")


def number(value: JsonValue | Decimal) -> Decimal:
    """A number or a numeric text as Decimal, and 0 for null and ""; NaN for any other value."""
    try:
        return plain_numbers.amount(0 if value is None or value == "" else value)
    except plain_numbers.NotANumberError:
        return NAN


def in_currency(amount: Decimal, currency: str) -> Decimal:
    """The amount with the decimal places of the currency; NaN if it is too large."""
    try:
        return amount.quantize(Decimal(1).scaleb(-currency_places(currency)), ROUND_HALF_UP)
    except InvalidOperation:
        return NAN


def money(value: JsonValue, currency: str) -> Decimal | None:
    """A reported amount in the currency; None for null and ""."""
    return None if value is None or value == "" else in_currency(number(value), currency)


def unit_price(amount: Decimal, quantity: Decimal, currency: str) -> Decimal | None:
    """The price of one unit of a line that costs `amount`; None if the line has no units."""
    if amount.is_nan() or quantity.is_nan():
        return NAN
    return in_currency(amount / quantity, currency) if quantity > 0 else None


def saved_with_tax(saved: Decimal, all_saved: Decimal, net: Decimal, gross: Decimal) -> Decimal:
    """A discount with tax, where the store takes discounts off the net price or off the gross price, and does not report which.

    `saved` is the discount and `all_saved` the sum of all discounts of the order, as the store reports them. `net` and `gross`
    are what all discounts together changed in the order. If the sum is the net change, the discount lacks its share of tax.
    """
    if any(amount.is_nan() for amount in (all_saved, net, gross)):
        return saved
    is_net = ZERO < net < gross and abs(all_saved - net) < abs(all_saved - gross)
    return saved * gross / net if is_net else saved


def refunded(amount: Decimal, currency: str) -> Decimal | None:
    """The amount that was paid back; None if nothing was."""
    return in_currency(amount, currency) if amount.is_nan() or amount > 0 else None
