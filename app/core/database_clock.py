"""The clock of the database, which is the same for all processes, without a query for each look at it."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import is_unavailable, single_statement
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.failed_statements import name_statements
from platform_relay.core.work import WorkRecord

REFRESH_SECONDS: Final = 60.0
TIME_LIMIT: Final = 2.0
"""Seconds. While the database does not answer, the last known time is used."""
FIRST_TIME_LIMIT: Final = 10.0
"""Seconds for the first reading: without it no event can be accepted, so a slow start is better than an error."""

_NOW: Final = text("SELECT now()")
name_statements({"read_clock": _NOW})


class DatabaseClock:
    """Reads the database's time once a minute, and adds the time that this process has measured since then."""

    def __init__(self, engine: AsyncEngine, work: WorkRecord) -> None:
        """`work` records a failure of the first reading: without it nothing can be accepted."""
        self._engine = engine
        self._work = work
        self._read: tuple[datetime, float] | None = None
        """The database's time, and `time.monotonic` when it was read."""
        self._due = 0.0

    async def now(self) -> datetime:
        """The time in UTC. Raises DatabaseAway if it was never read, and cannot be read now."""
        started = time.monotonic()
        if self._read is None or started >= self._due:
            self._due = started + REFRESH_SECONDS  # other callers use the last known time meanwhile
            try:
                if self._read is None:
                    with self._work.attempt(proves=False):
                        self._read = await self._ask(FIRST_TIME_LIMIT)
                else:
                    self._read = await self._ask(TIME_LIMIT)
            except Exception as error:
                self._due = 0.0
                if not (isinstance(error, TimeoutError) or is_unavailable(error)):
                    raise
                if self._read is None:
                    raise DatabaseAway from error
        moment, read_at = self._read
        return moment + timedelta(seconds=time.monotonic() - read_at)

    async def _ask(self, limit: float) -> tuple[datetime, float]:
        async with asyncio.timeout(limit), single_statement(self._engine) as connection:
            return (await connection.execute(_NOW)).scalar_one(), time.monotonic()
