"""The deadline: a redemption that is no coupon in time raises an alert, and the alert ends when it is settled."""

from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.operations.alerts.raised import raise_alert

KIND: Final = "coupon_late"
CHUNK: Final = 500
_LATE: Final = text("""
SELECT code, state, reason, extract(epoch FROM now() - received_at) AS age FROM coupon
WHERE state IN ('pending', 'held') AND received_at < now() - CAST(:deadline AS interval)
  AND NOT EXISTS (SELECT FROM alert WHERE kind = :kind AND subject = coupon.code AND resolved_at IS NULL)
ORDER BY received_at LIMIT :chunk
""")
_NEVER_STARTED: Final = text("""
WITH owed AS (
    SELECT id, params ->> 'code' AS code, state, detail, created_at FROM job
    WHERE channel = 'store' AND open AND kind = 'issue_coupon'
    UNION ALL
    SELECT id, params ->> 'code', state, detail, created_at FROM job WHERE dead AND kind = 'issue_coupon'
)
SELECT CAST(id AS text) AS id, code, state, coalesce(detail, '') AS detail FROM owed
WHERE created_at < now() - CAST(:deadline AS interval)
  AND NOT EXISTS (SELECT FROM coupon WHERE coupon.code = owed.code)
  AND NOT EXISTS (SELECT FROM alert WHERE kind = :kind AND resolved_at IS NULL
                  AND subject IN (CAST(owed.id AS text), owed.code))
LIMIT :chunk
""")
"""Redemptions that the worker has not even looked at, and those that carried no code."""
_OVER: Final = text("""
UPDATE alert SET resolved_at = now()
WHERE kind = :kind AND resolved_at IS NULL
  AND (EXISTS (SELECT FROM coupon WHERE code = alert.subject AND state NOT IN ('pending', 'held'))
       OR EXISTS (SELECT FROM job WHERE CAST(job.id AS text) = alert.subject AND NOT job.open AND NOT job.dead))
""")


async def watch_deadline(engine: AsyncEngine, deadline: timedelta) -> int:
    """One look: how many alerts were raised."""
    raised = 0
    first = "POST /v1/coupons/{code}/approve, /value or /retire once it is clear; docs/coupons.md"
    async with engine.begin() as connection:
        await connection.execute(_OVER, {"kind": KIND})
        parameters = {"deadline": deadline, "kind": KIND, "chunk": CHUNK}
        for row in (await connection.execute(_LATE, parameters)).all():
            detail = f"{row.state} since {float(row.age):.0f} s: {row.reason or 'the shop has not been told yet'}"
            raised += await raise_alert(connection, KIND, row.code, detail, first.replace("{code}", row.code))
        for row in (await connection.execute(_NEVER_STARTED, parameters)).all():
            detail = f"its job is {row.state}: {row.detail or 'the shop has not been called for it yet'}"
            first = f"look at GET /v1/jobs/{row.id}"
            raised += await raise_alert(connection, KIND, row.code or row.id, detail, first)
    return raised
