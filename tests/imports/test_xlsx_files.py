"""Workbooks: their stored values as text, as people see them, and hostile ones within limits."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from platform_relay.imports import xlsx_file, xlsx_parts
from platform_relay.imports.choices import Choices
from platform_relay.imports.files import FileOptions, FileRow, file_columns, format_of, read_rows
from platform_relay.imports.proposal import MissingFieldError, propose
from platform_relay.imports.rows import read_messages
from platform_relay.imports.xlsx_numbers import DATE, PLAIN, format_kind, number_text
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.messages import Incoming


def workbook(*rows: list[Any], sheets: dict[str, list[list[Any]]] | None = None) -> bytes:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Customers"
    for row in rows:
        sheet.append(row)
    for name, more in (sheets or {}).items():
        other = book.create_sheet(name)
        for row in more:
            other.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def rewritten(raw: bytes, part: str, change: Callable[[bytes], bytes]) -> bytes:
    """The workbook with another content of a part."""
    source, file = zipfile.ZipFile(io.BytesIO(raw)), io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, change(content) if name == part else content)
    return file.getvalue()


def local(*parts: int) -> datetime:
    """A time without a zone, as workbooks have them."""
    year, month, day, hour, minute, second = (*parts, 0, 0, 0)[:6]
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).replace(tzinfo=None)


SHEET, STRINGS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"


def sheet_of(data: str, strings: str = "") -> bytes:
    """A workbook with this XML as its rows."""
    raw = rewritten(
        workbook(["id"]), SHEET, lambda _: f'<worksheet xmlns="x"><sheetData>{data}</sheetData></worksheet>'.encode()
    )
    if strings:
        raw = rewritten(raw, STRINGS, lambda _: f'<sst xmlns="x">{strings}</sst>'.encode())
    return raw


def rows_of(raw: bytes, options: FileOptions | None = None) -> list[FileRow]:
    rows = list(read_rows(io.BytesIO(raw), "xlsx", options=options))
    for at, row in enumerate(rows):
        assert 0 <= row.end <= len(raw)
        assert list(read_rows(io.BytesIO(raw), "xlsx", after=row.end, number=row.number)) == rows[at + 1 :] or options
    return rows


def test_cells_are_text_as_people_see_it() -> None:
    raw = workbook(
        ["Customer ID", "E-mail", "Registered", "Birthday", "Points", "VIP", "At", "Empty"],
        [
            6100000000001,
            "ada@x.example",
            local(2026, 1, 2, 3, 4, 5),
            date(1990, 12, 24),
            12.5,
            True,
            time(9, 30),
            None,
        ],
        ["00042", "'zoë@x.example", local(2026, 1, 2), "24.12.1990", 100, False, None, "x"],
        [None, None, None],
        [7.0, " bob@x.example\u00a0", None, None, 0.1 + 0.2, None, None, None],
    )
    columns = file_columns(io.BytesIO(raw), "xlsx")
    assert columns.names == ("Customer ID", "E-mail", "Registered", "Birthday", "Points", "VIP", "At", "Empty")
    assert columns.facts.trimmed == {"E-mail": 2}
    rows = rows_of(raw)
    assert [list(row.values.values()) for row in rows] == [
        ["6100000000001", "ada@x.example", "2026-01-02T03:04:05", "1990-12-24", "12.5", "TRUE", "09:30:00", ""],
        ["00042", "zoë@x.example", "2026-01-02", "24.12.1990", "100", "FALSE", "", "x"],
        ["7", "bob@x.example", "", "", "0.3", "", "", ""],
    ]
    assert [(row.number, row.problem) for row in rows] == [(1, None), (2, None), (3, None)]


@pytest.mark.parametrize(
    ("raw", "code", "text"),
    [
        ("1", None, "1"),
        ("1.0", None, "1"),
        ("6100000000001", None, "6100000000001"),
        ("6.100000000001E+12", None, "6100000000001"),
        ("999999999999999", None, "999999999999999"),
        ("1E+15", None, "1E+15"),
        ("1234567890123450", None, "1.23456789012345E+15"),
        ("1.2345678901234501E+17", None, "1.23456789012345E+17"),
        ("-5.5", None, "-5.5"),
        ("12.300000000000001", None, "12.3"),
        ("1E-7", None, "0.0000001"),
        ("1E-300", None, "1E-300"),
        ("42", "00000", "00042"),
        ("123456", "00000", "123456"),
        ("0.5", "0%", "0.5"),
        ("1234.5", '#,##0.00 "days"', "1234.5"),
        ("45000", "dd/mm/yyyy", "2023-03-15"),
        ("45000.75", "dd/mm/yyyy hh:mm", "2023-03-15T18:00:00"),
        ("45000.999999", "[$-407]d. mmmm yyyy;@", "2023-03-16"),
        ("0.5", "hh:mm:ss.000", "12:00:00"),
        ("59", "yyyy-mm-dd", "1900-02-28"),
        ("61", "yyyy-mm-dd", "1900-03-01"),
        ("-1", "yyyy-mm-dd", "-1"),
        ("9999999999", "yyyy-mm-dd", "9999999999"),
        ("45000", 'General "d"', "45000"),
        ("NaN", None, "NaN"),
        ("9" * 100, None, "9" * 100),
        ("1E999999999", None, "1E999999999"),
    ],
)
def test_a_number_is_written_as_people_see_it(raw: str, code: str | None, text: str) -> None:
    assert number_text(raw, format_kind(0 if code is None else 164, code), since_1904=False) == text


def test_dates_of_the_formats_that_every_workbook_has() -> None:
    assert [format_kind(number, None) for number in (0, 1, 2, 9, 14, 22, 47, 49)] == [PLAIN] * 4 + [DATE] * 3 + [PLAIN]
    assert number_text("43538", DATE, since_1904=True) == "2023-03-15"


def test_a_number_that_has_lost_digits_is_reported() -> None:
    raw = workbook(["id", "code"], [1, 12345678901234567890], [2, 17])
    [note] = file_columns(io.BytesIO(raw), "xlsx").facts.notes
    assert note.startswith("The column 'code' has numbers of more than 15 digits")
    assert [row.values["code"] for row in rows_of(raw)] == ["1.23456789012346E+19", "17"]


def test_a_sheet_is_chosen_by_its_name() -> None:
    raw = workbook(["id"], [1], sheets={"Orders": [["Order", "Total"], [7, 5]], "Notes": []})
    facts = file_columns(io.BytesIO(raw), "xlsx").facts
    assert facts.sheet == "Customers"
    assert any("Orders, Notes" in note for note in facts.notes)
    chosen = FileOptions(sheet="Orders")
    assert file_columns(io.BytesIO(raw), "xlsx", chosen).names == ("Order", "Total")
    assert [row.values for row in rows_of(raw, chosen)] == [{"Order": "7", "Total": "5"}]
    with pytest.raises(ValueError, match="no sheet 'Customer'; its sheets are Customers, Orders, Notes"):
        file_columns(io.BytesIO(raw), "xlsx", FileOptions(sheet="Customer"))
    with pytest.raises(ValueError, match="sheet is empty"):
        file_columns(io.BytesIO(raw), "xlsx", FileOptions(sheet="Notes"))


def test_the_first_sheet_that_is_not_hidden_is_read() -> None:
    raw = workbook(["x"], [1], sheets={"Seen": [["id"], [2]]})
    hidden = rewritten(
        raw, "xl/workbook.xml", lambda xml: re.sub(rb'(name="Customers"[^>]*state=)"visible"', rb'\1"hidden"', xml)
    )
    assert file_columns(io.BytesIO(hidden), "xlsx").facts.sheet == "Seen"


def test_formulas_are_not_executed() -> None:
    cell = '<c r="B2"><f>1+1</f><v>2</v></c>'
    raw = sheet_of(
        '<row r="1"><c t="inlineStr"><is><t>id</t></is></c><c t="inlineStr"><is><t>n</t></is></c></row>'
        f'<row r="2"><c r="A2"><v>1</v></c>{cell}</row><row r="3"><c r="A3"><v>2</v></c><c r="B3"><f>1+1</f></c></row>'
        '<row r="4"><c r="A4"><v>3</v></c><c r="B4" t="e"><f>1/0</f><v>#DIV/0!</v></c></row>'
        '<row r="5"><c r="A5"><v>4</v></c><c r="B5" t="str"><f>"a"</f><v>a_x0041__x005F_</v></c></row>'
    )
    assert [row.values["n"] for row in rows_of(raw)] == ["2", "", "#DIV/0!", "aA_"]
    assert any("formulas without a stored result" in note for note in file_columns(io.BytesIO(raw), "xlsx").facts.notes)


def test_rich_text_without_phonetic_hints() -> None:
    raw = workbook(["name"], ["x"])
    strings = "<si><t>name</t></si><si><r><t>田</t></r><r><t>中</t></r><rPh><t>たなか</t></rPh></si>"
    rows = '<row><c t="s"><v>0</v></c></row><row><c t="s"><v>1</v></c></row>'
    if STRINGS not in zipfile.ZipFile(io.BytesIO(raw)).namelist():
        raw = workbook_with_strings(raw)
    raw = rewritten(raw, STRINGS, lambda _: f'<sst xmlns="x">{strings}</sst>'.encode())
    raw = rewritten(raw, SHEET, lambda _: f'<worksheet xmlns="x"><sheetData>{rows}</sheetData></worksheet>'.encode())
    assert [row.values for row in rows_of(raw)] == [{"name": "田中"}]


def workbook_with_strings(raw: bytes) -> bytes:
    """The workbook with a part for shared strings, which not every writer makes."""
    relation = (
        b'<Relationship Id="rIdS" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" '
        b'Target="sharedStrings.xml"/></Relationships>'
    )
    raw = rewritten(raw, "xl/_rels/workbook.xml.rels", lambda xml: xml.replace(b"</Relationships>", relation))
    file = io.BytesIO(raw)
    with zipfile.ZipFile(file, "a") as target:
        target.writestr(STRINGS, "<sst/>")
    return file.getvalue()


def test_a_value_without_a_name_above_it_is_a_problem() -> None:
    raw = workbook(["id", "name"], [1, "Ann"], [2, "Bob", None, "x"])
    good, bad = rows_of(raw)
    assert good.problem is None
    assert bad.problem == "has a value in the column D, above which there is no name (row 3 of the sheet)"


# ----------------------------------------------------------------------------------------------- hostile


def test_a_cell_at_the_end_of_the_sheet_costs_nothing() -> None:
    """A library that keeps a sheet as a rectangle would need 17 billion cells for these two."""
    raw = sheet_of(
        '<row r="1"><c r="A1" t="str"><v>id</v></c></row><row r="2"><c r="A2"><v>1</v></c></row>'
        '<row r="999999999"><c r="XFD9999999"><v>1</v></c></row>'
    )
    good, far = rows_of(raw)
    assert good.values == {"id": "1"}
    assert "column XFD" in (far.problem or "")


@pytest.mark.parametrize("reference", ["XFE1", "ZZZZ1", "1A", "A" * 5000, "", "a1"])
def test_a_cell_outside_of_the_sheet_is_damage(reference: str) -> None:
    raw = sheet_of(f'<row r="1"><c r="A1" t="str"><v>id</v></c><c r="{reference}"><v>1</v></c></row>')
    with pytest.raises(ValueError, match="damaged"):
        rows_of(raw)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ('<row r="1"><c t="s"><v>0</v></c></row>', "text that is not there"),
        ('<row r="1"><c t="s"><v>99999999999</v></c></row>', "text that is not there"),
        ('<row r="1"><c t="str"><v>id</v></c></row><row><c', "damaged"),
        ('<row><c t="str"><v>' + "x" * (2 << 20) + "</v></c></row>", "longer than 1 MiB"),
        ("<a " + 'b="' + "x" * (6 << 20) + '"/>', "no end"),
        ("<a>" * 50_000, "damaged"),
        ("", "sheet is empty"),
    ],
)
def test_damage_is_a_sentence(data: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rows_of(sheet_of(data))


def test_entities_are_refused() -> None:
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    raw = rewritten(workbook(["id"], [1]), SHEET, lambda xml: laughs.encode() + xml)
    with pytest.raises(ValueError, match="document type"):
        rows_of(raw)


def test_bombs_are_refused_by_their_unpacked_size(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = rewritten(
        workbook(["id"], [1]), SHEET, lambda xml: xml.replace(b"</sheetData>", b" " * (3 << 20) + b"</sheetData>")
    )
    assert len(bomb) < 20_000
    assert len(rows_of(bomb)) == 1
    monkeypatch.setattr(xlsx_file, "MAX_SHEET", 1 << 20)
    with pytest.raises(ValueError, match="more than 1 MiB unpacked"):
        rows_of(bomb)
    strings = workbook_with_strings(workbook(["id"], [1]))
    many = rewritten(strings, STRINGS, lambda _: b"<sst>" + b"<si/>" * 3000 + b"</sst>")
    monkeypatch.setattr(xlsx_file, "MAX_STRING_COUNT", 2000)
    with pytest.raises(ValueError, match="more than 2,000 texts"):
        rows_of(many)
    monkeypatch.setattr(xlsx_parts, "MAX_DIRECTORY", 100)
    with pytest.raises(ValueError, match="archive of the workbook is too large"):
        rows_of(workbook(["id"]))


def test_a_size_that_the_archive_understates_is_not_read_beyond() -> None:
    raw = bytearray(rewritten(workbook(["id"], [1]), SHEET, lambda xml: xml + b" " * 100_000))
    size = (100_000 + len(zipfile.ZipFile(io.BytesIO(workbook(["id"], [1]))).read(SHEET))).to_bytes(4, "little")
    assert bytes(raw).count(size) >= 2
    with pytest.raises(ValueError, match="damaged"):
        rows_of(bytes(raw).replace(size, (500).to_bytes(4, "little")))


def test_every_truncation_and_flipped_byte_is_a_sentence_or_rows() -> None:
    raw = workbook(["id", "name"], [1, "Ann"], [2, "Bob"])
    cut = [raw[:at] for at in range(0, len(raw), 97)]
    flipped = [raw[:at] + bytes((raw[at] ^ 0x55,)) + raw[at + 1 :] for at in range(0, len(raw), 41)]
    for damaged in (b"", b"PK\x03\x04", *cut, *flipped):
        with suppress(ValueError):
            list(read_rows(io.BytesIO(damaged), "xlsx"))
        with suppress(ValueError):
            file_columns(io.BytesIO(damaged), "xlsx")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.xls", "save it as .xlsx"),
        ("a.XLSB", "save it as .xlsx"),
        ("a.ods", "LibreOffice"),
        ("a.numbers", "Export To"),
        ("a.zip", "unpack"),
    ],
)
def test_other_workbooks_are_refused_with_what_to_do(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        format_of(name)
    assert [format_of(Path(f"x{end}").name) for end in (".xlsx", ".XLSM", ".txt", ".tab")] == [
        "xlsx",
        "xlsx",
        "csv",
        "csv",
    ]


def test_a_password_and_another_file_are_named() -> None:
    for raw, words in ((b"\xd0\xcf\x11\xe0" + b"\0" * 600, "password"), (b"id,name\n1,Ann\n", "ending .csv")):
        with pytest.raises(ValueError, match=words):
            file_columns(io.BytesIO(raw), "xlsx")


def test_options_of_another_format_are_refused() -> None:
    with pytest.raises(ValueError, match="only a CSV file"):
        file_columns(io.BytesIO(workbook(["id"])), "xlsx", FileOptions(encoding="utf-8"))
    with pytest.raises(ValueError, match="only a workbook"):
        file_columns(io.BytesIO(b"id\n1\n"), "csv", FileOptions(sheet="x"))


def test_a_number_is_read_by_its_own_point_and_decides_nothing_about_texts() -> None:
    """A workbook stores 12.345 with a point in every country. Otherwise a German text beside it would make it 12345."""
    head = ["id", "status", "currency", "total"]
    german = workbook(head, [1, "paid", "EUR", "1.234,56"], [2, "paid", "EUR", 12.345], [3, "paid", "EUR", 1234.5])
    mixed = workbook(head, [1, "paid", "EUR", 0.5], [2, "paid", "EUR", "1,234"])
    numbers = workbook(head, [1, "paid", "EUR", 12.345], [2, "paid", "EUR", 1234])
    amounts: list[list[str | None]] = []
    asked: list[list[str]] = []
    for raw in (german, mixed, numbers):
        proposal = propose(io.BytesIO(raw), "orders.xlsx", "xlsx", EventKind.ORDER)
        read = [message for _, message in read_messages(proposal.plan, io.BytesIO(raw))]
        amounts.append([json.loads(row.body)["totalPrice"] if isinstance(row, Incoming) else None for row in read])
        asked.append([question.parameter for question in proposal.questions])
    assert amounts == [["1234.56", "12.345", "1234.5"], ["0.5", None], ["12.345", "1234"]]
    assert asked == [[], ["decimal"], []]


def test_a_number_is_read_by_its_own_point_whatever_mark_is_stated() -> None:
    raw = workbook(["id", "status", "currency", "total"], [1, "paid", "EUR", 12.345], [2, "paid", "EUR", "12,5"])
    proposal = propose(io.BytesIO(raw), "orders.xlsx", "xlsx", EventKind.ORDER, Choices(decimal=","))
    read = [message for _, message in read_messages(proposal.plan, io.BytesIO(raw))]
    assert [json.loads(row.body)["totalPrice"] for row in read if isinstance(row, Incoming)] == ["12.345", "12.5"]


def test_a_sheet_without_ids_names_the_option_for_another_one() -> None:
    raw = workbook(["read me first"], ["thank you"], sheets={"Data": [["id"], [1]]})
    with pytest.raises(MissingFieldError, match="Another sheet can be named"):
        propose(io.BytesIO(raw), "customers.xlsx", "xlsx", EventKind.CUSTOMER)


def test_other_archives_and_cut_workbooks_are_named() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("content.xml", "<a/>")
    with pytest.raises(ValueError, match="archive without a workbook"):
        rows_of(file.getvalue())
    raw = workbook(["id"], [1])
    with pytest.raises(ValueError, match="its end is missing"):
        rows_of(raw[: len(raw) // 2])
