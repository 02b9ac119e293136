"""Reads a store's list page by page, so that no entity is missed while the list changes.

    page = await next_rows(read, cursor, size=100, row_id=lambda row: str(row.get("id")))    # for lists with an offset
    (rows, limit) = await with_smaller_pages(100, read)                                     # for lists with a key

A list with an offset is read in the order of the ids, because an id never changes: an edited entity keeps its place, and a new one
usually comes last. (In the order of the times of change, an edited entity moves to the end, and all that follow it move up;
and several entities of one second have no order.) A deletion still moves the later entities up, so each page begins with the
last rows of the page before. If none of them is there, earlier pages are read until one is; if all were deleted, the list
begins again.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import TypeAdapter

from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.parsing import Row

T = TypeVar("T")
OVERLAP: Final = 3
"""The rows of the page before with which a page begins."""
_OFFSET_CURSOR: Final = TypeAdapter[tuple[int, int, tuple[str, ...]]](tuple[int, int, tuple[str, ...]])
_KEY_CURSOR: Final = TypeAdapter[tuple[str, int]](tuple[str, int])


@dataclass(frozen=True, slots=True)
class Rows:
    """A part of a list. `total`: the number of rows in the complete list; None: a part that is not full is the last."""

    rows: Sequence[Row]
    total: int | None = None


@dataclass(frozen=True, slots=True)
class PageOfRows:
    """The rows that follow the page before. `next` is the cursor of the next page; None: this page is the last."""

    rows: Sequence[Row]
    next: str | None


@dataclass(frozen=True, slots=True)
class _Position:
    """`offset` is behind the rows with the ids `last`. `size` is the page size."""

    offset: int
    size: int
    last: tuple[str, ...] = ()

    def cursor(self) -> str:
        return json.dumps([self.offset, self.size, self.last])


def _position(cursor: str | None, size: int) -> _Position:
    if cursor is None:
        return _Position(0, size)
    return _Position(*_OFFSET_CURSOR.validate_json(cursor))


async def with_smaller_pages(size: int, read: Callable[[int], Awaitable[T]], *, smallest: int = 1) -> tuple[T, int]:
    """The result of `read(size)`, and the size that was used: it is halved while the response is too large.

    Raises CallFailed if the response is too large with the smallest size as well.
    """
    while True:
        try:
            return await read(size), size
        except CallFailed as failed:
            if failed.outcome.reason.code is not ReasonCode.RESPONSE_TOO_LARGE or size <= smallest:
                raise
        size = max(size // 2, smallest)


async def next_rows(
    read: Callable[[int, int], Awaitable[Rows]],
    cursor: str | None,
    *,
    size: int,
    row_id: Callable[[Row], str],
) -> PageOfRows:
    """The next page of a list in the order of the ids. `read(offset, limit)` reads a part of it.

    Raises CallFailed as `read` does.
    """
    position = _position(cursor, size)
    offset = max(0, position.offset - len(position.last))
    part, size = await _part(read, offset, position.size)
    seen = _last_seen(part.rows, position.last, row_id)
    while seen is None and offset > 0:
        offset = max(0, offset - (size - 1))
        part, size = await _part(read, offset, size)
        seen = _last_seen(part.rows, position.last, row_id)
    new = part.rows if seen is None else part.rows[seen + 1 :]
    is_last = len(part.rows) < size if part.total is None else offset + size >= part.total
    if is_last:
        return PageOfRows(new, None)
    if not new and len(part.rows) < size:  # the store counts rows that it does not show
        return PageOfRows(new, _Position(offset + size, size).cursor())
    overlap = min(OVERLAP, size - 1, len(part.rows))
    last = tuple(row_id(row) for row in part.rows[-overlap:])
    return PageOfRows(new, _Position(offset + len(part.rows), size, last).cursor())


async def _part(read: Callable[[int, int], Awaitable[Rows]], offset: int, size: int) -> tuple[Rows, int]:
    """A part of the list, and the size that was used. The smallest size is 2, so that a part can begin with a known row."""

    async def read_part(limit: int) -> Rows:
        return await read(offset, limit) if limit > 1 else await _two_rows(read, offset)

    part, size = await with_smaller_pages(size, read_part)
    return part, max(size, 2)


async def _two_rows(read: Callable[[int, int], Awaitable[Rows]], offset: int) -> Rows:
    """Two rows, each of which is so large that it is read alone. The first one must be the same before and after."""
    while True:
        first, second, again = await read(offset, 1), await read(offset + 1, 1), await read(offset, 1)
        if [row.get("id") for row in first.rows] == [row.get("id") for row in again.rows]:
            return Rows([*first.rows, *second.rows], second.total)


def _last_seen(rows: Sequence[Row], last: Sequence[str], row_id: Callable[[Row], str]) -> int | None:
    """The index of the last row that the page before contained; -1 if there was no page before, None if none is there."""
    if not last:
        return -1
    return max((index for index, row in enumerate(rows) if row_id(row) in last), default=None)


@dataclass(frozen=True, slots=True)
class KeyPosition:
    """A position in a list that is read by a key: `after` is the last key that was read, `size` the page size."""

    after: str
    size: int

    def cursor(self) -> str:
        """The text of the position."""
        return json.dumps([self.after, self.size])

    @classmethod
    def of(cls, cursor: str | None, *, first: str, size: int) -> "KeyPosition":
        """The position of a cursor; without a cursor, the one with the key `first`."""
        return cls(first, size) if cursor is None else cls(*_KEY_CURSOR.validate_json(cursor))
