"""What a person may do to jobs and destinations: retry, drop, wake, pause, resume. Every act is written to the audit.

Jobs are changed under their lane's row lock, like everywhere in the engine.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.audit.hash_chain import START, Line, line_hash
from platform_relay.core.database import advisory_lock
from platform_relay.core.reasons import ReasonCode, because, columns
from platform_relay.queue import destinations, queue
from platform_relay.queue.states import Ending

CHUNK: Final = 500
"""Jobs per transaction: an operator's bulk retry must not hold locks that live traffic waits for."""

_MATCHING: Final = """
    dead AND (CAST(:kind AS text) IS NULL OR kind = :kind) AND (CAST(:disposition AS text) IS NULL OR disposition = :disposition)
    AND (CAST(:reason_code AS text) IS NULL OR reason_code = :reason_code)
    AND (CAST(:before AS timestamptz) IS NULL OR finished_at < :before)
"""
_COUNT: Final = text(f"SELECT count(*) FROM job WHERE {_MATCHING}")  # noqa: S608  # constants only
_SELECT: Final = text(f"SELECT id FROM job WHERE {_MATCHING} AND id > :cursor ORDER BY id LIMIT :limit")  # noqa: S608

_RETRY: Final = text("""
WITH chosen AS (
    SELECT id, destination, lane FROM job WHERE id = ANY(CAST(:ids AS uuid[])) AND dead
),
counted AS (
    SELECT chosen.destination, chosen.lane, count(*) AS jobs FROM chosen GROUP BY 1, 2 ORDER BY 1, 2
),
lanes AS (
    INSERT INTO lane (destination, key, run_at, claim, leased, awaited, priority, waiting, last_seq)
    SELECT destination, lane, now(), 0, false, false, 0, jobs, jobs FROM counted
    ON CONFLICT (destination, key) DO UPDATE SET waiting = lane.waiting + excluded.waiting,
        last_seq = lane.last_seq + excluded.waiting,
        run_at = CASE WHEN lane.leased THEN lane.run_at ELSE excluded.run_at END
    RETURNING destination, key, last_seq
)
UPDATE job SET state = 'waiting', disposition = 'operator_retry', reason_code = :reason_code, facts = CAST(:facts AS jsonb),
    attempts = 0, uncertain = true, created_at = now(), finished_at = NULL, seq = lanes.last_seq - numbered.behind
FROM (SELECT chosen.*, row_number() OVER (PARTITION BY destination, lane ORDER BY id DESC) - 1 AS behind FROM chosen) AS numbered
JOIN lanes ON lanes.destination = numbered.destination AND lanes.key = numbered.lane
WHERE job.id = numbered.id
RETURNING job.id, job.destination
""")
"""Dead jobs take a place at the end of their lanes and start anew; what they may have done before is probed for."""

_LOCK_DEAD: Final = text("SELECT id FROM job WHERE id = ANY(CAST(:ids AS uuid[])) AND dead ORDER BY id FOR UPDATE")

_LOCK_LANES: Final = text("""
SELECT lane.key FROM lane
WHERE (lane.destination, lane.key) IN (SELECT destination, lane FROM job WHERE id = ANY(CAST(:ids AS uuid[])))
ORDER BY lane.destination, lane.key FOR UPDATE
""")

_DROP: Final = text("""
WITH chosen AS (
    SELECT id, destination, lane, open FROM job
    WHERE id = ANY(CAST(:ids AS uuid[])) AND state IN ('waiting', 'dead')
),
counted AS (
    SELECT destination, lane, count(*) AS jobs FROM chosen WHERE open GROUP BY destination, lane
),
lanes AS (
    UPDATE lane SET waiting = lane.waiting - counted.jobs, run_at = CASE WHEN leased THEN run_at ELSE now() END,
        waits_for = NULL
    FROM counted WHERE lane.destination = counted.destination AND lane.key = counted.lane
)
UPDATE job SET state = 'dropped', disposition = NULL, reason_code = :reason_code, facts = CAST(:facts AS jsonb),
    finished_at = now()
FROM chosen WHERE job.id = chosen.id
RETURNING job.id
""")

_LOCK_AUDIT: Final = advisory_lock("'audit'")
_AUDIT_HEAD: Final = text("""
SELECT now() AS at, last.seq, last.hash
FROM (SELECT) AS always LEFT JOIN LATERAL (SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1) AS last ON true
""")
_AUDIT: Final = text("""
INSERT INTO audit (id, seq, hash, at, actor, action, subject, detail)
VALUES (:id, :seq, :hash, :at, :actor, :action, :subject, CAST(:detail AS jsonb))
""")


@dataclass(frozen=True, slots=True)
class DeadJobs:
    """Which dead jobs: of a kind, with a disposition or a reason code, dead since before a moment; None: any."""

    kind: str | None = None
    disposition: Ending | None = None
    reason_code: ReasonCode | None = None
    before: datetime | None = None


class Operator:
    """`on_work` is told the destinations where something became due."""

    def __init__(self, engine: AsyncEngine, on_work: Callable[[frozenset[str]], None] = lambda _: None) -> None:
        self._engine = engine
        self._on_work = on_work

    async def retry(self, ids: Sequence[UUID], by: str) -> int:
        """Dead jobs wait again; how many there were. Others among `ids` are left as they are."""
        async with self._engine.begin() as connection:
            await connection.execute(_LOCK_LANES, {"ids": list(ids)})
            dead = (await connection.execute(_LOCK_DEAD, {"ids": list(ids)})).scalars().all()
            if not dead:
                return 0
            reason = because(ReasonCode.OPERATOR_RETRY, by=by)
            done = (await connection.execute(_RETRY, {"ids": list(dead), **columns(reason)})).all()
            await audit(connection, by, "job.retry", str(dead[0]) if len(dead) == 1 else "jobs", {"jobs": len(done)})
        self._on_work(frozenset(row.destination for row in done))
        return len(done)

    async def count_matching(self, which: DeadJobs) -> int:
        async with self._engine.connect() as connection:
            return int((await connection.execute(_COUNT, _filter(which))).scalar_one())

    async def retry_matching(self, which: DeadJobs, by: str) -> int:
        """Retry all that match now, in chunks; how many."""
        total, cursor = 0, UUID(int=0)
        while True:
            async with self._engine.connect() as connection:
                rows = await connection.execute(_SELECT, {**_filter(which), "cursor": cursor, "limit": CHUNK})
                ids = list(rows.scalars())
            if not ids:
                return total
            cursor = ids[-1]
            total += await self.retry(ids, by)

    async def drop(self, ids: Sequence[UUID], by: str, why: str) -> int:
        """Waiting and dead jobs are given up for good; how many. One that runs right now is left alone."""
        async with self._engine.begin() as connection:
            await connection.execute(_LOCK_LANES, {"ids": list(ids)})
            reason = because(ReasonCode.OPERATOR_DROPPED, by=by, comment=why)
            dropped = (await connection.execute(_DROP, {"ids": list(ids), **columns(reason)})).scalars().all()
            if dropped:
                subject = str(dropped[0]) if len(dropped) == 1 else "jobs"
                await audit(connection, by, "job.drop", subject, {"jobs": len(dropped), "why": why})
            return len(dropped)

    async def wake(self, keys: Sequence[str]) -> int:
        """Lanes that wait for one of `keys` run again now; how many."""
        destinations = await queue.wake(self._engine, keys)
        self._on_work(frozenset(destinations))
        return len(destinations)

    async def pause(self, destination: str, why: str, by: str) -> bool:
        """Stop a destination's calls; false when there is no such destination."""
        async with self._engine.begin() as connection:
            reason = because(ReasonCode.OPERATOR_PAUSED, destination=f"the {destination}", by=by, comment=why)
            if not await destinations.pause(connection, destination, reason):
                return False
            await audit(connection, by, "destination.pause", destination, {"why": why})
            return True

    async def resume(self, destination: str, by: str) -> bool:
        """Let a paused, blocked or tripped destination go on; false when there is none, or it is open."""
        async with self._engine.begin() as connection:
            if not await destinations.resume(connection, destination):
                return False
            await audit(connection, by, "destination.resume", destination, {})
        self._on_work(frozenset({destination}))
        return True


async def audit(
    connection: AsyncConnection, actor: str, action: str, subject: str, detail: Mapping[str, object]
) -> None:
    """One more line of the audit's chain, in the caller's transaction: its last statement, since the chain is locked
    until the end of it. `detail` holds texts, whole numbers, truth values and lists of them."""
    await connection.execute(_LOCK_AUDIT)  # apart: the next statement has to see what was committed meanwhile
    head = (await connection.execute(_AUDIT_HEAD)).one()
    line = Line((head.seq or 0) + 1, uuid_utils.compat.uuid7(), head.at, actor, action, subject, dict(detail))
    await connection.execute(
        _AUDIT,
        {
            "id": line.id,
            "seq": line.seq,
            "hash": line_hash(START if head.hash is None else bytes(head.hash), line),
            "at": line.at,
            "actor": actor,
            "action": action,
            "subject": subject,
            "detail": json.dumps(line.detail),
        },
    )


def _filter(which: DeadJobs) -> dict[str, object]:
    return {
        "kind": which.kind,
        "disposition": which.disposition,
        "reason_code": which.reason_code,
        "before": which.before,
    }
