"""The deadline: a redemption without an active coupon in time raises an alert, which ends when the coupon is active or decided.

While the Platform does not list a code, the redemption may be forged. It is refused after COUPONS__CONFIRM_WITHIN, and it
raises the alert only if it is not refused by then. Refused redemptions raise no alert, except for many at once (`watch_queue`).
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from pydantic import JsonValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert
from platform_relay.core.reasons import Reason, ReasonCode, because, stored

CHUNK: Final = 500
_OVERDUE: Final = text("""
SELECT code, state, reason_code, facts, extract(epoch FROM now() - received_at) AS age FROM coupon
WHERE state IN ('pending', 'held')
  AND received_at < now() - CAST(:deadline AS interval)
                    - CASE WHEN reason_code = :pending THEN CAST(:confirm_within AS interval) ELSE interval '0' END
  AND NOT EXISTS (SELECT FROM alert WHERE alert.code = :alert AND subject = coupon.code AND resolved_at IS NULL)
ORDER BY received_at LIMIT :chunk
""")
_NOT_STARTED: Final = text("""
WITH unfinished AS (
    SELECT id, params ->> 'code' AS code, state, reason_code, facts, created_at FROM job
    WHERE destination = 'store' AND open AND kind = 'issue_coupon'
    UNION ALL
    SELECT id, params ->> 'code', state, reason_code, facts, created_at FROM job WHERE dead AND kind = 'issue_coupon'
)
SELECT CAST(id AS text) AS id, code, state, reason_code, facts FROM unfinished
WHERE created_at < now() - CAST(:deadline AS interval)
  AND NOT EXISTS (SELECT FROM coupon WHERE coupon.code = unfinished.code)
  AND NOT EXISTS (SELECT FROM alert WHERE alert.code = :alert AND resolved_at IS NULL
                  AND subject IN (CAST(unfinished.id AS text), unfinished.code))
LIMIT :chunk
""")
"""Redemptions that no worker has started, and those without a code."""
_RESOLVE: Final = text("""
UPDATE alert SET resolved_at = now()
WHERE code = :alert AND resolved_at IS NULL
  AND (EXISTS (SELECT FROM coupon WHERE coupon.code = alert.subject AND state NOT IN ('pending', 'held'))
       OR EXISTS (SELECT FROM job WHERE CAST(job.id AS text) = alert.subject AND NOT job.open AND NOT job.dead))
""")


async def watch_deadline(engine: AsyncEngine, deadline: timedelta, confirm_within: timedelta) -> int:
    """Resolve the alerts that are settled and raise new ones; returns how many were raised."""
    raised = 0
    async with engine.begin() as connection:
        await connection.execute(_RESOLVE, {"alert": ReasonCode.COUPON_OVERDUE})
        parameters = {"deadline": deadline, "alert": ReasonCode.COUPON_OVERDUE, "chunk": CHUNK}
        unconfirmed = {"pending": ReasonCode.CONFIRMATION_PENDING, "confirm_within": confirm_within}
        for row in (await connection.execute(_OVERDUE, parameters | unconfirmed)).all():
            facts = {"state": row.state, "seconds": round(row.age)}
            raised += await raise_alert(connection, _overdue(row.reason_code, row.facts, **facts), row.code)
        for row in (await connection.execute(_NOT_STARTED, parameters)).all():
            reason = _overdue(row.reason_code, row.facts, job=row.id, job_state=row.state)
            raised += await raise_alert(connection, reason, row.code or row.id)
    return raised


def _overdue(code: str | None, facts: Mapping[str, JsonValue] | None, **more: JsonValue) -> Reason:
    """The alert's reason. `code` and `facts` are those of the coupon or of the job."""
    cause = stored(code, facts)
    return because(ReasonCode.COUPON_OVERDUE, **more, cause=None if cause is None else cause.as_fact())
