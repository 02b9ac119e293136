"""Numbers from outside: only ASCII digits in plain notation. Pure.

Python's own parsers also read `1_9` as 19, `٢٠` as 20, and exponents. A sender that means something else by such a text would
get another value, so it is no number here.

`PLAIN`, `PlainInt`, `PlainDecimal` and `PlainFloat` are for pydantic's fields. `decimal` and `integer` read a text,
`amount` a value of a JSON document.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final

from pydantic import BeforeValidator

LONGEST: Final = 40
"""Characters of a number."""
_NUMBER: Final = re.compile(r"-?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})")
_INTEGER: Final = re.compile(r"-?[0-9]{1,40}")


class NotANumberError(ValueError, InvalidOperation):
    """The text is not a number in plain notation. It is also what `decimal.Decimal` raises, so that callers catch one of both."""


def decimal(text: str) -> Decimal:
    """The number in a text such as `-12.50`. Raises NotANumberError."""
    if len(text) > LONGEST or _NUMBER.fullmatch(text) is None:
        raise NotANumberError("is not a number in plain digits, such as 12.50")
    return Decimal(text)


def integer(text: str) -> int:
    """The number in a text such as `-12`. Raises NotANumberError."""
    if len(text) > LONGEST or _INTEGER.fullmatch(text) is None:
        raise NotANumberError("is not a number in plain digits, such as 12")
    return int(text)


def amount(value: object) -> Decimal:
    """The finite number that a JSON document holds, as a number or as text. Raises NotANumberError for anything else, and for
    a number that `has_many_digits`."""
    if isinstance(value, str):
        return decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        raise NotANumberError("is not a number")
    number = Decimal(str(value) if isinstance(value, float) else value)
    if not number.is_finite():
        raise NotANumberError("is not a finite number")
    if has_many_digits(number):
        raise NotANumberError("has too many digits")
    return number


def has_many_digits(number: Decimal) -> bool:
    """Whether a finite number, such as 1e999999999 or 1e-999999999, has more digits in plain notation than a number may have.
    Python would make a whole number or a text of them for years, or until the memory is full."""
    return abs(number.adjusted()) >= LONGEST


def is_count(text: str) -> bool:
    """Whether the text is a number without a sign and a fraction, of at most 19 digits."""
    return text.isascii() and text.isdecimal() and len(text) <= 19


def _plain(value: object) -> object:
    """Refuses other spellings, and numbers with many digits, which pydantic would compute."""
    if isinstance(value, str):
        decimal(value.strip(" "))
    elif isinstance(value, Decimal) and value.is_finite() and has_many_digits(value):
        raise NotANumberError("has too many digits")
    return value


PLAIN: Final = BeforeValidator(_plain)
"""For a number with limits: `Annotated[int, Field(ge=1), PLAIN]`. In front of the limits it would hide them in the API's schema."""
PlainInt = Annotated[int, PLAIN]
PlainDecimal = Annotated[Decimal, PLAIN]
PlainFloat = Annotated[float, PLAIN]
