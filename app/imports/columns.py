"""The columns of a table with a header: their names, and the values of a row under them. Pure; for CSV and workbooks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from platform_relay.imports.cells import clean
from platform_relay.imports.file_rows import FileRow, positional

MAX_COLUMNS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Columns:
    """`names`: one for each column up to the last one with a name. `duplicates`: see FileFacts. `trimmed`: names that were
    cleaned."""

    names: tuple[str, ...]
    duplicates: dict[str, tuple[int, ...]]
    trimmed: tuple[str, ...]
    notes: tuple[str, ...]

    def row(self, number: int, end: int, cells: Sequence[str], problem: str | None = None) -> FileRow:
        """The row with these cells. A row that is longer or shorter than the header has a problem; empty cells behind the
        last column do not count."""
        values: dict[str, str] = {}
        trimmed: list[str] = []
        for name, cell in zip(self.names, cells, strict=False):
            values[name], cleaned = clean(cell)
            if cleaned:
                trimmed.append(name)
        count = len(cells)
        if count != len(self.names) and problem is None:
            problem = self.wrong_length(cells)
        if problem is None:
            nul = [name for name, value in values.items() if "\0" in value]
            problem = f"has a NUL byte in the column {nul[0]!r}" if nul else None
        return FileRow(number, end, dict(values), problem, tuple(trimmed))

    def wrong_length(self, cells: Sequence[str]) -> str | None:
        """The problem of a row that is longer or shorter than the header; None if it is not."""
        expected, count = len(self.names), len(cells)
        while count > expected and not clean(cells[count - 1])[0]:
            count -= 1
        if count == expected:
            return None
        if count > expected:
            return f"has {count} fields for {expected} columns; a value that contains the delimiter must be in double quotes"
        return (
            f"has {count} fields for {expected} columns; is the line cut off, or is there a line break in a value without "
            f"quotes?"
        )


def columns_from(header: Sequence[str]) -> Columns:
    """The columns under this header. Columns without a name at the end are ignored. Raises ValueError."""
    cleaned = [clean(cell) for cell in header]
    names = [" ".join(name.split()) for name, _ in cleaned]  # line breaks and double spaces within a name
    while names and not names[-1]:
        names.pop()
    if not names:
        raise ValueError("the file has no header; its first row must contain the names of the columns")
    if len(names) > MAX_COLUMNS:
        raise ValueError(f"the header has {len(names):,} columns; at most {MAX_COLUMNS:,} are read")
    if any("\0" in name for name in names):
        raise ValueError("the header contains a NUL byte; save the file as CSV UTF-8")
    counted = Counter(name for name in names if name)
    duplicates = {
        name: tuple(position for position, other in enumerate(names, 1) if other == name)
        for name, count in counted.items()
        if count > 1
    }
    unique = _unique(names, duplicates)
    notes = [
        f"The column {name!r} is at the positions {', '.join(map(str, positions))}; none of them is read unless it is "
        f"mapped as {positional(name, positions[0])!r} or the like."
        for name, positions in duplicates.items()
    ]
    empty = [position for position, name in enumerate(names, 1) if not name]
    if empty:
        notes.append(
            f"Columns without a name, at the positions {', '.join(map(str, empty[:20]))}, are not read unless one is mapped "
            f"as {positional('', empty[0])!r}."
        )
    trimmed = tuple(name for name, (_, marked) in zip(unique, cleaned, strict=False) if marked)
    return Columns(unique, duplicates, trimmed, tuple(notes))


def _unique(names: Sequence[str], duplicates: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    unique: list[str] = []
    seen = set(names)
    for position, name in enumerate(names, 1):
        own = positional(name, position) if not name or name in duplicates else name
        while own is not name and own in seen:  # another column has exactly this name
            own += "'"
        seen.add(own)
        unique.append(own)
    return tuple(unique)
