"""Deletes old messages with their jobs and attempts.

    walk the old messages ─▶ lock those whose jobs are all over ─▶ export ─▶ delete and count, in one commit per chunk

A message leaves when it and all its jobs ended before the history, and only together with all of them. These stay:
messages with a job that waits, runs or is dead; redemption claims, to which coupons refer. Entities, coupons, ledger and
audit are other tables, and nothing leaves them. What leaves is counted, so that the counts stay complete.

Rows that another transaction has locked are left for the next run. Nothing waits for a lock here, and a chunk holds the
locks of rows that are over for the time of one commit, whose size follows how long it takes (`core.chunks`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.chunks import IN_ORDER, Chunks
from platform_relay.core.database import try_advisory_lock
from platform_relay.core.ids import first_id
from platform_relay.history.export import Export
from platform_relay.history.limits import SKEW, end_of_history
from platform_relay.queue.attempts import BUSY

log: Final = structlog.get_logger(__name__)

PAUSE: Final = 2.0
"""After each chunk, so many times its duration: the run uses a third of one connection's time."""

ALONE: Final = try_advisory_lock("'history'")
"""One process at a time, so that nothing is exported twice."""
OLD: Final = text("""
SELECT id, NOT (source = 'platform' AND coupon_ref IS NOT NULL) AND NOT EXISTS (
    SELECT FROM job
    WHERE job.message_id = message.id
      AND (job.open OR job.dead OR coalesce(job.finished_at, job.created_at) >= :before)
    OFFSET 0
) AS leaves
FROM message WHERE id > :after AND id < :newest AND received_at < :before ORDER BY id LIMIT :chunk
""")
"""The next old messages. Ids sort by time. OFFSET 0: the jobs are looked up by their message."""
LOCK_MESSAGES: Final = text(
    "SELECT id FROM message WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE SKIP LOCKED"
)
LOCK_JOBS: Final = text("""
SELECT id FROM job
WHERE message_id = ANY(CAST(:ids AS uuid[])) AND NOT open AND NOT dead AND coalesce(finished_at, created_at) < :before
ORDER BY id FOR UPDATE SKIP LOCKED
""")
WHOLE: Final = text("""
SELECT message.id FROM unnest(CAST(:ids AS uuid[])) AS message(id)
WHERE NOT EXISTS (SELECT FROM job WHERE job.message_id = message.id AND job.id <> ALL(CAST(:locked AS uuid[])) OFFSET 0)
""")
"""Messages all of whose jobs are locked here."""
DELETE: Final = text("""
WITH messages AS (DELETE FROM message WHERE id = ANY(CAST(:ids AS uuid[])) RETURNING reason_code),
jobs AS (
    DELETE FROM job WHERE message_id = ANY(CAST(:ids AS uuid[])) AND id = ANY(CAST(:locked AS uuid[]))
    RETURNING id, kind, state, reason_code
),
attempts AS (DELETE FROM attempt WHERE job_id = ANY(CAST(:locked AS uuid[])) AND job_id IN (SELECT id FROM jobs))
INSERT INTO history_count (kind, state, reason_code, rows)
SELECT * FROM (
    SELECT kind, state, coalesce(reason_code, '') AS reason_code, count(*) FROM jobs GROUP BY 1, 2, 3
    UNION ALL SELECT '', '', coalesce(reason_code, ''), count(*) FROM messages GROUP BY 3
) AS counted ORDER BY 1, 2, 3
ON CONFLICT (kind, state, reason_code) DO UPDATE SET rows = history_count.rows + excluded.rows
""")


@dataclass(frozen=True, slots=True)
class _Chunk:
    """`left`: how many messages left; `more`: there may be more after `last`; `alone`: no other process does the same."""

    left: int = 0
    more: bool = False
    last: UUID | None = None
    alone: bool = True


class History:
    """The periodic task of one worker. `folder`: where rows are exported before they leave; None: they are not exported.

    A walk continues where the last one ended, and begins again each day: what was left behind may be over by then.
    """

    def __init__(
        self, engine: AsyncEngine, history: timedelta, folder: Path | None = None, *, pause: float = PAUSE
    ) -> None:
        self._engine = engine
        self._pause = pause
        self._history = history
        self._folder = folder
        self._after = UUID(int=0)
        self._day: date | None = None
        self._chunks = Chunks()
        self.complete = False
        """Whether the last run came to the end. It does not when another process does the same."""

    async def run(self, now: datetime) -> int:
        """Let everything leave that is old at `now`; returns how many messages left. Raises ExportError when the export cannot be
        written; what was not exported stays."""
        before = end_of_history(now, self._history)
        if self._day != before.date():
            self._day, self._after = before.date(), UUID(int=0)
        export = None if self._folder is None else Export(self._folder)
        left, more, self.complete = 0, True, False
        while more:
            if export is not None:
                await export.begin(self._engine, now)
            async with self._chunks.transaction(self._engine) as connection:
                chunk = await self._leave(connection, before, export)
            left, more, self._after = left + chunk.left, chunk.more, chunk.last or self._after
            self.complete = chunk.alone
            if more:
                await asyncio.sleep(self._pause * self._chunks.seconds)
        if export is not None:
            await export.finish(self._engine)
        if left:
            log.info("history_left", messages=left, before=before.isoformat())
        return left

    async def _leave(self, connection: AsyncConnection, before: datetime, export: Export | None) -> _Chunk:
        if not (await connection.execute(ALONE)).scalar_one():
            return _Chunk(alone=False)
        await connection.execute(IN_ORDER)
        size = self._chunks.size
        walk = {"after": self._after, "newest": first_id(before + SKEW), "before": before, "chunk": size}
        rows = (await connection.execute(OLD, walk)).all()
        ids, locked = await _lock(connection, [row.id for row in rows if row.leaves], before)
        if ids:
            if export is not None:
                await export.write(connection, ids)
            await connection.execute(DELETE, {"ids": ids, "locked": locked})
        self._chunks.is_full = len(ids) >= size // 2
        return _Chunk(len(ids), more=len(rows) == size, last=rows[-1].id if rows else None)


async def _lock(connection: AsyncConnection, ids: Sequence[UUID], before: datetime) -> tuple[list[UUID], list[UUID]]:
    """The messages that no other transaction changes and whose jobs are all over, and the jobs that were locked with all of their
    attempts."""
    if not ids:
        return [], []
    messages = list((await connection.execute(LOCK_MESSAGES, {"ids": list(ids)})).scalars())
    jobs = list((await connection.execute(LOCK_JOBS, {"ids": messages, "before": before})).scalars())
    busy = set((await connection.execute(BUSY, {"jobs": jobs})).scalars())
    jobs = [job for job in jobs if job not in busy]
    complete = list((await connection.execute(WHOLE, {"ids": messages, "locked": jobs})).scalars())
    return complete, jobs
