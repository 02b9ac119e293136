"""Periodic clean-up of the queue's tables, and the loop that runs periodic tasks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.chunks import run_in_chunks

log: Final = structlog.get_logger(__name__)

IDLE_LANE_SECONDS: Final = 86_400.0
"""How long a lane without open jobs is kept that was not removed when its last job was settled: it failed, or it was watched."""

_PRUNE_LANES: Final = text("""
WITH idle AS (
    SELECT destination, key FROM lane
    WHERE open_jobs = 0 AND run_at < now() - make_interval(secs => :idle) AND NOT leased
    ORDER BY run_at LIMIT :chunk FOR UPDATE SKIP LOCKED
)
DELETE FROM lane USING idle
WHERE lane.destination = idle.destination AND lane.key = idle.key AND lane.open_jobs = 0
""")


async def prune_lanes(engine: AsyncEngine, *, idle: float = IDLE_LANE_SECONDS) -> int:
    """Delete lanes without open jobs for `idle` seconds; returns how many. Each row's own `open_jobs` decides."""
    return await run_in_chunks(engine, _PRUNE_LANES, {"idle": idle})


async def run_periodically(name: str, every: float, run_once: Callable[[], Awaitable[object]]) -> None:
    """Run a task at once and then every `every` seconds, without end. A failed run is logged; the next one tries again."""
    while True:
        try:
            await run_once()
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            log.warning("maintenance_failed", task=name, error=type(error).__name__, reason=_reason(error))
        await asyncio.sleep(every)


def _reason(error: Exception) -> str | None:
    """`Permission denied: /exports`, for an error about a file. Texts of other errors may contain data, and are not logged."""
    if isinstance(error, OSError) and isinstance(error.filename, str):
        return f"{error.strerror}: {error.filename}"
    return None
