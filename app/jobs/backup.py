"""After a backup was restored: what waits in it may have been done since by the relay that is forgotten."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.jobs.actions import audit

_LOCK: Final = text("SELECT key FROM lane WHERE waiting > 0 ORDER BY destination, key FOR UPDATE")
_DOUBT: Final = text("UPDATE job SET uncertain = true WHERE open AND NOT uncertain")


async def mark_restored(engine: AsyncEngine, actor: str) -> int:
    """Every job that is owed asks the destination before it acts; how many did not do so yet."""
    async with engine.begin() as connection:
        await connection.execute(_LOCK)
        doubted = (await connection.execute(_DOUBT)).rowcount
        await audit(connection, actor, "database.restored", "jobs", {"jobs": doubted})
    return doubted
