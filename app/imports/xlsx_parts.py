"""The parts of a workbook (.xlsx): a zip archive of XML files, read as streams and within limits.

A workbook is a hostile file like any other: the limits are for what is unpacked, document type definitions are refused, and
nothing in it is executed.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Final
from xml.parsers import expat  # document types are refused, and the size is limited

from platform_relay.imports.file_rows import CHUNK

MAX_SHEET: Final = 512 << 20
"""Bytes of a sheet, unpacked."""
MAX_STRINGS: Final = 128 << 20
"""Bytes of the shared strings, unpacked. They are kept in memory."""
MAX_SMALL: Final = 16 << 20
"""Bytes of any other part, unpacked."""
MAX_DIRECTORY: Final = 4 << 20
"""Bytes of the archive's directory."""
MAX_TOKEN: Final = 4 << 20
"""Bytes of XML without an element or text."""
_END_OF_DIRECTORY: Final = b"PK\x05\x06"
_ZIP64_LOCATOR: Final = b"PK\x06\x07"

Start = Callable[[str, Mapping[str, str]], object]
End = Callable[[str], object]
Text = Callable[[str], object]


@contextmanager
def damaged_is_refused() -> Iterator[None]:
    """Raises ValueError for a workbook that cannot be unpacked or parsed."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, expat.ExpatError, KeyError, UnicodeError) as error:
        raise ValueError(
            f"the workbook is damaged, or not an .xlsx file ({type(error).__name__}); open it in a spreadsheet and save it "
            "again, or save it as CSV UTF-8"
        ) from None
    except (
        NotImplementedError,
        RuntimeError,
    ):  # what zipfile raises for other methods of compression and for passwords
        raise ValueError(
            "the workbook has a password or is packed in an unknown way; save it again without one"
        ) from None


class Archive:
    """The parts of a workbook."""

    def __init__(self, file: IO[bytes]) -> None:
        _check_directory(file)
        with damaged_is_refused():
            file.seek(0)
            self._zip = zipfile.ZipFile(file)

    def has(self, name: str) -> bool:
        return name in self._zip.NameToInfo

    def size(self, name: str) -> int:
        """Bytes of the part, unpacked, as the archive states it. No more is read."""
        return self._zip.getinfo(name).file_size

    def read(self, name: str, limit: int, start: Start, end: End, text: Text) -> Iterator[int]:
        """Parse a part, and call back for each element and text. Yields after each chunk how many bytes were unpacked. Raises
        ValueError if the part is damaged or larger than `limit`."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.buffer_size = CHUNK
        quiet = 0

        def started(tag: str, attributes: dict[str, str]) -> None:
            nonlocal quiet
            quiet = 0
            start(tag.rpartition(":")[2], attributes)

        def on_text(data: str) -> None:
            nonlocal quiet
            quiet = 0
            text(data)

        parser.StartElementHandler = started
        parser.EndElementHandler = lambda tag: end(tag.rpartition(":")[2])
        parser.CharacterDataHandler = on_text
        parser.StartDoctypeDeclHandler = _refuse_doctype
        total = 0
        with damaged_is_refused():
            if self.size(name) > limit:
                raise ValueError(too_large(name, limit))
            with self._zip.open(name) as part:
                while chunk := part.read(CHUNK):
                    total += len(chunk)
                    quiet += len(chunk)
                    if total > limit:
                        raise ValueError(too_large(name, limit))
                    parser.Parse(chunk, False)
                    if quiet > MAX_TOKEN:
                        raise ValueError("the workbook is damaged: its XML has no end; save it again, or as CSV UTF-8")
                    yield total
            parser.Parse(b"", True)
        yield total


def too_large(name: str, limit: int) -> str:
    return f"the workbook is too large: {name} has more than {limit >> 20} MiB unpacked; save the sheet as CSV UTF-8"


def _refuse_doctype(*_: object) -> None:
    raise ValueError("the workbook contains a document type definition, which no spreadsheet writes; it is refused")


def _check_directory(file: IO[bytes]) -> None:
    """Raises ValueError before a directory is read that would not fit into memory."""
    size = file.seek(0, 2)
    file.seek(max(0, size - (1 << 16) - 22 - 20))
    tail = file.read()
    at = len(tail) - 22
    if not tail[at:].startswith(_END_OF_DIRECTORY) or not tail.endswith(b"\0\0"):
        at = tail.rfind(_END_OF_DIRECTORY)
    if at < 0 or len(tail) < at + 22:
        start = _beginning(file)
        if start.startswith(b"\xd0\xcf\x11\xe0"):
            raise ValueError("the workbook is of an old Excel or has a password; save it as .xlsx without a password")
        if start.startswith(b"PK"):
            raise ValueError("the workbook is not complete: its end is missing; copy or export the file again")
        raise ValueError("the file is not an .xlsx workbook; if it is CSV, give its name the ending .csv")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    if directory > MAX_DIRECTORY or tail[max(0, at - 20) :].startswith(_ZIP64_LOCATOR):
        raise ValueError("the archive of the workbook is too large; save the sheet as CSV UTF-8")


def _beginning(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(8)
