"""What is known about an export, and how the rows of one order are joined. Pure."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from pydantic import JsonValue

from platform_relay.imports.files import FileRow
from platform_relay.imports.values import DateOrder, DecimalMark
from platform_relay.inbox.events import EventKind

Values: TypeAlias = Mapping[str, JsonValue]
Join: TypeAlias = Callable[[Iterable[FileRow]], Iterator[FileRow]]
REMEMBERED: Final = 10_000
"""So many of the last orders of a file are remembered, to find an order that appears again."""
MAX_LINES: Final = 5_000
"""Rows of one order; an order event has no more line items."""
MAX_ORDER: Final = 4 << 20
"""Characters of the rows of one order."""


@dataclass(frozen=True, slots=True)
class KnownExport:
    """A file of a known export.

    mapping     field -> column. After `join`, the column of a list (line items, codes) holds that list
    join        reads several columns or rows into one row per entity; None: each row is used as it is
    decimal     the decimal mark of its amounts; None: the column shows it
    date_order  the order of its dates; None: the column shows it
    time_zone   of times that name no zone; None: the store's own, which the file does not name
    notes       what the operator should know, as sentences
    unused      columns that fill no field and are not read by `join`, and why
    missing     fields that no column fills, and why
    """

    name: str
    kind: EventKind
    title: str
    source: str
    mapping: Mapping[str, str]
    join: Join | None = None
    decimal: DecimalMark | None = None
    date_order: DateOrder | None = None
    time_zone: Literal["UTC"] | None = None
    notes: tuple[str, ...] = ()
    unused: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Export:
    """What is known about an export before a file is seen.

    signature   the columns that identify it: all are present
    fields      the columns that can fill a field; the first that is present does
    reads       further columns that `join` reads
    unused      reasons by column; a name that ends with `*` means all columns with this beginning
    missing     reasons for fields that no column fills, where that is worth a sentence
    """

    name: str
    kind: EventKind
    title: str
    source: str
    signature: frozenset[str]
    fields: Mapping[str, tuple[str, ...]]
    reads: tuple[str, ...] = ()
    join: Join | None = None
    decimal: DecimalMark | None = None
    date_order: DateOrder | None = None
    time_zone: Literal["UTC"] | None = None
    notes: tuple[str, ...] = ()
    unused: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def of(self, columns: Sequence[str]) -> KnownExport:
        """The export of a file with these columns."""
        present = frozenset(columns)
        mapping = {
            name: column
            for name, choices in self.fields.items()
            if (column := next((choice for choice in choices if choice in present), None)) is not None
        }
        read = {*mapping.values()} | {column for column in columns if _matches(column, self.reads) is not None}
        return KnownExport(
            self.name,
            self.kind,
            self.title,
            self.source,
            mapping,
            self.join,
            self.decimal,
            self.date_order,
            self.time_zone,
            self.notes,
            {column: self._reason(column) for column in columns if column not in read},
            {name: reason for name, reason in self.missing.items() if name not in mapping},
        )

    def may_hide_ids(self, columns: Iterable[str]) -> bool:
        """Whether the export has no ids, and a column of the file that is not documented is named as one."""
        return "id" not in self.fields and any(
            column.lower().endswith("id") and self._is_undocumented(column) for column in columns
        )

    def _is_undocumented(self, column: str) -> bool:
        known = {*self.signature, *(choice for choices in self.fields.values() for choice in choices)}
        return column not in known and _matches(column, (*self.reads, *self.unused)) in (None, "*")

    def _reason(self, column: str) -> str:
        pattern = _matches(column, self.unused)
        return NOT_DOCUMENTED if pattern is None else self.unused[pattern]


NOT_DOCUMENTED: Final = "is no column of this export as it is documented"
NO_FIELD: Final = "the Platform has no field for it"
POINTS: Final = "balances are not imported by events: the Platform's own import takes them"
POINTS_NOTE: Final = (
    "Points and tiers are not imported: send them to Influence.io's own import "
    "(support.influence.io/en/articles/12066679-migration-overview)."
)
NO_ACCOUNT: Final = (
    "the file has no account ids of the store, and an e-mail address alone would create customers who do not exist: import"
    " the store's own export of customers, or run a backfill"
)


def _matches(column: str, patterns: Iterable[str]) -> str | None:
    """The pattern that fits the column: its name, or the longest beginning."""
    fitting = [
        pattern
        for pattern in patterns
        if column == pattern or (pattern.endswith("*") and column.startswith(pattern.removesuffix("*")))
    ]
    return max(fitting, key=len, default=None)


def text_of(values: Values, column: str) -> str:
    """The text in a column without spaces around it; an empty text for none."""
    value = values.get(column)
    return value.strip() if isinstance(value, str) else ""


def each_row(change: Callable[[Values], Values | str]) -> Join:
    """A join that changes each row alone. `change` returns the new values, or why the row cannot be used."""

    def join(rows: Iterable[FileRow]) -> Iterator[FileRow]:
        for row in rows:
            if row.problem is not None:
                yield row
                continue
            changed = change(row.values)
            yield replace(row, problem=changed) if isinstance(changed, str) else replace(row, values=changed)

    return join


# ----------------------------------------------------------------------------------------------- one order, several rows


@dataclass(slots=True)
class _Lines:
    """The rows of one order so far."""

    key: str
    begin: int
    last: FileRow
    lines: list[Values]
    trimmed: tuple[str, ...]
    size: int = 0
    problem: str | None = None

    def add(self, row: FileRow, kept: Iterable[str]) -> None:
        line = {column: row.values[column] for column in kept if column in row.values}
        self.size += sum(len(value) for value in line.values() if isinstance(value, str))
        if row.problem is not None:
            self.problem = self.problem or f"cannot be used, because row {row.number} {row.problem}"
        elif len(self.lines) >= MAX_LINES or self.size > MAX_ORDER:
            self.problem = self.problem or f"has more than {MAX_LINES:,} rows or {MAX_ORDER >> 20} MiB"
        else:
            self.lines.append(line)
        self.trimmed += row.trimmed
        self.last = row


def join_lines(
    key: str, number: str, begins: str, kept: Sequence[str], joined: Callable[[Sequence[Values]], Values]
) -> Callable[[Iterable[FileRow]], Iterator[FileRow]]:
    """A join of adjacent rows with the same text in column `key` to one row.

    The first row of an order has a text in the columns `number`, which is its id, and `begins`; the others have none there, or
    the same id. `kept` are the columns
    that are read from the other rows. `joined` makes the row of all of them. The row that is yielded has the `end` and the
    `number` of the last one, so that a resumed import never splits an order.

    A row that continues an order which is not directly above it is a problem, and so is an order that appears again among
    the last REMEMBERED ones: an order with a part of its line items would replace the complete one. Memory does not grow with
    the file.
    """

    def join(rows: Iterable[FileRow]) -> Iterator[FileRow]:
        current: _Lines | None = None
        seen: OrderedDict[str, tuple[int, int]] = OrderedDict()
        for row in rows:
            name, own = text_of(row.values, key), text_of(row.values, number)
            if current is not None and name == current.key and own in ("", text_of(current.lines[0], number)):
                current.add(row, kept)
                continue
            if current is not None:
                unreadable = row.problem is not None and not name
                yield _close(current, seen, joined, row.number if unreadable else None)
                current = None
            if row.problem is not None:
                yield row
            elif not own and text_of(row.values, begins):
                yield replace(row, problem=f"has no {number}, so the order has no id")
            elif problem := _not_the_first(name, own, key, seen):
                yield replace(row, problem=problem)
            else:
                current = _Lines(name, row.number, row, [row.values], row.trimmed)
        if current is not None:
            yield _close(current, seen, joined, None)

    return join


def _not_the_first(name: str, own: str, key: str, seen: Mapping[str, tuple[int, int]]) -> str | None:
    """Why a row does not begin an order; None if it does."""
    if not name:
        return f"has no {key}, so it belongs to no order"
    before = seen.get(name)
    where = (
        ""
        if before is None
        else f" (rows {before[0]} to {before[1]})"
        if before[0] < before[1]
        else f" (row {before[0]})"
    )
    if not own:
        return f"continues an order whose rows are not directly above it{where}: sort the file by {key}"
    if before is not None:
        return f"has the {key} of an order that appeared before{where}: its rows must be adjacent"
    return None


def _close(
    lines: _Lines,
    seen: OrderedDict[str, tuple[int, int]],
    joined: Callable[[Sequence[Values]], Values],
    unreadable: int | None,
) -> FileRow:
    """The joined row. `unreadable`: the number of an unreadable row directly below it."""
    seen[lines.key] = (lines.begin, lines.last.number)
    while len(seen) > REMEMBERED:
        seen.popitem(last=False)
    problem = lines.problem
    if problem is None and unreadable is not None:
        problem = f"is incomplete if row {unreadable}, which cannot be read, belongs to it"
    if problem is not None:
        return replace(lines.last, problem=problem, trimmed=lines.trimmed)
    return replace(lines.last, values=joined(lines.lines), trimmed=lines.trimmed)
