"""Bodies hold personal data: they are pruned when the retention time is over. What happened stays countable."""

from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

CHUNK: Final = 500

_PRUNE: Final = text("""
WITH old AS (
    SELECT id FROM message
    WHERE body IS NOT NULL AND received_at < now() - CAST(:retention AS interval)
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


async def prune_bodies(engine: AsyncEngine, retention: timedelta) -> int:
    """Forget the bodies (and the far sides' answers) of finished messages older than `retention`; how many."""
    total = 0
    while True:
        async with engine.begin() as connection:
            gone = len((await connection.execute(_PRUNE, {"retention": retention, "chunk": CHUNK})).all())
        total += gone
        if gone < CHUNK:
            return total
