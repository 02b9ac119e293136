"""What an operator can do to jobs and destinations: retry, drop, wake, pause and resume. Each action is audited.

Jobs are changed while their lane's row is locked, as everywhere in the queue.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.audit.record import audit
from platform_relay.core.reasons import ReasonCode, because, columns
from platform_relay.queue import destinations, queue
from platform_relay.queue.statements.expressions import FIRST_SEQ
from platform_relay.queue.states import Ending

CHUNK: Final = 500
"""Jobs per transaction, so that a bulk retry does not hold locks that live traffic waits for."""

_MATCHING: Final = """
    dead AND (CAST(:kind AS text) IS NULL OR kind = :kind) AND (CAST(:disposition AS text) IS NULL OR disposition = :disposition)
    AND (CAST(:reason_code AS text) IS NULL OR reason_code = :reason_code)
    AND (CAST(:before AS timestamptz) IS NULL OR finished_at < :before)
"""
_COUNT: Final = text(f"SELECT count(*) AS jobs, now() AS at FROM job WHERE {_MATCHING}")  # noqa: S608  # constants only
_SELECT: Final = text(f"SELECT id FROM job WHERE {_MATCHING} AND id > :cursor ORDER BY id LIMIT :limit")  # noqa: S608

_RETRY: Final = text(f"""
WITH chosen AS (
    SELECT id, destination, lane, depends_on FROM job WHERE id = ANY(CAST(:ids AS uuid[]))
),
counted AS (
    SELECT chosen.destination, chosen.lane, count(*) AS jobs, max(depends_on) AS owner FROM chosen GROUP BY 1, 2 ORDER BY 1, 2
),
lanes AS (
    INSERT INTO lane (destination, key, run_at, fencing_token, leased, has_dependents, priority, open_jobs, last_seq, owner)
    SELECT destination, lane, now(), 0, false, false, 0, jobs, {FIRST_SEQ} + jobs, owner FROM counted
    ON CONFLICT (destination, key) DO UPDATE SET open_jobs = lane.open_jobs + excluded.open_jobs,
        last_seq = lane.last_seq + excluded.open_jobs, owner = coalesce(lane.owner, excluded.owner),
        run_at = CASE WHEN lane.leased THEN lane.run_at ELSE excluded.run_at END
    RETURNING destination, key, last_seq
)
UPDATE job SET state = 'waiting', disposition = CASE WHEN :by_operator THEN 'operator_retry' END,
    reason_code = CASE WHEN :by_operator THEN :reason_code ELSE reason_code END,
    facts = CASE WHEN :by_operator THEN CAST(:facts AS jsonb) ELSE facts END,
    attempts = 0, created_at = CASE WHEN :by_operator THEN now() ELSE created_at END, finished_at = NULL,
    seq = lanes.last_seq - numbered.behind,
    uncertain = uncertain OR version IS NULL OR disposition IS DISTINCT FROM 'rejected',
    params = CASE WHEN CAST(:as_newest AS boolean) THEN coalesce(params, '{{}}') || '{{"as_newest": "operator"}}' ELSE params END
FROM (SELECT chosen.*, row_number() OVER (PARTITION BY destination, lane ORDER BY id DESC) - 1 AS behind FROM chosen) AS numbered
JOIN lanes ON lanes.destination = numbered.destination AND lanes.key = numbered.lane
WHERE job.id = numbered.id
RETURNING job.id, job.destination
""")  # noqa: S608  # constants only
"""Locked jobs are appended to their lanes and their attempts are reset. They are uncertain: the destination is asked first.
A version that was rejected did not arrive, and must not count as possibly delivered when it is rejected again. `by_operator`
False: the job keeps its reason and its age."""

_LOCK_DEAD: Final = text("SELECT id FROM job WHERE id = ANY(CAST(:ids AS uuid[])) AND dead ORDER BY id FOR UPDATE")
_LOCK_ENDED: Final = text("""
SELECT id FROM job WHERE id = ANY(CAST(:ids AS uuid[])) AND (dead OR state = 'superseded') ORDER BY id FOR UPDATE
""")

_LANES: Final = text("SELECT destination, lane FROM job WHERE id = ANY(CAST(:ids AS uuid[]))")

_DROP: Final = text("""
WITH chosen AS (
    SELECT id, destination, lane, open, version, uncertain FROM job
    WHERE id = ANY(CAST(:ids AS uuid[])) AND state IN ('waiting', 'dead')
),
maybe_delivered AS (
    INSERT INTO entity (destination, key, exists_remotely, version)
    SELECT destination, lane, false, max(version) FROM chosen WHERE uncertain
    GROUP BY destination, lane
    HAVING max(version) IS NOT NULL
        OR EXISTS (SELECT FROM entity WHERE entity.destination = chosen.destination AND entity.key = chosen.lane)
    ORDER BY destination, lane
    ON CONFLICT (destination, key) DO UPDATE SET version = greatest(entity.version, excluded.version), digest = NULL
),
counted AS (
    SELECT destination, lane, count(*) AS jobs FROM chosen WHERE open GROUP BY destination, lane
),
lanes AS (
    UPDATE lane SET open_jobs = lane.open_jobs - counted.jobs, run_at = CASE WHEN leased THEN run_at ELSE now() END,
        waits_for = NULL
    FROM counted WHERE lane.destination = counted.destination AND lane.key = counted.lane
)
UPDATE job SET state = 'dropped', disposition = NULL, reason_code = :reason_code, facts = CAST(:facts AS jsonb),
    finished_at = now()
FROM chosen WHERE job.id = chosen.id
RETURNING job.id
""")
"""A dropped version that may have been delivered still supersedes the older ones. With or without a version, its content may
be at the destination, so the entity's digest is no longer known."""


@dataclass(frozen=True, slots=True)
class DeadJobs:
    """A filter for dead jobs. None means any; `before` is a limit for the time at which a job became dead."""

    kind: str | None = None
    disposition: Ending | None = None
    reason_code: ReasonCode | None = None
    before: datetime | None = None


class OperatorActions:
    """The actions of an operator. `on_work` is called with the destinations that have jobs due now."""

    def __init__(self, engine: AsyncEngine, on_work: Callable[[frozenset[str]], None] = lambda _: None) -> None:
        self._engine = engine
        self._on_work = on_work

    async def retry(self, ids: Sequence[UUID], by: str) -> int:
        """Let dead jobs wait again, and return how many there were. Jobs that are not dead are left unchanged."""
        async with self._engine.begin() as connection:
            dead = await _lock_dead(connection, ids)
            if not dead:
                return 0
            destinations = await _retry(connection, dead, by, as_newest=False)
            await audit(connection, by, "job.retry", _subject(dead), {"jobs": len(dead)})
        self._on_work(destinations)
        return len(dead)

    async def send_as_newest(self, job_id: UUID, by: str, why: str) -> bool:
        """Send a dead or superseded job before the waiting jobs of its lane, as the newest version of its entity.

        It does not matter whether a newer version was delivered. After the delivery, later versions are compared with this
        one. False if the job is in another state.
        """
        async with self._engine.begin() as connection:
            await _lock_lanes(connection, [job_id])
            ended = (await connection.execute(_LOCK_ENDED, {"ids": [job_id]})).scalars().all()
            if not ended:
                return False
            destinations = await _retry(connection, ended, by, as_newest=True)
            await audit(connection, by, "job.send_as_newest", str(job_id), {"why": why})
        self._on_work(destinations)
        return True

    async def count_matching(self, which: DeadJobs) -> tuple[int, datetime]:
        """How many there are, and the time of the count."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_COUNT, asdict(which))).one()
            return row.jobs, row.at

    async def retry_matching(self, which: DeadJobs, by: str) -> int:
        """Retry all jobs that match, in chunks, and return how many were retried. Those that match later are left out."""
        total, cursor = 0, UUID(int=0)
        if which.before is None:
            _, now = await self.count_matching(which)
            which = replace(which, before=now)
        while True:
            async with self._engine.connect() as connection:
                rows = await connection.execute(_SELECT, {**asdict(which), "cursor": cursor, "limit": CHUNK})
                ids = list(rows.scalars())
            if not ids:
                return total
            cursor = ids[-1]
            total += await self.retry(ids, by)

    async def drop(self, ids: Sequence[UUID], by: str, why: str) -> int:
        """Drop waiting and dead jobs, so that they are never sent, and return how many. Running jobs are left unchanged."""
        async with self._engine.begin() as connection:
            await _lock_lanes(connection, ids)
            reason = because(ReasonCode.OPERATOR_DROPPED, by=by, comment=why)
            dropped = (await connection.execute(_DROP, {"ids": list(ids), **columns(reason)})).scalars().all()
            if dropped:
                await audit(connection, by, "job.drop", _subject(dropped), {"jobs": len(dropped), "why": why})
            return len(dropped)

    async def wake(self, keys: Sequence[str]) -> int:
        """Let lanes that wait for one of `keys` run now, and return how many.

        This is a consequence of another action, such as a new reward rule, which writes the audit entry.
        """
        woken = await queue.wake(self._engine, keys)
        self._on_work(frozenset(woken))
        return len(woken)

    async def wake_held(self, key: str, by: str) -> int:
        """Let the jobs that are held because of `key` run now, and return the number of lanes."""
        lanes = await self.wake([key])
        if lanes:
            async with self._engine.begin() as connection:
                await audit(connection, by, "job.wake", key, {"lanes": lanes})
        return lanes

    async def pause(self, destination: str, why: str, by: str) -> bool:
        """Stop the calls to a destination; False if there is no such destination."""
        async with self._engine.begin() as connection:
            reason = because(
                ReasonCode.OPERATOR_PAUSED, destination=destinations.display_name(destination), by=by, comment=why
            )
            if not await destinations.pause(connection, destination, reason):
                return False
            await audit(connection, by, "destination.pause", destination, {"why": why})
            return True

    async def resume(self, destination: str, by: str) -> bool:
        """Open a paused, blocked or tripped destination; False if there is no such destination, or it is open."""
        async with self._engine.begin() as connection:
            if not await destinations.resume(connection, destination):
                return False
            await audit(connection, by, "destination.resume", destination, {})
        self._on_work(frozenset({destination}))
        return True


async def try_once_more(connection: AsyncConnection, ids: Sequence[UUID]) -> int:
    """Let dead jobs run again without an operator, and return how many there were. They keep their age and their reason."""
    dead = await _lock_dead(connection, ids)
    if dead:
        await _retry(connection, dead, "", as_newest=False, by_operator=False)
    return len(dead)


async def _lock_lanes(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Lock the lanes of jobs."""
    lanes = (await connection.execute(_LANES, {"ids": list(ids)})).all()
    await queue.lock_lanes(connection, [(row.destination, row.lane) for row in lanes])


async def _lock_dead(connection: AsyncConnection, ids: Sequence[UUID]) -> Sequence[UUID]:
    """Lock the lanes of the jobs, and those of the jobs that are dead. Returns the dead ones."""
    await _lock_lanes(connection, ids)
    return (await connection.execute(_LOCK_DEAD, {"ids": list(ids)})).scalars().all()


async def _retry(
    connection: AsyncConnection, ids: Sequence[UUID], by: str, *, as_newest: bool, by_operator: bool = True
) -> frozenset[str]:
    """Let locked jobs wait again. Returns their destinations."""
    reason = because(ReasonCode.OPERATOR_RETRY, by=by)
    parameters = {"ids": list(ids), "as_newest": as_newest, "by_operator": by_operator, **columns(reason)}
    return frozenset(row.destination for row in await connection.execute(_RETRY, parameters))


def _subject(ids: Sequence[UUID]) -> str:
    """The subject of the audit entry."""
    return str(ids[0]) if len(ids) == 1 else "jobs"
