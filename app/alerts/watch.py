"""Alerts about the queue itself, raised and ended by a periodic task, for installations without Prometheus."""

from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.queue.oldest_due import OldestWaiting

CLOSED_FOR: Final = timedelta(minutes=5)
PAUSED_FOR: Final = timedelta(hours=1)
"""A pause is an operator's decision, and may be forgotten."""
DESTINATIONS: Final = {"platform": "the Platform", "store": "the store"}
WAITED_FOR: Final = timedelta(minutes=30)
_LOOK: Final = text("""
SELECT name, state, now() - since AS closed_for,
       (SELECT count(*) FROM job WHERE dead AND job.destination = destination.name) AS dead
FROM destination ORDER BY name
""")


async def watch_work(engine: AsyncEngine, oldest: OldestWaiting) -> int:
    """One look: how many alerts were raised."""
    raised = 0
    async with engine.begin() as connection:
        ages = await oldest.read(connection)
        for name, state, closed_for, dead in (await connection.execute(_LOOK)).all():
            age = timedelta(seconds=ages.get(name, 0.0))
            patience = PAUSED_FOR if state == "paused" else CLOSED_FOR
            destination = DESTINATIONS.get(name, name)
            minutes = round(age.total_seconds() / 60)
            states = (
                (
                    state != "open" and closed_for > patience,
                    because(ReasonCode.DESTINATION_CLOSED, destination=destination, state=state),
                ),
                (dead > 0, because(ReasonCode.JOBS_DEAD, destination=destination, count=dead)),
                (age > WAITED_FOR, because(ReasonCode.WORK_WAITING, destination=destination, minutes=minutes)),
            )
            for is_so, reason in states:
                if is_so:
                    raised += await raise_alert(connection, reason, name)
                else:
                    await resolve_alert(connection, reason.code, name)
    return raised
