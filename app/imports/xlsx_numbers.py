"""The text of a number in a workbook, by its number format: a date, a padded number, or the number itself. Pure.

Workbooks store numbers as floating point with 15 significant digits, and dates as days. Sources: ECMA-376 part 1, 18.8.30
(numFmt) and 18.17.4 (dates).
"""

import re
from datetime import datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Final

from platform_relay.core.plain_numbers import is_count

_DATE_FORMATS: Final = frozenset((*range(14, 23), *range(27, 37), 45, 46, 47, *range(50, 59)))
"""Formats that every workbook has, by number, and that show a date or a time."""
_IGNORED: Final = re.compile(r'"[^"]{0,255}"|\\.|_.|\*.|\[[^\]]{0,255}\]')
"""Texts, padding, colours and conditions in a format."""
_DIGITS: Final = Context(prec=15)
_EPOCH_1900: Final = datetime(1899, 12, 30)  # noqa: DTZ001  # a workbook has no time zone
_EPOCH_1904: Final = datetime(1904, 1, 1)  # noqa: DTZ001  # as above
_FALSE_LEAP_DAY: Final = 60
"""Excel counts 29 February 1900, which never was; earlier days are one less."""
_LARGEST: Final = Decimal(10) ** 15
MAX_LENGTH: Final = 64
_FLOAT: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_LARGEST_EXPONENT: Final = 400
"""Numbers of floating point end at 308."""

DATE: Final = -1
PLAIN: Final = 0


def format_kind(number: int, code: str | None) -> int:
    """DATE, PLAIN, or how many digits the format shows at least (`00000`: 5). `code` is that of a format of the workbook's
    own."""
    if code is None:
        return DATE if number in _DATE_FORMATS else PLAIN
    if re.fullmatch(r"0{2,30}", code):
        return len(code)
    shown = _IGNORED.sub("", code.split(";")[0][:1000]).lower()
    if "general" in shown or "0" in shown or "#" in shown or "?" in shown:
        return DATE if re.search(r"[ymd]", shown) and "general" not in shown else PLAIN  # ss.000
    return DATE if re.search(r"[ymdhs]", shown) else PLAIN


def number_text(raw: str, kind: int, *, since_1904: bool) -> str:
    """The text of a number. A whole number of more than 15 digits has lost its last digits in the spreadsheet; it is given in
    scientific notation, as spreadsheets show it, so that no one takes it for an id."""
    try:
        value = Decimal(raw) if len(raw) <= MAX_LENGTH and _FLOAT.fullmatch(raw) else Decimal("nan")
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or abs(value.adjusted()) > _LARGEST_EXPONENT:
        return raw
    if kind == DATE and (text := _date(value, since_1904)) is not None:
        return text
    value = _DIGITS.plus(value)
    if abs(value) >= _LARGEST:
        return f"{value.normalize():E}"
    if value.adjusted() < -20:
        return str(value.normalize())
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").removesuffix(".")
    return text.rjust(kind, "0") if kind > 0 and is_count(text) else text


def is_damaged(text: str) -> bool:
    """Whether `number_text` made this of a number that has lost digits."""
    return re.fullmatch(r"-?\d(\.\d+)?E\+\d+", text) is not None


def _date(value: Decimal, since_1904: bool) -> str | None:
    """ISO 8601: a date, a date with a time, or a time; None if it is none."""
    if value < 0 or value >= 2_958_466:  # after 9999
        return None
    seconds = round(value * 86_400)
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    if days == 0 and rest:
        return clock
    if not since_1904 and days < _FALSE_LEAP_DAY:
        days += 1
    try:
        day = (_EPOCH_1904 if since_1904 else _EPOCH_1900) + timedelta(days=days)
    except OverflowError:
        return None
    return f"{day:%Y-%m-%d}T{clock}" if rest else f"{day:%Y-%m-%d}"
