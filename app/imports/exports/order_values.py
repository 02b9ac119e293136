"""Values of orders in exports: amounts, line items and discount codes. Pure."""

from collections.abc import Iterable
from decimal import Decimal

from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.imports.values import AmbiguousValueError, DecimalMark, parse_number
from platform_relay.stores.amounts import in_currency
from platform_relay.stores.parsing import Null
from platform_relay.stores.text import plain_text


def amount_of(text: str) -> Decimal | None:
    """The number in a text with a decimal point, or with another mark if the text shows it (a spreadsheet saved the file again).
    None for an empty text, one that is no number, and `1,234`, which has two meanings then."""
    marks: tuple[DecimalMark | None, ...] = (None,) if "," in text else (None, ".")
    for decimal in marks:
        try:
            return parse_number(text, decimal) if text else None
        except AmbiguousValueError:
            continue
        except ValueError:
            return None
    return None


def written(number: Decimal) -> str:
    """The digits of a number."""
    return exact_json.plain(number)


def line_item(
    title: str, quantity: str, price: Decimal | None = None, *, product_id: str = "", variant_id: str = ""
) -> dict[str, JsonValue]:
    """A line item of an event, without the parts that are empty. `price` is that of one unit."""
    count = amount_of(quantity)
    parts: dict[str, JsonValue | Null] = {
        "productId": product_id,
        "variantId": variant_id,
        "title": plain_text(title),
        "quantity": "" if count is None or count < 0 else written(count),
        "price": "" if price is None else written(price),
    }
    return {name: value for name, value in parts.items() if isinstance(value, str) and value}


def subtotal_of(lines: Iterable[tuple[Decimal | None, Decimal | None]], currency: str) -> str:
    """The sum of quantity times price; an empty text if one of them is unknown."""
    total = Decimal(0)
    for quantity, price in lines:
        if quantity is None or price is None:
            return ""
        total += quantity * price
    return written(in_currency(total, currency))


def codes_of(text: str, separator: str = ",") -> list[str]:
    """The discount codes in a text."""
    return [code for part in text.split(separator) if (code := part.strip())]


def discounts(codes: Iterable[str], amount: Decimal | None) -> list[JsonValue]:
    """The discount codes of an event. What was saved is only known for each code if there is one code."""
    names = list(codes)
    if len(names) == 1 and amount is not None and amount > 0:
        return [{"code": names[0], "amount": written(amount)}]
    return [{"code": name} for name in names]


def refunded_text(text: str) -> str:
    """The refunded amount of an event: an empty text for 0, because it is absent if nothing was paid back."""
    return "" if amount_of(text) == 0 else text.removeprefix("-")
