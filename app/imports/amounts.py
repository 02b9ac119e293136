"""Numbers and currencies as people and spreadsheets write them. Pure.

`1.234,56`, `1,234.56`, `1 234,56`, `1'234.50`, `€ 12`, `12,-`, `(3.50)`. A number has one reading, or it is an error: a text
that could mean 1.234 or 1234 is only read when the decimal mark is known. So no amount is wrong by a factor of 100 or 1,000.
Only ASCII digits count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from platform_relay.core import plain_numbers

DecimalMark: TypeAlias = Literal[",", "."]
LONGEST: Final = 64
"""Characters of a number with its currency."""
_DIGITS: Final = frozenset("0123456789")
_SPACES: Final = str.maketrans(
    {**dict.fromkeys("\xa0\u2007\u2009\u202f", " "), "\u2212": "-", "\u2019": "'", "\uffe5": "¥", "\uffe6": "₩"}
)
"""No-break, figure and thin spaces, the minus sign, the apostrophe that Switzerland writes between thousands, and symbols of the
width of Japanese letters."""
_NO_CENTS: Final = ("-", "--", "–", "—")
"""What is written after the decimal mark for "no cents": `12,-` and `12.–`."""

CODES: Final = frozenset({
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD", "BIF", "BMD", "BND",
    "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLF", "CLP", "CNY", "COP", "CRC", "CUP", "CVE",
    "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GNF",
    "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS",
    "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD",
    "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR",
    "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK",
    "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD",
    "TWD", "TZS", "UAH", "UGX", "USD", "UYI", "UYU", "UYW", "UZS", "VED", "VES", "VND", "VUV", "WST", "XAF", "XCD", "XCG",
    "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG",
})  # fmt: skip
"""Currencies in use (ISO 4217, list one)."""
SYMBOLS: Final = {
    "€": "EUR", "£": "GBP", "₹": "INR", "₩": "KRW", "₪": "ILS", "₫": "VND", "₱": "PHP", "₺": "TRY", "₽": "RUB", "₴": "UAH",
    "₦": "NGN", "₸": "KZT", "₾": "GEL", "zł": "PLN", "Kč": "CZK", "Ft": "HUF", "лв": "BGN", "R$": "BRL", "US$": "USD",
    "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "NZ$": "NZD", "HK$": "HKD", "NT$": "TWD", "S$": "SGD", "MX$": "MXN",
    "JP¥": "JPY", "円": "JPY", "CN¥": "CNY",
}  # fmt: skip
"""Symbols of one currency each (Unicode CLDR, the symbols of the root and English locales, and of the currency's own)."""
SHARED_SYMBOLS: Final = frozenset(("$", "¥", "kr", "kr.", "Fr.", "Rs", "Rs.", "R", "RM", "lei", "¤"))
"""Symbols that several currencies share, or that name none of them alone: they are read past."""


_WHOLE: Final = "¥円₩₫"
_WHOLE_CODES: Final = ("JPY", "KRW", "VND", "CNY")
"""Currencies of these symbols. None of them has three decimal places, so that `¥1,200` has one meaning."""


class CellNumber(str):
    """A number that a workbook stores as a number. It has a point before its decimal places, whatever the texts of the column
    have, so that it has one reading and shows nothing about them."""

    __slots__ = ()


class AmbiguousValueError(ValueError):
    """The text has several meanings. The message names the choice that decides."""


def parse_number(text: str, decimal: DecimalMark | None) -> Decimal:
    """The number in a text. `decimal` is the decimal mark of the column; None: unknown, the text has to show it.

    Raises AmbiguousValueError for a text such as `1,234` without a known decimal mark, and ValueError for any other text that
    is not a number. The messages follow the name of a column and do not contain the value.
    """
    if isinstance(text, CellNumber):
        decimal = "."
    written = _split(text)
    try:
        digits = _plain(written.digits, decimal)
    except AmbiguousValueError:
        if written.currency not in _WHOLE_CODES and not set(_WHOLE) & set(text.translate(_SPACES)):
            raise
        digits = "".join(_groups(written.digits)[0])
    number = plain_numbers.decimal(digits)
    return -number if written.negative and number else number


def decimal_mark_of(values: Iterable[str]) -> DecimalMark | None:
    """The decimal mark that the numbers of a column show. None if they show none, or both."""
    texts = (value for value in values if not isinstance(value, CellNumber))
    marks = {mark for value in texts if (mark := _shown_mark(value)) is not None}
    return marks.pop() if len(marks) == 1 else None


def currency_of(text: str) -> str | None:
    """The ISO 4217 code of the currency in a text: `EUR`, `12 €`, `$12.00 USD`. None for no currency and for a symbol that
    several currencies share, such as `$`."""
    try:
        return _split(text).currency
    except ValueError:
        return None


# ----------------------------------------------------------------------------------------------- the currency


@dataclass(frozen=True, slots=True)
class _Written:
    """A number without its sign, and the code of its currency."""

    negative: bool
    digits: str
    currency: str | None


def _split(text: str) -> _Written:
    """The sign, the digits and the currency of a text. Raises ValueError for a text that is too long, that has two signs or
    two currencies, or any other word."""
    if len(text) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters, so it is not a number")
    plain = text.translate(_SPACES).strip()
    first, last = _begin(plain), _end(plain)
    if first >= last or not _DIGITS & set(plain):
        return _Written(False, "", _code(plain))
    before, after, number = plain[:first].strip(), plain[last:].strip(), plain[first:last]
    negative, number = number.startswith("-"), number.removeprefix("-").lstrip()
    if negative and not before:  # -€12
        at = _begin(number)
        before, number = number[:at].strip(), number[at:]
    codes = [_code(part) for part in (before, after) if part]
    if not negative and number.startswith("(") and number.endswith(")") and number[1:2] not in ("-", "("):  # ($12.00)
        inside = _split(number[1:-1])
        if inside.negative:
            raise ValueError("has two signs, so it is not a number")
        negative, number, codes = True, inside.digits, [*codes, inside.currency]
    named = {code for code in codes if code is not None}
    if len(named) > 1:
        raise ValueError("names two currencies")
    return _Written(negative, number, named.pop() if named else None)


def _begin(text: str) -> int:
    """Where the number begins. A point after a letter belongs to the letters: `Rs.500`, `kr.12`."""
    for at, character in enumerate(text):
        if character in "0123456789(-" or (character in ".," and not text[at - 1 : at].isalpha()):
            return at
    return len(text)


def _end(text: str) -> int:
    """Where the number ends. A point after a letter belongs to the letters: `12 kr.`."""
    for at in range(len(text) - 1, -1, -1):
        character = text[at]
        if character in "0123456789)-–—" or (character in ".," and not text[at - 1 : at].isalpha()):
            return at + 1
    return 0


def _code(part: str) -> str | None:
    """The currency that a part of a text names; None for a shared symbol. Raises ValueError for any other text."""
    if not part or part in SHARED_SYMBOLS:
        return None
    if part in SYMBOLS:
        return SYMBOLS[part]
    if part.isascii() and part.upper() in CODES and part in (part.upper(), part.lower()):
        return part.upper()
    first, _, second = part.partition(" ")
    if second and first in SHARED_SYMBOLS:  # $ USD
        return _code(second)
    raise ValueError("has text that is not a number or a currency")


# ----------------------------------------------------------------------------------------------- the number


def _plain(text: str, decimal: DecimalMark | None) -> str:
    """The digits of a number without a sign, with a point before the decimal places. Raises ValueError."""
    for mark in _NAMES:
        before, sign, rest = text.rpartition(mark)
        if sign and rest in _NO_CENTS:
            return _whole(before, mark)
    groups, separators = _groups(text)
    if not {",", "."} & set(separators):
        return _whole(text, "")
    shown = _mark(groups, separators)
    if shown is None and decimal is None:
        raise AmbiguousValueError(
            "can be a whole number or have three decimal places: state whether the decimal mark is a comma or a point"
        )
    if shown is not None and decimal is not None and shown != decimal:
        raise ValueError(f"does not have the decimal mark {_NAMES[decimal]} of its column")
    if separators[-1] == (shown or decimal):
        return "".join(groups[:-1]) + "." + groups[-1]
    return "".join(groups)


_NAMES: Final[Mapping[DecimalMark, str]] = {",": "comma", ".": "point"}
_NO_NUMBER: Final = "is not a number such as 1234.50 or 1.234,50"


def _whole(text: str, mark: str) -> str:
    """The digits of a number without decimal places, whose decimal mark is `mark`. Raises ValueError."""
    groups, separators = _groups(text)
    if mark in separators or not groups[0] or not _are_thousands(groups, separators):
        raise ValueError(_NO_NUMBER)
    return "".join(groups)


def _groups(text: str) -> tuple[list[str], list[str]]:
    """The runs of digits in a text, and the separators between them. Raises ValueError."""
    groups, separators = [""], []
    for character in text:
        if character in _DIGITS:
            groups[-1] += character
        elif character in ",.' ":
            groups.append("")
            separators.append(character)
        else:
            raise ValueError(_NO_NUMBER)
    empty_first = not groups[0] and len(groups) == 2 and separators[0] in ",."  # .50
    if not all(groups[1:]) or not (groups[0] or empty_first):
        raise ValueError(_NO_NUMBER)
    return groups, separators


def _mark(groups: Sequence[str], separators: Sequence[str]) -> DecimalMark | None:
    """The decimal mark that a number with separators shows. None if it can be a comma as well as a point.

    Raises ValueError if the number can have neither.
    """
    decimals: list[DecimalMark] = []
    for mark in _NAMES:
        if separators[-1] == mark and mark not in separators[:-1]:
            fits = _are_thousands(groups[:-1], separators[:-1])
        else:
            fits = mark not in separators and _are_thousands(groups, separators)
        if fits:
            decimals.append(mark)
    if not decimals:
        raise ValueError(_NO_NUMBER)
    return decimals[0] if len(decimals) == 1 else None


def _are_thousands(groups: Sequence[str], separators: Sequence[str]) -> bool:
    """Whether the separators are between thousands: one kind, before each group of three digits, or as in India before
    groups of two and a last one of three (only with commas)."""
    if not separators:
        return True
    lengths = {len(group) for group in groups[1:-1]}
    indian = lengths == {2} and separators[0] == ","
    return (
        len(set(separators)) == 1
        and len(groups[-1]) == 3
        and (lengths <= {3} or indian)
        and 1 <= len(groups[0]) <= 3
        and not groups[0].startswith("0")
    )


def _shown_mark(text: str) -> DecimalMark | None:
    """The decimal mark that one value of a column shows; None if it shows none."""
    try:
        number = _split(text).digits
        for mark in _NAMES:
            before, sign, rest = number.rpartition(mark)
            if sign and rest in _NO_CENTS:
                _whole(before, mark)
                return mark
        groups, separators = _groups(number)
        return _mark(groups, separators) if {",", "."} & set(separators) else None
    except ValueError:
        return None
