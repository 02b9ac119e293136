"""Dates and times as people and systems write them. Pure.

`2000-04-03`, `03.04.2000`, `4/3/2000`, `3 April 2000`, `April 3`, `--04-03`; `2026-05-11 16:20:00 +0200`, `5/11/2026 4:20 PM`.
A date has one reading, or it is an error: `4/3/2000` is only read when the order of the column is known (`date_order_of`).

Two rules hold in every order. A year of four digits at the beginning is followed by month and day. Points are in dates
whose day is first, unless the column shows another order: no locale of the Unicode CLDR writes month, day, year with points.
A year of two digits means 1969 to 2068, as in POSIX.
"""

import re
from calendar import isleap, monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final, Literal, TypeAlias

from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.imports.amounts import AmbiguousValueError

DateOrder: TypeAlias = Literal["dmy", "mdy", "ymd"]
LONGEST: Final = 64
"""Characters of a date or time."""
_ORDERS: Final[tuple[DateOrder, ...]] = ("dmy", "mdy", "ymd")
_NUMERIC: Final = re.compile(r"([0-9]{1,4})(\. ?|/|-)([0-9]{1,2})(?:(?:\. ?|/|-)([0-9]{1,4}))?\.?")
_TOKENS: Final = re.compile(r"[0-9]{1,8}|[^\W\d_]+|\S")
_TIME: Final = re.compile(
    r"[T ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)? ?([ap]\.?m\.?|uhr)? ?"
    r"(Z|(?:UTC|GMT)?(?:[+-][0-9]{2}(?::?[0-9]{2})?)?)",
    re.IGNORECASE,
)
_SPACES: Final = str.maketrans(dict.fromkeys("\xa0\u2007\u2009\u202f\t", " ") | {"\u2212": "-"})
_MONTHS: Final = {
    name: number
    for number, names in enumerate((
        "january jan januar jän jänner janvier janv enero ene gennaio gen januari",
        "february feb februar febr février févr fév febrero febbraio februari",
        "march mar märz mär mrz mars marzo maart mrt",
        "april apr avril avr abril abr aprile",
        "may mai mayo maggio mag mei",
        "june jun juni juin junio giugno giu",
        "july jul juli juillet juil julio luglio lug",
        "august aug août agosto ago augustus",
        "september sep sept septembre septiembre settembre set",
        "october oct oktober okt octobre octubre ottobre ott",
        "november nov novembre noviembre",
        "december dec dezember dez décembre déc diciembre dic dicembre",
    ), 1)
    for name in names.split()
}  # fmt: skip
"""English, German, French, Spanish, Italian and Dutch."""
_FILLERS: Final = frozenset({
    "st", "nd", "rd", "th", "of", "the", "de", "del", "di", "le", "el", "den", "der", "at", "um", "mon", "tue", "wed", "thu",
    "fri", "sat", "sun", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "tues", "thur",
    "thurs", "montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag", "sonntag", "mo", "mi", "do", "fr", "sa",
    "so", "uhr", ".", ",", "-", "/",
})  # fmt: skip
"""What may be beside day, month and year without a meaning: ordinal endings, weekdays, punctuation."""
_LARGEST_OFFSET: Final = timedelta(hours=14)
_NO_DATE: Final = "is not a date such as 2000-04-03, 03.04.2000 or 3 April 2000"
_NO_TIME: Final = "is not a time such as 2026-05-11 16:20:00 +0200 or 11.05.2026 16:20"


@dataclass(frozen=True, slots=True)
class _Parts:
    """Year, month and day; no year: the date has none."""

    year: int | None
    month: int
    day: int


def date_order_of(values: Iterable[str]) -> DateOrder | None:
    """The order of day, month and year that the dates or times of a column show. `ymd` also if all dates are readable in any
    order. None if the order is not shown, or dates contradict each other: ask."""
    left, numeric, read, points, years = set(_ORDERS), False, False, True, False
    for value in values:
        part = _date_part(value)
        readings = _readings(part)
        read = read or bool(readings)
        if len(set(readings.values())) > 1 or (readings and len(readings) < len(_ORDERS)):
            left &= set(readings)
            numeric, points, years = True, points and "." in part, years or _has_year(part)
    if not read:
        return None
    if not numeric:
        return "ymd"
    if points and "dmy" in left:
        return "dmy"
    if left == {"mdy", "ymd"} and not years:
        return "mdy"
    return left.pop() if len(left) == 1 else None


def parse_date(text: str, order: DateOrder | None) -> date:
    """The date in a text; of a time its date as it is written. `order` is the order of the column; None: unknown.

    Raises AmbiguousValueError for a text such as `4/3/2000` without a known order, and ValueError for any other text that is
    not a date with a year. The messages follow the name of a column and do not contain the value.
    """
    parts = _parts(text, order)
    if parts.year is None:
        raise ValueError("is a date without a year")
    try:
        return date(parts.year, parts.month, parts.day)
    except ValueError:
        raise ValueError(_NO_DATE) from None


def parse_month_day(text: str, order: DateOrder | None) -> tuple[int, int]:
    """Month and day of a date with or without a year. 29 February is accepted without a year, in a leap year, and in 1900,
    which spreadsheets count as one. Raises as `parse_date`."""
    parts = _parts(text, order)
    return parts.month, parts.day


def parse_time(text: str, zone: tzinfo, order: DateOrder | None, *, epoch: bool = False) -> datetime:
    """The time in a text, in UTC. A time without an offset is in `zone`; a date alone is its midnight. `epoch`: the text is a
    number of seconds since 1970.

    A local time that occurs twice, when clocks are set back, is the first of both. One that does not occur, when clocks are
    set forward, is read with the offset before the change: 02:30 becomes 03:30. Raises as `parse_date`.
    """
    if epoch:
        try:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=integer(text.strip()))
        except (ValueError, OverflowError):
            raise ValueError("is not a number of seconds since 1970") from None
    before, time = _split(text)
    day = parse_date(before, order)
    moment = datetime(day.year, day.month, day.day)  # noqa: DTZ001  # the zone follows
    try:
        if time is not None:
            moment, zone = moment + _clock(time), _offset(time[6]) or zone
        return moment.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(_NO_TIME) from None


# ----------------------------------------------------------------------------------------------- times


def _split(text: str) -> tuple[str, "re.Match[str] | None"]:
    """The date and the time of day of a text. Raises ValueError if it is too long."""
    if len(text) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters, so it is not a date")
    plain = " ".join(text.translate(_SPACES).split())
    at = plain.find(":")
    start = max(plain.rfind("T", 0, at), plain.rfind("t", 0, at), plain.rfind(" ", 0, at)) if at >= 0 else -1
    if start < 0:
        return plain, None
    time = _TIME.fullmatch(plain, start)
    if time is None:
        raise ValueError(_NO_TIME)
    return plain[:start].rstrip(" ,"), time


def _date_part(text: str) -> str:
    try:
        return _split(text)[0]
    except ValueError:
        return ""


def _clock(time: "re.Match[str]") -> timedelta:
    """The time of day since midnight. Raises ValueError."""
    hour, minute, second = integer(time[1]), integer(time[2]), integer(time[3] or "0")
    half = (time[5] or "").replace(".", "").lower()
    if half in ("am", "pm"):
        if not 1 <= hour <= 12:
            raise ValueError(_NO_TIME)
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(_NO_TIME)
    fraction = (time[4] or "").ljust(6, "0")[:6]
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=integer(fraction))


def _offset(written: str) -> tzinfo | None:
    """The offset from UTC; None for none. Raises ValueError for an offset that no place has."""
    name = written.upper()
    if not name:
        return None
    digits = name.removeprefix("UTC").removeprefix("GMT").replace(":", "")
    if digits in ("", "Z"):
        return UTC
    offset = timedelta(hours=integer(digits[1:3]), minutes=integer(digits[3:] or "0"))
    if offset > _LARGEST_OFFSET or integer(digits[3:] or "0") > 59:
        raise ValueError(_NO_TIME)
    return timezone(-offset if digits[0] == "-" else offset)


# ----------------------------------------------------------------------------------------------- dates


def _parts(text: str, order: DateOrder | None) -> _Parts:
    """The date in a text by the order of its column. Raises AmbiguousValueError and ValueError."""
    before, _ = _split(text)
    readings = _readings(before)
    if not readings:
        raise ValueError(_NO_DATE)
    if order is not None and order in readings:
        return readings[order]
    if order in ("dmy", "mdy") and order not in readings:
        raise ValueError(f"is not a date in the order {_ORDER_NAMES[order]} of its column")
    if "." in before and "dmy" in readings:
        return readings["dmy"]
    if len(set(readings.values())) > 1:
        raise AmbiguousValueError(
            "can have the day or the month first: state the order of its dates (day/month/year or month/day/year)"
        )
    return next(iter(readings.values()))


_ORDER_NAMES: Final = {"dmy": "day/month/year", "mdy": "month/day/year", "ymd": "year/month/day"}


def _readings(text: str) -> dict[DateOrder, _Parts]:
    """Every valid reading of a date by its order; a date that has one meaning in any order is under all three."""
    if len(text) > LONGEST or not text:
        return {}
    if text.startswith("--"):  # --04-03, a date without a year (XML Schema gMonthDay)
        text = "0000-" + text[2:] if text.count("-") == 3 else ""
        return _same(_numeric(text, yearless=True).get("ymd"))
    numeric = _NUMERIC.fullmatch(text)
    if numeric is None:
        return _same(_worded(text))
    readings = _numeric(text)
    return _same(readings.get("ymd")) if len(numeric[1]) == 4 else readings


def _same(parts: _Parts | None) -> dict[DateOrder, _Parts]:
    return {} if parts is None else dict.fromkeys(_ORDERS, parts)


def _has_year(text: str) -> bool:
    match = _NUMERIC.fullmatch(text)
    return match is not None and match[4] is not None


def _numeric(text: str, *, yearless: bool = False) -> dict[DateOrder, _Parts]:
    """The readings of a date in numbers."""
    match = _NUMERIC.fullmatch(text)
    if match is None:
        return {}
    separator = match[2].strip()
    first, second, third = match[1], match[3], match[4]
    if third is None:
        choices: dict[DateOrder, tuple[str | None, str, str]] = {
            "dmy": (None, second, first), "mdy": (None, first, second), "ymd": (None, first, second),
        }  # fmt: skip
        if len(first) > 2:
            return {}
        if separator != "-":
            del choices["ymd"]
    else:
        if text.replace(" ", "").strip(".").count(separator) != 2:
            return {}
        choices = {"dmy": (third, second, first), "mdy": (third, first, second), "ymd": (first, second, third)}
    readings = {}
    for order, (year, month, day) in choices.items():
        parts = _valid(None if yearless else year, month, day)
        if parts is not None:
            readings[order] = parts
    return readings


def _worded(text: str) -> _Parts | None:
    """A date with the name of its month: `3 April 2000`, `April 3rd, 2000`, `03-Apr-00`, `3. April`."""
    parts = [word for word in _TOKENS.findall(text.lower()) if word not in _FILLERS]
    months = [at for at, word in enumerate(parts) if word in _MONTHS]
    numbers = [part for part in parts if is_count(part)]
    if len(months) != 1 or len(numbers) != len(parts) - 1 or len(numbers) not in (1, 2):
        return None
    month = str(_MONTHS[parts[months[0]]])
    if len(numbers) == 1:
        if months[0] == 0 and "-" in text:  # Apr-03 is how spreadsheets show April 2003
            return None
        return _valid(None, month, numbers[0])
    day, year = numbers
    if len(day) == 4 and months[0] == 1:
        day, year = year, day
    return _valid(year, month, day) if months[0] < 2 else None


def _valid(year: str | None, month: str, day: str) -> _Parts | None:
    """The date, or None if the calendar has no such date."""
    if not (len(month) <= 2 and len(day) <= 2 and (year is None or len(year) in (2, 4))):
        return None
    number = None if year is None else integer(year)
    if number is not None and year is not None and len(year) == 2:
        number += 2000 if number < 69 else 1900
    parts = _Parts(number, integer(month), integer(day))
    if not 1 <= parts.month <= 12:
        return None
    days = (
        29 if parts.month == 2 and (number in (None, 1900) or isleap(number or 0)) else monthrange(2001, parts.month)[1]
    )
    return parts if 1 <= parts.day <= days else None
