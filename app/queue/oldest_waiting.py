"""The age of each destination's oldest waiting job: due, delayed, rate-limited or paused, but not parked.

A job's id contains the time of its creation. Jobs older than the oldest open job are finished, so each reading continues
where the last one ended. Its cost grows with what was delivered meanwhile, not with the backlog or the history.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.ids import first_id

SKEW: Final = timedelta(minutes=1)
"""Allowance for the clocks of different processes, and for commits that overtake each other."""
FIRST: Final = text("""
SELECT min(head.created_at) FROM lane
CROSS JOIN LATERAL (
    SELECT created_at FROM job WHERE job.destination = lane.destination AND job.lane = lane.key AND job.open ORDER BY seq LIMIT 1
) AS head
WHERE lane.destination = :destination AND lane.open_jobs > 0 AND lane.waits_for IS NULL
""")
"""Reads the first open job of each lane, not the jobs behind it."""
NEXT: Final = text("""
SELECT job.created_at FROM job JOIN lane ON lane.destination = job.destination AND lane.key = job.lane
WHERE job.id >= :since AND job.open AND job.destination = :destination AND lane.waits_for IS NULL ORDER BY job.id LIMIT 1
""")
_DESTINATIONS: Final = text("SELECT name, now() AS now FROM destination")


class OldestWaiting:
    """Remembers where the last reading ended. An older job that an operator retried is not seen."""

    def __init__(self) -> None:
        self._from: dict[str, datetime] = {}

    async def read(self, connection: AsyncConnection) -> dict[str, float]:
        """Seconds by destination; 0 where no job waits."""
        ages = {}
        for destination, now in (await connection.execute(_DESTINATIONS)).all():
            since = self._from.get(destination)
            parameters = (
                {"destination": destination}
                if since is None
                else {"destination": destination, "since": first_id(since - SKEW)}
            )
            oldest: datetime | None = (await connection.execute(FIRST if since is None else NEXT, parameters)).scalar()
            self._from[destination] = oldest or now
            ages[destination] = (now - oldest).total_seconds() if oldest else 0.0
        return ages
