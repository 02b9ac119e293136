"""The end of the trial: from its commit on, what arrives is sent. Audited, and final.

What arrived in the trial stays skipped, unless the operator chooses a window: then the newest event of each customer, order
and product since then is enqueued again, after all live events. Redemptions of the trial are never issued.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final  # Any: rows

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.audit.record import audit
from platform_relay.core.outcomes import JobSpec
from platform_relay.queue.queue import NewJob, enqueue, lock_lanes

CHUNK: Final = 500

_LOCK: Final = text("LOCK TABLE trial IN ACCESS EXCLUSIVE MODE")
"""A process that reads that the trial runs does so before `live_at`."""
_STATE: Final = text("SELECT started_at, live_at, resend_since, resent_to FROM trial")
_SWITCH: Final = text("""
UPDATE trial SET live_at = clock_timestamp(), resend_since = CAST(:since AS timestamptz),
    resent_to = CASE WHEN CAST(:since AS timestamptz) IS NOT NULL THEN '' END
RETURNING live_at
""")
_OF_TRIAL: Final = """
    FROM job JOIN message ON message.id = job.message_id
    WHERE job.state = 'skipped' AND job.reason_code = 'shadow' AND job.facts ? 'call'
      AND job.kind IN ('forward_customer', 'forward_order', 'forward_product')
      AND CAST(:since AS timestamptz) IS NOT NULL AND message.received_at >= CAST(:since AS timestamptz)
"""
_COUNT: Final = text(
    f"SELECT job.kind, count(DISTINCT job.lane) AS entities {_OF_TRIAL} GROUP BY job.kind"
)  # constants
_REST: Final = text("""
SELECT (SELECT count(*) FROM job WHERE kind = 'issue_coupon' AND reason_code = 'shadow') AS redemptions,
       (SELECT count(*) FROM job WHERE open) AS waiting
""")
_NEWEST: Final = text(f"""
SELECT DISTINCT ON (job.lane) job.lane, job.id {_OF_TRIAL} AND job.lane > :after
ORDER BY job.lane, job.version DESC NULLS LAST, job.seq DESC
""")  # constants only
_CHOSEN: Final = text("""
SELECT job.message_id, job.kind, job.destination, job.lane, job.version, job.depends_on, job.collapse, job.params
FROM job WHERE job.id = ANY(CAST(:ids AS uuid[]))
  AND (job.version IS NOT NULL OR NOT EXISTS (
        SELECT FROM job AS other WHERE other.destination = job.destination AND other.lane = job.lane AND other.open
          AND other.created_at >= (SELECT live_at FROM trial)))
  AND (job.version IS NOT NULL OR NOT EXISTS (
        SELECT FROM entity WHERE entity.destination = job.destination AND entity.key = job.lane AND entity.exists_remotely))
ORDER BY job.lane
""")
"""Without a version, nothing shows which of two events is newer. What arrived after the switch is."""
_PROGRESS: Final = text("UPDATE trial SET resent_to = :lane")


class NotPossibleError(ValueError):
    """The relay is not in its trial, or the window is not possible. The text gives the reason and what to do instead."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What the switch does. `resent`: entities by job kind whose newest event is sent again; `redemptions` of the trial, which
    are never issued; `waiting`: jobs that are not finished, which end as skipped."""

    resent: Mapping[str, int] = field(default_factory=dict)
    redemptions: int = 0
    waiting: int = 0


async def preview(engine: AsyncEngine, since: datetime | None) -> Preview:
    """Changes nothing. Raises NotPossibleError."""
    async with engine.connect() as connection:
        _check((await connection.execute(_STATE)).one_or_none(), since)
        resent = {row.kind: row.entities for row in await connection.execute(_COUNT, {"since": since})}
        rest = (await connection.execute(_REST)).one()
        return Preview(resent, rest.redemptions, rest.waiting)


async def go_live(engine: AsyncEngine, since: datetime | None, by: str) -> datetime:
    """End the trial, and return the time of the switch. `resend` sends the window. Raises NotPossibleError."""
    async with engine.begin() as connection:
        await connection.execute(_LOCK)
        _check((await connection.execute(_STATE)).one_or_none(), since)
        live_at: datetime = (await connection.execute(_SWITCH, {"since": since})).scalar_one()
        await audit(connection, by, "trial.go_live", "trial", {"since": since.isoformat() if since else "the switch"})
    return live_at


async def resend(engine: AsyncEngine) -> int | None:
    """Enqueue what is left of the window, and return how many events; None if there is no window, or it was enqueued.

    Can be repeated after an interruption: no event is enqueued twice.
    """
    async with engine.connect() as connection:
        state = (await connection.execute(_STATE)).one_or_none()
        if state is None or state.live_at is None or state.resent_to is None:
            return None
        parameters = {"since": state.resend_since, "after": state.resent_to}
        newest = [(row.lane, row.id) for row in await connection.execute(_NEWEST, parameters)]
    sent = 0
    for start in range(0, len(newest), CHUNK):
        async with engine.begin() as connection:
            sent += await _resend_chunk(connection, newest[start : start + CHUNK])
    async with engine.begin() as connection:
        await connection.execute(_PROGRESS, {"lane": None})
    return sent


async def switched_at(engine: AsyncEngine) -> datetime:
    """The time of the switch, of a relay that is live."""
    async with engine.connect() as connection:
        live_at: datetime = (await connection.execute(_STATE)).one().live_at
        return live_at


async def _resend_chunk(connection: AsyncConnection, chunk: Sequence[tuple[str, object]]) -> int:
    await connection.execute(_LOCK)  # one command at a time, and progress is read under the lock
    state = (await connection.execute(_STATE)).one()
    left = [(lane, job) for lane, job in chunk if state.resent_to is not None and lane > state.resent_to]
    if not left:
        return 0
    await lock_lanes(connection, [("platform", lane) for lane, _ in left])
    rows = (await connection.execute(_CHOSEN, {"ids": [job for _, job in left]})).all()
    await enqueue(connection, [_again(row) for row in rows])
    await connection.execute(_PROGRESS, {"lane": left[-1][0]})
    return len(rows)


def _again(row: Row[Any]) -> NewJob:  # Any: a row's columns
    """The job of an event that is sent after the switch, after all live events."""
    return NewJob(
        row.message_id,
        JobSpec(row.kind, row.destination, row.lane, row.params or {}, row.depends_on, row.collapse, backfill=True),
        row.version,
    )


def _check(state: Row[Any] | None, since: datetime | None) -> None:  # Any: as above
    """Raises NotPossibleError."""
    if state is None or state.started_at is None:
        raise NotPossibleError("this relay is not in a trial. Its first start was without MODE=shadow (docs/trial.md)")
    if state.live_at is not None:
        raise NotPossibleError(
            f"the trial has ended: this relay has been live since {state.live_at:%Y-%m-%d %H:%M} UTC"
        )
    if since is not None and since < state.started_at:
        raise NotPossibleError(
            f"the trial began at {state.started_at:%Y-%m-%d %H:%M:%S} UTC; choose that time or a later one for the window"
        )
