"""Finds the dialect of a CSV file from its beginning: a line `sep=;`, the delimiter, the line ends, and the header.

The delimiter is the one with which the header and the first rows have the same number of fields. Delimiters within quotes do
not count, because each choice is tried with the CSV reader itself.
"""

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Final

from platform_relay.imports.columns import Columns, columns_from
from platform_relay.imports.encoding import Encoding, Line, lines_of
from platform_relay.imports.file_rows import CHUNK, DELIMITER_NAMES, MAX_ROW

DELIMITERS: Final = tuple(DELIMITER_NAMES)
_SEP_LINE: Final = re.compile(r'"?sep=([^\w" \r\n])"?[;,\t]*\s*', re.IGNORECASE)
_SAMPLE_LINES: Final = 100
_MARKUP: Final = (b"<!doctype html", b"<html", b"<table", b"<meta", b"<?xml")
_SIGNATURES: Final = (
    (b"PK\x03\x04", "is a zip archive, probably a workbook; give its name the ending .xlsx"),
    (b"\xd0\xcf\x11\xe0", "is a workbook of an old Excel or has a password; save it as .xlsx without a password, or as CSV UTF-8"),
    (b"%PDF", "is a PDF; export the data as CSV"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it first"),
    (b"{\\rtf", "is a text with formats (RTF); save it as CSV UTF-8"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is written. `data` is the byte at which the first row begins, and `line` the number of its line. `quoted`: all
    names of the header are in quotes, so the program that wrote it quotes texts."""

    encoding: Encoding
    delimiter: str
    spaced: bool
    line_end: str
    columns: Columns
    data: int
    line: int
    uncertain: bool = False
    notes: tuple[str, ...] = ()
    quoted: bool = False


def find_dialect(file: IO[bytes], encoding: Encoding, delimiter: str | None = None) -> Dialect:
    """The dialect of the file. With a `delimiter`, that one is used. Raises ValueError if there is no header."""
    skipped, position, lines = 0, encoding.bom, _first_lines(file, encoding)
    while lines and not lines[0].text.strip():
        skipped, position = skipped + 1, position + lines.pop(0).size
    if lines and (match := _SEP_LINE.fullmatch(lines[0].text)):
        delimiter = delimiter or match[1]
        skipped, position = skipped + 1, position + lines.pop(0).size
        while lines and not lines[0].text.strip():
            skipped, position = skipped + 1, position + lines.pop(0).size
    if not lines:
        raise ValueError("the file is empty; its first row must contain the names of the columns")
    text = [line.text for line in lines]
    notes: list[str] = []
    if delimiter is None:
        delimiter, rival = _find_delimiter(text)
        if rival is not None:
            notes.append(
                f"The delimiter may be {DELIMITER_NAMES[delimiter]} or {DELIMITER_NAMES[rival]}; it is read as "
                f"{DELIMITER_NAMES[delimiter]}. Check the columns."
            )
    spaced = f'{delimiter} "' in text[0]
    header, used = _header(text, delimiter, spaced)
    if any(not line.valid for line in lines[:used]):
        raise ValueError(f"the header is not {encoding.label}; save the file as CSV UTF-8, or name its encoding")
    return Dialect(
        encoding,
        delimiter,
        spaced,
        _line_end(text),
        columns_from(header),
        position + sum(line.size for line in lines[:used]),
        skipped + used + 1,
        bool(notes),
        tuple(notes),
        _all_quoted(header, "".join(text[:used]), delimiter),
    )


def _all_quoted(header: Sequence[str], written: str, delimiter: str) -> bool:
    """Whether each name of the header was written in quotes."""
    names = (name.replace('"', '""') for name in header)
    return written.rstrip("\r\n") == '"' + f'"{delimiter}"'.join(names) + '"'


def refuse_other_formats(file: IO[bytes]) -> None:
    """Raises ValueError for a file of another format, with what to do."""
    file.seek(0)
    start = file.read(512)
    for signature, problem in _SIGNATURES:
        if start.startswith(signature):
            raise ValueError(f"the file {problem}")
    if start.removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith(_MARKUP):
        raise ValueError("the file is a web page or XML; open it in a spreadsheet, and save it as CSV UTF-8 or .xlsx")


def _first_lines(file: IO[bytes], encoding: Encoding) -> list[Line]:
    """The lines of the sample, and as many more as the header may need."""
    lines: list[Line] = []
    size = 0
    for line in lines_of(file, encoding.name, encoding.bom):
        lines.append(line)
        size += line.size
        if size > MAX_ROW or (len(lines) >= _SAMPLE_LINES and size > CHUNK):
            break
    return lines


def _header(text: Sequence[str], delimiter: str, spaced: bool) -> tuple[list[str], int]:
    """The names in the header, and how many lines it has. Raises ValueError."""
    source = _Counted(text)
    try:
        return next(strict_reader(source, delimiter, spaced)), source.used
    except csv.Error:
        pass
    if source.ended:
        raise ValueError("a quote in the header is never closed; correct the header")
    raise ValueError("there is text behind a closing quote in the header; correct the header")


def strict_reader(lines: Iterator[str], delimiter: str, spaced: bool) -> Iterator[list[str]]:
    """Python's CSV reader. An error is raised for text behind a closing quote, and for a quote that is open at the end; a
    quote within a value that does not begin with one is an ordinary character, as in Excel."""
    csv.field_size_limit(2 * MAX_ROW)  # of the process; the lines that are given to a reader are limited to a row
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=spaced, strict=True)


class _Counted:
    """Gives lines to the CSV reader, and knows how many."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self.used = 0
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.used == len(self._lines):
            self.ended = True
            raise StopIteration
        self.used += 1
        return self._lines[self.used - 1]


def _find_delimiter(text: Sequence[str]) -> tuple[str, str | None]:
    """The delimiter, and another one that would do as well."""
    scores = {delimiter: _fit(text, delimiter) for delimiter in DELIMITERS}
    best, second = sorted(DELIMITERS, key=lambda delimiter: scores[delimiter], reverse=True)[:2]  # stable
    return best, second if scores[best] == scores[second] and scores[best][1] > 1 else None


def _fit(text: Sequence[str], delimiter: str) -> tuple[float, int]:
    """How well a delimiter fits: the share of rows that are as long as the header, and the number of columns. A delimiter
    that is not in the header does not fit."""
    reader = strict_reader(iter(text), delimiter, spaced=False)
    lengths: list[int] = []
    while len(lengths) < _SAMPLE_LINES:
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error:  # this row is not CSV, or the sample ends within it
            fields = []
            lengths.append(0)
        if any(field.strip() for field in fields):
            lengths.append(len(fields))
    if not lengths or lengths[0] < 2:
        return (0.0, 1)
    rows = lengths[1:]
    return (rows.count(lengths[0]) / len(rows) if rows else 1.0, lengths[0])


def _line_end(text: Sequence[str]) -> str:
    names = {
        "CRLF" if line.endswith("\r\n") else "CR" if line.endswith("\r") else "LF"
        for line in text
        if line[-1:] in "\r\n"
    }
    return names.pop() if len(names) == 1 else "mixed" if names else "LF"
