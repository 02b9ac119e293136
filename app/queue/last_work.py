"""When any worker last claimed and settled, by destination, so that every process can see that no worker works.

A worker whose claims and settles succeed notes the time every few seconds, also when nothing is due. The row does not name
the worker.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import single_statement
from platform_relay.core.failed_statements import name_statements
from platform_relay.core.work import Operation, StaleWork

NOTED_EVERY: Final = 5.0
"""Seconds. Several workers share the rows: the first one writes."""

_NOTE: Final = text("""
WITH noted AS (
    SELECT name FROM destination
    WHERE name = ANY(CAST(:claims AS text[]) || CAST(:settles AS text[]))
      AND (coalesce(claimed_at, '-infinity') < now() - make_interval(secs => :every) AND name = ANY(CAST(:claims AS text[]))
           OR coalesce(settled_at, '-infinity') < now() - make_interval(secs => :every) AND name = ANY(CAST(:settles AS text[])))
    ORDER BY name FOR UPDATE SKIP LOCKED
)
UPDATE destination SET
    claimed_at = CASE WHEN destination.name = ANY(CAST(:claims AS text[])) THEN now() ELSE claimed_at END,
    settled_at = CASE WHEN destination.name = ANY(CAST(:settles AS text[])) THEN now() ELSE settled_at END
FROM noted WHERE destination.name = noted.name
""")
_STALE: Final = text("""
SELECT name, CASE WHEN claims THEN 'claim' ELSE 'settle' END AS operation, extract(epoch FROM now() - since) AS seconds
FROM (
    SELECT name, claimed_at < now() - make_interval(secs => :after) AS claims,
           CASE WHEN claimed_at < now() - make_interval(secs => :after) THEN claimed_at ELSE settled_at END AS since
    FROM (SELECT name, state, coalesce(claimed_at, since) AS claimed_at, coalesce(settled_at, since) AS settled_at FROM destination)
         AS worked
    WHERE state = 'open' AND least(claimed_at, settled_at) < now() - make_interval(secs => :after)
) AS stale
WHERE NOT claims OR EXISTS (
    SELECT FROM lane
    WHERE destination = name AND open_jobs > 0 AND run_at <= now() - make_interval(secs => :after)
      AND (NOT leased OR lease_until <= now() - make_interval(secs => :after)))
ORDER BY name
""")
"""Claims: only if a lane has been due for as long. A destination that is paused, blocked or tripped may have due lanes. Settles:
workers claim, and none can settle."""
_WORKING: Final = text("""
SELECT EXISTS (SELECT FROM destination WHERE claimed_at > now() - make_interval(secs => :within))
""")
name_statements({"note_work": _NOTE, "stale_work": _STALE})


async def note_work(engine: AsyncEngine, *, claims: Collection[str], settles: Collection[str]) -> None:
    """Note that this worker can claim and settle now, at these destinations."""
    async with single_statement(engine) as connection:
        await connection.execute(_NOTE, {"claims": list(claims), "settles": list(settles), "every": NOTED_EVERY})


async def stale_work(engine: AsyncEngine, after: float) -> list[StaleWork]:
    """What no worker has done for `after` seconds."""
    async with single_statement(engine) as connection:
        rows = await connection.execute(_STALE, {"after": after})
        return [StaleWork(row.name, Operation(row.operation), float(row.seconds)) for row in rows]


async def is_any_worker_working(engine: AsyncEngine, within: float) -> bool:
    """Whether a worker has noted within so many seconds that it can claim."""
    async with single_statement(engine) as connection:
        return bool((await connection.execute(_WORKING, {"within": within})).scalar_one())
