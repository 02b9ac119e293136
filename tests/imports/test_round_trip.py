"""What a program writes, in each dialect and with hostile values, is read row by row as it was; and nothing else is."""

import csv
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from platform_relay.imports.cells import clean
from platform_relay.imports.files import FileOptions, file_columns, read_rows
from tests.imports.dialects import DIALECTS, HOSTILE, Written

HEADER = ("id", "email", "name", "note")
PAGE = Path(__file__).parents[2] / "docs" / "imports.md"
BEGIN, END = "<!-- made by tests/imports/test_round_trip.py -->\n", "<!-- end -->"

alphabet = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.one_of(st.sampled_from(HOSTILE), st.text(alphabet, max_size=12), st.text("\",;\t|\r\n 'aé=", max_size=8))


def writable(written: Written, text: str) -> bool:
    try:
        text.encode(written.encoding)
    except UnicodeEncodeError:
        return False
    return True


def expected(cells: tuple[str, ...]) -> dict[str, str]:
    return {name: clean(cell)[0] for name, cell in zip(HEADER, cells, strict=True)}


def check(written: Written, rows: list[tuple[str, str]]) -> None:
    """Write the rows under ids and addresses, and read them; each row must be found again from the end of the one before."""
    table = [(str(number), f"a{number}@x.example", *cells) for number, cells in enumerate(rows, 1)]
    raw = written.write([HEADER, *table])
    # whether the encoding can be found out depends on the values, if they are anything at all; see test_encodings
    named = written.encoding if written.encoding in ("cp1252", "mac-roman", "utf-16-le") and not written.mark else None
    options = file_columns(io.BytesIO(raw), "csv", FileOptions(encoding=named)).facts.options
    found = list(read_rows(io.BytesIO(raw), "csv", options=options))
    assert [(row.problem, dict(row.values)) for row in found] == [(None, expected(cells)) for cells in table]
    assert [row.number for row in found] == list(range(1, len(table) + 1))
    if found:
        assert found[-1].end == len(raw)
        middle = found[len(found) // 2]
        rest = list(read_rows(io.BytesIO(raw), "csv", after=middle.end, number=middle.number, options=options))
        assert rest == found[len(found) // 2 + 1 :]


@pytest.mark.parametrize("written", DIALECTS, ids=lambda written: written.program)
def test_hostile_values_of_each_dialect(written: Written) -> None:
    check(written, [(first, second) for first in HOSTILE for second in ("", "x\ny") if writable(written, first)])


@pytest.mark.parametrize("written", DIALECTS, ids=lambda written: written.program)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(st.tuples(texts, texts), max_size=6))
def test_any_values_of_each_dialect(written: Written, rows: list[tuple[str, str]]) -> None:
    check(written, [row for row in rows if writable(written, "".join(row))])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5), st.data())
def test_a_missing_quote_invents_and_merges_nobody(rows: list[tuple[str, str]], data: st.DataObject) -> None:
    """One quote is removed anywhere: each row that is still read is one that was written, or has a problem; or it differs only
    in the value that the quote stood in."""
    table = [(str(number), f"a{number}@x.example", *cells) for number, cells in enumerate(rows, 1)]
    raw = Written("x", "utf-8", quoting=csv.QUOTE_ALL).write([HEADER, *table])
    body = raw.index(b"\n") + 1
    places = [at for at in range(body, len(raw)) if raw[at : at + 1] == b'"']
    at = data.draw(st.sampled_from(places))
    damaged = raw[:at] + raw[at + 1 :]
    written = [expected(cells) for cells in table]
    for row in read_rows(io.BytesIO(damaged), "csv"):
        if row.problem is None:
            same = [known for known in written if known["id"] == row.values["id"].strip('"')]  # type: ignore[union-attr]
            assert len(same) == 1, f"an id that nobody wrote: {row.values}"
            assert "@x.example" in str(row.values["email"])


HEAD = "id,email,name,note\n"
QUOTED = '"id","email","name","note"\n'
GOOD = '"9","a9@x.example","z","z"\n'


@pytest.mark.parametrize(
    ("raw", "rejected"),
    [
        (HEAD + '"1","a1@x.example",\r,,0","note"\n' + GOOD, 1),  # found by hypothesis: a row that nobody wrote
        (QUOTED + '"1","a1@x.example",\r,,0","note"\n' + GOOD, 1),
        (HEAD + '"1","a1@x.example",\n\nb\n,,0","note"\n' + GOOD, 1),
        (HEAD + '1,a1@x.example,x,y,z\n,,0","note"\n' + GOOD, 1),
        (QUOTED + '"1","a1@x.example","",x\na,b,c,d"\n' + GOOD, 1),  # the first part is the complete row
        (QUOTED + '"1","a1@x.example",Shelf 20","note"\n' + GOOD, 1),
        (HEAD + '1,a1@x.example,Shelf 20",note\n' + GOOD, 0),
        (
            HEAD + '1,a1@x.example\n2,a2@x.example,x,Shelf 20"\n' + GOOD,
            1,
        ),  # cut off, and nothing to do with the next one
        (HEAD + '1,a1@x.example\n2,a2@x.example,"Lee, Ann",x\n' + GOOD, 1),
        (HEAD + '1,a1@x.example,x\n2,a2@x.example,x,y\n3,a3@x.example,x"\n' + GOOD, 2),
    ],
)
def test_the_rest_of_a_broken_row_is_no_row(raw: str, rejected: int) -> None:
    found = list(read_rows(io.BytesIO(raw.encode()), "csv"))
    assert sum(row.problem is not None for row in found) == rejected
    assert {str(row.values["id"]) for row in found if row.problem is None} <= {"1", "2", "9"}
    assert found[-1].values["id"] == "9", "the next row is read"
    assert found[-1].problem is None
    for at, row in enumerate(found):
        assert list(read_rows(io.BytesIO(raw.encode()), "csv", after=row.end, number=row.number)) == found[at + 1 :]


# ----------------------------------------------------------------------------------------------- LibreOffice

OFFICE = shutil.which("soffice") or shutil.which("libreoffice")
FILTERS = {
    "comma, UTF-8": ("44,34,76,1", None),
    "semicolon, UTF-8 with a mark, all quoted": ("59,34,76,1,,0,true,true,false,false,false,0,true", None),
    "tab, UTF-16": ("9,34,65535,1", None),
    "semicolon, Windows-1252": ("59,34,1,1", "cp1252"),
    "comma, Mac Roman": ("44,34,2,1", "mac-roman"),
}
"""Options of its filter for CSV: delimiter, quote, character set, first line, …, and the encoding if it has one byte."""


def office(folder: Path, *arguments: str) -> None:
    if OFFICE is None:
        pytest.skip("LibreOffice is not installed (apt-get install libreoffice-calc)")
    profile = f"-env:UserInstallation=file://{folder}/profile"
    subprocess.run(
        [OFFICE, profile, "--headless", *arguments, "--outdir", str(folder)],
        check=True, capture_output=True, timeout=120, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip


def office_rows(encoding: str | None) -> list[tuple[str, str, str]]:
    """Cells of a workbook: LF is the only line break in a cell, and control characters cannot be in one."""
    names = [name for name in HOSTILE if name.isprintable() or name == "first\nsecond"]
    names = [name for name in names if encoding is None or writable(Written("", encoding), name)]
    return [(str(number), f"a{number}@x.example", name) for number, name in enumerate(names, 1)]


def office_workbook(path: Path, rows: list[tuple[str, str, str]]) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for at, cells in enumerate([HEADER[:3], *rows], 1):
        for column, cell in enumerate(cells, 1):
            sheet.cell(at, column).value = cell
            sheet.cell(at, column).data_type = "s"  # no formula
    book.save(path)


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", FILTERS)
def test_what_libreoffice_writes_as_csv(tmp_path: Path, name: str) -> None:
    tokens, encoding = FILTERS[name]
    rows = office_rows(encoding)
    office_workbook(tmp_path / "table.xlsx", rows)
    office(tmp_path, "--convert-to", f"csv:Text - txt - csv (StarCalc):{tokens}", str(tmp_path / "table.xlsx"))
    with (tmp_path / "table.csv").open("rb") as file:
        options = FileOptions(encoding=encoding)
        found = [(row.problem, *row.values.values()) for row in read_rows(file, "csv", options=options)]
    assert found == [(None, *(clean(cell)[0] for cell in row)) for row in rows]


@pytest.mark.long
@pytest.mark.timeout(240)
def test_what_libreoffice_writes_as_xlsx(tmp_path: Path) -> None:
    rows = [*office_rows(None), ("6100000000001", "b@x.example", "1.5"), ("00042", "c@x.example", "x")]
    (tmp_path / "table.csv").write_bytes(Written("x", "utf-8", quoting=csv.QUOTE_ALL).write([HEADER[:3], *rows]))
    office(
        tmp_path, "--infilter=Text - txt - csv (StarCalc):44,34,76,1,1/2/2/2/3/2,0,true,false", "--convert-to", "xlsx",
        str(tmp_path / "table.csv"),
    )  # fmt: skip
    with (tmp_path / "table.xlsx").open("rb") as file:
        found = [(row.problem, *row.values.values()) for row in read_rows(file, "xlsx")]
    assert found == [(None, *(clean(cell)[0] for cell in row)) for row in rows]


# ----------------------------------------------------------------------------------------------- the table of docs/imports.md

SIGNS = {"\n": "LF", "\r": "CR", "\r\n": "CR LF"}


def table() -> str:
    """Each dialect, as the reader found it in a file with names of Western Europe."""
    lines = ["| written by | encoding | delimiter | line ends | how it is read |", "|---|---|---|---|---|"]
    delimiters = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
    rows = [
        HEADER,
        ("1", "a@x.example", "Zoë Müller", 'the "first",\nbest'),
        ("2", "b@x.example", "José Muñoz", "x;y|z\t!"),
    ]
    for written in DIALECTS:
        raw = written.write(rows)
        columns = file_columns(io.BytesIO(raw), "csv")
        found = [tuple(row.values.values()) for row in read_rows(io.BytesIO(raw), "csv") if row.problem is None]
        assert columns.facts.delimiter == written.delimiter
        assert not columns.facts.uncertain
        read = "as it was written" if found == rows[1:] else "not"
        mark = ", with a mark" if written.mark else ""
        lines.append(
            f"| {written.program} | {columns.facts.encoding}{mark} | {delimiters[written.delimiter]} | "
            f"{SIGNS[written.line_end]} | {read} |"
        )
    return "\n".join(lines) + "\n"


def test_the_page_has_this_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, "the page has the marks of this table"
    new = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(new, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == new, "run this test with WRITE_DOCS=1"
