"""Reads the rows of a file one by one, so that memory does not grow with the file, and a stopped import can be resumed.

.csv            comma, semicolon or tab, detected from the first line; quoted fields may contain line ends
.ndjson .jsonl  one JSON object per line
.json           an array of objects, or an object with such an array (`{"customers": […]}`)
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Final, Literal, cast

import ijson
from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson

FileFormat = Literal["csv", "ndjson", "json"]
CHUNK: Final = 1 << 16
MAX_ROW: Final = 1 << 20
"""Bytes of one row."""
MAX_DEPTH: Final = 100
"""Levels of objects and arrays in one row of a JSON array."""
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row of a file. `number` counts rows from 1, without a header. `end` is how many bytes of the file were read for it;
    in CSV and NDJSON exactly the end of the row. `problem` is the reason why the row cannot be used."""

    number: int
    end: int
    values: Mapping[str, JsonValue]
    problem: str | None = None


def format_of(name: str) -> FileFormat:
    """The format by the ending of the name. Raises ValueError for an unknown ending."""
    endings: dict[str, FileFormat] = {
        ".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json",
    }  # fmt: skip
    suffix = Path(name).suffix.lower()
    if suffix not in endings:
        raise ValueError(f"the format of {Path(name).name} is unknown; end its name with .csv, .ndjson or .json")
    return endings[suffix]


def digest_of(file: IO[bytes]) -> bytes:
    """SHA-256 of the file. Leaves the position at the beginning."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    file.seek(0)
    return digest.digest()


def read_rows(file: IO[bytes], file_format: FileFormat, *, after: int = 0, number: int = 0) -> Iterator[FileRow]:
    """The rows after row `number`, whose `end` is `after`. An unusable row has a `problem`.

    Raises ValueError if the file does not have this format.
    """
    match file_format:
        case "csv":
            yield from _csv(file, after, number)
        case "ndjson":
            yield from _ndjson(file, after, number)
        case "json":
            yield from _json(file, number)


def column_names(file: IO[bytes], file_format: FileFormat) -> list[str]:
    """The names of the columns; of JSON the names in the first 100 rows. Raises ValueError."""
    if file_format == "csv":
        return csv_header(file)[0]
    first = [row.values for row in islice(read_rows(file, file_format), 100)]
    return list(dict.fromkeys(name for values in first for name in values))


# ----------------------------------------------------------------------------------------------- CSV


class _Lines:
    """The lines of a file as text. `end` is the end of the last line in bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.end = file.tell()

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(MAX_ROW + 1):
            self.end += len(line)
            yield line.decode("utf-8-sig" if self.end == len(line) else "utf-8", "replace")


def csv_header(file: IO[bytes]) -> tuple[list[str], str]:
    """The names in the first line of a CSV file, and its delimiter. Leaves the position after that line."""
    file.seek(0)
    lines = _Lines(file)
    first = next(iter(lines), "")
    delimiter = max(",;\t", key=first.count)
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if not names or len(set(names)) != len(names):
        raise ValueError("the first line must contain the names of the columns, each once")
    return names, delimiter


def _csv(file: IO[bytes], after: int, number: int) -> Iterator[FileRow]:
    names, delimiter = csv_header(file)
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
            yield FileRow(number, lines.end, {}, f"is not CSV: {error}")
            continue
        if not fields:
            continue
        number += 1
        problem = None
        if len(fields) > len(names):
            problem = f"has {len(fields)} fields for {len(names)} columns"
        elif any("\ufffd" in field for field in fields):
            problem = "is not UTF-8"
        yield FileRow(number, lines.end, dict(zip(names, fields, strict=False)), problem)


# ----------------------------------------------------------------------------------------------- JSON


def _ndjson(file: IO[bytes], after: int, number: int) -> Iterator[FileRow]:
    file.seek(after)
    end = after
    while line := file.readline(MAX_ROW):
        end += len(line)
        raw = line.removeprefix(_BOM).strip()
        if not raw:
            continue
        number += 1
        try:
            yield _row(number, end, exact_json.loads(raw))
        except ValueError as error:
            yield FileRow(number, end, {}, f"is not JSON: {error}")


def _row(number: int, end: int, value: ExactJson) -> FileRow:
    if isinstance(value, dict):
        return FileRow(number, end, cast("dict[str, JsonValue]", value))  # with Decimals instead of floats
    return FileRow(number, end, {}, "is not a JSON object")


class _RowReader:
    """Reads a file for the JSON parser and limits the size of a row. Set `row_start` at the end of each row."""

    def __init__(self, file: IO[bytes]) -> None:
        file.seek(0)
        self._file = file
        if file.read(len(_BOM)) != _BOM:
            file.seek(0)
        self.position = self.row_start = file.tell()

    def read(self, size: int) -> bytes:
        if self.position - self.row_start > MAX_ROW:
            raise ValueError(f"a value in the JSON array is longer than {MAX_ROW} bytes")
        chunk = self._file.read(size)
        self.position += len(chunk)
        return chunk


def _json(file: IO[bytes], done: int) -> Iterator[FileRow]:
    """The items of the first array of the document, after the first `done` items.

    Not `ijson.items`: the path that it keeps for each level makes deep nesting expensive.
    """
    reader, number = _RowReader(file), 0
    events = ijson.basic_parse(reader, buf_size=CHUNK)
    try:
        if not any(event == "start_array" for event, _ in events):
            raise ValueError("the file has no array of objects; write [{…}, {…}] or one object per line (.ndjson)")
        while (item := _next_item(events)) is not None:
            reader.row_start = reader.position
            number += 1
            if number > done:
                yield _row(number, reader.position, item.value)
    except ijson.JSONError as error:
        problem = str(error.args[0], "utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        where = f"after row {number}" if number else "before its first row"
        raise ValueError(f"the JSON array is broken {where}: {problem.partition(chr(10))[0]}") from None


def _next_item(events: Iterator[tuple[str, JsonValue | Decimal]]) -> ijson.ObjectBuilder | None:
    """The next item of the array; None at the array's end."""
    builder, depth = ijson.ObjectBuilder(), 0
    for event, value in events:
        if event in ("end_array", "end_map"):
            if depth == 0:
                return None
            depth -= 1
        elif event in ("start_array", "start_map"):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"a value in the JSON array has more than {MAX_DEPTH} levels")
        builder.event(event, value)
        if depth == 0:
            return builder
    return None
