"""The encoding of a file by evidence, and each row at its exact place in it."""

import codecs
import io

import pytest

from platform_relay.imports.encoding import SUPPORTED, encoding_named, find_encoding
from platform_relay.imports.files import FileOptions, file_columns, read_rows

TABLE = "id;email;name\r\n1;a@x.example;{0}\r\n2;b@x.example;{1}\r\n3;c@x.example;Ina\r\n"
NAMES = {
    "German": ("Jürgen Müller", "Käthe Groß"), "French": ("André Lefèvre", "François Noël"),
    "Spanish": ("José Muñoz", "María Ibáñez"), "Danish": ("Søren Kjær", "Åse Ødegård"),
    "Portuguese": ("João Conceição", "Inês Simões"), "Swedish": ("Björn Åkesson", "ÅSA SJÖBERG"),
    "one name": ("Zoë", "Ann"), "capitals": ("MÜLLER", "JOSÉ"), "Italian": ("Nicolò", "Niccolò Pò"),
    "Finnish": ("Päivi Mäkelä", "Yrjö"),
}  # fmt: skip


def encoded(codec: str, names: tuple[str, str]) -> bytes:
    return TABLE.format(*names).encode(codec)


@pytest.mark.parametrize("codec", ["cp1252", "mac-roman"])
@pytest.mark.parametrize("language", NAMES)
def test_a_list_of_names_decides_between_windows_and_mac(codec: str, language: str) -> None:
    raw = encoded(codec, NAMES[language])
    facts = file_columns(io.BytesIO(raw), "csv").facts
    assert facts.encoding == {"cp1252": "Windows-1252", "mac-roman": "Mac Roman"}[codec]
    assert not facts.uncertain
    assert [row.values["name"] for row in read_rows(io.BytesIO(raw), "csv")] == [*NAMES[language], "Ina"]
    assert any(facts.encoding in note for note in facts.notes), "a person can check it"


def is_doubted(raw: bytes) -> bool:
    """Whether a person has to confirm or name the encoding."""
    try:
        return find_encoding(io.BytesIO(raw)).uncertain
    except ValueError:
        return True


@pytest.mark.parametrize(
    ("codec", "names"),
    [
        ("cp1250", ("Dvořák", "Šárka Nováková")),
        ("cp1250", ("Łukasz Wójcik", "Świętosława")),
        ("cp1250", ("Erdős", "Gyűlő")),
        ("cp1254", ("Şükrü Yıldız", "Uğur Işık")),
        ("cp1257", ("Šarūnas", "Žydrė")),
        ("cp1251", ("Иван", "Мария")),
        ("cp1253", ("Γιώργος", "Ελένη")),
        ("shift_jis", ("田中太郎", "佐藤花子")),
        ("gbk", ("王小明", "李娜")),
    ],
)
def test_an_encoding_that_is_neither_is_uncertain_or_refused_and_can_be_named(
    codec: str, names: tuple[str, str]
) -> None:
    raw = encoded(codec, names)
    assert is_doubted(raw)
    rows = list(read_rows(io.BytesIO(raw), "csv", options=FileOptions(encoding=codec)))
    assert [row.values["name"] for row in rows] == [*names, "Ina"]


@pytest.mark.parametrize(
    ("start", "codec", "label"),
    [
        (b"", "utf-8", "UTF-8"),
        (codecs.BOM_UTF8, "utf-8", "UTF-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16 LE"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16 BE"),
        (b"", "utf-16-le", "UTF-16 LE"),
        (b"", "utf-16-be", "UTF-16 BE"),
    ],
)
def test_unicode_with_and_without_a_mark(start: bytes, codec: str, label: str) -> None:
    raw = start + encoded(codec, ("Zoë 👩‍🚀", "שָׁלוֹם"))
    facts = file_columns(io.BytesIO(raw), "csv").facts
    assert (facts.encoding, facts.uncertain) == (label, False)
    rows = list(read_rows(io.BytesIO(raw), "csv"))
    assert [row.values["name"] for row in rows] == ["Zoë 👩‍🚀", "שָׁלוֹם", "Ina"]
    assert rows[-1].end == len(raw)
    for at, row in enumerate(rows):
        assert list(read_rows(io.BytesIO(raw), "csv", after=row.end, number=row.number)) == rows[at + 1 :]
    again = read_rows(io.BytesIO(raw), "csv", options=facts.options)
    assert list(again) == rows


def test_a_byte_that_is_not_utf_8_far_behind_the_beginning_decides_as_well() -> None:
    far = b"".join(b"%d;x@x.example;Ann\r\n" % number for number in range(100_000))
    raw = b"id;email;name\r\n" + far + "100001;y@x.example;Zoë\r\n".encode("cp1252")
    *_, last = read_rows(io.BytesIO(raw), "csv")
    assert last.values["name"] == "Zoë"


def test_a_mixed_file_is_utf_8_with_rejected_rows() -> None:
    raw = TABLE.format("Jürgen", "x").encode() + "4;d@x.example;Zoë\r\n".encode("cp1252")
    facts = file_columns(io.BytesIO(raw), "csv").facts
    assert (facts.encoding, facts.uncertain) == ("UTF-8", True)
    assert "mixes encodings" in facts.notes[0]
    problems = [row.problem for row in read_rows(io.BytesIO(raw), "csv")]
    assert problems[:3] == [None] * 3
    assert (problems[3] or "").startswith("is not UTF-8 in the column 'name'")


def test_half_a_pair_and_half_a_character_of_utf_16_are_problems() -> None:
    raw = codecs.BOM_UTF16_LE + "id,name\n1,x\ud83d\n2,Bob\n3,Cid".encode("utf-16-le", "surrogatepass") + b"\x41"
    rows = list(read_rows(io.BytesIO(raw), "csv"))
    assert [row.problem is None for row in rows] == [False, True, False]
    assert "UTF-16 LE" in (rows[0].problem or "")


def test_utf_32_is_refused() -> None:
    for mark in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        with pytest.raises(ValueError, match="UTF-32"):
            find_encoding(io.BytesIO(mark + b"i\0\0\0"))


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("Windows-1252", "cp1252"),
        ("windows 1250", "cp1250"),
        ("utf8", "utf-8"),
        ("UTF-8-SIG", "utf-8"),
        ("Mac Roman", "mac-roman"),
        ("macintosh", "mac-roman"),
        ("UTF-16", "utf-16-le"),
        ("UTF-16 BE", "utf-16-be"),
        ("ISO-8859-15", "iso8859-15"),
        ("latin1", "iso8859-1"),
        ("Shift_JIS", "shift_jis"),
        ("ANSI", "cp1252"),
    ],
)
def test_names_of_encodings(name: str, codec: str) -> None:
    assert encoding_named(name) == codec


@pytest.mark.parametrize(
    "name", ["utf-7", "rot13", "base64", "idna", "iso-2022-jp", "nonsense", "", "x" * 5000, "utf-32", "ü"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not supported"):
        encoding_named(name)


def test_a_mark_contradicts_another_encoding() -> None:
    with pytest.raises(ValueError, match="byte order mark of UTF-8"):
        find_encoding(io.BytesIO(codecs.BOM_UTF8 + b"id"), "Windows-1252")
    assert find_encoding(io.BytesIO(codecs.BOM_UTF16_BE + b"\0i"), "utf-16").name == "utf-16-be"


def test_supported_encodings_end_lines_with_the_bytes_of_ascii() -> None:
    for name in SUPPORTED - {"utf-16-le", "utf-16-be"}:
        assert codecs.lookup(name).name == name, "the name is Python's own"
        assert 'a,"b"\r\n'.encode(name) == b'a,"b"\r\n'
        for lead in range(0x80, 0x100):
            for second in b'\r\n"':
                try:
                    text = bytes((lead, second)).decode(name)
                except UnicodeDecodeError:
                    continue
                assert chr(second) in text, "no character hides a line end or a quote"
