"""Alerts about the queue, raised and resolved by a periodic task. For installations without Prometheus."""

from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.queue.oldest_waiting import OldestWaiting

CLOSED_FOR: Final = timedelta(minutes=5)
PAUSED_FOR: Final = timedelta(hours=1)
"""A pause is an operator's decision, but it may be forgotten."""
DESTINATION_NAMES: Final = {"platform": "the Platform", "store": "the store"}
WAITING_FOR: Final = timedelta(minutes=30)
_DESTINATIONS: Final = text("""
SELECT name, state, now() - since AS closed_for,
       (SELECT count(*) FROM job WHERE dead AND job.destination = destination.name) AS dead
FROM destination ORDER BY name
""")


async def watch_queue(engine: AsyncEngine, oldest: OldestWaiting) -> int:
    """Raise and resolve the alerts about each destination. Returns how many were raised."""
    raised = 0
    async with engine.begin() as connection:
        ages = await oldest.read(connection)
        for name, state, closed_for, dead in (await connection.execute(_DESTINATIONS)).all():
            age = timedelta(seconds=ages.get(name, 0.0))
            tolerated = PAUSED_FOR if state == "paused" else CLOSED_FOR
            destination = DESTINATION_NAMES.get(name, name)
            minutes = round(age.total_seconds() / 60)
            conditions = (
                (
                    state != "open" and closed_for > tolerated,
                    because(ReasonCode.DESTINATION_CLOSED, destination=destination, state=state),
                ),
                (dead > 0, because(ReasonCode.JOBS_DEAD, destination=destination, count=dead)),
                (age > WAITING_FOR, because(ReasonCode.WORK_WAITING, destination=destination, minutes=minutes)),
            )
            for is_met, reason in conditions:
                if is_met:
                    raised += await raise_alert(connection, reason, name)
                else:
                    await resolve_alert(connection, reason.code, name)
    return raised
