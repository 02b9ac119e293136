"""Marks the open jobs of a database that was restored from a backup.

The relay that used the database after the backup may have delivered them.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.audit.record import audit

_LOCK: Final = text("SELECT key FROM lane WHERE open_jobs > 0 ORDER BY destination, key FOR UPDATE")
_MARK: Final = text("UPDATE job SET uncertain = true WHERE open AND NOT uncertain")


async def mark_restored(engine: AsyncEngine, actor: str) -> int:
    """Mark every open job as uncertain, so that it asks the destination before it acts. Returns how many were marked."""
    async with engine.begin() as connection:
        await connection.execute(_LOCK)
        marked = (await connection.execute(_MARK)).rowcount
        await audit(connection, actor, "database.restored", "jobs", {"jobs": marked})
    return marked
