"""Deletes bodies after the retention time, since they contain personal data. Messages and jobs stay countable."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.chunks import IN_ORDER, Chunks
from platform_relay.core.ids import first_id
from platform_relay.queue.attempts import BUSY

SKEW: Final = timedelta(hours=1)
"""Allowance for the clocks of the processes that made the ids, and the database's."""

OLD: Final = text("""
SELECT id FROM message
WHERE body IS NOT NULL AND id > :after AND id < :newest AND received_at < :before
ORDER BY id LIMIT :chunk FOR UPDATE SKIP LOCKED
""")
"""Ids sort by time. The limit on the id ends the scan at the first young body, so that not all of them are read."""
JOBS: Final = text("SELECT id, message_id, open FROM job WHERE message_id = ANY(CAST(:ids AS uuid[]))")
PRUNE_EXCERPTS: Final = text("""
UPDATE attempt SET excerpt = NULL WHERE job_id = ANY(CAST(:jobs AS uuid[])) AND excerpt IS NOT NULL
""")
PRUNE: Final = text("""
UPDATE message SET body = NULL, event = NULL, email_mark = NULL WHERE id = ANY(CAST(:ids AS uuid[]))
""")


async def prune_bodies(engine: AsyncEngine, retention: timedelta, now: datetime) -> int:
    """Delete the bodies and response excerpts of finished messages older than `retention`; returns how many. A message with an
    attempt that somebody else has locked (an erasure, or a new key) is left for the next run."""
    before = now - retention
    total, after, chunks = 0, UUID(int=0), Chunks()
    while True:
        size = chunks.size
        parameters = {"after": after, "before": before, "newest": first_id(before + SKEW), "chunk": size}
        async with chunks.transaction(engine) as connection:
            await connection.execute(IN_ORDER)
            ids = list((await connection.execute(OLD, parameters)).scalars())
            if ids:
                total += await _prune(connection, ids)
        if len(ids) < size:
            return total
        after = ids[-1]


async def _prune(connection: AsyncConnection, ids: Sequence[UUID]) -> int:
    """Delete the bodies of these messages, which are locked here, if their jobs have ended; returns how many."""
    jobs = (await connection.execute(JOBS, {"ids": list(ids)})).all()
    left_out = {row.message_id for row in jobs if row.open}
    jobs = [row for row in jobs if row.message_id not in left_out]
    busy = set((await connection.execute(BUSY, {"jobs": [row.id for row in jobs]})).scalars())
    left_out |= {row.message_id for row in jobs if row.id in busy}
    await connection.execute(PRUNE_EXCERPTS, {"jobs": [row.id for row in jobs if row.message_id not in left_out]})
    pruned = [message for message in ids if message not in left_out]
    await connection.execute(PRUNE, {"ids": pruned})
    return len(pruned)
