"""Whether a destination may be called now: shared by all workers through the `destination` row.

    open      calls flow
    paused    by an operator, until an operator resumes it
    blocked   the destination refuses us (key, address, certificate); one job tries again at `retry_at`
    tripped   the destination is failing; one job tries again at `retry_at`

Pauses after a failed try grow from FIRST_PAUSE to LONGEST_PAUSE seconds.

The pace is shared too: `next_at` is when the next call may leave. Whoever wants to call moves it on by the calls it
takes, so that replicas together keep the rate, by the database's clock.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import single_statement
from platform_relay.core.reasons import Reason, columns

DATABASE_ERRORS: Final = (SQLAlchemyError, OSError, TimeoutError)
"""How a database that is away shows."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0

_READ: Final = text("""
SELECT name, state, since, retry_at, pace, CAST(extract(epoch FROM now() - slowed_at) AS float8) AS slowed_for
FROM destination ORDER BY name
""")

_CLOSE: Final = text("""
UPDATE destination SET state = :state, reason_code = :reason_code, facts = CAST(:facts AS jsonb),
    since = CASE WHEN state = 'open' THEN now() ELSE since END,
    retry_at = now() + make_interval(secs => least(:first * power(2, least(failures, 20)), :longest)), failures = failures + 1
WHERE name = :name AND (state = 'open' OR (:probing AND state <> 'paused'))
RETURNING name
""")
"""Many calls fail at once when a destination goes away; only the first one closes the destination."""

_OPEN: Final = text("""
UPDATE destination SET state = 'open', reason_code = NULL, facts = NULL, since = now(), retry_at = NULL, failures = 0
WHERE name = :name AND state IN ('blocked', 'tripped')
""")

_PROBE: Final = text("""
UPDATE destination SET retry_at = now() + make_interval(secs => :lease)
WHERE name = :name AND state IN ('blocked', 'tripped') AND retry_at <= now()
  AND EXISTS (SELECT FROM lane WHERE lane.destination = destination.name AND waiting > 0 AND run_at <= now())
RETURNING name
""")
"""Half-open: the one worker that moves `retry_at` may try one job."""

_PROBE_AGAIN: Final = text("""
UPDATE destination SET retry_at = now() WHERE name = :name AND state IN ('blocked', 'tripped')
""")

_RESERVE: Final = text("""
WITH mine AS (SELECT name, greatest(next_at, now()) AS first FROM destination WHERE name = :name FOR UPDATE)
UPDATE destination SET next_at = first + make_interval(secs =>
    CASE WHEN first > now() + make_interval(secs => :longest) THEN 0 ELSE :calls * CAST(:spacing AS float8) END)
FROM mine WHERE destination.name = mine.name
RETURNING CAST(extract(epoch FROM first - now()) AS float8)
""")
"""Seconds until the first of the reserved calls may leave; the others follow `spacing` seconds apart. Nothing is taken
when that is too long: who comes back in vain would push the others further away each time."""

_SLOW_DOWN: Final = text("""
UPDATE destination SET
    pace = CASE WHEN slowed_at > now() - interval '1 second' THEN pace ELSE least(pace, CAST(:pace AS float8)) END,
    slowed_at = CASE WHEN slowed_at > now() - interval '1 second' THEN slowed_at ELSE now() END,
    next_at = greatest(next_at, now() + make_interval(secs => :pause))
WHERE name = :name
RETURNING pace
""")
"""Many calls are told 429 at once; the pace is lowered for the first of them in a second, whoever made them. Another
worker's lower pace stays."""

_SPEED_UP: Final = text("UPDATE destination SET pace = CAST(:pace AS float8) WHERE name = :name AND pace = :before")

_PAUSE: Final = text("""
UPDATE destination SET state = 'paused', reason_code = :reason_code, facts = CAST(:facts AS jsonb), since = now(),
    retry_at = NULL
WHERE name = :name RETURNING name
""")

_RESUME: Final = text("""
UPDATE destination SET state = 'open', reason_code = NULL, facts = NULL, since = now(), retry_at = NULL, failures = 0
WHERE name = :name AND state <> 'open' RETURNING name
""")


@dataclass(frozen=True, slots=True)
class DestinationState:
    name: str
    state: Literal["open", "paused", "blocked", "tripped"]
    since: datetime
    retry_at: datetime | None
    pace: float | None
    """Calls per second at the moment, lowered by 429; None: not limited beyond the configured rate."""
    slowed_for: float | None
    """Seconds since the last 429 that lowered it."""


class DestinationStates:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self) -> list[DestinationState]:
        async with single_statement(self._engine) as connection:
            return [DestinationState(*row) for row in await connection.execute(_READ)]

    async def close(self, name: str, state: Literal["blocked", "tripped"], reason: Reason, *, probing: bool) -> bool:
        """Stop the calls for a while; true when this call did it."""
        async with single_statement(self._engine) as connection:
            result = await connection.execute(
                _CLOSE,
                {
                    "name": name,
                    "state": state,
                    **columns(reason),
                    "probing": probing,
                    "first": FIRST_PAUSE,
                    "longest": LONGEST_PAUSE,
                },
            )
            return result.first() is not None

    async def open(self, name: str) -> None:
        """A try went well: calls flow again."""
        async with single_statement(self._engine) as connection:
            await connection.execute(_OPEN, {"name": name})

    async def may_probe(self, name: str, lease: float) -> bool:
        """True for one worker when a closed destination's pause is over; the try has `lease` seconds."""
        async with single_statement(self._engine) as connection:
            return (await connection.execute(_PROBE, {"name": name, "lease": lease})).first() is not None

    async def probe_again(self, name: str) -> None:
        """The job that was to be the try was decided without a call: the next one may be it at once."""
        async with single_statement(self._engine) as connection:
            await connection.execute(_PROBE_AGAIN, {"name": name})

    async def reserve(self, name: str, calls: int, spacing: float, longest: float) -> float:
        """Take the next `calls` places of the pace, `spacing` seconds apart; seconds until the first of them. When
        that is longer than `longest`, none was taken."""
        async with single_statement(self._engine) as connection:
            parameters = {"name": name, "calls": calls, "spacing": spacing, "longest": longest}
            row = (await connection.execute(_RESERVE, parameters)).scalar()
            return max(0.0, float(row or 0.0))

    async def slow_down(self, name: str, pace: float, pause: float) -> float | None:
        """A 429: not more than `pace` calls per second from now on, and none at all for `pause` seconds. What holds now:
        where another 429 slowed the destination within the last second, what that one made of it."""
        async with single_statement(self._engine) as connection:
            found = await connection.execute(_SLOW_DOWN, {"name": name, "pace": pace, "pause": pause})
            held: float | None = found.scalar()
            return held

    async def speed_up(self, name: str, before: float, pace: float | None) -> None:
        """Raise the pace, unless somebody else changed it meanwhile."""
        async with single_statement(self._engine) as connection:
            await connection.execute(_SPEED_UP, {"name": name, "before": before, "pace": pace})


async def pause(connection: AsyncConnection, name: str, reason: Reason) -> bool:
    """By an operator; false when there is no such destination."""
    return (await connection.execute(_PAUSE, {"name": name, **columns(reason)})).first() is not None


async def resume(connection: AsyncConnection, name: str) -> bool:
    """By an operator; false when there is no such destination or it is open."""
    return (await connection.execute(_RESUME, {"name": name})).first() is not None
