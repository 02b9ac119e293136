"""The beginning of a file, from which it follows how the file is read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from platform_relay.imports.amounts import CellNumber
from platform_relay.imports.files import FileRow
from platform_relay.imports.nested_columns import with_nested
from platform_relay.imports.summary import shown_text

SAMPLE_ROWS: Final = 10_000
SAMPLE_BYTES: Final = 8 << 20
VALUE_LENGTH: Final = 300
"""Characters of a sampled value."""


class Sample:
    """The values of the first rows by column, empty ones as "", and whether more rows follow. `sound`, `broken`: how many rows
    can be read, and how many cannot."""

    def __init__(self, names: Sequence[str]) -> None:
        self.cells: dict[str, list[str]] = {name: [] for name in names}
        self.values: dict[str, list[str]] = {}
        self.more = False
        self.sound = self.broken = 0

    def add(self, row: Mapping[str, JsonValue]) -> None:
        for name, cells in self.cells.items():
            cells.append(text_of(row.get(name)))

    def close(self) -> None:
        """Set `values`: those that are not empty."""
        self.values = {name: [text for text in cells if text] for name, cells in self.cells.items()}


def take_sample(rows: Iterator[FileRow], names: Sequence[str]) -> Sample:
    """Read the first rows, up to SAMPLE_ROWS and SAMPLE_BYTES. `names`: the columns."""
    sample = Sample(names)
    for count, row in enumerate(rows, 1):
        if row.problem is None:
            sample.add(with_nested(row.values, names))
            sample.sound += 1
        else:
            sample.broken += 1
        if count == SAMPLE_ROWS or row.end > SAMPLE_BYTES:
            sample.more = True
            break
    sample.close()
    return sample


def damaged_text(values: Iterable[str]) -> list[str]:
    """A sentence about texts such as `ZoÃ«`: another program read the UTF-8 of `Zoë` as Windows-1252 and saved that."""
    for text in values:
        if text.isascii():
            continue
        try:
            meant = text.encode("cp1252").decode("utf-8")
        except UnicodeError:
            continue
        shown = f"{shown_text(text)}, which was probably {shown_text(meant)}"
        sentence = f"The file has damaged text, such as {shown}: a program read UTF-8 as Windows-1252. It is imported as it is."
        return [f"{sentence} Export the file again if you can."]
    return []


def text_of(value: JsonValue) -> str:
    """A value as text without spaces around it; an object or an array has none."""
    if value is None or isinstance(value, dict | list | bool):
        return ""
    if isinstance(value, CellNumber):
        return value
    return str(value)[: 2 * VALUE_LENGTH].strip()[:VALUE_LENGTH]
