"""Rows out of a file, one at a time, each with the place behind it: a long import goes on where it was ended.

.csv            comma, semicolon or tab, found out from the first line; quoted fields may hold line ends
.ndjson .jsonl  one JSON object per line
.json           one array of objects, or one object with such an array (`{"customers": […]}`); read as a stream
"""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Final, Literal

from pydantic import JsonValue

FileFormat = Literal["csv", "ndjson", "json"]
CHUNK: Final = 1 << 16
LONGEST: Final = 1 << 20
"""Characters of one row at most."""
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Row:
    """`number` counts rows from 1, without a header. `end` is the byte behind it. `problem` says why `values` is empty."""

    number: int
    end: int
    values: Mapping[str, JsonValue]
    problem: str | None = None


def format_of(name: str) -> FileFormat:
    """By the name's ending. Raises ValueError for any other."""
    endings: dict[str, FileFormat] = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
    suffix = Path(name).suffix.lower()
    if suffix == ".json":
        return "json"
    if suffix not in endings:
        raise ValueError(
            f"what is in {Path(name).name} cannot be told from its name; end it with .csv, .ndjson or .json"
        )
    return endings[suffix]


def digest_of(file: IO[bytes]) -> bytes:
    """SHA-256 of the whole file; its position is at the beginning afterwards."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    file.seek(0)
    return digest.digest()


def read_rows(file: IO[bytes], form: FileFormat, *, after: int = 0, number: int = 0) -> Iterator[Row]:
    """The rows behind byte `after`, which are numbered from `number` + 1. A bad row is a Row with a problem.

    Raises ValueError for a file that is none of the kind at all.
    """
    match form:
        case "csv":
            yield from _csv(file, after, number)
        case "ndjson":
            yield from _ndjson(file, after, number)
        case "json":
            yield from _json(file, after, number)


def names_in(file: IO[bytes], form: FileFormat) -> list[str]:
    """The columns' names; of JSON those in the first 100 rows. Raises ValueError."""
    if form == "csv":
        return columns(file)[0]
    first = [row.values for row in islice(read_rows(file, form), 100)]
    return list(dict.fromkeys(name for values in first for name in values))


# ----------------------------------------------------------------------------------------------- CSV


class _Lines:
    """The lines of a file as text, with the byte behind the last one that was given out."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.end = file.tell()

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(LONGEST + 1):
            self.end += len(line)
            yield line.decode("utf-8-sig" if self.end == len(line) else "utf-8", "replace")


def columns(file: IO[bytes]) -> tuple[list[str], str]:
    """The names in a CSV file's first line, and its delimiter; the file's position is behind that line."""
    file.seek(0)
    lines = _Lines(file)
    first = next(iter(lines), "")
    delimiter = max(",;\t", key=first.count)
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if not names or len(set(names)) != len(names):
        raise ValueError("the first line has to hold the columns' names, each once")
    return names, delimiter


def _csv(file: IO[bytes], after: int, number: int) -> Iterator[Row]:
    names, delimiter = columns(file)
    if after:
        file.seek(after)
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield Row(number, lines.end, {}, f"is no CSV: {error}")
            continue
        if not fields:
            continue
        number += 1
        if len(fields) > len(names) or any("\ufffd" in field for field in fields):
            what = "is not UTF-8" if len(fields) <= len(names) else f"has {len(fields)} fields for {len(names)} columns"
            yield Row(number, lines.end, dict(zip(names, fields, strict=False)), what)
            continue
        yield Row(number, lines.end, dict(zip(names, fields, strict=False)))


# ----------------------------------------------------------------------------------------------- JSON


def _ndjson(file: IO[bytes], after: int, number: int) -> Iterator[Row]:
    file.seek(after)
    end = after
    while line := file.readline(LONGEST):
        end += len(line)
        raw = line.removeprefix(_BOM).strip()
        if not raw:
            continue
        number += 1
        try:
            yield _row(number, end, json.loads(raw))
        except (ValueError, RecursionError) as error:
            yield Row(number, end, {}, f"is not JSON: {error}")


def _row(number: int, end: int, value: JsonValue) -> Row:
    if isinstance(value, dict):
        return Row(number, end, value)
    return Row(number, end, {}, "is no JSON object")


def _json(file: IO[bytes], after: int, number: int) -> Iterator[Row]:
    """Each member of the array, without holding more than one of them and a chunk."""
    stream = _Stream(file, after)
    if after == 0:
        stream.to_array()
    while (found := stream.next()) is not None:
        number += 1
        value, end = found
        yield _row(number, end, value)


class _Stream:
    """A file's JSON, decoded value by value. Raises ValueError where it is not what it has to be."""

    def __init__(self, file: IO[bytes], after: int) -> None:
        file.seek(after)
        self._file = file
        self._base = after
        self._buffer = b""
        self._ended = False
        self._decode = json.JSONDecoder().raw_decode

    def to_array(self) -> None:
        """Go behind the first `[`, which is the document's, or the first array's in the document's object."""
        self._fill()
        start = self._buffer.find(b"[")
        if start < 0 or self._buffer[:start].removeprefix(_BOM).strip()[:1] not in (b"", b"{"):
            raise ValueError("the file holds no array of objects; write [{…}, {…}] or one object per line (.ndjson)")
        self._drop(start + 1)

    def next(self) -> tuple[JsonValue, int] | None:
        """The next member and the byte behind it; None at the array's end."""
        while True:
            blank = len(self._buffer) - len(self._buffer.lstrip(b" \t\r\n,"))
            self._drop(blank)
            if self._buffer[:1] == b"]":
                return None
            if self._buffer:
                found = self._one()
                if found is not None:
                    return found
            if self._ended:
                raise ValueError(f"the file ends within its array, at byte {self._base + len(self._buffer)}")
            if len(self._buffer) > LONGEST:
                raise ValueError(f"the value at byte {self._base} is no JSON, or longer than {LONGEST} bytes")
            self._fill()

    def _one(self) -> tuple[JsonValue, int] | None:
        text = self._buffer.decode("utf-8", "ignore")  # a character that is cut at the end belongs to the next chunk
        try:
            value, length = self._decode(text)
        except (ValueError, RecursionError):
            return None
        self._drop(len(text[:length].encode()))
        return value, self._base

    def _fill(self) -> None:
        chunk = self._file.read(CHUNK)
        self._ended = not chunk
        self._buffer += chunk

    def _drop(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._base += size
