"""What the API, the CLI and the console show of messages, jobs and destinations. Reads only."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, Select, and_, case, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.alerts.alerts import count_open
from platform_relay.core.database import is_one_of, key_ring_of
from platform_relay.core.encryption import OVERHEAD
from platform_relay.core.metrics import Backlog, QueueSnapshot
from platform_relay.core.models import Destination, Job, Lane, Message
from platform_relay.core.paging import Cursor, KeyText, Page
from platform_relay.core.reasons import ReasonCode, stored
from platform_relay.jobs.views import (
    AttemptView,
    Counts,
    DestinationView,
    JobCounts,
    JobDetail,
    JobView,
    MessageView,
    counted_state,
    job_texts,
    message_text,
    reason_fields,
)
from platform_relay.queue.attempts import ATTEMPTS
from platform_relay.queue.oldest_waiting import OldestWaiting

# ----------------------------------------------------------------------------------------------- jobs, messages

_JOB_CURSOR: Final = Cursor("jobs", TypeAdapter(UUID))
_DESTINATION_CURSOR: Final = Cursor("destinations", TypeAdapter[str](KeyText))
_JOBS: Final = (
    select(Job.__table__, Lane.run_at, Lane.waits_for, Destination.state.label("destination_state"))
    .outerjoin(Lane, and_(Lane.destination == Job.destination, Lane.key == Job.lane))
    .outerjoin(Destination, Destination.name == Job.destination)
)
_ATTEMPTS: Final = text(f"""
SELECT * FROM {ATTEMPTS} AS attempt WHERE job_id = ANY(CAST(:ids AS uuid[])) ORDER BY job_id, fencing_token
""")  # noqa: S608  # constants only


async def find_message(connection: AsyncConnection, message_id: UUID) -> MessageView | None:
    size = (func.octet_length(Message.body) - case((Message.encrypted_with.is_(None), 0), else_=OVERHEAD)).label("size")
    columns = select(
        Message.id, Message.source, Message.kind, Message.received_at, size, Message.reason_code, Message.facts
    )
    row = (await connection.execute(columns.where(Message.id == message_id))).mappings().one_or_none()
    if row is None:
        return None
    jobs = await _with_attempts(connection, _JOBS.where(Job.message_id == message_id).order_by(Job.id))
    state, state_text = message_text(counted_state(job.state, job.kind, job.disposition) for job in jobs)
    reason = stored(row["reason_code"], row["facts"])
    return MessageView(**row, state=state, text=state_text, reason=reason.text if reason else None, jobs=jobs)


async def find_job(connection: AsyncConnection, job_id: UUID) -> JobDetail | None:
    jobs = await _with_attempts(connection, _JOBS.where(Job.id == job_id))
    return jobs[0] if jobs else None


async def list_jobs(
    connection: AsyncConnection,
    *,
    state: str | None = None,
    kind: str | None = None,
    lane: str | None = None,
    reason_code: ReasonCode | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[JobView]:
    """Newest first. `cursor` is the last page's `next_cursor`. Raises QueryInvalid for a cursor of another list."""
    statement = _JOBS.order_by(Job.id.desc()).limit(limit + 1)
    if state == "dead":
        statement = statement.where(Job.dead)  # the partial index knows `dead`, not `state`
    elif state is not None:
        statement = statement.where(Job.state == state)
    if kind is not None:
        statement = statement.where(Job.kind == kind)
    if lane is not None:
        statement = statement.where(Job.lane == lane)
    if reason_code is not None:
        statement = statement.where(Job.reason_code == reason_code)
    if (after := _JOB_CURSOR.decode(cursor)) is not None:
        statement = statement.where(Job.id < after)
    jobs = [_job(row) for row in (await connection.execute(statement)).mappings()]
    return _JOB_CURSOR.page(jobs, limit, lambda job: job.id)


async def list_jobs_by_id(connection: AsyncConnection, ids: Sequence[UUID]) -> list[JobView]:
    """Those of `ids` that exist, by id."""
    rows = await connection.execute(_JOBS.where(is_one_of(Job.id, ids)).order_by(Job.id))
    return [_job(row) for row in rows.mappings()]


async def _with_attempts(connection: AsyncConnection, statement: Select[*tuple[object, ...]]) -> list[JobDetail]:
    jobs = [_job(row) for row in (await connection.execute(statement)).mappings()]
    ring = key_ring_of(connection)
    attempts: dict[UUID, list[AttemptView]] = {job.id: [] for job in jobs}
    for row in (await connection.execute(_ATTEMPTS, {"ids": list(attempts)})).mappings():
        excerpt = ring.display_text(row["job_id"], row["fencing_token"], row["excerpt"])
        attempts[row["job_id"]].append(AttemptView(**{**row, **reason_fields(row), "excerpt": excerpt}))
    return [JobDetail(**dict(job), attempts=attempts[job.id]) for job in jobs]


def _job(row: RowMapping) -> JobView:
    waiting = row["state"] == "waiting"
    waits_for = row["waits_for"] if waiting else None
    run_at = row["run_at"] if waiting and waits_for is None else None
    reason = stored(row["reason_code"], row["facts"])
    job_text, next_step = job_texts(row["state"], row["disposition"], reason, row["destination_state"])
    shown = {
        "attempt_count": row["attempts"],
        "run_at": run_at,
        "reason_code": reason and reason.code,
        "text": job_text,
        "next_step": next_step,
    }
    return JobView(**{**row, **shown})


# ----------------------------------------------------------------------------------------------- accounting

_COUNT_JOBS: Final = text("""
WITH tally AS (
    SELECT kind, count(*) AS jobs,
           CASE WHEN state = 'done' THEN 'delivered'
                WHEN state <> 'waiting' THEN state
                WHEN uncertain AND (kind <> 'issue_coupon' OR EXISTS (
                    SELECT FROM coupon WHERE coupon.code = job.params ->> 'code' AND coupon.message_id = job.message_id
                                         AND coupon.admitted_at IS NOT NULL)) THEN 'unknown'
                WHEN kind = 'issue_coupon' AND disposition = 'parked' THEN 'held'
                ELSE 'waiting' END AS state
    FROM job WHERE CAST(:reason_code AS text) IS NULL OR reason_code = :reason_code GROUP BY 1, 3
    UNION ALL
    SELECT kind, sum(rows), CASE WHEN state = 'done' THEN 'delivered' ELSE state END
    FROM history_count WHERE kind <> '' AND (CAST(:reason_code AS text) IS NULL OR reason_code = :reason_code) GROUP BY 1, 3
)
SELECT (SELECT count(*) FROM message) + coalesce((SELECT sum(rows) FROM history_count WHERE kind = ''), 0) AS messages,
       coalesce((SELECT sum(rows) FROM history_count
                 WHERE kind <> '' AND (CAST(:reason_code AS text) IS NULL OR reason_code = :reason_code)), 0) AS left_history,
       (SELECT coalesce(sum(open_jobs), 0) FROM lane) = (SELECT count(*) FROM job WHERE open) AS balanced,
       coalesce((SELECT jsonb_agg(to_jsonb(tally)) FROM tally), '[]') AS tally
""")
"""A redemption is sent to the store only after its coupon was admitted. Before that, an attempt that was interrupted, or that
an operator repeats, has sent nothing, so it is not `unknown`. Jobs that left the history are counted in their last state."""


async def read_job_counts(connection: AsyncConnection, reason_code: ReasonCode | None = None) -> JobCounts:
    """All jobs by state, from one snapshot. `reason_code` selects the jobs with that code.

    Reads all jobs, so it is meant for people and not for monitoring.
    """
    row = (await connection.execute(_COUNT_JOBS, {"reason_code": reason_code})).one()
    by_kind: dict[str, dict[str, int]] = {}
    total: dict[str, int] = {}
    for entry in row.tally:
        counts = by_kind.setdefault(entry["kind"], {})
        for sums in (counts, total):
            sums[entry["state"]] = sums.get(entry["state"], 0) + entry["jobs"]
            sums["received"] = sums.get("received", 0) + entry["jobs"]
    return JobCounts(
        messages=int(row.messages),
        left_history=int(row.left_history),
        total=Counts(**total),
        by_kind={kind: Counts(**counts) for kind, counts in sorted(by_kind.items())},
        balanced=row.balanced,
    )


_BACKLOG: Final = text("""
WITH work AS (
    SELECT destination, sum(open_jobs) AS waiting,
           greatest(0, extract(epoch FROM now() - min(CASE WHEN leased THEN greatest(run_at, lease_until) ELSE run_at END)))
               AS oldest
    FROM lane WHERE open_jobs > 0 GROUP BY destination
), dead AS (
    SELECT destination, jsonb_object_agg(reason_code, jobs) AS jobs
    FROM (
        SELECT destination, coalesce(reason_code, '') AS reason_code, count(*) AS jobs FROM job WHERE dead GROUP BY 1, 2
    ) AS by_code
    GROUP BY destination
)
SELECT name, coalesce(work.waiting, 0) AS waiting, coalesce(work.oldest, 0) AS oldest, coalesce(dead.jobs, '{}') AS dead,
       coalesce(destination.state, 'open') AS state
FROM (SELECT name FROM destination UNION SELECT destination FROM work UNION SELECT destination FROM dead) AS names
LEFT JOIN destination USING (name) LEFT JOIN work ON work.destination = name LEFT JOIN dead ON dead.destination = name
ORDER BY name
""")


async def read_backlog(connection: AsyncConnection, oldest: OldestWaiting) -> QueueSnapshot:
    """Numbers for monitoring. Reads only open and dead jobs, so that it can be called every few seconds."""
    ages = await oldest.read(connection)
    destinations = [
        Backlog(row.name, int(row.waiting), float(row.oldest), ages.get(row.name, 0.0), row.dead, row.state)
        for row in await connection.execute(_BACKLOG)
    ]
    return QueueSnapshot(destinations, await count_open(connection))


async def list_destinations(
    connection: AsyncConnection, *, cursor: str | None = None, limit: int = 50
) -> Page[DestinationView]:
    """By name. `cursor` is the last page's `next_cursor`. Raises QueryInvalid for a cursor of another list."""
    statement = _destinations().order_by(Destination.name).limit(limit + 1)
    if (after := _DESTINATION_CURSOR.decode(cursor)) is not None:
        statement = statement.where(Destination.name > after)
    rows = (await connection.execute(statement)).mappings()
    return _DESTINATION_CURSOR.page([_destination(row) for row in rows], limit, lambda destination: destination.name)


async def find_destination(connection: AsyncConnection, name: str) -> DestinationView | None:
    row = (await connection.execute(_destinations().where(Destination.name == name))).mappings().one_or_none()
    return None if row is None else _destination(row)


def _destinations() -> Select[*tuple[object, ...]]:
    open_jobs = (
        select(func.coalesce(func.sum(Lane.open_jobs), 0)).where(Lane.destination == Destination.name).scalar_subquery()
    )
    columns = (
        Destination.name,
        Destination.state,
        Destination.reason_code,
        Destination.facts,
        Destination.since,
        Destination.retry_at,
    )
    return select(*columns, open_jobs.label("waiting"))


def _destination(row: RowMapping) -> DestinationView:
    return DestinationView(**{**row, **reason_fields(row)})
