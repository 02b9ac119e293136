"""Continues a database from an earlier state: that of a backup, or of a standby that lacks the last commits.

The relay that used the database after that state may have delivered its open jobs, and orders that the database does not know.
`failover` does this without a command when the database is on another timeline or in another cluster.
"""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.alerts.alerts import raise_alert
from platform_relay.audit.record import audit
from platform_relay.core.database_server import NOT_SUPPORTED, TIMELINE, History, timeline_number
from platform_relay.core.reasons import ReasonCode, because

SUBJECT: Final = "database"

_LOCK: Final = text("SELECT key FROM lane WHERE open_jobs > 0 ORDER BY destination, key FOR UPDATE")
_MARK: Final = text("UPDATE job SET uncertain = true WHERE open AND NOT uncertain")
_NEW_TOKENS: Final = text("""
SELECT setval('fencing_token', greatest(nextval('fencing_token'), CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)))
""")
"""Fencing tokens continue at the time in microseconds. Each copy of the database that continued from this state began at its own
time, and no copy uses a million tokens a second, so a token that any of them gave is not given again."""
_SERVER: Final = text(f"SELECT (SELECT system_identifier FROM pg_control_system()) AS system, {TIMELINE} AS timeline")  # noqa: S608  # constants only
_NEWEST_MESSAGE: Final = text("SELECT received_at FROM message ORDER BY id DESC LIMIT 1")
_NOTE: Final = text("""
INSERT INTO database_history (number, system, timeline, seen_at, lost_since)
SELECT coalesce(max(number), 0) + 1, CAST(:system AS bigint), CAST(:timeline AS bigint), now(),
       CAST(:lost_since AS timestamptz) FROM database_history
RETURNING seen_at
""")


async def leave_missing_claims(connection: AsyncConnection) -> int:
    """Mark every open job as uncertain, and give no fencing token again that was given after the state of the database, in the
    caller's transaction. Returns how many jobs were marked."""
    await connection.execute(_LOCK)
    marked = (await connection.execute(_MARK)).rowcount
    await connection.execute(_NEW_TOKENS)
    return marked


async def mark_restored(engine: AsyncEngine, actor: str) -> int:
    """Mark every open job as uncertain, so that it asks the destination before it acts, and note that commits are missing: an
    order of that time that arrives again is updated first. A worker that still has a claim from before the restore stores no
    result. Returns how many jobs were marked."""
    async with engine.begin() as connection:
        here, since = await history_of(connection), await newest_message(connection)
        marked = await leave_missing_claims(connection)
        if here is not None:
            now = datetime.now(UTC)
            await note_history(connection, here, since or now)
            await report(connection, since or now, now, marked)
        await audit(connection, actor, "database.restored", "jobs", {"jobs": marked})
    return marked


async def history_of(connection: AsyncConnection) -> History | None:
    """The history of the server; None for a standby, and for a server that does not report it."""
    try:
        async with connection.begin_nested():
            row = (await connection.execute(_SERVER)).one()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in NOT_SUPPORTED:
            raise
        return None
    return None if row.timeline is None else History(row.system, timeline_number(row.timeline))


async def newest_message(connection: AsyncConnection) -> datetime | None:
    """When the newest message that is not missing was received."""
    received_at: datetime | None = (await connection.execute(_NEWEST_MESSAGE)).scalar()
    return received_at


async def note_history(connection: AsyncConnection, history: History, lost_since: datetime | None) -> datetime:
    """Remember that the database is used on this server from now on. Returns the database's time. `lost_since`: commits from then
    until now may be missing; None: none are."""
    parameters = {"system": history.system, "timeline": history.timeline, "lost_since": lost_since}
    seen_at: datetime = (await connection.execute(_NOTE, parameters)).scalar_one()
    return seen_at


async def report(connection: AsyncConnection, since: datetime, until: datetime, jobs: int) -> None:
    """Raise the alert that names the time span of what may be missing. `jobs`: how many were marked."""
    reason = because(ReasonCode.DATABASE_FAILED_OVER, since=shown(since), until=shown(until), jobs=jobs)
    await raise_alert(connection, reason, SUBJECT)


def shown(time: datetime) -> str:
    """A time in an alert: UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
