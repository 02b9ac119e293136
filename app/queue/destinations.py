"""The destinations' rows: whether a destination may be called now, and how often. All workers share them.

    open      it may be called
    paused    an operator stopped the calls, until an operator resumes them
    blocked   it rejects the relay (key, address, certificate); jobs probe it from time to time
    tripped   it is failing; jobs probe it from time to time

Jobs of lanes that did not fail probe it at `probe_at`, always after the same short pause. If there are none, a job of a
lane that failed probes it at `retry_at`; that pause grows from FIRST_PAUSE to LONGEST_PAUSE seconds.

The rate limit is shared too: `next_call_at` is the time of the next call that is not reserved. A worker reserves calls
by moving it on, so that all replicas together keep the rate, by the database's clock.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import single_statement
from platform_relay.core.failed_statements import name_statements
from platform_relay.core.reasons import Reason, columns
from platform_relay.queue.statements.waiting import WAKE
from platform_relay.queue.states import doubt_key

DATABASE_ERRORS: Final = (SQLAlchemyError, OSError, TimeoutError)
"""What is raised when the database is unavailable."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
_NAMES: Final = {"platform": "the Platform", "store": "the store", "store_loyalty": "the store's loyalty sync"}


def display_name(destination: str) -> str:
    """The name of a destination in texts: "the Platform", "the store"."""
    return _NAMES.get(destination, destination)


_READ: Final = text("""
SELECT name, state, since, retry_at, rate_limit,
       CAST(extract(epoch FROM now() - rate_limited_at) AS float8) AS rate_limited_for
FROM destination WHERE name = :name
""")

_CLOSE: Final = text("""
UPDATE destination SET state = :state, reason_code = :reason_code, facts = CAST(:facts AS jsonb), since = now(),
    probe_at = now() + make_interval(secs => :first), retry_at = now() + make_interval(secs => :first), failures = 1
WHERE name = :name AND state = 'open'
RETURNING name
""")
"""Many calls fail at once when a destination fails; only the first one closes the destination."""

_PROBE_FAILED: Final = text("""
UPDATE destination SET state = coalesce(CAST(:state AS text), state),
    reason_code = CASE WHEN CAST(:state AS text) IS NULL THEN reason_code ELSE :reason_code END,
    facts = CASE WHEN CAST(:state AS text) IS NULL THEN facts ELSE CAST(:facts AS jsonb) END,
    retry_at = CASE WHEN :failed THEN now() + make_interval(secs => least(:first * power(2, least(failures, 20)), :longest))
                    ELSE retry_at END,
    failures = failures + CAST(:failed AS int)
WHERE name = :name AND state IN ('blocked', 'tripped')
""")
"""Not when it was opened meanwhile: another probe of the same round has succeeded."""

_OPEN: Final = text("""
UPDATE destination SET state = 'open', reason_code = NULL, facts = NULL, since = now(), retry_at = NULL, probe_at = NULL,
    failures = 0
WHERE name = :name AND state IN ('blocked', 'tripped') RETURNING name
""")

_PROBE_AGAIN: Final = text("""
UPDATE destination SET probe_at = CASE WHEN :failed THEN probe_at ELSE now() END,
    retry_at = CASE WHEN :failed THEN now() ELSE retry_at END
WHERE name = :name AND state IN ('blocked', 'tripped')
""")

_RESERVE: Final = text("""
WITH locked AS (SELECT name, greatest(next_call_at, now()) AS first FROM destination WHERE name = :name FOR UPDATE)
UPDATE destination SET next_call_at = first + make_interval(secs =>
    CASE WHEN first > now() + make_interval(secs => :longest) THEN 0 ELSE :calls * CAST(:spacing AS float8) END)
FROM locked WHERE destination.name = locked.name
RETURNING CAST(extract(epoch FROM first - now()) AS float8)
""")
"""Seconds until the first of the reserved calls may be made; the others follow `spacing` seconds apart. If that is longer
than `longest`, nothing is reserved: a caller that asks again in vain must not delay the others further."""

_LOWER: Final = text("""
UPDATE destination SET
    rate_limit = CASE WHEN rate_limited_at > now() - interval '1 second' THEN rate_limit
                      ELSE least(rate_limit, CAST(:rate_limit AS float8)) END,
    rate_limited_at = CASE WHEN rate_limited_at > now() - interval '1 second' THEN rate_limited_at ELSE now() END,
    next_call_at = greatest(next_call_at, now() + make_interval(secs => :pause))
WHERE name = :name
RETURNING rate_limit
""")
"""Many calls get a 429 at once: the limit is lowered for the first of them within a second, whichever worker made it. A
lower limit that another worker has set stays."""

_RAISE: Final = text("""
UPDATE destination SET rate_limit = CAST(:rate_limit AS float8) WHERE name = :name AND rate_limit = :before
""")

_PAUSE: Final = text("""
UPDATE destination SET state = 'paused', reason_code = :reason_code, facts = CAST(:facts AS jsonb), since = now(),
    retry_at = NULL, probe_at = NULL
WHERE name = :name RETURNING name
""")

_RESUME: Final = text("""
UPDATE destination SET state = 'open', reason_code = NULL, facts = NULL, since = now(), retry_at = NULL, probe_at = NULL,
    failures = 0
WHERE name = :name AND state <> 'open' RETURNING name
""")
name_statements({"read_destination": _READ, "reserve_calls": _RESERVE})


@dataclass(frozen=True, slots=True)
class DestinationState:
    name: str
    state: Literal["open", "paused", "blocked", "tripped"]
    since: datetime
    retry_at: datetime | None
    rate_limit: float | None
    """Calls per second, as lowered by 429 responses; None: only the configured rate limits."""
    rate_limited_for: float | None
    """Seconds since the last 429 that lowered it."""


class DestinationStates:
    """Reads and changes the rows of the destinations."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self, name: str) -> DestinationState | None:
        async with single_statement(self._engine) as connection:
            row = (await connection.execute(_READ, {"name": name})).first()
            return DestinationState(*row) if row is not None else None

    async def close(self, name: str, state: Literal["blocked", "tripped"], reason: Reason) -> bool:
        """Close an open destination; true when this call did it."""
        async with single_statement(self._engine) as connection:
            parameters = {"name": name, "state": state, **columns(reason), "first": FIRST_PAUSE}
            return (await connection.execute(_CLOSE, parameters)).first() is not None

    async def probe_failed(
        self, name: str, state: Literal["blocked", "tripped"] | None, reason: Reason, *, failed: bool
    ) -> None:
        """A probe failed; the destination stays closed. `state` None: for the same reason as before. `failed`: its lane had
        failed before, so that the pause for such lanes grows."""
        async with single_statement(self._engine) as connection:
            parameters = {"name": name, "state": state, **columns(reason), "failed": failed}
            await connection.execute(_PROBE_FAILED, {**parameters, "first": FIRST_PAUSE, "longest": LONGEST_PAUSE})

    async def open(self, name: str) -> bool:
        """A probe succeeded: calls are made again. True when this call opened the destination."""
        async with single_statement(self._engine) as connection:
            opened = (await connection.execute(_OPEN, {"name": name})).first() is not None
        if opened:
            await self.wake_doubtful(name)
        return opened

    async def probe_again(self, name: str, *, failed: bool) -> None:
        """A round of probes was no answer about the destination: others may probe at once. `failed`: of lanes that had failed."""
        async with single_statement(self._engine) as connection:
            await connection.execute(_PROBE_AGAIN, {"name": name, "failed": failed})

    async def wake_doubtful(self, name: str) -> None:
        """Make the lanes due whose last response could concern them alone or the destination."""
        async with single_statement(self._engine) as connection:
            await connection.execute(WAKE, {"keys": [doubt_key(name)]})

    async def reserve(self, name: str, calls: int, spacing: float, longest: float) -> float:
        """Reserve the next `calls` calls, `spacing` seconds apart; returns the seconds until the first of them. If that is
        longer than `longest`, none is reserved."""
        async with single_statement(self._engine) as connection:
            parameters = {"name": name, "calls": calls, "spacing": spacing, "longest": longest}
            row = (await connection.execute(_RESERVE, parameters)).scalar()
            return max(0.0, float(row or 0.0))

    async def lower_rate_limit(self, name: str, rate_limit: float, pause: float) -> float | None:
        """After a 429: at most `rate_limit` calls per second, and none within the next `pause` seconds. Returns the limit
        that holds now: the one of an earlier 429 if that was within the last second."""
        async with single_statement(self._engine) as connection:
            parameters = {"name": name, "rate_limit": rate_limit, "pause": pause}
            current: float | None = (await connection.execute(_LOWER, parameters)).scalar()
            return current

    async def raise_rate_limit(self, name: str, before: float, rate_limit: float | None) -> None:
        """Set the rate limit, unless another worker has changed it from `before`. None: it ends."""
        async with single_statement(self._engine) as connection:
            await connection.execute(_RAISE, {"name": name, "before": before, "rate_limit": rate_limit})


async def pause(connection: AsyncConnection, name: str, reason: Reason) -> bool:
    """Stop the calls on behalf of an operator; false when there is no such destination."""
    return (await connection.execute(_PAUSE, {"name": name, **columns(reason)})).first() is not None


async def resume(connection: AsyncConnection, name: str) -> bool:
    """Resume the calls on behalf of an operator; false when there is no such destination, or it is open. Lanes whose last
    response could concern them alone or the destination are due at once."""
    await connection.execute(WAKE, {"keys": [doubt_key(name)]})
    return (await connection.execute(_RESUME, {"name": name})).first() is not None
