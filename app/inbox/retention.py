"""Deletes bodies after the retention time, since they contain personal data. Messages and jobs stay countable."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.ids import first_id

CHUNK: Final = 500
SKEW: Final = timedelta(hours=1)
"""Allowance for the clocks of the processes that made the ids, and the database's."""

PRUNE: Final = text("""
WITH old AS (
    SELECT id FROM message
    WHERE body IS NOT NULL AND id < :newest AND received_at < :before
      AND NOT EXISTS (SELECT FROM job WHERE job.message_id = message.id AND job.open)
    ORDER BY id LIMIT :chunk FOR UPDATE SKIP LOCKED
),
excerpts AS (
    UPDATE attempt SET excerpt = NULL
    FROM job JOIN old ON old.id = job.message_id WHERE attempt.job_id = job.id AND attempt.excerpt IS NOT NULL
)
UPDATE message SET body = NULL, event = NULL, email_mark = NULL FROM old WHERE message.id = old.id
RETURNING message.id
""")
"""Ids sort by time. The limit on the id ends the scan at the first young body, so that not all of them are read."""


async def prune_bodies(engine: AsyncEngine, retention: timedelta, now: datetime) -> int:
    """Delete the bodies and response excerpts of finished messages older than `retention`; returns how many."""
    before = now - retention
    parameters = {"before": before, "newest": first_id(before + SKEW), "chunk": CHUNK}
    total = 0
    while True:
        async with engine.begin() as connection:
            deleted = len((await connection.execute(PRUNE, parameters)).all())
        total += deleted
        if deleted < CHUNK:
            return total
