"""The age of the oldest work that waits, whatever it waits for but a person: throttled, paused and put-off work included.

A job's id tells when it was made. What is older than the oldest open job can only have been closed since, so each look
goes on where the last one found something, and costs what was delivered meanwhile, not what waits or ever was.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.ids import first_id

SKEW: Final = timedelta(minutes=1)
"""Clocks of different processes, and commits that overtake each other."""
FIRST: Final = text("""
SELECT min(head.created_at) FROM lane
CROSS JOIN LATERAL (
    SELECT created_at FROM job WHERE job.destination = lane.destination AND job.lane = lane.key AND job.open ORDER BY seq LIMIT 1
) AS head
WHERE lane.destination = :destination AND lane.waiting > 0 AND lane.waits_for IS NULL
""")
"""The heads of the lanes, not all that waits behind them."""
NEXT: Final = text("""
SELECT job.created_at FROM job JOIN lane ON lane.destination = job.destination AND lane.key = job.lane
WHERE job.id >= :since AND job.open AND job.destination = :destination AND lane.waits_for IS NULL ORDER BY job.id LIMIT 1
""")
_CHANNELS: Final = text("SELECT name, now() AS now FROM destination")


class OldestWaiting:
    """Remembers where the last look ended. A job that is older than that and was retried by hand is not seen."""

    def __init__(self) -> None:
        self._from: dict[str, datetime] = {}

    async def read(self, connection: AsyncConnection) -> dict[str, float]:
        """Seconds by destination; 0 where nothing waits."""
        ages = {}
        for destination, now in (await connection.execute(_CHANNELS)).all():
            since = self._from.get(destination)
            parameters = (
                {"destination": destination}
                if since is None
                else {"destination": destination, "since": first_id(since - SKEW)}
            )
            found: datetime | None = (await connection.execute(FIRST if since is None else NEXT, parameters)).scalar()
            self._from[destination] = found or now
            ages[destination] = (now - found).total_seconds() if found else 0.0
        return ages
