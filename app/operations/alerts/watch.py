"""Alerts about the work itself, raised and ended by a look now and then, for shops without Prometheus."""

from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.operations.alerts.kinds import ALERTS, CHANNEL_CLOSED, JOBS_DEAD, WORK_WAITS
from app.operations.alerts.raised import raise_alert, resolve_alert
from app.operations.oldest import OldestWaiting

CLOSED_FOR: Final = timedelta(minutes=5)
PAUSED_FOR: Final = timedelta(hours=1)
"""A pause is somebody's decision, and may be forgotten."""
WAITED_FOR: Final = timedelta(minutes=30)
_LOOK: Final = text("""
SELECT name, state, now() - since AS closed_for,
       (SELECT count(*) FROM job WHERE dead AND job.channel = channel.name) AS dead
FROM channel ORDER BY name
""")


async def watch_work(engine: AsyncEngine, oldest: OldestWaiting) -> int:
    """One look: how many alerts were raised."""
    raised = 0
    async with engine.begin() as connection:
        ages = await oldest.read(connection)
        for name, state, closed_for, dead in (await connection.execute(_LOOK)).all():
            age = timedelta(seconds=ages.get(name, 0.0))
            patience = PAUSED_FOR if state == "paused" else CLOSED_FOR
            states = {
                CHANNEL_CLOSED: (state != "open" and closed_for > patience, f"it is {state}"),
                JOBS_DEAD: (dead > 0, f"{dead} jobs were given up"),
                WORK_WAITS: (age > WAITED_FOR, f"the oldest job has waited for {age.total_seconds() / 60:.0f} min"),
            }
            for kind, (wrong, detail) in states.items():
                if wrong:
                    raised += await raise_alert(connection, kind, name, detail, ALERTS[kind].first)
                else:
                    await resolve_alert(connection, kind, name)
    return raised
