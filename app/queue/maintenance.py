"""What has to be tidied up in the engine's tables, as `run_once` steps of a thin ticker."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

log: Final = structlog.get_logger(__name__)

IDLE_LANE_SECONDS: Final = 86_400.0
"""How long a lane that owes nothing is kept: longer than any worker can sleep and still hold one of its claims."""
CHUNK: Final = 1000

_PRUNE_LANES: Final = text("""
WITH idle AS (
    SELECT destination, key FROM lane
    WHERE waiting = 0 AND run_at < now() - make_interval(secs => :idle) AND NOT leased
    ORDER BY run_at LIMIT :chunk FOR UPDATE SKIP LOCKED
)
DELETE FROM lane USING idle
WHERE lane.destination = idle.destination AND lane.key = idle.key AND lane.waiting = 0
RETURNING lane.key
""")


async def prune_lanes(engine: AsyncEngine, *, idle: float = IDLE_LANE_SECONDS) -> int:
    """Delete lanes that have owed nothing for `idle` seconds; how many. Each row's own `waiting` decides."""
    total = 0
    while True:
        async with engine.begin() as connection:
            gone = len((await connection.execute(_PRUNE_LANES, {"idle": idle, "chunk": CHUNK})).all())
        total += gone
        if gone < CHUNK:
            return total


async def tick(name: str, every: float, run_once: Callable[[], Awaitable[object]]) -> None:
    """Run a step now and then every `every` seconds, for ever. A step that fails is logged and tried again next time."""
    while True:
        try:
            await run_once()
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            log.warning("maintenance_failed", step=name, error=type(error).__name__)
        await asyncio.sleep(every)
