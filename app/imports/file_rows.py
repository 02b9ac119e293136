"""What the readers of all formats share: a row, how a file is read, and what was found out about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import JsonValue

FileFormat = Literal["csv", "xlsx", "ndjson", "json"]
TABLES: Final[frozenset[FileFormat]] = frozenset({"csv", "xlsx"})
"""Formats with a header; all their cells are text, and an empty cell is an absent value."""
CHUNK: Final = 1 << 16
MAX_ROW: Final = 1 << 20
"""Bytes of one row."""
SAMPLE_ROWS: Final = 100
"""So many rows are read to find out about a file."""


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row of a file. `number` counts rows from 1, without a header. `end` is how many bytes of the file were read for it;
    in CSV and NDJSON exactly the end of the row. `problem` is the reason why the row cannot be used. `trimmed` are the
    columns whose cell had an apostrophe, a BOM, or a no-break or zero-width space around its value."""

    number: int
    end: int
    values: Mapping[str, JsonValue]
    problem: str | None = None
    trimmed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How a file is read. None: it is found out from the file. `sheet`: the name of a sheet in a workbook."""

    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None

    @property
    def key(self) -> dict[str, str]:
        """What is set. Two imports of a file are the same only if this is the same."""
        named = {"encoding": self.encoding, "delimiter": self.delimiter, "sheet": self.sheet}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What was found out about a file. A fact that its format does not have is None.

    `notes` are sentences for the operator. `uncertain`: the encoding or the delimiter is a guess that the operator
    has to confirm. `trimmed` counts the cells that were cleaned, by column, in the header and the first SAMPLE_ROWS rows; the
    counts of the whole file come from `FileRow.trimmed`. `duplicates` are names that are above more than one column, with
    the positions (from 1); each of these columns has the name that `positional` makes.
    """

    encoding: str | None = None
    delimiter: str | None = None
    line_end: str | None = None
    sheet: str | None = None
    notes: tuple[str, ...] = ()
    uncertain: bool = False
    trimmed: Mapping[str, int] = field(default_factory=dict)
    duplicates: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def options(self) -> FileOptions:
        """Reads the file in the same way again, without finding out anything."""
        return FileOptions(self.encoding, self.delimiter, self.sheet)

    @property
    def summary(self) -> str:
        """How the file is read, in a few words."""
        parts = [
            self.encoding and f"encoding {self.encoding}",
            self.delimiter and f"delimiter {DELIMITER_NAMES.get(self.delimiter, self.delimiter)}",
            self.line_end and f"line ends {self.line_end}",
            self.sheet and f"sheet {self.sheet}",
        ]
        return ", ".join(part for part in parts if part)


DELIMITER_NAMES: Final[Mapping[str, str]] = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}


@dataclass(frozen=True, slots=True)
class FileColumns:
    """The columns of a file, in its order, each name once, and the facts about the file. A name that is above more than
    one column is not among the names; see `FileFacts.duplicates`."""

    names: tuple[str, ...]
    facts: FileFacts


def positional(name: str, position: int) -> str:
    """The name of a column that shares its name with another one, or has none: `email (column 3)`, `column 3`."""
    return f"{name} (column {position})" if name else f"column {position}"


def check_duplicates(facts: FileFacts, columns: Iterable[str]) -> None:
    """Raises ValueError if one of the mapped columns has a name that is above more than one column."""
    for name in columns:
        if positions := facts.duplicates.get(name):
            where = " and ".join(str(position) for position in positions)
            raise ValueError(
                f"the column {name!r} is at the positions {where}; rename or remove one of them in the file, or map one "
                f"of them as {positional(name, positions[0])!r}"
            )
