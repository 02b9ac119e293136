"""CSV read strictly: no row is invented or merged, each problem names its place, and each place is one to continue at."""

import io
from pathlib import Path

import pytest

from platform_relay.imports.cells import clean
from platform_relay.imports.csv_file import EMPTY_ROWS
from platform_relay.imports.files import MAX_ROW, FileOptions, FileRow, check_duplicates, file_columns, read_rows

REPORTS = Path(__file__).parents[3] / "shared" / "field-reports"
"""Inputs of users, beside the repository where they are kept."""


def rows_of(raw: bytes, options: FileOptions | None = None) -> list[FileRow]:
    """The rows; each must be found again from the place behind the one before it."""
    file = io.BytesIO(raw)
    rows = list(read_rows(file, "csv", options=options))
    for at, row in enumerate(rows):
        assert list(read_rows(file, "csv", after=row.end, number=row.number, options=options)) == rows[at + 1 :]
    return rows


def values_of(raw: bytes) -> list[list[object]]:
    rows = rows_of(raw)
    assert [row.problem for row in rows] == [None] * len(rows)
    return [list(row.values.values()) for row in rows]


# ----------------------------------------------------------------------------------------------- quotes


def test_a_quote_that_is_open_at_the_end_is_one_row_with_its_lines_and_those_before_it_are_good() -> None:
    good, broken = rows_of(
        b'id,email,name\n1,a@x.example,Ann\n2,b@x.example,"Bob\n3,c@x.example,Cid\n4,d@x.example,Dee\n'
    )
    assert (good.values["name"], good.problem) == ("Ann", None)
    assert (broken.number, dict(broken.values)) == (2, {})
    assert "never closed" in (broken.problem or "")
    assert "lines 3 to 5" in (broken.problem or "")


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
def test_a_quote_that_meets_another_one_swallows_nobody(line_end: str) -> None:
    """The quote of row 2 is closed by the one that opens in row 4, with text behind it."""
    lines = [
        "id,email,name",
        "1,a@x.example,Ann",
        '2,b@x.example,"Bob',
        "3,c@x.example,Cid",
        '4,d@x.example,"Dee, D."',
        "5,e@x.example,Eve",
    ]
    first, broken, last = rows_of(line_end.join(lines).encode())
    assert (first.values["id"], last.values["id"], last.number) == ("1", "5", 3)
    assert "text behind the closing quote of 'name' (lines 3 to 5)" in (broken.problem or "")


def test_rows_within_a_value_are_seen() -> None:
    """The quote of row 2 is closed by the one at the end of row 4: exactly CSV, and yet two customers in a name."""
    raw = b'id,email,name\n1,a@x.example,Ann\n2,b@x.example,"Bob\n3,c@x.example,Cid\n4,d@x.example,Dee"\n5,e@x.example,Eve\n'
    first, broken, last = rows_of(raw)
    assert (first.values["id"], last.values["id"]) == ("1", "5")
    assert "the value of 'name' contains what looks like further rows (lines 3 to 5)" in (broken.problem or "")
    [row] = rows_of(b'id,email,note\n1,a@x.example,"Hello,\nAnn, thanks, and bye\n2, 3, 4"\n')
    assert row.problem is None, "a note with commas is a note"
    [merged, _] = rows_of(b'id,email,name\n"1,a@x.example,Ann\n2",b@x.example,Bob\n3,c@x.example,Cid\n')
    assert "looks like further rows" in (merged.problem or "")


def test_text_behind_a_closing_quote_is_a_problem_and_a_quote_within_a_value_is_none() -> None:
    rows = rows_of(b'id,title,status\n1,Shelf 20",active\n2,"24" arm,active\n3,Lamp,active\n4,"a ""b""",active\n')
    assert [row.problem is None for row in rows] == [True, False, True, True]
    assert [row.values.get("title") for row in rows] == ['Shelf 20"', None, "Lamp", 'a "b"']
    assert "behind the closing quote of 'title' (line 3)" in (rows[1].problem or "")


def test_the_rest_of_a_broken_row_does_not_become_a_row() -> None:
    raw = b'id,name,city\n1,"Ann "the\n2,Bob" x",Paris\n3,Cid,Rome\n'
    broken, good = rows_of(raw)
    assert "(lines 2 to 3)" in (broken.problem or "")
    assert good.values["id"] == "3"


def test_a_row_that_is_too_long_is_skipped_to_its_end() -> None:
    long = b"x" * (MAX_ROW + 10)
    for cell in (long, b'"' + long + b'\n"', b'"' + b"a\n" * MAX_ROW + b'"'):
        first, broken, last = rows_of(b"id,note\n1,a\n2," + cell + b"\n3,c\n")
        assert (first.values["id"], last.values["id"], last.number) == ("1", "3", 3)
        assert "longer than 1 MiB" in (broken.problem or "")
    _, broken = rows_of(b'id,note\n1,a\n2,"' + b'""\n' * MAX_ROW + b"3,c\n")
    assert "never closed" in (broken.problem or "")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b'id,"email\n1,a\n', "quote in the header is never closed"),
        (b'id,"e"mail"\n1,a\n', "behind a closing quote in the header"),
        (b"", "is empty"),
        (b"\n\r\n  \n", "is empty"),
        (b",,\n1,2,3\n", "no header"),
        (b"id,\0,x\n1,2,3\n", "NUL"),
        (b",".join(b"%d" % n for n in range(3000)), "3,000 columns"),
    ],
)
def test_a_header_that_is_none_is_an_error(header: bytes, words: str) -> None:
    for read in (lambda file: file_columns(file, "csv"), lambda file: list(read_rows(file, "csv"))):
        with pytest.raises(ValueError, match=words):
            read(io.BytesIO(header))


# ----------------------------------------------------------------------------------------------- rows and columns


def test_rows_that_are_longer_or_shorter_than_the_header_are_problems() -> None:
    rows = rows_of(b"id,name,city\n1,Ann\n2,Bob,Paris,x\n3,Cid,Rome,,\n4,Dee,\n,,\n  \n5,Eve,Bonn")
    assert [(row.number, row.problem and row.problem[:26]) for row in rows] == [
        (1, "has 2 fields for 3 columns"), (2, "has 4 fields for 3 columns"), (3, None), (4, None), (5, None),
    ]  # fmt: skip
    assert rows[4].values == {"id": "5", "name": "Eve", "city": "Bonn"}


def test_a_nul_byte_is_a_problem_of_its_row() -> None:
    bad, good = rows_of(b"id,name\n1,A\0nn\n2,Bob\n")
    assert bad.problem == "has a NUL byte in the column 'name'"
    assert good.problem is None


def test_columns_without_a_name_and_with_the_same_name() -> None:
    raw = b"id;email;;email;\n1;a@x.example;3;b@x.example;\n2;c@x.example;;;9\n"
    columns = file_columns(io.BytesIO(raw), "csv")
    assert columns.names == ("id", "email (column 2)", "column 3", "email (column 4)")
    assert columns.facts.duplicates == {"email": (2, 4)}
    assert any("positions 2, 4" in note for note in columns.facts.notes)
    assert any("at the positions 3" in note for note in columns.facts.notes)
    check_duplicates(columns.facts, ["id", "email (column 2)", ""])
    with pytest.raises(ValueError, match=r"'email' is at the positions 2 and 4.*'email \(column 2\)'"):
        check_duplicates(columns.facts, ["id", "email"])
    good, bad = rows_of(raw)
    assert good.values == {
        "id": "1",
        "email (column 2)": "a@x.example",
        "column 3": "3",
        "email (column 4)": "b@x.example",
    }
    assert "5 fields for 4 columns" in (bad.problem or "")


def test_a_name_that_looks_like_that_of_a_double_column_stays_its_own() -> None:
    columns = file_columns(io.BytesIO(b"a,a,a (column 1),a (column 2)\n1,2,3,4\n"), "csv")
    assert len(set(columns.names)) == 4
    [row] = rows_of(b"a,a,a (column 1),a (column 2)\n1,2,3,4\n")
    assert (row.values["a (column 1)"], row.values["a (column 2)"]) == ("3", "4")


def test_quotes_and_line_breaks_in_a_header() -> None:
    raw = b'\r\n\r\n"Customer\nID","E-mail ""work""","Total, gross"\r\n1,a@x.example,"5,20"\r\n'
    columns = file_columns(io.BytesIO(raw), "csv")
    assert columns.names == ("Customer ID", 'E-mail "work"', "Total, gross")
    assert values_of(raw) == [["1", "a@x.example", "5,20"]]


def test_too_many_empty_rows_are_no_table() -> None:
    with pytest.raises(ValueError, match="empty rows"):
        list(read_rows(io.BytesIO(b"id\n1\n" + b"\n" * (EMPTY_ROWS + 2)), "csv"))


# ----------------------------------------------------------------------------------------------- delimiters and line ends


@pytest.mark.parametrize(
    ("raw", "delimiter"),
    [
        (b'id;email;"Total, incl. tax, EUR, gross"\n1;a@x.example;12\n', ";"),
        (b"id;email;Total, gross\n1;a@x.example;5,20\n2;b@x.example;7,10\n", ";"),
        (b"id,email,Tags; all\n1,a@x.example,x;y\n", ","),
        (b"id\temail,name\n1\ta@x.example\n", "\t"),
        (b"id|email|name\n1|a@x.example|Ann, B.\n", "|"),
        (b"id\n1\n", ","),
        (b"id,name\n", ","),
        (b"sep=;\r\nid;a,b\r\n1;2\r\n", ";"),
        (b"\xef\xbb\xbfSEP=\t\r\nid\tname\r\n1\tAnn\r\n", "\t"),
        (b'"sep=|"\nid|name\n1|Ann\n', "|"),
        (b"sep=^\nid^name\n1^Ann\n", "^"),
    ],
)
def test_the_delimiter_is_chosen_outside_of_quotes(raw: bytes, delimiter: str) -> None:
    facts = file_columns(io.BytesIO(raw), "csv").facts
    assert (facts.delimiter, facts.uncertain) == (delimiter, False)
    again = file_columns(io.BytesIO(raw), "csv", facts.options)
    assert (again.names, again.facts.delimiter) == (file_columns(io.BytesIO(raw), "csv").names, delimiter)
    assert all(row.problem is None for row in rows_of(raw, facts.options))


def test_two_delimiters_that_fit_alike_are_uncertain() -> None:
    facts = file_columns(io.BytesIO(b"id;email,name\n"), "csv").facts
    assert facts.uncertain
    assert "comma or semicolon" in facts.notes[0]


def test_spaces_before_a_quote() -> None:
    assert values_of(b'"id", "name", "city"\n"1", "Ann, B.", Rome\n') == [["1", "Ann, B.", "Rome"]]
    [row] = rows_of(b'id,name\n1, "Ann" B.\n')
    assert row.values["name"] == '"Ann" B.', "without such a header, it is an ordinary character"


@pytest.mark.parametrize(
    ("ends", "name"),
    [(("\r", "\r", "\r"), "CR"), (("\n", "\n", "\n"), "LF"), (("\r\n",) * 3, "CRLF"), (("\r\n", "\n", "\r"), "mixed")],
)
def test_line_ends(ends: tuple[str, str, str], name: str) -> None:
    raw = f'id,name{ends[0]}1,"a\r\nb\rc\nd"{ends[1]}2,Bob{ends[2]}3,Cid'.encode()
    assert values_of(raw) == [["1", "a\r\nb\rc\nd"], ["2", "Bob"], ["3", "Cid"]]
    plain = f"id,name{ends[0]}1,Ann{ends[1]}2,Bob{ends[2]}3,Cid".encode()
    assert file_columns(io.BytesIO(plain), "csv").facts.line_end == name


def test_a_line_end_between_two_pieces_of_the_file_is_one_line_end() -> None:
    for pad in range(65_520, 65_545):
        raw = b"id,name\r\n1," + b"x" * pad + b'\r\n2,"y\r\nz"\r\n3,"'
        rows = rows_of(raw)
        assert [row.values.get("id") for row in rows] == ["1", "2", None]
        assert "(line 5)" in (rows[2].problem or "")


# ----------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("cell", "value", "counted"),
    [
        ("  Ada ", "Ada", False),
        ("\ufeff42", "42", True),
        ("\u00a042\u200b", "42", True),
        ("'00042", "00042", True),
        ("'+49 30 1234", "+49 30 1234", True),
        ("'Ada", "Ada", True),
        ("'", "", True),
        ('="00042"', "00042", True),
        ("'t Hooft", "'t Hooft", False),
        ("'s-Gravenhage", "'s-Gravenhage", False),
        ("'quoted'", "'quoted'", False),
        ("O'Brien", "O'Brien", False),
        ("=1+1", "=1+1", False),
        ("Zoë\u200d👩", "Zoë\u200d👩", False),
        ("\x1a", "", False),
        ("Ünal ", "Ünal", False),
    ],
)
def test_a_cell_is_cleaned(cell: str, value: str, counted: bool) -> None:
    assert clean(cell) == (value, counted)


def test_what_is_removed_is_counted_by_column() -> None:
    raw = "\ufeff\u200bid,phone,name\n1,'+49301,Ann\n2,'+49302,\u00a0Bob\n3,+49303,Cid\n".encode()
    columns = file_columns(io.BytesIO(raw), "csv")
    assert columns.names == ("id", "phone", "name")
    assert columns.facts.trimmed == {"id": 1, "phone": 2, "name": 1}
    assert [row.trimmed for row in rows_of(raw)] == [("phone",), ("phone", "name"), ()]
    assert [row.values["phone"] for row in rows_of(raw)] == ["+49301", "+49302", "+49303"]


# ----------------------------------------------------------------------------------------------- other formats


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"PK\x03\x04....", "ending .xlsx"),
        (b"\xd0\xcf\x11\xe0....", "old Excel"),
        (b"<html><table><tr><td>id</td></tr></table>", "web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "XML"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_a_file_of_another_format_is_named(raw: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        file_columns(io.BytesIO(raw), "csv")


# ----------------------------------------------------------------------------------------------- field reports


@pytest.mark.parametrize(
    ("name", "accepted", "rejected"),
    [
        ("06-csv-mac-cr/customers.csv", [["901", "maca@mail.example", "Maca"], ["902", "macb@mail.example", "Macb"]], {}),
        ("07-csv-stray-quote/customers.csv", [["911", "q1@mail.example", "Ann One"]], {2: "lines 3 to 5"}),
        (
            "07-csv-stray-quote/products.csv",
            [["921", 'Shelf 20"', "active"], ["923", "Lamp", "active"]],
            {2: "line 3", 4: "line 5"},
        ),
        ("08-csv-excel-shapes/bom-newline.csv", [["934", "bom@mail.example", "Zoë\nLine two"]], {}),
        ("08-csv-excel-shapes/comma-in-header.csv", [["938", "head@mail.example", "12"]], {}),
        ("08-csv-excel-shapes/cp1252.csv", [["935", "cp@mail.example", "Zoë"], ["936", "cp2@mail.example", "Ina"]], {}),
        ("08-csv-excel-shapes/empty-columns.csv", [["932", "trail@mail.example", "Ina"]], {}),
        ("08-csv-excel-shapes/sep-line.csv", [["931", "sep@mail.example", "Zoë"]], {}),
        ("08-csv-excel-shapes/duplicate-column.csv", [["937", "a@mail.example", "b@mail.example"]], {}),
    ],
)  # fmt: skip
def test_a_file_of_a_field_report(name: str, accepted: list[list[str]], rejected: dict[int, str]) -> None:
    path = REPORTS / name
    if not path.exists():
        pytest.skip("the field reports are not kept with the repository")
    rows = rows_of(path.read_bytes())
    assert [list(row.values.values()) for row in rows if row.problem is None] == accepted
    problems = {row.number: row.problem for row in rows if row.problem is not None}
    assert problems.keys() == rejected.keys()
    assert all(words in (problems[number] or "") for number, words in rejected.items())
