"""How a file writes amounts, dates and times: as the caller states it, or as the values show it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from platform_relay.imports.choices import Choices
from platform_relay.imports.column_names import IDS, TIMES, names_utc
from platform_relay.imports.conversion import AMOUNTS, DATES, Reading, lacks_zone
from platform_relay.imports.exports import KnownExport
from platform_relay.imports.files import FileRow
from platform_relay.imports.id_values import are_rounded
from platform_relay.imports.mapping import required_fields
from platform_relay.imports.nested_columns import with_nested
from platform_relay.imports.questions import Question, open_date_order, open_decimal, open_zone
from platform_relay.imports.sample import Sample, text_of
from platform_relay.imports.statuses import parse_statuses
from platform_relay.imports.values import (
    AmbiguousValueError,
    DateOrder,
    DecimalMark,
    date_order_of,
    decimal_mark_of,
    parse_date,
    parse_month_day,
    parse_number,
)
from platform_relay.inbox.events import EventKind

SEARCHED_BYTES: Final = 64 << 20
"""So much of the file is searched for a value that decides a column which the sample leaves open."""


def find_reading(
    kind: EventKind,
    stated: Choices,
    export: KnownExport | None,
    mapping: Mapping[str, str],
    sample: Sample,
    rows: Iterator[FileRow],
    *,
    flat: bool,
) -> tuple[Reading, list[Question]]:
    """How the file writes amounts, dates and times, and what it leaves open."""
    dated = {name: mapping[name] for name in DATES if name in mapping}
    amounts = {name: mapping[name] for name in AMOUNTS if name in mapping and flat}
    decimal: dict[str, DecimalMark] = {}
    order: dict[str, DateOrder] = {}
    undecided: dict[str, str] = {}
    for name, column in amounts.items():
        values = sample.values.get(column, [])
        mark = stated.decimal or decimal_mark_of(values) or (export.decimal if export else None)
        if mark is not None:
            decimal[name] = mark
        elif any(_is_ambiguous(text, _number) for text in values):
            undecided[name] = column
    for name, column in dated.items():
        values = sample.values.get(column, [])
        shown = stated.date_order or date_order_of(values) or (export.date_order if export else None)
        if shown is not None:
            order[name] = shown
        elif any(_is_ambiguous(text, _day if name not in TIMES else _date) for text in values):
            undecided[name] = column
    if undecided and sample.more:
        _search(undecided, rows, decimal, order)
    required = required_fields(kind)
    questions = [
        open_decimal(name, column, waits=name in required) if name in amounts else open_date_order(name, column)
        for name, column in undecided.items()
    ]
    without_zone = [
        column
        for name, column in dated.items()
        if name in TIMES
        and not names_utc(column)
        and any(lacks_zone(text, order.get(name)) for text in sample.values.get(column, []))
    ]
    zone = stated.time_zone or (export.time_zone if export else None)
    if without_zone and zone is None:
        questions.append(open_zone(without_zone, waits=mapping.get("updatedAt") in without_zone))
    rounded = tuple(name for name in IDS if name in mapping and are_rounded(sample.values.get(mapping[name], ())))
    return Reading(decimal, order, zone, stated.currency, rounded, parse_statuses(stated.statuses)), questions


def _search(
    undecided: dict[str, str],
    rows: Iterator[FileRow],
    decimal: dict[str, DecimalMark],
    order: dict[str, DateOrder],
) -> None:
    """Search the rows after the sample for a value that decides a column. Removes decided fields from `undecided`."""
    for row in rows:
        if not undecided or row.end > SEARCHED_BYTES:
            return
        for name, column in list(undecided.items()):
            text = text_of(with_nested(row.values, (column,)).get(column))
            mark = decimal_mark_of([text]) if name in AMOUNTS else None
            shown = date_order_of([text]) if name in DATES and not _is_ordered_anyway(text) else None
            if mark is not None:
                decimal[name] = mark
            elif shown is not None:
                order[name] = shown
            else:
                continue
            del undecided[name]


def _is_ordered_anyway(text: str) -> bool:
    """Whether the date has one meaning in every order, or cannot be read, so that it shows no order."""
    try:
        return len({parse_month_day(text, order) for order in ("dmy", "mdy")}) == 1
    except ValueError:
        return False


def _is_ambiguous(text: str, parse: Callable[[str], object]) -> bool:
    try:
        parse(text)
    except AmbiguousValueError:
        return True
    except ValueError:
        return False
    return False


def _number(text: str) -> object:
    return parse_number(text, None)


def _date(text: str) -> object:
    return parse_date(text, None)


def _day(text: str) -> object:
    return parse_month_day(text, None)
