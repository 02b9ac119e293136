"""Finds the encoding of a text file by evidence, and reads the file line by line with the exact place of each line.

A byte order mark decides. Otherwise a file that is valid UTF-8 to its end is UTF-8. Otherwise it is a file of Windows-1252
(Excel for Windows) or Mac Roman (Excel for Mac): the words with other than ASCII letters decide, such as `Zo\\xeb`, which is
Zoë in the one and ZoÎ in the other. Libraries for detection look at the statistics of running text, and are wrong about lists
of names (docs/adr/0027).
"""

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Final, NamedTuple

from platform_relay.imports.file_rows import CHUNK, MAX_ROW

_BOMS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_UTF_32: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
NAMES: Final = {
    "utf-8": "UTF-8", "utf-16-le": "UTF-16 LE", "utf-16-be": "UTF-16 BE", "cp1252": "Windows-1252", "mac-roman": "Mac Roman",
}  # fmt: skip
"""Python's names of what is detected, and what people call it."""
SUPPORTED: Final = frozenset({
    *NAMES, *(f"cp{number}" for number in (437, 850, 852, 858, 866, 874, 932, 949, 1250, 1251, 1253, 1254, 1255, 1256, 1257, 1258)),
    *(f"iso8859-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)),
    "mac-latin2", "mac-cyrillic", "mac-greek", "mac-turkish", "mac-iceland", "koi8-r", "koi8-u",
    "shift_jis", "euc_jp", "gbk", "gb18030", "big5", "euc_kr", "ascii",
})  # fmt: skip
"""Encodings that can be asked for: those in which the bytes of a line end are always a line end, and UTF-16."""
_WORDS: Final = 5_000
"""So many words with other than ASCII letters are looked at."""
_WORD: Final = re.compile(rb"[A-Za-z\x80-\xff]{1,64}")


@dataclass(frozen=True, slots=True)
class Encoding:
    """The encoding of a file by Python's name, how many bytes of BOM it begins with, and what led to it."""

    name: str
    bom: int = 0
    notes: tuple[str, ...] = ()
    uncertain: bool = False

    @property
    def label(self) -> str:
        return NAMES.get(self.name, self.name)


def encoding_named(name: str) -> str:
    """Python's name of an encoding such as `Windows-1252`, `utf8` or `Mac Roman`. Raises ValueError for one that is unknown or
    cannot be read line by line."""
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    plain = {"utf-16": "utf-16-le", "ansi": "cp1252", "macintosh": "mac-roman", "macroman": "mac-roman"}.get(
        plain, plain
    )
    if re.fullmatch(r"windows-?(\d+)", plain):
        plain = "cp" + plain.removeprefix("windows").removeprefix("-")
    try:
        codec = codecs.lookup(plain.removesuffix("-sig")).name if plain.isascii() and len(plain) < 40 else ""
    except LookupError:
        codec = ""
    if codec not in SUPPORTED:
        raise ValueError(
            f"the encoding {name[:40]!r} is not supported; name one such as UTF-8, UTF-16, Windows-1252, Mac-Roman, "
            f"Windows-1250 or ISO-8859-15, or save the file as CSV UTF-8"
        )
    return codec


def find_encoding(file: IO[bytes], requested: str | None = None) -> Encoding:
    """The encoding of the file, or the one that is asked for. Reads the file to its end if it has to. Raises ValueError."""
    file.seek(0)
    start = file.read(4096)
    if start.startswith(_UTF_32):
        raise ValueError("the file is UTF-32; save it as CSV UTF-8")
    bom, marked = next(((mark, name) for mark, name in _BOMS if start.startswith(mark)), (b"", None))
    if requested is not None:
        name = encoding_named(requested)
        if marked is not None and marked[:5] != name[:5]:
            raise ValueError(
                f"the file begins with the byte order mark of {NAMES[marked]}; import it without an encoding"
            )
        return Encoding(marked or name, len(bom))
    if marked is not None:
        return Encoding(marked, len(bom))
    if wide := _utf_16_without_bom(start):
        note = f"The file has no byte order mark; it is read as {NAMES[wide]}, because every second byte is zero."
        return Encoding(wide, 0, (note,))
    file.seek(0)
    return _by_content(file)


def _utf_16_without_bom(start: bytes) -> str | None:
    """UTF-16 if that is certain: most bytes of one half are zero, and next to none of the other half (U+0100 has one)."""
    start = start[: len(start) // 2 * 2]
    first, second = start[::2].count(0), start[1::2].count(0)
    if len(start) < 8 or max(first, second) < len(start) // 2 * 0.6 or min(first, second) * 20 > max(first, second):
        return None
    return "utf-16-be" if first > second else "utf-16-le"


def _by_content(file: IO[bytes]) -> Encoding:
    good = bad = 0
    words: dict[bytes, None] = {}
    tail = b""
    while True:
        chunk = file.read(CHUNK * 16)
        if not chunk:
            break
        if not tail and chunk.isascii():
            continue
        piece = tail + chunk
        try:
            text, used = codecs.utf_8_decode(piece, "strict", False)
        except UnicodeDecodeError:
            text, used = codecs.utf_8_decode(piece, "replace", False)
            bad += text.count("\ufffd") - piece[:used].count(b"\xef\xbf\xbd")
            _collect(piece, words)
        good += len(text) - len(text.encode("ascii", "ignore")) - text.count("\ufffd")
        tail = piece[used:]
    bad += bool(tail)
    if tail:
        _collect(tail, words)
    if not bad:
        return Encoding("utf-8")
    if good * 10 >= bad:
        note = (
            f"The file mixes encodings: {good:,} characters are UTF-8 and {bad:,} are not. It is read as UTF-8, and rows with "
            f"other bytes are rejected. Save it as CSV UTF-8, or name its encoding."
        )
        return Encoding("utf-8", 0, (note,), uncertain=True)
    encoding = by_words(list(words))
    return Encoding(encoding.name, 0, encoding.notes, encoding.uncertain or good > 0)


def _collect(piece: bytes, words: dict[bytes, None]) -> None:
    if len(words) < _WORDS:
        for match in _WORD.finditer(piece):
            if not match[0].isascii():
                words[match[0]] = None
                if len(words) >= _WORDS:
                    return


# ----------------------------------------------------------------------------------------------- letters of names

_LOWER: Final = "äöüßéèêëàâáãåæçñóòôõøíìîïúùû"
_LETTERS: Final = frozenset(_LOWER + _LOWER.upper().replace("SS", ""))
"""The letters of the languages of Western Europe."""
_SIGNS: Final = frozenset("€£©®™°§–—’‘“”„«»…·•¡¿½¼¾²³\u00a0")
_CENTRAL: Final = frozenset("šžŠŽ")
"""Western names do not have them; in a file of Windows-1250 (Czech, Croatian) they are common."""
_CLEAR: Final = 0.7
_POOR: Final = 0.3
_MARGIN: Final = 0.5


def by_words(listed: Sequence[bytes]) -> Encoding:
    """Windows-1252 or Mac Roman, by words that contain bytes above 127. Raises ValueError if they make sense in neither."""
    scores = {name: _score(listed, name) for name in ("cp1252", "mac-roman")}
    best, other = sorted(scores, key=lambda name: -scores[name])
    if scores[best] < _POOR:
        raise ValueError(
            "the encoding of the file is unknown: it is not UTF-8, and its letters make no sense in Windows-1252 or Mac Roman. "
            "Save it as CSV UTF-8, or name its encoding (--encoding, or encoding= in the request)"
        )
    readable = [word.decode(best, "replace") for word in listed]
    letters = frozenset("".join(readable))
    foreign = bool(letters & _CENTRAL) or ("õ" in letters and "ã" not in letters)  # õ: ő in Windows-1250
    uncertain = scores[best] < _CLEAR or scores[best] - scores[other] < _MARGIN or foreign
    examples = ", ".join(readable[:5])
    doubt = f" This is not certain: it may be {NAMES[other]} or another one. Name the encoding." if uncertain else ""
    note = f"The file is not UTF-8; it is read as {NAMES[best]}, for example: {examples}.{doubt}"
    return Encoding(best, 0, (note,), uncertain)


def _score(listed: Sequence[bytes], encoding: str) -> float:
    """How plausible the words are, on the average of their bytes above 127: 1 is good, below 0 is none."""
    total, count = 0.0, 0
    for word in listed:
        text = word.decode(encoding, "replace")
        strange = [at for at, letter in enumerate(text) if not letter.isascii()]
        dense = len(text) >= 3 and len(strange) * 2 > len(text)
        for at in strange:
            total += -2.0 if dense else _plausible(text[at - 1 : at], text[at], text[at + 1 : at + 2])
        count += len(strange)
    return total / count if count else 0.0


def _plausible(before: str, letter: str, after: str) -> float:
    alone = not before.isalpha() and not after.isalpha()
    if letter in _LETTERS:
        return (0.5 if letter in "àéóèÀÉ" else -2.0) if alone else _in_case(before, letter, after)
    if letter in "œŒšžŠŽÿ" and not alone:
        return min(0.3, _in_case(before, letter, after))
    if letter in _SIGNS:
        if before.isalpha() and after.isalpha():
            return 0.8 if letter in "’–" else -3.0
        return 1.0 if alone else 0.3
    return -1.0 if alone else -3.0


def _in_case(before: str, letter: str, after: str) -> float:
    """A capital within small letters, or a small letter within capitals, is not plausible."""
    if letter.isupper():
        return -3.0 if before.islower() else 1.0
    return -3.0 if after.isupper() and (before.isupper() or not before) else 1.0


# ----------------------------------------------------------------------------------------------- lines


class Line(NamedTuple):
    """A line with its line end. `size` is its length in bytes. `valid`: all of its bytes are of the encoding. `complete`: not
    only a part of a line that is longer than MAX_ROW."""

    text: str
    size: int
    valid: bool = True
    complete: bool = True


def lines_of(file: IO[bytes], encoding: str, start: int) -> Iterator[Line]:
    """The lines from the byte `start`, which must be the beginning of a line. LF, CR LF and CR end a line."""
    file.seek(start)
    if encoding.startswith("utf-16"):
        yield from _wide_lines(file, encoding)
        return
    for raw in _pieces(file):
        complete = raw[-1:] in (b"\n", b"\r") or len(raw) <= MAX_ROW
        try:
            yield Line(raw.decode(encoding), len(raw), complete=complete)
        except UnicodeDecodeError:
            yield Line(raw.decode(encoding, "replace"), len(raw), valid=False, complete=complete)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of the file as bytes; a longer line than MAX_ROW in parts."""
    rest: bytes = b""
    while chunk := file.read(CHUNK):
        lines = (rest + chunk).splitlines(keepends=True)
        rest = lines.pop()  # it may continue, and CR may be followed by LF
        yield from lines
        if len(rest) > MAX_ROW and not rest.endswith(b"\r"):
            yield rest
            rest = b""
    if rest:
        yield rest


def _wide_lines(file: IO[bytes], encoding: str) -> Iterator[Line]:
    """The lines of UTF-16. An unpaired surrogate makes a line invalid."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    rest, chunk = "", b"x"
    while chunk:
        chunk = file.read(CHUNK)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError:  # the file ends within a character
            text = "\ufffd"
        lines = list(io.StringIO(rest + text, newline=""))
        rest = lines.pop() if lines and chunk and not (len(lines[-1]) > MAX_ROW and lines[-1][-1] != "\r") else ""
        for line in lines:
            complete = line[-1] in "\r\n" or len(line) <= MAX_ROW
            size = len(line.encode(encoding, "surrogatepass"))
            valid = "\ufffd" not in line and not _SURROGATE.search(line)
            yield Line(line if valid else _SURROGATE.sub("\ufffd", line), size, valid, complete)


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def count_lines(file: IO[bytes], encoding: str, end: int) -> int:
    """How many lines there are before the byte `end`, which is the end of a line."""
    file.seek(0)
    counter = _LineEnds()
    while (position := file.tell()) < end and (chunk := file.read(min(CHUNK * 16, end - position))):
        if encoding.startswith("utf-16"):
            chunk = chunk.decode(encoding, "replace").encode("latin-1", "replace")
        counter.read(chunk)
    return counter.count


def find_quote(file: IO[bytes], start: int) -> tuple[int, int]:
    """The place of the next double quote, or the end of the file, and how many lines end before it. Not for UTF-16."""
    file.seek(start)
    counter = _LineEnds()
    while chunk := file.read(CHUNK * 16):
        place = chunk.find(b'"')
        counter.read(chunk if place < 0 else chunk[:place])
        if place >= 0:
            return start + place, counter.count
        start += len(chunk)
    return start, counter.count


class _LineEnds:
    """Counts the line ends in a text that comes in parts."""

    def __init__(self) -> None:
        self.count = 0
        self._open = b""  # CR at the end of a part: its LF may follow, and is not another line end

    def read(self, part: bytes) -> None:
        joined = self._open + part
        self.count += joined.count(b"\n") + joined.count(b"\r") - joined.count(b"\r\n") - len(self._open)
        self._open = b"\r" if part.endswith(b"\r") else b""
