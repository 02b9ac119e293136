"""Redemptions that the Platform does not list: its negative answers, and the later checks of those that were refused.

A redemption is refused after COUPONS__CONFIRM_WITHIN, but the Platform may list it still later. So it is checked again
about once per RECHECK_AFTER, for RECHECK_FOR. A flood of forged webhooks causes no flood of calls: one run checks at most
CHUNK of them.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.reasons import ReasonCode
from platform_relay.jobs.actions import try_once_more

RECHECK_AFTER: Final = timedelta(hours=1)
RECHECK_FOR: Final = timedelta(days=1)
RECHECK_INTERVAL: Final = 600.0
"""Seconds between two runs of `check_refused`."""
CHUNK: Final = 50

_ANSWERS: Final = text("""
SELECT count(*) AS answers, coalesce(CAST(extract(epoch FROM now() - min(started_at)) AS float8), 0) AS seconds FROM attempt
WHERE job_id = :job AND reason_code = :code
  AND started_at >= coalesce((SELECT created_at FROM job WHERE id = :job), '-infinity')
""")
_REFUSED: Final = text("""
SELECT id FROM job
WHERE dead AND kind = 'issue_coupon' AND reason_code = :not_genuine AND facts ? 'seconds'
  AND finished_at BETWEEN now() - CAST(:recheck_for AS interval) AND now() - CAST(:recheck_after AS interval)
  AND EXISTS (SELECT FROM coupon WHERE code = job.params ->> 'code' AND state IN ('refused', 'held')
                                       AND admitted_at IS NULL AND decision IS NULL)
  AND NOT EXISTS (SELECT FROM attempt WHERE job_id = job.id AND reason_code = :not_genuine
                                        AND started_at < now() - CAST(:recheck_for AS interval))
ORDER BY finished_at LIMIT :chunk
""")
"""`seconds` is a fact only where the Platform did not list the redemption. Another look does not change a contradiction."""


@dataclass(frozen=True, slots=True)
class NegativeAnswers:
    """How often the Platform did not confirm a redemption, and the seconds since the first time, by the database's clock."""

    count: int
    seconds: float


async def negative_answers(engine: AsyncEngine, job_id: UUID, code: ReasonCode) -> NegativeAnswers:
    """The earlier attempts of this job that ended with `code`, since it was created or an operator retried it."""
    async with engine.connect() as connection:
        row = (await connection.execute(_ANSWERS, {"job": job_id, "code": code})).one()
    return NegativeAnswers(row.answers, row.seconds)


async def check_refused(engine: AsyncEngine) -> int:
    """Let the jobs of refused redemptions that are due for another check run once more, and return how many."""
    parameters = {
        "not_genuine": ReasonCode.NOT_GENUINE,
        "recheck_for": RECHECK_FOR,
        "recheck_after": RECHECK_AFTER,
        "chunk": CHUNK,
    }
    async with engine.begin() as connection:
        ids = (await connection.execute(_REFUSED, parameters)).scalars().all()
        return await try_once_more(connection, ids) if ids else 0
