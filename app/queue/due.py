"""One look for due work, for all destinations at once: it wakes the loops that have some.

New work wakes the loops by a notification. Work becomes due without one after a delay, when a lease ends, and when a
notification is lost. If each loop looked for it with its own claims, a relay without work would make twenty statements a
second.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import single_statement
from platform_relay.queue.destinations import DATABASE_ERRORS
from platform_relay.queue.statements.expressions import FREE

log: Final = structlog.get_logger(__name__)

COST: Final = 25
"""A look is followed by this many times its own duration without one: after a long time with an old snapshot it
reads over many dead entries."""
LONGEST_PAUSE: Final = 10.0
"""Seconds between two looks at most: one may have waited for a server that stood still."""
PRIORITIES: Final = 2

DUE: Final = text(f"""
SELECT coalesce(array_agg(asked.name), '{{}}') AS due, extract(epoch FROM clock_timestamp() - statement_timestamp()) AS seconds
FROM unnest(CAST(:destinations AS text[])) AS asked(name)
WHERE EXISTS (SELECT FROM destination WHERE destination.name = asked.name AND state <> 'open')
   OR EXISTS (SELECT FROM generate_series(0, {PRIORITIES - 1}) AS level(priority)
              CROSS JOIN LATERAL (SELECT FROM lane
                                  WHERE lane.destination = asked.name AND lane.priority = level.priority
                                    AND lane.open_jobs > 0 AND lane.run_at <= now() AND {FREE}
                                  ORDER BY lane.run_at LIMIT 1) AS first)
""")  # noqa: S608  # constants only
"""Destinations with a lane that a claim can take, and those that are not open: they may have to be probed. `seconds`: what the
server needed for it, without the waiting for a connection and for this process."""


@dataclass(frozen=True, slots=True)
class Due:
    """`seconds`: what the look cost the server."""

    destinations: list[str]
    seconds: float


async def due_destinations(engine: AsyncEngine, destinations: Sequence[str]) -> Due:
    async with single_statement(engine) as connection:
        row = (await connection.execute(DUE, {"destinations": list(destinations)})).one()
        return Due(list(row.due), float(row.seconds))


def pause_after(seconds: float, every: float) -> float:
    """Seconds until the next look, after one that cost the server `seconds`."""
    return max(every, min(COST * seconds, LONGEST_PAUSE))


async def watch_due(
    engine: AsyncEngine, destinations: Sequence[str], wake: Callable[[str], None], *, every: float
) -> None:
    """Call `wake` with each destination that has due work, every `every` seconds, without end; after a slow look, less often.
    While the database is unavailable, all are woken: their loops log what fails."""
    pause = every
    while True:
        await asyncio.sleep(pause)
        try:
            due = await due_destinations(engine, destinations)
            names, pause = due.destinations, pause_after(due.seconds, every)
        except DATABASE_ERRORS as error:
            log.debug("due_unknown", error=type(error).__name__)
            names, pause = list(destinations), every
        for destination in names:
            wake(destination)
