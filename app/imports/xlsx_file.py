"""Reads one sheet of a workbook (.xlsx, .xlsm): the stored values as text. Formulas and macros are not executed.

Memory holds the shared strings, which are limited, and one row. Libraries were tried: one aborts the process for a hostile
workbook of 5 KB, the other reads numbers as floating point and walks through a billion rows that do not exist
(docs/adr/0027). Source of the format: ECMA-376 part 1, 18.3 (sheets), 18.4 (shared strings), 18.8 (styles).
"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import IO, Final, NamedTuple

from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.imports.amounts import CellNumber
from platform_relay.imports.columns import Columns, columns_from
from platform_relay.imports.file_rows import MAX_ROW, SAMPLE_ROWS, FileColumns, FileFacts, FileOptions, FileRow
from platform_relay.imports.xlsx_numbers import DATE, PLAIN, format_kind, is_damaged, number_text
from platform_relay.imports.xlsx_parts import MAX_SHEET, MAX_SMALL, MAX_STRINGS, Archive, Start

MAX_STRING_COUNT: Final = 2_000_000
LAST_COLUMN: Final = 16_384
_REFERENCE: Final = re.compile(r"([A-Z]{1,3})[0-9]{1,7}")
_ESCAPED: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")


def xlsx_columns(file: IO[bytes], options: FileOptions) -> FileColumns:
    """The columns of the sheet, and what was found out about it. Raises ValueError."""
    sheet = _Sheet(file, options.sheet)
    rows = sheet.rows()
    columns = _header(rows)
    trimmed = Counter(columns.trimmed)
    damaged: dict[str, str] = {}
    for row in islice(_file_rows(sheet, columns, rows, 0), SAMPLE_ROWS):
        trimmed.update(row.trimmed)
        for name, value in row.values.items():
            if isinstance(value, str) and is_damaged(value):
                damaged.setdefault(name, value)
    notes = list(columns.notes)
    if len(sheet.names) > 1:
        others = ", ".join(name for name in sheet.names if name != sheet.name)
        notes.append(f"The sheet {sheet.name!r} is read. The workbook also has: {others[:300]}.")
    notes += [
        f"The column {name!r} has numbers of more than 15 digits, of which the spreadsheet has lost the last ones ({value}). "
        f"If they are ids, export them as text."
        for name, value in damaged.items()
    ]
    if sheet.uncalculated:
        notes.append(
            "The sheet has formulas without a stored result, which are empty here. Open the workbook in a spreadsheet and save "
            "it again."
        )
    facts = FileFacts(sheet=sheet.name, notes=tuple(notes), trimmed=dict(trimmed), duplicates=columns.duplicates)
    return FileColumns(columns.names, facts)


def xlsx_rows(file: IO[bytes], number: int, options: FileOptions) -> Iterator[FileRow]:
    """The rows after the first `number` rows. Raises ValueError."""
    sheet = _Sheet(file, options.sheet)
    rows = sheet.rows()
    return _file_rows(sheet, _header(rows), rows, number)


class _SheetRow(NamedTuple):
    """A row that is not empty: its number in the sheet, its values by column (from 0), and the bytes that were read."""

    number: int
    cells: dict[int, str]
    read: int


def _header(rows: Iterator[_SheetRow]) -> Columns:
    first = next(rows, None)
    if first is None:
        raise ValueError("the sheet is empty; its first row must contain the names of the columns")
    return columns_from([first.cells.get(column, "") for column in range(max(first.cells) + 1)])


def _file_rows(sheet: "_Sheet", columns: Columns, rows: Iterator[_SheetRow], done: int) -> Iterator[FileRow]:
    width = len(columns.names)
    for number, row in enumerate(rows, 1):
        if number <= done:
            continue
        last = max(row.cells)
        problem = None
        if last >= width:
            problem = f"has a value in the column {_letters(last)}, above which there is no name (row {row.number} of the sheet)"
        cells = [row.cells.get(column, "") for column in range(width)]
        yield columns.row(number, sheet.position(row.read), cells, problem)


def _letters(column: int) -> str:
    letters, column = "", column + 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


# ----------------------------------------------------------------------------------------------- the workbook


@dataclass(frozen=True, slots=True)
class _Book:
    """Sheets by name, with their parts; hidden sheets last. `kinds`: the kind of number by style."""

    sheets: Mapping[str, str]
    strings: str | None
    styles: str | None
    since_1904: bool


def _book(archive: Archive) -> _Book:
    root = _relations(archive, "")
    path = next((target for kind, target in root.values() if kind == "officeDocument"), "xl/workbook.xml")
    if not archive.has(path):
        raise ValueError(
            "the file is an archive without a workbook, such as .ods or .docx; open it, and save it as .xlsx or CSV UTF-8"
        )
    sheets: list[tuple[bool, str, str]] = []
    since_1904 = False

    def started(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal since_1904
        if tag == "sheet":
            relation = next((value for name, value in attributes.items() if name.rpartition(":")[2] == "id"), "")
            sheets.append((attributes.get("state", "visible") != "visible", attributes.get("name", ""), relation))
        elif tag == "workbookPr":
            since_1904 = attributes.get("date1904", "0") in ("1", "true")

    _walk(archive, path, started)
    relations = _relations(archive, path)
    parts = {
        name: relations[relation][1]
        for _, name, relation in sorted(sheets, key=lambda sheet: sheet[0])
        if relation in relations and relations[relation][0] == "worksheet"
    }
    of_kind = dict(relations.values())
    return _Book(parts, of_kind.get("sharedStrings"), of_kind.get("styles"), since_1904)


def _relations(archive: Archive, path: str) -> dict[str, tuple[str, str]]:
    """The relations of a part: id -> last word of the type, and the part that it leads to."""
    folder, name = posixpath.split(path)
    relations: dict[str, tuple[str, str]] = {}

    def started(tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "Relationship" and attributes.get("TargetMode") != "External":
            target = attributes.get("Target", "")
            target = target[1:] if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
            relations[attributes.get("Id", "")] = (attributes.get("Type", "").rpartition("/")[2], target)

    file = posixpath.join(folder, "_rels", f"{name}.rels")
    if archive.has(file):
        _walk(archive, file, started)
    return relations


def _walk(archive: Archive, name: str, started: Start) -> None:
    for _ in archive.read(name, MAX_SMALL, started, lambda _: None, lambda _: None):
        pass


def _styles(archive: Archive, name: str | None) -> list[int]:
    """The kind of number of each style of cells."""
    formats: list[int] = []
    codes: dict[int, str] = {}
    within = False

    def started(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal within
        if tag == "numFmt":
            codes[_whole(attributes.get("numFmtId"))] = attributes.get("formatCode", "")
        elif tag in ("cellXfs", "cellStyleXfs", "cellStyles", "dxfs"):
            within = tag == "cellXfs"
        elif tag == "xf" and within:
            formats.append(_whole(attributes.get("numFmtId")))

    if name is not None and archive.has(name):
        _walk(archive, name, started)
    kinds = {number: format_kind(number, codes.get(number)) for number in set(formats)}
    return [kinds[number] for number in formats]


def _strings(archive: Archive, name: str | None) -> list[str]:
    """The shared strings."""
    if name is None or not archive.has(name):
        return []
    collected = _Strings()
    for _ in archive.read(name, MAX_STRINGS, collected.started, collected.ended, collected.on_text):
        pass
    return collected.strings


class _Strings:
    """Collects the shared strings from their XML. Phonetic hints, which Japanese workbooks have beside the text, are left
    out."""

    def __init__(self) -> None:
        self.strings: list[str] = []
        self._parts: list[str] = []
        self._hints = 0
        self._reading = False

    def started(self, tag: str, _: Mapping[str, str]) -> None:
        if tag == "si":
            self._parts.clear()
        elif tag == "rPh":
            self._hints += 1
        self._reading = tag == "t" and not self._hints

    def ended(self, tag: str) -> None:
        self._reading = False
        if tag == "rPh":
            self._hints -= 1
        elif tag == "si":
            self.strings.append(_unescaped("".join(self._parts)))
            if len(self.strings) > MAX_STRING_COUNT:
                raise ValueError(
                    f"the workbook is too large: it has more than {MAX_STRING_COUNT:,} texts; save the sheet as CSV UTF-8"
                )

    def on_text(self, text: str) -> None:
        if self._reading:
            self._parts.append(text)


def _unescaped(text: str) -> str:
    """Characters that XML cannot contain are written as `_x000D_`."""
    if "_x" not in text:
        return text
    text = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _whole(text: str | None) -> int:
    return integer(text) if text is not None and len(text) < 10 and is_count(text) else 0


class _Sheet:
    """A sheet of a workbook. Raises ValueError if there is none of this name."""

    def __init__(self, file: IO[bytes], name: str | None) -> None:
        self._size = file.seek(0, 2)
        self._archive = Archive(file)
        book = _book(self._archive)
        if not book.sheets:
            raise ValueError("the workbook has no sheet with cells")
        self.names = list(book.sheets)
        self.name = name if name is not None else self.names[0]
        if self.name not in book.sheets:
            raise ValueError(
                f"the workbook has no sheet {self.name[:60]!r}; its sheets are {', '.join(self.names)[:300]}"
            )
        self._part = book.sheets[self.name]
        self._total = max(1, self._archive.size(self._part)) if self._archive.has(self._part) else 1
        self._cells = _Cells(
            _strings(self._archive, book.strings), _styles(self._archive, book.styles), book.since_1904
        )

    @property
    def uncalculated(self) -> bool:
        """A formula without a stored result was read."""
        return self._cells.uncalculated

    def position(self, read: int) -> int:
        """How many bytes of the file are so many unpacked bytes of the sheet."""
        return min(self._size, self._size * read // self._total)

    def rows(self) -> Iterator[_SheetRow]:
        cells = self._cells
        for read in self._archive.read(self._part, MAX_SHEET, cells.started, cells.ended, cells.on_text):
            for number, row in cells.rows:
                yield _SheetRow(number, row, read)
            cells.rows.clear()


class _Cells:
    """Collects the rows of a sheet from its XML."""

    def __init__(self, strings: list[str], kinds: list[int], since_1904: bool) -> None:
        self._strings = strings
        self._kinds = kinds
        self._since_1904 = since_1904
        self.rows: list[tuple[int, dict[int, str]]] = []
        self.uncalculated = False
        self._row: dict[int, str] = {}
        self._number = 0
        self._column = -1
        self._type = "n"
        self._style = 0
        self._parts: list[str] = []
        self._size = 0
        self._reading = False
        self._hints = 0
        self._formula = False

    def started(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "c":
            self._column = self._column_of(attributes.get("r"))
            self._type = attributes.get("t", "n")
            self._style = _whole(attributes.get("s"))
            self._parts.clear()
            self._formula = False
        elif tag == "row":
            self._row = {}
            self._number = _whole(attributes.get("r")) or self._number + 1
            self._column = -1
            self._size = 0
        elif tag == "f":
            self._formula = True
        elif tag == "rPh":
            self._hints += 1
        self._reading = tag in ("v", "t") and not self._hints

    def ended(self, tag: str) -> None:
        self._reading = False
        if tag == "c":
            text = self._text("".join(self._parts))
            if text and not text.isspace():
                self._row[self._column] = text
            elif self._formula and not self._parts:
                self.uncalculated = True
        elif tag == "row":
            if self._row:
                self.rows.append((self._number, self._row))
                self._row = {}
        elif tag == "rPh":
            self._hints -= 1

    def on_text(self, text: str) -> None:
        if self._reading:
            self._size += len(text)
            if self._size > MAX_ROW:
                raise ValueError(f"row {self._number} of the sheet is longer than {MAX_ROW >> 20} MiB")
            self._parts.append(text)

    def _column_of(self, reference: str | None) -> int:
        if reference is None:
            column = self._column + 1
        else:
            match = _REFERENCE.fullmatch(reference)
            column = -1
            for letter in match[1] if match else "":
                column = (column + 1) * 26 + ord(letter) - 65
        if not 0 <= column < LAST_COLUMN:
            raise ValueError(f"the workbook is damaged: row {self._number} has the cell {(reference or '')[:20]!r}")
        return column

    def _text(self, raw: str) -> str:
        """The value of the cell as text. An error such as #N/A is its text: an empty id would make an order one of a guest."""
        match self._type:
            case "s":
                index = integer(raw.strip()) if is_count(raw.strip()) else -1
                if not 0 <= index < len(self._strings):
                    raise ValueError(f"the workbook is damaged: row {self._number} refers to a text that is not there")
                return self._strings[index]
            case "str" | "inlineStr":
                return _unescaped(raw)
            case "b":
                return {"1": "TRUE", "0": "FALSE"}.get(raw.strip(), raw)
            case "e":
                return raw.strip()
            case "d":
                return raw
            case _:
                kind = self._kinds[self._style] if self._style < len(self._kinds) else PLAIN
                text = number_text(raw, kind, since_1904=self._since_1904) if raw else ""
                return text if kind == DATE else CellNumber(text)
