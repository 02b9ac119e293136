"""Deletes the digests of dedupe keys after DEDUPE. Then the same event would be accepted again.

The table has no index for the time, which would cost a fifth of its size. Instead each run reads a part of its pages, in
another part of the table each hour, and the whole table in a day. A digest stays while its message is stored.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.chunks import Chunks
from platform_relay.core.ids import first_id
from platform_relay.history.limits import SKEW

PARTS: Final = 23
"""The table is read in so many hours. It is no divisor of 24, so that a worker that stops every night skips no part permanently."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
PAGES: Final = 64
"""Pages per commit at most: about 7,700 rows."""

_SIZE: Final = text("SELECT pg_relation_size('dedupe_digest') / CAST(current_setting('block_size') AS int) AS pages")
FORGET: Final = text("""
DELETE FROM dedupe_digest
WHERE ctid >= CAST(CAST(:first AS text) AS tid) AND ctid < CAST(CAST(:last AS text) AS tid) AND message_id < :newest
  AND NOT EXISTS (SELECT FROM message WHERE message.id = dedupe_digest.message_id)
""")


async def forget_duplicates(engine: AsyncEngine, dedupe: timedelta, now: datetime) -> int:
    """Delete the digests older than `dedupe` in the part of the table that is due at `now`; returns how many."""
    async with engine.connect() as connection:
        pages: int = (await connection.execute(_SIZE)).scalar_one()
    part = (now - EPOCH) // timedelta(hours=1) % PARTS
    return await forget_pages(engine, dedupe, now, pages * part // PARTS, pages * (part + 1) // PARTS)


async def forget_pages(engine: AsyncEngine, dedupe: timedelta, now: datetime, first: int, last: int) -> int:
    """Delete the digests older than `dedupe` in the pages from `first` to before `last`; returns how many."""
    forgotten, newest, page = 0, first_id(now - dedupe - SKEW), first
    chunks = Chunks(first=1, floor=1, ceiling=PAGES)
    while page < last:
        end = min(page + chunks.size, last)
        async with chunks.transaction(engine) as connection:
            parameters = {"first": f"({page},0)", "last": f"({end},0)", "newest": newest}
            forgotten += (await connection.execute(FORGET, parameters)).rowcount
        page = end
    return forgotten
