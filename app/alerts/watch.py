"""Alerts about the queue and refused redemptions, raised and resolved by a periodic task. They need no Prometheus."""

from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.core.reasons import REFUSALS, ReasonCode, because
from platform_relay.queue.destinations import display_name
from platform_relay.queue.oldest_waiting import OldestWaiting

CLOSED_FOR: Final = timedelta(minutes=5)
PAUSED_FOR: Final = timedelta(hours=1)
"""A pause is an operator's decision, but it may be forgotten."""
WAITING_FOR: Final = timedelta(minutes=30)
REFUSED_WITHIN: Final = timedelta(hours=1)
MANY_REFUSED: Final = 100
"""So many refused redemptions within REFUSED_WITHIN are a flood. Fewer raise no alert: forged webhooks are to be expected."""
REDEMPTIONS: Final = "redemptions"
_DESTINATIONS: Final = text("""
SELECT name, state, now() - since AS closed_for,
       (SELECT count(*) FROM job WHERE dead AND job.destination = destination.name
                                        AND coalesce(reason_code, '') <> ALL(:refusals)) AS dead
FROM destination ORDER BY name
""")
_REFUSED: Final = text("""
SELECT count(*) FROM job
WHERE dead AND kind = 'issue_coupon' AND reason_code = ANY(:refusals) AND finished_at > now() - CAST(:within AS interval)
  AND NOT EXISTS (SELECT FROM attempt WHERE job_id = job.id AND attempt.reason_code = ANY(:refusals)
                                        AND started_at < now() - CAST(:within AS interval))
""")
"""A redemption that was refused before and is checked again is not counted twice."""


RAISED_BY_MESSAGES: Final = (
    ReasonCode.FUTURE_VERSION,
    ReasonCode.STORE_WEBHOOKS_REFUSED,
    ReasonCode.STORE_WEBHOOKS_UNREADABLE,
    ReasonCode.WEBHOOKS_NOT_ACCEPTED,
    ReasonCode.PLATFORM_FIELD_DIFFERS,
    ReasonCode.PLATFORM_RESPONSE_CHANGED,
)
_EXPIRE: Final = text("""
UPDATE alert SET resolved_at = now()
WHERE code = ANY(:codes) AND resolved_at IS NULL AND at < now() - interval '1 day'
""")
"""The next such message raises the alert again."""
_EXPIRE_FAILOVER: Final = text("""
UPDATE alert SET resolved_at = now() WHERE code = :code AND resolved_at IS NULL AND at < now() - interval '7 days'
""")
"""Nothing shows that an operator has repaired what is missing. The audit log keeps the time span."""


async def watch_queue(engine: AsyncEngine, oldest: OldestWaiting) -> int:
    """Raise and resolve the alerts about each destination, and about refused redemptions. Returns how many were raised."""
    raised, refusals = 0, {"refusals": sorted(REFUSALS)}
    async with engine.begin() as connection:
        await connection.execute(_EXPIRE, {"codes": list(RAISED_BY_MESSAGES)})
        await connection.execute(_EXPIRE_FAILOVER, {"code": ReasonCode.DATABASE_FAILED_OVER})
        ages = await oldest.read(connection)
        for name, state, closed_for, dead in (await connection.execute(_DESTINATIONS, refusals)).all():
            age = timedelta(seconds=ages.get(name, 0.0))
            tolerated = PAUSED_FOR if state == "paused" else CLOSED_FOR
            destination = display_name(name)
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
        refused: int = (await connection.execute(_REFUSED, refusals | {"within": REFUSED_WITHIN})).scalar_one()
        if refused >= MANY_REFUSED:
            minutes = round(REFUSED_WITHIN.total_seconds() / 60)
            reason = because(ReasonCode.REDEMPTIONS_REFUSED, count=refused, minutes=minutes)
            raised += await raise_alert(connection, reason, REDEMPTIONS)
        else:
            await resolve_alert(connection, ReasonCode.REDEMPTIONS_REFUSED, REDEMPTIONS)
    return raised
