"""Reads from the store that are no jobs: polls, reconciliations, the drift check, the watch over the webhooks.

They respect the store's circuit breaker, but never close or open it: a list may be forbidden while coupons are allowed. Each
kind of read has a back-off of its own, shared by all replicas, and an alert when it fails several times.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.metrics import Metrics
from platform_relay.core.reasons import Reason, ReasonCode, because, columns, stored
from platform_relay.inbox.messages import STORE
from platform_relay.queue.destinations import DATABASE_ERRORS

log: Final = structlog.get_logger(__name__)

POLL: Final = "poll:"
"""The beginning of the names of polls."""
FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 300.0
"""Seconds from a failure to the next try; each failure doubles them."""
ALERT_FAILURES: Final = 3
ALERT_AFTER: Final = timedelta(minutes=10)
"""An alert is raised after ALERT_FAILURES failures, or when a read that is made seldom has failed twice within more time."""

_STATE: Final = text("""
SELECT destination.state, coalesce(background_read.next_at > now(), false) AS waits,
       EXISTS (SELECT FROM lane WHERE lane.destination = destination.name AND open_jobs > 0) AS has_jobs
FROM destination LEFT JOIN background_read ON background_read.name = :name
WHERE destination.name = :destination
""")
_FAILED: Final = text("""
INSERT INTO background_read AS mine (name, failures, failing_since, next_at, reason_code, facts)
VALUES (:name, 1, now(), now() + make_interval(secs => :first), :reason_code, CAST(:facts AS jsonb))
ON CONFLICT (name) DO UPDATE SET failures = mine.failures + 1, failing_since = coalesce(mine.failing_since, now()),
    next_at = now() + make_interval(secs => least(:longest, :first * power(2, least(mine.failures, 20)))),
    reason_code = excluded.reason_code, facts = excluded.facts
RETURNING failures, now() - failing_since AS failing_for
""")
_SUCCEEDED: Final = text("""
UPDATE background_read SET failures = 0, failing_since = NULL, next_at = now(), reason_code = NULL, facts = NULL
WHERE name = :name AND failures > 0 RETURNING name
""")
_FAILING: Final = text("""
SELECT name, failing_since, now() - failing_since AS failing_for, reason_code, facts FROM background_read
WHERE failing_since IS NOT NULL ORDER BY name
""")


@dataclass(frozen=True, slots=True)
class FailingRead:
    """A kind of read that fails. `failing_for` is the time since its first failure after the last success."""

    name: str
    failing_since: datetime
    failing_for: timedelta
    reason: Reason | None


class NotRead:
    """The read was not made: another replica makes it now."""


class BackgroundReads:
    """Decides whether a kind of read may be made, and records how it ended. Its name is such as `poll:customers`, or
    `drift_check`."""

    def __init__(self, engine: AsyncEngine, metrics: Metrics | None = None) -> None:
        self._engine = engine
        self._metrics = metrics

    async def held_back(self) -> Reason | None:
        """Why the store may not be called in the background now; None if it may.

        It may not while it is paused, or while its circuit breaker waits for a job to probe it. Without jobs, nothing would
        ever probe it, so the reads continue.
        """
        return (await self._read("", waits=False))[0]

    async def run(self, name: str, read: Callable[[], Awaitable[Reason | NotRead | None]]) -> bool:
        """Make a read that is due, and record how it ended: `read` returns why it failed, or None. False if it was not made.

        Raises the database's errors; another exception of `read` counts as a failure.
        """
        reason, waits = await self._read(name, waits=True)
        if waits or reason is not None:
            return False
        try:
            failed = await read()
        except DATABASE_ERRORS:
            raise
        except DatabaseAway:
            log.warning("background_read_not_stored", read=name)
            return False
        except Exception as error:  # a bug of an adapter must not end the worker
            log.exception("background_read_crashed", read=name)
            failed = because(ReasonCode.INTERNAL_ERROR, error=type(error).__name__)
        if isinstance(failed, NotRead):
            return False
        await self.record(name, failed)
        return True

    async def record(self, name: str, failed: Reason | None) -> None:
        """Record how a read ended: why it failed, or None."""
        if self._metrics is not None:
            self._metrics.background_read(name, "succeeded" if failed is None else "failed")
        async with self._engine.begin() as connection:
            if failed is None:
                if (await connection.execute(_SUCCEEDED, {"name": name})).first() is not None:
                    log.info("background_read_succeeded", read=name)
                    await resolve_alert(connection, ReasonCode.BACKGROUND_READ_FAILING, name)
                return
            pauses = {"first": FIRST_PAUSE, "longest": LONGEST_PAUSE}
            row = (await connection.execute(_FAILED, {"name": name, **columns(failed), **pauses})).one()
            log.warning("background_read_failed", read=name, failures=row.failures, reason_code=failed.code)
            if row.failures >= ALERT_FAILURES or (row.failures > 1 and row.failing_for > ALERT_AFTER):
                reason = because(ReasonCode.BACKGROUND_READ_FAILING, read=_shown(name), cause=failed.as_fact())
                await raise_alert(connection, reason, name)

    async def _read(self, name: str, *, waits: bool) -> tuple[Reason | None, bool]:
        async with self._engine.connect() as connection:
            row = (await connection.execute(_STATE, {"name": name, "destination": STORE})).one_or_none()
        if row is None:
            return None, False
        is_held = row.state == "paused" or (row.state != "open" and row.has_jobs)
        facts = {"destination": "the store", "state": row.state}
        return because(ReasonCode.DESTINATION_CLOSED, **facts) if is_held else None, waits and row.waits


async def failing_reads(connection: AsyncConnection) -> list[FailingRead]:
    """The kinds of reads that fail now, by name."""
    return [
        FailingRead(row.name, row.failing_since, row.failing_for, stored(row.reason_code, row.facts))
        for row in await connection.execute(_FAILING)
    ]


def _shown(name: str) -> str:
    """The read for people: `poll:customers` is "the poll of customers"."""
    task, _, kind = name.partition(":")
    return f"the {task.replace('_', ' ')}" + (f" of {kind}" if kind else "")
