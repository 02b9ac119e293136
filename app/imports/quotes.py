"""Follows the double quotes of a CSV file, to find out how far a broken row goes. Pure, and linear in the text.

Python's CSV reader reads the rows; this looks only at those that it refuses, and at values with line breaks.
"""

import re
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from platform_relay.core.plain_numbers import is_count

_QUOTED: Final = re.compile(r'[^"]*+(?:""[^"]*+)*+')
_LINE_ENDS: Final = re.compile(r"\r\n|\r|\n")


class _State(Enum):
    FIELD_START = auto()
    UNQUOTED = auto()
    QUOTED = auto()
    QUOTE = auto()
    """Behind a quote in a quoted value: it closes the value, or a second one follows and means one."""


class QuoteScanner:
    """Give it the lines of a row. `stray`: the number, from 0, of the first field with text behind its closing quote. `bare`:
    there is a quote in a field that does not begin with one. `spaced`: spaces may be before the quote of a field. `quoted`: the
    text begins within quotes."""

    def __init__(self, delimiter: str, spaced: bool, *, quoted: bool = False) -> None:
        self._delimiter = delimiter
        self._spaced = spaced
        self._state = _State.QUOTED if quoted else _State.FIELD_START
        self._field = 0
        self.stray: int | None = None
        self.bare = False

    @property
    def open(self) -> bool:
        """The text ends within quotes."""
        return self._state is _State.QUOTED

    @property
    def fields(self) -> int:
        """The number of fields that have begun."""
        return self._field + 1

    def read(self, text: str) -> None:
        """A line, or a part of one."""
        position = 0
        while position < len(text):
            match self._state:
                case _State.QUOTED:
                    position = self._in_quotes(text, position)
                case _State.QUOTE:
                    position = self._behind_quote(text, position)
                case _:
                    position = self._without_quotes(text, position)

    def _in_quotes(self, text: str, position: int) -> int:
        quoted = _QUOTED.match(text, position)
        end = quoted.end() if quoted else position
        if end < len(text):
            self._state = _State.QUOTE
        return end + 1

    def _behind_quote(self, text: str, position: int) -> int:
        if text[position] == '"':
            self._state = _State.QUOTED
            return position + 1
        if text[position] not in (self._delimiter, "\r", "\n") and self.stray is None:
            self.stray = self._field
        self._state = _State.UNQUOTED
        return position

    def _without_quotes(self, text: str, position: int) -> int:
        """To the next field that begins with a quote."""
        if self._state is _State.FIELD_START and (begin := self._behind_opening(text, position)):
            self._state = _State.QUOTED
            return begin
        end, begin = self._opening(text, position)
        self.bare = self.bare or text.find('"', position, end) >= 0
        self._field += text.count(self._delimiter, position, end)
        if end < len(text):
            self._field += 1
            self._state = _State.QUOTED
            return begin
        self._state = _State.FIELD_START if text[-1] in ("\r", "\n", self._delimiter) else _State.UNQUOTED
        return end

    def _behind_opening(self, text: str, position: int) -> int:
        """The place behind the quote with which a field begins here; 0 if it begins with something else."""
        while self._spaced and text[position : position + 1] == " ":
            position += 1
        return position + 1 if text[position : position + 1] == '"' else 0

    def _opening(self, text: str, position: int) -> tuple[int, int]:
        """Where the next delimiter with a quote behind it is, and where the quote ends; at the end of the text if there is
        none."""
        if text.find('"', position) < 0:
            return len(text), len(text)
        while (place := text.find(self._delimiter, position)) >= 0:
            if begin := self._behind_opening(text, place + 1):
                return place, begin
            position = place + 1
        return len(text), len(text)


def swallowed_line(cells: Sequence[str], delimiter: str, columns: int) -> int | None:
    """The number, from 0, of the column whose value contains a line that looks like a row of its own; None if there is none.

    A value may have line breaks, but such a row was swallowed by a quote that was not closed and met another one. It has as
    many fields as the header, and its fields look like those of the row that it is in: an e-mail address or digits are at
    the same places.
    """
    if columns < 3:
        return None
    for at, cell in enumerate(cells):
        if "\n" not in cell and "\r" not in cell:
            continue
        lines = _LINE_ENDS.split(cell)
        if at == 0 and lines[0].count(delimiter) == columns - 1:
            return at
        shapes = [(place, shape) for place, value in enumerate(cells[:at]) if (shape := _shape(value))]
        for line in lines[1:]:
            if shapes and line.count(delimiter) == columns - 1:
                fields = line.split(delimiter)
                if all(_shape(fields[place]) == shape for place, shape in shapes):
                    return at
    return None


def _shape(value: str) -> str | None:
    value = value.strip(" \"'")
    if "@" in value:
        return "address"
    return "digits" if is_count(value) else None
