"""Reads CSV strictly and as a stream. A row that is not exactly CSV is one row with a problem; it never becomes another row.

A quote that is open at the end of the file, text behind a closing quote, and a row that does not have the columns of the
header are problems. A quote within a value that does not begin with one (`Shelf 20"`) is an ordinary character, as in Excel.

A value that lost one of its quotes ends at its first line break, and what is behind that would be further rows. So lines that can
be the rest of a row of the wrong length belong to it, and in a file whose header is quoted, no value may have such a quote.
"""

import csv
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Final

from platform_relay.imports.dialect import Dialect, find_dialect, refuse_other_formats, strict_reader
from platform_relay.imports.encoding import Line, count_lines, find_encoding, find_quote, lines_of
from platform_relay.imports.file_rows import MAX_ROW, SAMPLE_ROWS, FileColumns, FileFacts, FileOptions, FileRow
from platform_relay.imports.quotes import QuoteScanner, swallowed_line

_NOTHING_OF_IT: Final = "Nothing of it is imported"
EMPTY_ROWS: Final = 2_000_000
"""A file with more empty rows in a row is not a table. A sheet of Excel has half as many rows."""
_REST_LINES: Final = 100
"""At most so many lines behind a broken row are taken for the rest of it."""
_PEEKED_LINES: Final = 10
"""At most so many lines behind a row of the wrong length are looked at: one of them may end a value that lost its first quote."""
_LINES_WITHOUT_QUOTE: Final = 1_000
"""After so many, the next quote is searched for in the file without reading the lines."""


def csv_columns(file: IO[bytes], options: FileOptions) -> FileColumns:
    """The columns of a CSV file, and what was found out about it. Raises ValueError."""
    dialect = _dialect(file, options)
    columns = dialect.columns
    trimmed = Counter(columns.trimmed)
    for row in islice(_rows(file, dialect, dialect.data, dialect.line, 0), SAMPLE_ROWS):
        trimmed.update(row.trimmed)
    facts = FileFacts(
        encoding=dialect.encoding.label,
        delimiter=dialect.delimiter,
        line_end=dialect.line_end,
        notes=(*dialect.encoding.notes, *dialect.notes, *columns.notes),
        uncertain=dialect.encoding.uncertain or dialect.uncertain,
        trimmed=dict(trimmed),
        duplicates=columns.duplicates,
    )
    return FileColumns(columns.names, facts)


def csv_rows(file: IO[bytes], after: int, number: int, options: FileOptions) -> Iterator[FileRow]:
    """The rows after row `number`, which ends at the byte `after`; 0: all rows. Raises ValueError."""
    dialect = _dialect(file, options)
    if not after:
        return _rows(file, dialect, dialect.data, dialect.line, number)
    return _rows(file, dialect, after, count_lines(file, dialect.encoding.name, after) + 1, number)


def _dialect(file: IO[bytes], options: FileOptions) -> Dialect:
    refuse_other_formats(file)
    return find_dialect(file, find_encoding(file, options.encoding), options.delimiter)


class _TooLongError(Exception):
    """The row is longer than MAX_ROW."""


class _Feed:
    """Gives the lines of the file to the CSV reader. `end`: the byte behind the last line; `line`: its number. `taken`: the
    lines of the row that is being read."""

    def __init__(self, file: IO[bytes], encoding: str, start: int, first_line: int) -> None:
        self._file = file
        self._encoding = encoding
        self._lines = lines_of(file, encoding, start)
        self._back: deque[Line] = deque()
        self.end = start
        self.line = first_line - 1
        self.taken: list[str] = []
        self.first = first_line
        self.valid = True
        self.ended = False
        self._size = 0

    def begin(self) -> None:
        """A row begins."""
        self.taken.clear()
        self.first, self.valid, self._size = self.line + 1, True, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.take()
        if line is None:
            raise StopIteration
        self.taken.append(line.text)
        self._size += line.size
        self.valid = self.valid and line.valid
        if self._size > MAX_ROW:
            raise _TooLongError
        return line.text

    def take(self) -> Line | None:
        """The next line; None at the end of the file."""
        line = self._back.popleft() if self._back else next(self._lines, None)
        if line is None:
            self.ended = True
            return None
        self.end += line.size
        self.line += _is_complete(line)
        return line

    def give_back(self, line: Line) -> None:
        """Take this line again next time. Of several lines, the last one is given back first."""
        self._back.appendleft(line)
        self.end -= line.size
        self.line -= _is_complete(line)

    def go_to_quote(self) -> None:
        """Leave out everything up to the next quote, which is far away. Not for UTF-16."""
        if not self._encoding.startswith("utf-16"):
            self.end, passed = find_quote(self._file, self.end)
            self.line += passed
            self._lines = lines_of(self._file, self._encoding, self.end)


def _is_complete(line: Line) -> bool:
    """Not the beginning of a line that continues."""
    return line.complete or line.text[-1:] in ("\r", "\n")


def _rows(file: IO[bytes], dialect: Dialect, start: int, first_line: int, number: int) -> Iterator[FileRow]:
    feed = _Feed(file, dialect.encoding.name, start, first_line)
    reader = strict_reader(feed, dialect.delimiter, dialect.spaced)
    columns, empty = dialect.columns, 0
    while True:
        feed.begin()
        cells: Sequence[str] = ()
        try:
            cells = next(reader)
            problem = _suspicion(feed, dialect, cells) or _wrong_length(feed, dialect, cells)
        except StopIteration:
            return
        except _TooLongError:
            problem = _too_long(feed, dialect)
        except csv.Error:
            problem = _open_quote(feed) if feed.ended else _stray(feed, dialect)
        if problem is None and not any(cell.strip() for cell in cells):
            empty += 1  # an empty line, or only delimiters
            if empty > EMPTY_ROWS:
                raise ValueError(f"the file has {EMPTY_ROWS:,} empty rows up to line {feed.line:,}; remove them")
            continue
        number, empty = number + 1, 0
        yield columns.row(number, feed.end, cells, problem)


def _suspicion(feed: _Feed, dialect: Dialect, cells: Sequence[str]) -> str | None:
    """Why a row that is CSV is not used."""
    if not feed.valid:
        named = zip(dialect.columns.names, cells, strict=False)
        column = next((name for name, cell in named if "\ufffd" in cell), None)
        where = f" in the column {column!r}" if column else ""
        return f"is not {dialect.encoding.label}{where}; save the file as CSV UTF-8, or name its encoding"
    if dialect.quoted and any('"' in cell for cell in cells) and _has_bare_quote(feed, dialect):
        return (
            f"has a quote in a value without quotes, although this file has its values in quotes ({_lines(feed)}); a quote is "
            f"missing. {_NOTHING_OF_IT}; correct the quote and import these lines again"
        )
    if len(feed.taken) > 1:
        at = swallowed_line(cells, dialect.delimiter, len(dialect.columns.names))
        if at is not None:
            column = dialect.columns.names[at] if at < len(dialect.columns.names) else f"column {at + 1}"
            return (
                f"seems to have a quote that is never closed: the value of {column!r} contains what looks like further rows "
                f"({_lines(feed)}). {_NOTHING_OF_IT}; correct the quote and import these lines again"
            )
    return None


def _has_bare_quote(feed: _Feed, dialect: Dialect) -> bool:
    scanner = QuoteScanner(dialect.delimiter, dialect.spaced)
    for text in feed.taken:
        scanner.read(text)
    return scanner.bare


def _wrong_length(feed: _Feed, dialect: Dialect, cells: Sequence[str]) -> str | None:
    """The problem of a row that does not have the columns of the header. It includes the lines behind it, if they end as a value
    does whose first quote is missing."""
    problem = dialect.columns.wrong_length(cells) if any(cell.strip() for cell in cells) else None
    if problem is None or not _take_rest(feed, dialect, len(cells)):
        return problem
    return (
        f"has a value with a line break whose first quote is missing ({_lines(feed)}). {_NOTHING_OF_IT}; correct the quote and "
        f"import these lines again"
    )


def _take_rest(feed: _Feed, dialect: Dialect, fields: int) -> bool:
    """Take the lines that complete a row of so many fields, as if its last value were still within quotes. False, and nothing is
    taken, if they do not."""
    columns = len(dialect.columns.names)
    rest = QuoteScanner(dialect.delimiter, dialect.spaced, quoted=True)
    peeked: list[Line] = []
    while rest.open and len(peeked) < _PEEKED_LINES and (line := feed.take()) is not None:
        peeked.append(line)
        rest.read(line.text)
        is_row = '"' not in line.text and line.text.count(dialect.delimiter) == columns - 1
        if is_row or not _is_complete(line):
            break
    feed.ended = False
    if not rest.open and rest.stray is None and not rest.bare and fields + rest.fields > columns:
        return True
    for line in reversed(peeked):
        feed.give_back(line)
    return False


def _open_quote(feed: _Feed) -> str:
    return (
        f"has a quote that is never closed: everything up to the end of the file would belong to this row ({_lines(feed)}). "
        f"{_NOTHING_OF_IT}; correct the quote and import these lines again"
    )


def _stray(feed: _Feed, dialect: Dialect) -> str:
    """The problem of a row with text behind a closing quote. Lines that can be the rest of it are skipped: those that are open
    or have a quote where none can be."""
    scanner = _skip(feed, dialect)
    for _ in range(_REST_LINES):
        line = feed.take()
        if line is None:
            break
        rest = QuoteScanner(dialect.delimiter, dialect.spaced)
        rest.read(line.text)
        if not rest.bare or rest.stray is not None or not _is_complete(line):
            feed.give_back(line)
            break
    feed.ended = False
    names = dialect.columns.names
    column = names[scanner.stray] if scanner.stray is not None and scanner.stray < len(names) else "a column"
    return (
        f"has text behind the closing quote of {column!r} ({_lines(feed)}). {_NOTHING_OF_IT}; within a value, write a quote "
        f'as ""'
    )


def _too_long(feed: _Feed, dialect: Dialect) -> str:
    scanner = _skip(feed, dialect)
    if scanner.open:
        return _open_quote(feed)
    cause = "; probably a quote is not closed" if feed.line > feed.first else ""
    return f"is longer than {MAX_ROW >> 20} MiB ({_lines(feed)}){cause}. {_NOTHING_OF_IT}"


def _skip(feed: _Feed, dialect: Dialect) -> QuoteScanner:
    """Continue to the end of the row that was begun, without keeping it."""
    scanner = QuoteScanner(dialect.delimiter, dialect.spaced)
    for text in feed.taken:
        scanner.read(text)
    complete = feed.taken[-1][-1:] in ("\r", "\n")
    without = 0
    while scanner.open or not complete:
        if scanner.open and without > _LINES_WITHOUT_QUOTE:
            feed.go_to_quote()
            without = 0
        line = feed.take()
        if line is None:
            break
        without = 0 if '"' in line.text else without + 1
        scanner.read(line.text)
        complete = line.text[-1:] in ("\r", "\n")
    return scanner


def _lines(feed: _Feed) -> str:
    last = max(feed.line, feed.first)
    return f"line {feed.first}" if last == feed.first else f"lines {feed.first} to {last}"
