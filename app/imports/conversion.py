"""Converts a row to the members of an event, by a mapping and by how the file writes numbers, dates and times. Pure.

A value that cannot be read is left out of the event, and named in `Converted.unreadable`. `None` for a value means an empty one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.imports.amounts import CellNumber
from platform_relay.imports.column_names import BIRTHDAY, IDS, TIMES, names_utc
from platform_relay.imports.id_reading import is_no_customer, read_id, with_plain_ids
from platform_relay.imports.statuses import read_status
from platform_relay.imports.text_values import TEXTS, text_problem
from platform_relay.imports.values import DateOrder, DecimalMark, currency_of, parse_month_day, parse_number, parse_time
from platform_relay.inbox.events import EventKind

AMOUNTS: Final = ("totalPrice", "subtotalPrice", "refundedAmount")
DATES: Final = (BIRTHDAY, *TIMES)
_INTEGERS: Final = ("birthdayMonth", "birthdayDay")
MAX_TIME: Final = 64
"""Characters of a time."""
_MAILTO: Final = "mailto:"
_PLACES: Final = Decimal("0.0001")
MAX_DIGITS: Final = 15
"""Digits of an amount before its decimal mark."""
_ZONE: Final = re.compile(r"[+-][0-9]{2}:?[0-9]{2}|UTC|Z")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file writes what can have two meanings. `decimal` and `date_order` are by field. `time_zone` is the zone of times
    without one (IANA; None: UTC), `currency` that of orders without one. `rounded`: fields with ids of which a spreadsheet
    rounded the long ones. `statuses`: the payment status by the word in the file (`statuses.word_of`)."""

    decimal: Mapping[str, DecimalMark] = field(default_factory=dict)
    date_order: Mapping[str, DateOrder] = field(default_factory=dict)
    time_zone: str | None = None
    currency: str | None = None
    rounded: tuple[str, ...] = ()
    statuses: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Converted:
    """The members of an event. `unreadable`: fields that were left out, with the end of a sentence that begins with the value.
    `damaged`: why a text cannot be an id, as such a sentence with the field; the row cannot be used. `empty`: fields without a
    value."""

    event: dict[str, JsonValue]
    unreadable: dict[str, str] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)
    damaged: str | None = None


def convert(
    kind: EventKind, values: Mapping[str, JsonValue], mapping: Mapping[str, str], reading: Reading, *, flat: bool
) -> Converted:
    """The event of a row. `flat`: all values are text (CSV), and an empty cell is an absent field. Otherwise members that are
    not mapped stay unchanged, except those with the name of a mapped field; null or an empty text is null: the field is
    removed."""
    event: dict[str, JsonValue] = {}
    if not flat:
        used = {*mapping.values(), *mapping}
        event = {name: value for name, value in values.items() if name not in used}
    result = Converted(event)
    for name, column in mapping.items():
        if column and column in values:
            _add(result, kind, name, column, values[column], reading, flat=flat)
    if kind is EventKind.ORDER and flat and "currency" not in event and "currency" not in result.unreadable:
        _add_currency(event, values.get(mapping.get("totalPrice", "")), reading)
    return result


def _add(
    result: Converted, kind: EventKind, name: str, column: str, value: JsonValue, reading: Reading, *, flat: bool
) -> None:
    """Add the value of one column, or why it was left out."""
    if isinstance(value, str) and not isinstance(value, CellNumber):
        value = value.strip()
    if value is None or value == "" or (name == "customerId" and is_no_customer(value)):
        result.empty.add(name)
        if not flat and name != BIRTHDAY:
            result.event[name] = None
        return
    try:
        if name in IDS:
            result.event[name] = read_id(kind, name, value, column, rounded=name in reading.rounded, dates=flat)
        elif lost := _set(result.event, name, column, value, reading, flat=flat):
            result.unreadable[name] = lost
    except ValueError as error:
        result.unreadable[name] = str(error)
        if name in IDS:
            result.damaged = result.damaged or f"{name}: {_label(value)}{error}"


def _label(value: JsonValue) -> str:
    """The text as the beginning of a sentence; nothing for a number, which can be a customer's id."""
    if not isinstance(value, str) or not any(character.isalpha() or character == "#" for character in value):
        return ""
    return f"{value[:MAX_TIME]} "


def _set(
    event: dict[str, JsonValue], name: str, column: str, value: JsonValue, reading: Reading, *, flat: bool
) -> str | None:
    """Set the field. Returns why a part of the value was left out. Raises ValueError if the text cannot be read; a value of
    another kind is checked by the event's model."""
    if not isinstance(value, str):
        event[name] = with_plain_ids(name, value)
    elif name == BIRTHDAY:
        event["birthdayMonth"], event["birthdayDay"] = parse_month_day(value, reading.date_order.get(name))
    elif name == "tags":
        tags, lost = _parts(name, value)
        event[name] = list(tags) or None
        return lost
    elif flat and name in AMOUNTS:
        event[name] = _amount(parse_number(value, reading.decimal.get(name)))
    elif flat and name == "discountCodes":
        codes, lost = _parts(name, value)
        event[name] = [{"code": code} for code in codes]
        return lost
    else:
        event[name] = _read(name, column, value, reading, flat=flat)
    return None


def _read(name: str, column: str, text: str, reading: Reading, *, flat: bool) -> str | int:
    """The value of a field in a text. Raises ValueError."""
    if name in TEXTS and (problem := text_problem(name, text)):
        raise ValueError(problem)
    if name in _INTEGERS and is_count(text):
        return integer(text)
    if name in TIMES:
        zone = None if names_utc(column) else reading.time_zone
        return _utc(text, _zone_of(zone), reading.date_order.get(name))
    if name == "financialStatus":
        return read_status(text, reading.statuses)
    if name == "currency":
        return (currency_of(text) if flat else None) or text.upper()
    if name == "email" and text[: len(_MAILTO)].lower() == _MAILTO:
        return text[len(_MAILTO) :]
    return text


def _parts(name: str, text: str) -> tuple[list[str], str | None]:
    """The texts in a list such as `a, b`, and why one was left out. Raises ValueError if all were."""
    parts = [part.strip() for part in re.split(r"[;,|]", text) if part.strip()]
    problems = {part: problem for part in parts if (problem := text_problem(name, part)) is not None}
    if parts and problems.keys() >= set(parts):
        raise ValueError(next(iter(problems.values())))
    lost = next((f"contains {part[:MAX_TIME]}, which {problem}" for part, problem in problems.items()), None)
    return [part for part in parts if part not in problems], lost


def _amount(number: Decimal) -> str:
    """The digits of an amount, without zeros after its fourth decimal place (databases write 54.900000)."""
    rounded = number.quantize(_PLACES) if number.adjusted() < MAX_DIGITS else number
    exponent = number.as_tuple().exponent
    return exact_json.plain(rounded if isinstance(exponent, int) and exponent < -4 and rounded == number else number)


def _add_currency(event: dict[str, JsonValue], total: JsonValue, reading: Reading) -> None:
    """The currency of an order without one: that of the symbol beside its total, or the one that was stated for the file."""
    shown = currency_of(total) if isinstance(total, str) else None
    if currency := shown or reading.currency:
        event["currency"] = currency


@lru_cache(maxsize=16)
def _zone_of(name: str | None) -> tzinfo:
    return UTC if name is None else ZoneInfo(name)


def _utc(text: str, zone: tzinfo, order: DateOrder | None) -> str:
    """A time as ISO 8601 in UTC. A time without a zone is in `zone`. Raises ValueError."""
    if len(text) > MAX_TIME:
        raise ValueError(f"is longer than {MAX_TIME} characters, so it is not a time")
    moment = _iso(text)
    if moment is None:
        return parse_time(text, zone, order).isoformat()
    try:
        return (moment.replace(tzinfo=zone) if moment.tzinfo is None else moment).astimezone(UTC).isoformat()
    except OverflowError:
        raise ValueError("is out of range") from None


def _iso(text: str) -> datetime | None:
    """The time in ISO 8601, or as it is written with a space before its offset; None for any other text."""
    parts = text.rsplit(None, 1)
    spaced_zone = len(parts) == 2 and _ZONE.fullmatch(parts[1])  # 2026-05-11 16:20:00 +0200
    try:
        return datetime.fromisoformat(("".join(parts) if spaced_zone else text).replace("UTC", "+00:00"))
    except ValueError:
        return None


def lacks_zone(text: str, order: DateOrder | None) -> bool:
    """Whether the text is a time that names no zone, so that its meaning depends on one."""
    moment = _iso(text[: MAX_TIME + 1])
    if moment is not None:
        return moment.tzinfo is None
    try:
        return parse_time(text, _EAST, order) != parse_time(text, _WEST, order)
    except ValueError:
        return False


_EAST: Final = timezone(timedelta(hours=1))
_WEST: Final = timezone(-timedelta(hours=1))


def read_as(reading: Reading, name: str) -> str:
    """How the values of the field are read, in a few words; empty if there is nothing to choose."""
    if mark := reading.decimal.get(name):
        return {",": "decimal comma", ".": "decimal point"}[mark]
    if order := reading.date_order.get(name):
        return {"dmy": "day/month/year", "mdy": "month/day/year", "ymd": "year-month-day"}[order]
    return ""
