"""What an import did with each column: how many values it read, found empty, could not read and trimmed. Pure.

The first unreadable values are shown by `relay import` and are not stored: they may be personal data. What is stored names
their rows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import Field

from platform_relay.core.visible_text import visible
from platform_relay.jobs.views import View

EXAMPLES: Final = 3
"""At most so many unreadable values are kept for each column."""
EXAMPLE_LENGTH: Final = 40
NAME_LENGTH: Final = 100
"""Characters of a column's name that are stored."""
COLUMNS: Final = 300
"""At most so many columns are stored."""


def shown_text(text: str) -> str:
    """The name of a column, or a value, as it is shown: the first 100 characters."""
    return visible(text[:NAME_LENGTH])


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that was left out. `reason` ends a sentence that begins with the column."""

    row: int
    text: str
    reason: str


@dataclass(slots=True)
class FieldCount:
    """The values of the column of one field."""

    read: int = 0
    empty: int = 0
    unreadable: int = 0
    trimmed: int = 0
    first: list[Unreadable] = field(default_factory=list)


class Tally:
    """Counts the values of each field, row by row."""

    def __init__(self) -> None:
        self.fields: dict[str, FieldCount] = {}

    def add(
        self,
        row: int,
        values: Mapping[str, object],
        mapping: Mapping[str, str],
        empty: Collection[str],
        trimmed: Collection[str],
        unreadable: Mapping[str, str],
    ) -> None:
        """Count the values of one row. `empty` and `unreadable`: fields; `trimmed`: columns."""
        for name, column in mapping.items():
            if column not in values:
                continue
            count = self._count(name)
            if name in empty:
                count.empty += 1
            elif name not in unreadable:
                count.read += 1
            if column in trimmed:
                count.trimmed += 1
        for name, reason in unreadable.items():
            count = self._count(name)
            count.unreadable += 1
            if len(count.first) < EXAMPLES:
                text = str(values.get(mapping.get(name, name), ""))[: EXAMPLE_LENGTH + 1]
                shown = text if len(text) <= EXAMPLE_LENGTH else text[: EXAMPLE_LENGTH - 1] + "…"
                count.first.append(Unreadable(row, visible(shown), reason[:200]))

    def _count(self, name: str) -> FieldCount:
        count = self.fields.get(name)
        if count is None:
            count = self.fields[name] = FieldCount()
        return count

    def take(self) -> "Tally":
        """What was counted since the last call."""
        taken = Tally()
        taken.fields, self.fields = self.fields, {}
        return taken

    def merge(self, other: "Tally") -> None:
        """Add what another tally counted in later rows."""
        for name, more in other.fields.items():
            count = self._count(name)
            count.read += more.read
            count.empty += more.empty
            count.unreadable += more.unreadable
            count.trimmed += more.trimmed
            count.first += more.first[: EXAMPLES - len(count.first)]


Use = Literal["field", "joined", "unused"]


class ImportColumn(View):
    """What an import did with a column. rows of the file = read + empty + unreadable, without rows that cannot be read at all
    and rows that lack the column."""

    column: str = Field(description="The column's name in the file.")
    use: Use = Field(description="`joined`: it is read together with other columns of a known export.")
    field: str | None = Field(None, description="The field of the event that it fills.")
    read: int = 0
    empty: int = 0
    unreadable: int = Field(0, description="Values that were left out. In a required field, their rows are rejected.")
    trimmed: int = Field(0, description="Values from which invisible characters or an apostrophe were removed.")
    unreadable_rows: list[int] = Field(default=[], description="The first rows with an unreadable value.")
    reason: str | None = Field(
        None, description="Why the first of them is unreadable, or why a column of a known export is not used."
    )


def columns_of(
    columns: Sequence[str], mapping: Mapping[str, str], tally: Tally, unused: Mapping[str, str] | None = None
) -> list[ImportColumn]:
    """The columns of the file in their order, each once for each field that it fills, and what was found in them.
    `unused`: the columns of a known export that are not used, and why; None: it is not a known export."""
    fields: dict[str, list[str]] = {}
    for name, column in mapping.items():
        fields.setdefault(column, []).append(name)
    for name in tally.fields:
        if name not in mapping:  # of JSON: a member that no column is mapped to
            fields.setdefault(name, []).append(name)
    result: list[ImportColumn] = []
    for column in dict.fromkeys((*columns, *fields)):
        filled: list[str | None] = [*fields.get(column, ())]
        for filled_field in filled or [None]:
            count = tally.fields.get(filled_field or "", FieldCount())
            result.append(
                ImportColumn(
                    column=shown_text(column),
                    use="field" if filled_field else "unused" if unused is None or column in unused else "joined",
                    field=filled_field,
                    read=count.read,
                    empty=count.empty,
                    unreadable=count.unreadable,
                    trimmed=count.trimmed,
                    unreadable_rows=[value.row for value in count.first],
                    reason=count.first[0].reason if count.first else (unused or {}).get(column),
                )
            )
    return result[:COLUMNS]


def tally_of(columns: Iterable[ImportColumn]) -> Tally:
    """The counts that were stored, to continue with them."""
    tally = Tally()
    for column in columns:
        if column.field is not None:
            first = [Unreadable(row, "", column.reason or "") for row in column.unreadable_rows]
            tally.fields[column.field] = FieldCount(column.read, column.empty, column.unreadable, column.trimmed, first)
    return tally
