"""All SQL over lanes, jobs, attempts and entities: take on, claim, settle, park, wake.

Three rules hold everywhere:
- whoever changes a job holds its lane's row lock first, lanes always in the order (channel, key);
- a lane is released, and its jobs settled, only by naming the claim under which they were taken;
- all times are the database's: callers pass delays in seconds.

A data-modifying CTE sees the snapshot of the statement's start, so conditions on a lane that was locked in the same
statement look at the locked row (`fenced`), never at the table again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.database import single_statement
from app.engine.jobs import Job
from app.engine.states import Again, Finish, GiveBack, Park, Transition
from app.outcomes import Evidence, Owed

TAKE_ON: Final = """
lanes AS (
    INSERT INTO lane (channel, key, run_at, claim, leased, awaited, priority, waiting, last_seq)
    SELECT channel, lane, now(), 0, false, false, min(priority), count(*), count(*)
    FROM owed GROUP BY channel, lane ORDER BY channel, lane
    ON CONFLICT (channel, key) DO UPDATE SET
        waiting = lane.waiting + excluded.waiting,
        last_seq = lane.last_seq + excluded.waiting,
        run_at = CASE WHEN lane.waiting = 0 THEN excluded.run_at ELSE lane.run_at END,
        priority = CASE WHEN lane.waiting = 0 THEN excluded.priority ELSE least(lane.priority, excluded.priority) END
    RETURNING channel, key, last_seq
),
taken AS (
    INSERT INTO job (id, message_id, kind, channel, lane, seq, state, version, after, collapse, params, attempts,
                     uncertain, created_at)
    SELECT owed.id, owed.message_id, owed.kind, owed.channel, owed.lane,
           lanes.last_seq - count(*) OVER same_lane + row_number() OVER (same_lane ORDER BY owed.position),
           'waiting', owed.version, owed.after, owed.collapse, owed.params, 0, false, now()
    FROM owed JOIN lanes ON lanes.channel = owed.channel AND lanes.key = owed.lane
    WINDOW same_lane AS (PARTITION BY owed.channel, owed.lane)
    RETURNING id
)
"""
"""Jobs and their lanes, from a CTE `owed(id, message_id, kind, channel, lane, version, after, collapse, params,
priority, position)`. A lane that already owes something keeps its due time: a new job does not cut a back-off short."""

OWED_COLUMNS: Final = """
    CAST(:job_ids AS uuid[]), CAST(:job_messages AS uuid[]), CAST(:job_kinds AS text[]), CAST(:job_channels AS text[]),
    CAST(:job_lanes AS text[]), CAST(:job_versions AS timestamptz[]), CAST(:job_afters AS text[]),
    CAST(:job_collapses AS boolean[]), CAST(:job_params AS jsonb[]), CAST(:job_priorities AS smallint[])
) WITH ORDINALITY AS job_input(id, message_id, kind, channel, lane, version, after, collapse, params, priority, position)
"""

_ENQUEUE: Final = text(f"WITH owed AS (SELECT * FROM unnest({OWED_COLUMNS}), {TAKE_ON} SELECT count(*) FROM taken")  # noqa: S608  # constants only

CLAIM: Final = text("""
WITH due AS (
    SELECT channel, key FROM lane
    WHERE channel = :channel AND priority = :priority AND waiting > 0 AND run_at <= now()
      AND (:probing OR EXISTS (SELECT FROM channel WHERE name = :channel AND state = 'open'))
    ORDER BY run_at LIMIT CAST(:limit AS integer)
    FOR UPDATE OF lane SKIP LOCKED
),
claimed AS (
    UPDATE lane SET leased = true, claim = lane.claim + 1, waits_for = NULL,
        run_at = now() + make_interval(secs => :lease)
    FROM due WHERE lane.channel = due.channel AND lane.key = due.key
    RETURNING lane.channel, lane.key, lane.claim
),
head AS (
    SELECT claimed.claim, coalesce(newest.id, first.id) AS id
    FROM claimed
    CROSS JOIN LATERAL (
        SELECT id, collapse FROM job
        WHERE job.channel = claimed.channel AND job.lane = claimed.key AND job.open
        ORDER BY seq LIMIT 1
    ) AS first
    LEFT JOIN LATERAL (
        SELECT id FROM job
        WHERE first.collapse AND job.channel = claimed.channel AND job.lane = claimed.key AND job.open
        ORDER BY version DESC NULLS FIRST, seq DESC LIMIT 1
    ) AS newest ON true
),
lost AS (
    INSERT INTO attempt (job_id, claim, number, started_at, outcome, detail)
    SELECT job.id, head.claim - 1, job.attempts, now(), 'lost',
           'the worker that ran this attempt died or lost its lease; the far side may have acted on it'
    FROM head JOIN job ON job.id = head.id WHERE job.state = 'running'
    ON CONFLICT DO NOTHING
),
started AS (
    UPDATE job SET state = 'running', attempts = job.attempts + 1,
        uncertain = job.uncertain OR job.state = 'running', reason = NULL, detail = NULL
    FROM head WHERE job.id = head.id AND job.open
    RETURNING job.*
)
SELECT claimed.key AS claimed_lane, claimed.claim, started.id, started.message_id, started.kind, started.seq,
       started.attempts, started.uncertain, started.params, started.version, started.after, started.collapse,
       coalesce(message.event, message.body) AS body, coalesce(entity.known, false) AS known, entity.digest,
       entity.version AS delivered_version,
       CAST(extract(epoch FROM now() - started.created_at) AS float8) AS age,
       started.after IS NOT NULL
           AND NOT EXISTS (SELECT FROM entity AS other
                           WHERE other.channel = :channel AND other.key = started.after AND other.known)
           AND EXISTS (SELECT FROM lane AS other
                       WHERE other.channel = :channel AND other.key = started.after AND other.waiting > 0) AS must_wait
FROM claimed
LEFT JOIN started ON started.lane = claimed.key
LEFT JOIN message ON message.id = started.message_id
LEFT JOIN entity ON entity.channel = :channel AND entity.key = claimed.key
""")
"""Take due lanes, oldest first, and start the first job of each; of jobs that collapse, the newest version.
A lane without a job (its last one was finished between the snapshot and the lock) comes back with id null."""

SETTLE: Final = text("""
WITH input AS (
    SELECT * FROM unnest(
        CAST(:lanes AS text[]), CAST(:claims AS bigint[]), CAST(:ids AS uuid[]), CAST(:states AS text[]),
        CAST(:reasons AS text[]), CAST(:details AS text[]), CAST(:uncertains AS boolean[]), CAST(:given_back AS int[]),
        CAST(:results AS jsonb[]), CAST(:delays AS float8[]), CAST(:digests AS bytea[]), CAST(:versions AS timestamptz[]),
        CAST(:known AS boolean[]), CAST(:seqs AS bigint[]), CAST(:collapses AS boolean[]),
        CAST(:numbers AS int[]), CAST(:durations AS int[]), CAST(:outcomes AS text[]), CAST(:statuses AS int[]),
        CAST(:words AS text[]), CAST(:excerpts AS text[])
    ) AS t(lane, claim, id, state, reason, detail, uncertain, given_back, result, delay, digest, version, known, seq,
           collapse, number, duration, outcome, status, words, excerpt)
),
fenced AS (
    SELECT input.*, input.state <> 'waiting' AS finished, lane.awaited, lane.waiting
    FROM input JOIN lane ON lane.channel = :channel AND lane.key = input.lane AND lane.claim = input.claim AND lane.leased
    ORDER BY lane.channel, lane.key
    FOR UPDATE OF lane
),
settled AS (
    UPDATE job SET state = fenced.state, reason = fenced.reason, detail = fenced.detail, uncertain = fenced.uncertain,
        attempts = job.attempts - fenced.given_back, result = fenced.result,
        finished_at = CASE WHEN fenced.finished THEN now() END
    FROM fenced WHERE job.id = fenced.id AND job.state = 'running'
    RETURNING job.id
),
replaced AS (
    UPDATE job SET state = 'superseded', reason = 'newer_version', finished_at = now(),
        detail = 'a newer version of the same entity was waiting; only that one is sent'
    FROM fenced
    WHERE fenced.collapse AND job.channel = :channel AND job.lane = fenced.lane AND job.open AND job.id <> fenced.id
      AND (job.seq < fenced.seq OR job.version < fenced.version)
    RETURNING job.lane
),
replaced_count AS (SELECT lane, count(*) AS jobs FROM replaced GROUP BY lane),
released AS (
    UPDATE lane SET leased = false, awaited = lane.awaited AND NOT fenced.finished,
        waiting = lane.waiting - CAST(fenced.finished AS int) - coalesce(replaced_count.jobs, 0),
        run_at = now() + make_interval(secs => fenced.delay)
    FROM fenced LEFT JOIN replaced_count ON replaced_count.lane = fenced.lane
    WHERE lane.channel = :channel AND lane.key = fenced.lane
    RETURNING lane.key, lane.waiting
),
tried AS (
    INSERT INTO attempt (job_id, claim, number, started_at, duration_ms, outcome, status, detail, excerpt)
    SELECT id, claim, number, now() - make_interval(secs => duration / 1000.0), duration, outcome, status, words, excerpt
    FROM fenced WHERE outcome IS NOT NULL
    ON CONFLICT DO NOTHING
),
delivered AS (
    INSERT INTO entity (channel, key, known, version, digest)
    SELECT :channel, lane, known, version, digest FROM fenced
    WHERE known OR (state = 'dead' AND version IS NOT NULL)
    ORDER BY lane
    ON CONFLICT (channel, key) DO UPDATE SET known = entity.known OR excluded.known,
        version = greatest(entity.version, excluded.version), digest = excluded.digest
)
SELECT fenced.id, fenced.claim, fenced.awaited AND fenced.finished AS wakes, released.waiting > 0 AND fenced.delay <= 0 AS more
FROM fenced JOIN released ON released.key = fenced.lane
""")
"""Finish attempts. What is not returned had lost its lease and changed nothing."""

_PARK: Final = text("""
WITH fenced AS (
    SELECT channel, key FROM lane
    WHERE channel = :channel AND key = :lane AND claim = :claim AND leased FOR UPDATE
),
parked AS (
    UPDATE job SET state = 'waiting', reason = 'parked', detail = :detail, uncertain = :uncertain,
        attempts = greatest(job.attempts - 1, 0)
    FROM fenced WHERE job.id = :id AND job.state = 'running'
),
tried AS (
    INSERT INTO attempt (job_id, claim, number, started_at, duration_ms, outcome, status, detail, excerpt)
    SELECT :id, :claim, :number, now() - make_interval(secs => :duration / 1000.0), CAST(:duration AS int), 'wait',
           CAST(:status AS int), :detail, :excerpt
    FROM fenced WHERE CAST(:called AS boolean)
    ON CONFLICT DO NOTHING
)
UPDATE lane SET leased = false, waits_for = CASE WHEN :blocked THEN :key END,
    run_at = now() + make_interval(secs => CASE WHEN :blocked THEN CAST(:recheck AS float8) ELSE 0 END)
FROM fenced WHERE lane.channel = fenced.channel AND lane.key = fenced.key
RETURNING lane.key
""")

_AWAIT: Final = text("""
WITH locked AS (
    SELECT channel, key, waiting FROM lane WHERE channel = :channel AND key = :key FOR UPDATE
)
UPDATE lane SET awaited = true, priority = 0 FROM locked
WHERE lane.channel = locked.channel AND lane.key = locked.key AND locked.waiting > 0
RETURNING lane.waiting
""")

_IS_KNOWN: Final = text("SELECT known FROM entity WHERE channel = :channel AND key = :key")

_WAKE: Final = text("""
WITH parked AS (
    SELECT channel, key FROM lane WHERE waits_for = ANY(CAST(:keys AS text[])) ORDER BY channel, key FOR UPDATE
)
UPDATE lane SET run_at = now(), waits_for = NULL FROM parked
WHERE lane.channel = parked.channel AND lane.key = parked.key AND lane.waits_for IS NOT NULL
RETURNING lane.channel
""")

_WAKE_STRANDED: Final = text("""
WITH parked AS (
    SELECT lane.channel, lane.key FROM lane
    JOIN lane AS other ON other.channel = lane.channel AND other.key = lane.waits_for
    WHERE lane.waits_for IS NOT NULL AND other.waiting = 0
    ORDER BY lane.channel, lane.key FOR UPDATE OF lane SKIP LOCKED
)
UPDATE lane SET run_at = now(), waits_for = NULL FROM parked
WHERE lane.channel = parked.channel AND lane.key = parked.key
RETURNING lane.channel
""")

_RELEASE: Final = text("""
UPDATE lane SET leased = false, run_at = now()
FROM unnest(CAST(:lanes AS text[]), CAST(:claims AS bigint[])) AS held(lane, claim)
WHERE lane.channel = :channel AND lane.key = held.lane AND lane.claim = held.claim AND lane.leased
""")

_RENEW: Final = text("""
UPDATE lane SET run_at = now() + make_interval(secs => :lease)
FROM unnest(CAST(:lanes AS text[]), CAST(:claims AS bigint[])) AS held(lane, claim)
WHERE lane.channel = :channel AND lane.key = held.lane AND lane.claim = held.claim AND lane.leased
RETURNING lane.key, lane.claim
""")


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to take on. `position` in a batch decides the order within a lane."""

    message_id: UUID
    owed: Owed
    version: object = None


def owed_parameters(jobs: Sequence[NewJob]) -> dict[str, list[object]]:
    """The arrays that OWED_COLUMNS names."""
    return {
        "job_ids": [uuid_utils.compat.uuid7() for _ in jobs],
        "job_messages": [job.message_id for job in jobs],
        "job_kinds": [job.owed.kind for job in jobs],
        "job_channels": [job.owed.channel for job in jobs],
        "job_lanes": [job.owed.lane for job in jobs],
        "job_versions": [job.version for job in jobs],
        "job_afters": [job.owed.after for job in jobs],
        "job_collapses": [job.owed.collapse for job in jobs],
        "job_params": [json.dumps(dict(job.owed.params)) if job.owed.params else None for job in jobs],
        "job_priorities": [int(job.owed.backfill) for job in jobs],
    }


@dataclass(frozen=True, slots=True)
class Settlement:
    """A finished attempt: the job, where it goes, and what is written into the attempt's record.

    `outcome` None: nothing was tried, so no attempt is recorded. `duration_ms` in milliseconds.
    """

    job: Job
    transition: Transition
    outcome: str | None
    words: str | None = None
    evidence: Evidence = Evidence()
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """`lost`: attempts whose lease was lost. `more`: some lane has its next job due now. `woken`: lanes woken."""

    lost: tuple[Settlement, ...]
    more: bool
    woken: int


class Queue:
    """The statements of one channel, on one cell's engine."""

    def __init__(self, engine: AsyncEngine, channel: str) -> None:
        self.channel = channel
        self._engine = engine

    async def claim(self, limit: int, *, lease: float, priority: int = 0, probing: bool = False) -> list[Job]:
        """Up to `limit` jobs, each the head of a lane that is ours for `lease` seconds."""
        async with single_statement(self._engine) as connection:
            rows = (
                await connection.execute(
                    CLAIM,
                    {
                        "channel": self.channel,
                        "priority": priority,
                        "limit": limit,
                        "lease": lease,
                        "probing": probing,
                    },
                )
            ).all()
            empty = [row for row in rows if row.id is None]
            if empty:
                await connection.execute(
                    _RELEASE,
                    {
                        "channel": self.channel,
                        "lanes": [row.claimed_lane for row in empty],
                        "claims": [row.claim for row in empty],
                    },
                )
        return [
            Job(
                id=row.id,
                message_id=row.message_id,
                kind=row.kind,
                channel=self.channel,
                lane=row.claimed_lane,
                seq=row.seq,
                claim=row.claim,
                attempt=row.attempts,
                uncertain=row.uncertain,
                collapse=row.collapse,
                body=row.body or b"",
                params=row.params or {},
                version=row.version,
                after=row.after,
                known=row.known,
                delivered=row.digest,
                delivered_version=row.delivered_version,
                must_wait=row.must_wait,
                age=row.age,
            )
            for row in rows
            if row.id is not None
        ]

    async def renew(self, held: Sequence[tuple[str, int]], *, lease: float) -> set[tuple[str, int]]:
        """Keep the lanes named by (key, claim) for another `lease` seconds; those that are still ours."""
        ordered = sorted(held)
        async with single_statement(self._engine) as connection:
            rows = await connection.execute(
                _RENEW,
                {
                    "channel": self.channel,
                    "lanes": [lane for lane, _ in ordered],
                    "claims": [claim for _, claim in ordered],
                    "lease": lease,
                },
            )
            return {(row.key, row.claim) for row in rows}

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        """Write what became of claimed jobs. Idempotent: a repeated settle finds its lease gone and changes nothing."""
        parks = [(item, item.transition) for item in settlements if isinstance(item.transition, Park)]
        plain = [item for item in settlements if not isinstance(item.transition, Park)]
        lost: list[Settlement] = []
        wakes: list[str] = []
        more = False
        if plain:
            owing = any(isinstance(item.transition, Finish) and item.transition.owes for item in plain)
            if owing:
                async with self._engine.begin() as connection:
                    found = await self._settle(connection, plain)
                    await self._enqueue(connection, [item for item in plain if _key(item) in found])
                more = True
            else:
                async with single_statement(self._engine) as connection:
                    found = await self._settle(connection, plain)
            lost += [item for item in plain if _key(item) not in found]
            wakes = [item.job.lane for item in plain if found.get(_key(item), (False, False))[0]]
            more = more or any(next_due for _, next_due in found.values())
        for item, park in parks:
            kept, blocked = await self._park(item, park)
            if not kept:
                lost.append(item)
            more = more or not blocked or bool(park.owes)
        woken = len(await wake(self._engine, wakes)) if wakes else 0
        return Settled(tuple(lost), more or woken > 0, woken)

    async def _settle(
        self, connection: AsyncConnection, items: Sequence[Settlement]
    ) -> dict[tuple[UUID, int], tuple[bool, bool]]:
        rows = await connection.execute(SETTLE, {"channel": self.channel, **_settle_parameters(items)})
        return {(row.id, row.claim): (row.wakes, row.more) for row in rows}

    async def _enqueue(self, connection: AsyncConnection, items: Sequence[Settlement]) -> None:
        jobs = [
            NewJob(item.job.message_id, owed)
            for item in items
            if isinstance(item.transition, Finish)
            for owed in item.transition.owes
        ]
        if jobs:
            await connection.execute(_ENQUEUE, owed_parameters(jobs))

    async def _park(self, item: Settlement, park: Park) -> tuple[bool, bool]:
        """Park one lane; (the lease was ours, it really waits). Locks the awaited lane first, so no wake-up is lost."""
        async with self._engine.begin() as connection:
            blocked = not park.key.startswith(("customer:", "order:", "product:"))
            if not blocked:
                at = {"channel": self.channel, "key": park.key}
                owes_already = (await connection.execute(_AWAIT, at)).first() is not None
                if not owes_already and park.owes:
                    jobs = [NewJob(item.job.message_id, owed) for owed in park.owes]
                    await connection.execute(_ENQUEUE, owed_parameters(jobs))
                    owes_already = (await connection.execute(_AWAIT, at)).first() is not None
                is_known = item.outcome is None and bool((await connection.execute(_IS_KNOWN, at)).scalar())
                blocked = owes_already and not is_known
            kept = await connection.execute(
                _PARK,
                {
                    "channel": self.channel,
                    "lane": item.job.lane,
                    "claim": item.job.claim,
                    "id": item.job.id,
                    "detail": _storable(park.detail),
                    "uncertain": park.uncertain,
                    "number": item.job.attempt,
                    "duration": item.duration_ms,
                    "status": item.evidence.status,
                    "excerpt": _storable(item.evidence.excerpt),
                    "called": item.outcome is not None,
                    "blocked": blocked,
                    "key": park.key,
                    "recheck": park.recheck,
                },
            )
            if kept.first() is None:
                await connection.rollback()
                return False, blocked
        return True, blocked


async def wake(engine: AsyncEngine, keys: Sequence[str]) -> list[str]:
    """Make every lane due that waits for one of `keys`; the channels of those woken."""
    async with single_statement(engine) as connection:
        return list((await connection.execute(_WAKE, {"keys": sorted(set(keys))})).scalars())


async def wake_stranded(engine: AsyncEngine) -> list[str]:
    """The safety net under `wake`: lanes whose awaited lane owes nothing any more (a worker died before waking them)."""
    async with single_statement(engine) as connection:
        return list((await connection.execute(_WAKE_STRANDED)).scalars())


def _key(item: Settlement) -> tuple[UUID, int]:
    """A worker that lost a lease and claimed the lane again may settle both attempts of the job at once."""
    return item.job.id, item.job.claim


def _settle_parameters(items: Sequence[Settlement]) -> Mapping[str, list[object]]:
    rows = [_settle_row(item) for item in items]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _settle_row(item: Settlement) -> dict[str, object]:
    job, to = item.job, item.transition
    row: dict[str, object] = {
        "lanes": job.lane,
        "claims": job.claim,
        "ids": job.id,
        "seqs": job.seq,
        "collapses": job.collapse,
        "versions": job.version,
        "numbers": job.attempt,
        "durations": item.duration_ms,
        "outcomes": item.outcome,
        "statuses": item.evidence.status,
        "words": _storable(item.words),
        "excerpts": _storable(item.evidence.excerpt),
        "states": "waiting",
        "reasons": to.reason if not isinstance(to, Park) else None,
        "details": _storable(to.detail),
        "given_back": 0,
        "results": None,
        "delays": 0.0,
        "digests": None,
        "known": False,
        "uncertains": job.uncertain,
    }
    match to:
        case Finish():
            row |= {
                "states": to.state,
                "results": _storable(json.dumps(dict(to.result), ensure_ascii=False)) if to.result else None,
                "digests": to.digest,
                "known": to.digest is not None,
            }
        case Again() | GiveBack():
            row |= {"delays": to.delay, "uncertains": to.uncertain, "given_back": int(isinstance(to, GiveBack))}
        case Park():
            raise AssertionError("parked jobs are settled by _park")
    return row


def _storable(text: str | None) -> str | None:
    """`text` as Postgres takes it: a far side's words may hold NULs and halves of surrogate pairs, and one job that cannot
    be settled would stop its channel."""
    if text is None:
        return None
    clean = text.encode("utf-8", "replace").decode()
    return clean.replace("\x00", "\ufffd").replace("\\u0000", "\ufffd")
