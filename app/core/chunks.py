"""Bulk deletions in chunks: each is a transaction of its own, and as large as can be done in TARGET seconds.

A row's cost differs by a factor of hundred between an idle machine and a busy disk. A fixed number of rows per transaction is
therefore either slow on the one or holds its locks for long on the other.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

TARGET: Final = 0.025
"""Seconds of one transaction. Other processes of a busy machine can make it several times as long."""
FIRST: Final = 20
FLOOR: Final = 10
CEILING: Final = 2000

IN_ORDER: Final = text("SELECT set_config('enable_bitmapscan', 'off', true)")
"""For a transaction that walks a table by an index. Without it, tables that were never analysed get a plan that reads and sorts all
rows for each chunk."""


def next_size(size: int, seconds: float, *, floor: int = FLOOR, ceiling: int = CEILING) -> int:
    """How many rows to take after a chunk of `size` rows took `seconds`. Pure. In proportion to TARGET, and at most twice as
    many, because the next rows may cost more; at least `floor` and at most `ceiling`."""
    fitting = int(size * TARGET / seconds) if seconds * 2 > TARGET else 2 * size
    return max(floor, min(ceiling, fitting))


class Chunks:
    """`size`: of the next chunk; `seconds`: how long the last one took. Keep it for the next run, which then begins with the
    size that was right."""

    def __init__(self, *, first: int = FIRST, floor: int = FLOOR, ceiling: int = CEILING) -> None:
        self.size = first
        self.seconds = 0.0
        self.is_full = True
        """Whether the last chunk had as much work as its size allows. Otherwise it shows nothing about a larger one, so the next
        one is no larger."""
        self._floor = floor
        self._ceiling = ceiling

    @asynccontextmanager
    async def transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """The transaction of one chunk. Afterwards `size` is that of the next one."""
        self.is_full = True
        async with engine.begin() as connection:
            started = time.monotonic()
            yield connection
        self.seconds = time.monotonic() - started
        size = next_size(self.size, self.seconds, floor=self._floor, ceiling=self._ceiling)
        self.size = size if self.is_full else min(size, self.size)


async def run_in_chunks(
    engine: AsyncEngine, statement: TextClause, parameters: Mapping[str, object] | None = None
) -> int:
    """Execute `statement` until it changes fewer rows than its parameter `chunk`; returns how many rows it changed. It must skip
    rows that are locked, so that it never waits."""
    chunks, total = Chunks(), 0
    while True:
        size = chunks.size
        async with chunks.transaction(engine) as connection:
            changed = (await connection.execute(statement, {**(parameters or {}), "chunk": size})).rowcount
        total += changed
        if changed < size:
            return total
