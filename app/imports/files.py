"""Reads the rows of a file one by one, so that memory does not grow with the file, and a stopped import can be resumed.

.csv .tsv .txt   a table with a header, in the dialects and encodings of docs/imports.md (csv_file)
.xlsx .xlsm      one sheet of a workbook; macros and formulas are not executed (xlsx_file)
.ndjson .jsonl   one JSON object per line (json_file)
.json            an array of objects, or an object with such an array (`{"customers": […]}`)
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Final

from platform_relay.imports.csv_file import csv_columns, csv_rows
from platform_relay.imports.file_rows import (
    CHUNK,
    MAX_ROW,
    SAMPLE_ROWS,
    TABLES,
    FileColumns,
    FileFacts,
    FileFormat,
    FileOptions,
    FileRow,
    check_duplicates,
)
from platform_relay.imports.json_file import MAX_DEPTH, json_rows, ndjson_rows
from platform_relay.imports.nested_columns import nested_columns
from platform_relay.imports.xlsx_file import xlsx_columns, xlsx_rows

__all__ = [
    "CHUNK",
    "MAX_DEPTH",
    "MAX_ROW",
    "TABLES",
    "FileColumns",
    "FileFacts",
    "FileFormat",
    "FileOptions",
    "FileRow",
    "check_duplicates",
    "column_names",
    "digest_of",
    "file_columns",
    "format_of",
    "read_rows",
]

_ENDINGS: Final[dict[str, FileFormat]] = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".txt": "csv", ".xlsx": "xlsx", ".xlsm": "xlsx",
    ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json",
}  # fmt: skip
_FORM_HEAD: Final = 500
"""Bytes in which a form names its first part."""
_OTHERS: Final = {
    ".xls": "a workbook of an old Excel; open it in a spreadsheet, and save it as .xlsx or as CSV UTF-8",
    ".xlsb": "a binary workbook; open it in Excel, and save it as .xlsx or as CSV UTF-8",
    ".ods": "a workbook of LibreOffice; open it there, and save it as .xlsx or as CSV with the character set UTF-8",
    ".numbers": "a document of Numbers; open it there, and choose File, Export To, CSV (UTF-8) or Excel",
    ".zip": "a zip archive; unpack it, and import the file that is in it",
    ".gz": "compressed; unpack it, and import the file that is in it",
}


def format_of(name: str) -> FileFormat:
    """The format by the ending of the name. Raises ValueError for another ending."""
    suffix = Path(name).suffix.lower()
    if suffix in _OTHERS:
        raise ValueError(f"{Path(name).name} is {_OTHERS[suffix]}")
    if suffix not in _ENDINGS:
        raise ValueError(f"the format of {Path(name).name} is unknown; end its name with .csv, .xlsx, .ndjson or .json")
    return _ENDINGS[suffix]


def digest_of(file: IO[bytes]) -> bytes:
    """SHA-256 of the file. Leaves the position at the beginning."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    file.seek(0)
    return digest.digest()


def read_rows(
    file: IO[bytes], file_format: FileFormat, *, after: int = 0, number: int = 0, options: FileOptions | None = None
) -> Iterator[FileRow]:
    """The rows after row `number`, whose `end` is `after`. An unusable row has a `problem`.

    Without a `options`, it is found out. `file_columns(…).facts.options` spares that, which takes a look at the whole file.
    Raises ValueError if the file does not have this format.
    """
    match file_format:
        case "csv":
            yield from csv_rows(file, after, number, options or FileOptions())
        case "xlsx":
            yield from xlsx_rows(file, number, options or FileOptions())
        case "ndjson":
            yield from ndjson_rows(file, after, number)
        case "json":
            yield from json_rows(file, number)


def file_columns(file: IO[bytes], file_format: FileFormat, options: FileOptions | None = None) -> FileColumns:
    """The columns, and what was found out about the file; of JSON the names in the first rows, and nested ones that a guess
    knows. Raises ValueError, also for an option that the format does not have."""
    if options is not None and options.encoding is not None and file_format != "csv":
        raise ValueError("only a CSV file has an encoding that can be named")
    if options is not None and options.sheet is not None and file_format != "xlsx":
        raise ValueError("only a workbook (.xlsx) has sheets")
    _refuse_form(file)
    match file_format:
        case "csv":
            return csv_columns(file, options or FileOptions())
        case "xlsx":
            return xlsx_columns(file, options or FileOptions())
        case _:
            rows = list(islice(read_rows(file, file_format), SAMPLE_ROWS))
            if file_format == "ndjson" and rows and rows[0].problem is not None:
                _refuse_other_json(file, rows)
            first = [row.values for row in rows]
            names = dict.fromkeys(name for values in first for name in values)
            return FileColumns((*names, *nested_columns(first)), FileFacts())


def _refuse_form(file: IO[bytes]) -> None:
    """Raises ValueError for the body of a form of a web page, which `curl -F` makes of a file."""
    file.seek(0)
    begin = file.read(_FORM_HEAD)
    file.seek(0)
    if begin.startswith(b"--") and b"\ncontent-disposition: form-data" in begin.lower():
        raise ValueError(
            "the file is within a form (multipart/form-data); send the file itself as the body, with curl --data-binary @FILE"
            " instead of -F"
        )


def _refuse_other_json(file: IO[bytes], rows: Sequence[FileRow]) -> None:
    """Raises ValueError for a file that is not NDJSON: one array, or none of whose first rows is an object."""
    file.seek(0)
    begin = file.read(CHUNK).lstrip(b"\xef\xbb\xbf \t\r\n")
    is_array = begin.startswith(b"[")
    if not is_array and any(row.problem is None for row in rows):
        return
    if is_array or begin.startswith(b"{"):
        what = "one JSON array" if is_array else "JSON over several lines"
        raise ValueError(
            f"the file is {what}, and NDJSON has one object in each line; import it as JSON (a name that ends with .json, or"
            " application/json), which reads arrays"
        )
    raise ValueError("none of the first lines is a JSON object; NDJSON has one object in each line")


def column_names(file: IO[bytes], file_format: FileFormat, options: FileOptions | None = None) -> list[str]:
    """The names of the columns that can be mapped, and those that are above more than one column, which cannot (see
    `check_duplicates`). Raises ValueError."""
    columns = file_columns(file, file_format, options)
    return [*columns.names, *columns.facts.duplicates]
