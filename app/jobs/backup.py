"""Continues a database from an earlier state: that of a backup, or of a standby that lacks the last commits.

The relay that used the database after that state may have delivered its open jobs. `failover` does this without a command when
the database is on another timeline or in another cluster.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.audit.record import audit

_LOCK: Final = text("SELECT key FROM lane WHERE open_jobs > 0 ORDER BY destination, key FOR UPDATE")
_MARK: Final = text("UPDATE job SET uncertain = true WHERE open AND NOT uncertain")
_NEW_TOKENS: Final = text("""
SELECT setval('fencing_token', greatest(nextval('fencing_token'), CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)))
""")
"""Fencing tokens continue at the time in microseconds. Each copy of the database that continued from this state began at its own
time, and no copy uses a million tokens a second, so a token that any of them gave is not given again."""


async def leave_missing_claims(connection: AsyncConnection) -> int:
    """Mark every open job as uncertain, and give no fencing token again that was given after the state of the database, in the
    caller's transaction. Returns how many jobs were marked."""
    await connection.execute(_LOCK)
    marked = (await connection.execute(_MARK)).rowcount
    await connection.execute(_NEW_TOKENS)
    return marked


async def mark_restored(engine: AsyncEngine, actor: str) -> int:
    """Mark every open job as uncertain, so that it asks the destination before it acts. A worker that still has a claim from
    before the restore stores no result. Returns how many were marked."""
    async with engine.begin() as connection:
        marked = await leave_missing_claims(connection)
        await audit(connection, actor, "database.restored", "jobs", {"jobs": marked})
    return marked
