"""What follows when the database continues on another server, or from a backup: nothing is done twice, and the loss is reported.

The database remembers the history it was last used on (`database_server.History`). When a process finds another one, the last
commits on the old server may be missing: events that were acknowledged, and the records of what was delivered. So before the
first statement of any process on the new server, every open job is marked as uncertain, which lets it ask the destination
before it acts. Fencing tokens continue at a number that no server has reached, and lanes
with open jobs wait until calls that belong to a missing claim have ended. An alert names the time span. With
DATABASE_SYNCHRONOUS_REPLICATION nothing is missing on a new timeline of the same cluster; after a restore from a backup
`relay backup mark-restored` is needed then.
"""

import math
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.audit.record import audit
from platform_relay.core.database import advisory_lock, create_engine, servers_of
from platform_relay.core.database_server import History
from platform_relay.core.database_servers import OldPrimaryError
from platform_relay.core.migrate import LONG
from platform_relay.jobs import backup

log: Final = structlog.get_logger(__name__)

MARGIN: Final = timedelta(minutes=10)
"""Until this long after the change, a process may have worked on the old server, or the store's clock may be ahead."""
HOLD: Final = timedelta(seconds=20)
"""How long lanes with open jobs wait, and how long after the change an acknowledged event may still be missing. Another process
may take `database_watch.RENEW_SECONDS` to leave an old primary that still accepts writes: until then it acknowledges events there
and begins calls. It ends them when their claims are missing on the new primary (`queue.loop`)."""
UNKNOWN_AGE: Final = timedelta(days=30)
"""How long an order whose time of creation is not known may be one from before the change."""

_EXISTS: Final = text("SELECT to_regclass('database_history') IS NOT NULL")
_LOCK: Final = advisory_lock("'database_history'")
_LAST: Final = text("SELECT system, timeline, seen_at FROM database_history ORDER BY number DESC LIMIT 1")
_LOSSY: Final = text(
    "SELECT max(seen_at), clock_timestamp() - max(seen_at) FROM database_history WHERE lost_since IS NOT NULL"
)
_REPLAYED: Final = text("SELECT pg_last_xact_replay_timestamp()")
_FENCE: Final = text("""
UPDATE lane SET
    lease_until = CASE WHEN leased THEN now() + :hold ELSE lease_until END,
    run_at = CASE WHEN open_jobs = 0 THEN run_at
                  WHEN waits_for IS NOT NULL THEN now() + :hold
                  ELSE greatest(run_at, now() + :hold) END,
    waits_for = NULL
WHERE leased OR open_jobs > 0
""")
"""A lane that waited for something is claimed after the hold, and waits again. Otherwise what it waits for would end the hold."""


class Failovers:
    """Compares the history of the database with the last one, once for each that this process sees. `url` and `schema` are the
    database's; `synchronous` is DATABASE_SYNCHRONOUS_REPLICATION."""

    def __init__(self, url: str, schema: str, *, synchronous: bool) -> None:
        self._url = url
        self._schema = schema
        self._synchronous = synchronous
        self._lossy_at: datetime | None = None
        """When the database was last found on a server on which commits may be missing, by its clock."""
        self._calls_arrive_until = -math.inf
        """By this process's monotonic clock."""

    async def note(self, history: History) -> None:
        """The `on_history` of `database.create_engine`. Returns when the jobs are marked, by this process or another one.

        Raises OldPrimaryError when another server answers now, and the database's errors.
        """
        engine = create_engine(
            self._url, application_name="relay failover", pool_size=1, timeouts=LONG, schema=self._schema
        )
        servers_of(engine).newest = history  # of several clusters, the one that the process uses
        try:
            async with engine.begin() as connection:
                if not (await connection.execute(_EXISTS)).scalar():
                    return  # the tables are made on this server, so nothing is missing
                await connection.execute(_LOCK)
                await self._compare(connection, history)
                self._lossy_at, since = (await connection.execute(_LOSSY)).one()
                if since is not None:
                    self._calls_arrive_until = time.monotonic() + (HOLD - since).total_seconds()
        finally:
            await engine.dispose()

    def may_have_sent(self, created_at: datetime | None) -> bool:
        """Whether an order that was created then may have been sent by a delivery whose record is missing. A second POST would
        double it."""
        if self._lossy_at is None:
            return False
        if created_at is None:
            return datetime.now(UTC) < self._lossy_at + UNKNOWN_AGE
        return created_at < self._lossy_at + MARGIN

    def may_still_arrive(self) -> float:
        """For how many seconds a call may still arrive whose claim is missing, because it was begun before the change."""
        return max(0.0, self._calls_arrive_until - time.monotonic())

    async def _compare(self, connection: AsyncConnection, history: History) -> None:
        here = await backup.history_of(connection)
        if here is None or here != history:
            raise OldPrimaryError("the database changed its server while it was opened")
        last = (await connection.execute(_LAST)).one_or_none()
        if last is None:
            await backup.note_history(connection, here, None)
            return
        before = History(last.system, last.timeline)
        if before == here:
            return
        lossless = self._synchronous and before.is_older_than(here)
        since = (
            None if lossless else await _last_known_commit(connection, last.seen_at, replica=before.is_older_than(here))
        )
        seen_at = await backup.note_history(connection, here, since)
        marked = 0
        if since is not None:
            marked = await backup.leave_missing_claims(connection)
            await connection.execute(_FENCE, {"hold": HOLD})
            await backup.report(connection, since, seen_at + HOLD, marked)
        log.warning("database_continues", timeline=here.timeline, was=before.timeline, lossless=lossless, jobs=marked)
        detail: dict[str, object] = {
            "timeline": here.timeline,
            "was": before.timeline,
            "synchronous": lossless,
            "jobs": marked,
        }
        if since is not None:
            detail["lost_since"] = backup.shown(since)
        await audit(connection, "relay", "database.failed_over", backup.SUBJECT, detail)


async def _last_known_commit(connection: AsyncConnection, otherwise: datetime, *, replica: bool) -> datetime:
    """The time of the last commit that is not missing: what a promoted standby replayed last, or else the newest message."""
    known: datetime | None = (await connection.execute(_REPLAYED)).scalar() if replica else None
    return known or await backup.newest_message(connection) or otherwise
