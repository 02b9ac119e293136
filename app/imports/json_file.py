"""Reads NDJSON and JSON arrays as streams."""

import codecs
from collections.abc import Iterator
from decimal import Decimal
from typing import IO, Final, cast

import ijson
from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.imports.file_rows import CHUNK, MAX_ROW, FileRow

MAX_DEPTH: Final = 100
"""Levels of objects and arrays in one row of a JSON array."""
_BOM: Final = codecs.BOM_UTF8


def _refuse_wide(file: IO[bytes]) -> None:
    file.seek(0)
    if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise ValueError("the file is UTF-16; JSON must be UTF-8")


def ndjson_rows(file: IO[bytes], after: int, number: int) -> Iterator[FileRow]:
    """The rows after row `number`, which ends at the byte `after`. Raises ValueError for a file that is not UTF-8."""
    _refuse_wide(file)
    file.seek(after)
    end = after
    while line := file.readline(MAX_ROW + 1):
        end += len(line)
        if len(line) > MAX_ROW:
            while not line.endswith(b"\n") and (line := file.readline(MAX_ROW)):
                end += len(line)
            number += 1
            yield FileRow(number, end, {}, f"is longer than {MAX_ROW >> 20} MiB")
            continue
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


def json_rows(file: IO[bytes], done: int) -> Iterator[FileRow]:
    """The items of the first array of the document, after the first `done` items.

    Not `ijson.items`: the path that it keeps for each level makes deep nesting expensive.
    """
    _refuse_wide(file)
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
