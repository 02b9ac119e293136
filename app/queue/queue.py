"""The queue of one destination: claim, renew, settle, park, wake. The statements stand in `statements.py`."""

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any  # a row
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import keys_of, single_statement
from platform_relay.core.encryption import KeyRing, UnreadableBodyError
from platform_relay.core.outcomes import Evidence, JobSpec
from platform_relay.core.reasons import Reason, columns
from platform_relay.queue.jobs import Job
from platform_relay.queue.statements import (
    AWAIT,
    CLAIM,
    ENQUEUE,
    IS_KNOWN,
    PARK,
    RELEASE,
    RENEW,
    SETTLE,
    WAKE,
    WAKE_STRANDED,
)
from platform_relay.queue.states import Again, Finish, GiveBack, Park, Transition
from platform_relay.queue.watermark import Watermark


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to take on. `position` in a batch decides the order within a lane."""

    message_id: UUID
    owed: JobSpec
    version: object = None


def enqueue_parameters(jobs: Sequence[NewJob]) -> dict[str, list[object]]:
    """The arrays that ENQUEUE_COLUMNS names."""
    return {
        "job_ids": [uuid_utils.compat.uuid7() for _ in jobs],
        "job_messages": [job.message_id for job in jobs],
        "job_kinds": [job.owed.kind for job in jobs],
        "job_destinations": [job.owed.destination for job in jobs],
        "job_lanes": [job.owed.lane for job in jobs],
        "job_versions": [job.version for job in jobs],
        "job_afters": [job.owed.after for job in jobs],
        "job_collapses": [job.owed.collapse for job in jobs],
        "job_params": [json.dumps(dict(job.owed.params)) if job.owed.params else None for job in jobs],
        "job_priorities": [int(job.owed.backfill) for job in jobs],
    }


@dataclass(frozen=True, slots=True)
class Settlement:
    """A finished attempt: the job, its transition, and what is written into the attempt's record.

    `reason` is the attempt's own; the transition has the job's. `outcome` None: nothing was tried, so no attempt is
    recorded. `duration_ms` in milliseconds.
    """

    job: Job
    transition: Transition
    outcome: str | None
    reason: Reason | None = None
    evidence: Evidence = Evidence()
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """`lost`: attempts whose lease was lost. `more`: some lane has its next job due now. `woken`: lanes woken."""

    lost: tuple[Settlement, ...]
    more: bool
    woken: int


class Queue:
    """The statements of one destination."""

    def __init__(self, engine: AsyncEngine, destination: str) -> None:
        self.destination = destination
        self._engine = engine
        self._marks = defaultdict[int, Watermark](Watermark)
        """By priority."""

    async def claim(self, limit: int, *, lease: float, priority: int = 0, probing: bool = False) -> list[Job]:
        """Up to `limit` jobs, each the head of a lane that is ours for `lease` seconds. One call at a time."""
        mark = self._marks[priority]
        async with single_statement(self._engine) as connection:
            ring = keys_of(connection)
            found = await connection.execute(
                CLAIM,
                {
                    "destination": self.destination,
                    "priority": priority,
                    "limit": limit,
                    "lease": lease,
                    "probing": probing,
                    "since": mark.start(time.monotonic()),
                },
            )
            rows = found.all()
            lanes = [row for row in rows if row.claimed_lane is not None]
            if rows and rows[0].open:
                mark.looked(time.monotonic(), rows[0].now, [row.run_at for row in lanes], limit)
            empty = [row for row in lanes if row.id is None]
            if empty:
                await connection.execute(
                    RELEASE,
                    {
                        "destination": self.destination,
                        "lanes": [row.claimed_lane for row in empty],
                        "claims": [row.claim for row in empty],
                    },
                )
        return [_job(row, self.destination, ring) for row in lanes if row.id is not None]

    async def renew(self, held: Sequence[tuple[str, int]], *, lease: float) -> set[tuple[str, int]]:
        """Keep the lanes named by (key, claim) for another `lease` seconds; those that are still ours."""
        ordered = sorted(held)
        async with single_statement(self._engine) as connection:
            rows = await connection.execute(
                RENEW,
                {
                    "destination": self.destination,
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
        rows = await connection.execute(
            SETTLE, {"destination": self.destination, **_settle_parameters(items, keys_of(connection))}
        )
        return {(row.id, row.claim): (row.wakes, row.more) for row in rows}

    async def _enqueue(self, connection: AsyncConnection, items: Sequence[Settlement]) -> None:
        jobs = [
            NewJob(item.job.message_id, owed)
            for item in items
            if isinstance(item.transition, Finish)
            for owed in item.transition.owes
        ]
        if jobs:
            await connection.execute(ENQUEUE, enqueue_parameters(jobs))

    async def _park(self, item: Settlement, park: Park) -> tuple[bool, bool]:
        """Park one lane; (the lease was ours, it really waits). An awaited lane is locked first, so no wake-up is lost; a
        key that is no lane is looked for once more (`PARK`)."""
        async with self._engine.begin() as connection:
            certain = park.key.startswith(("customer:", "order:", "product:"))
            blocked = True
            if certain:
                at = {"destination": self.destination, "key": park.key}
                owes_already = (await connection.execute(AWAIT, at)).first() is not None
                if not owes_already and park.owes:
                    jobs = [NewJob(item.job.message_id, owed) for owed in park.owes]
                    await connection.execute(ENQUEUE, enqueue_parameters(jobs))
                    owes_already = (await connection.execute(AWAIT, at)).first() is not None
                is_known = item.outcome is None and bool((await connection.execute(IS_KNOWN, at)).scalar())
                blocked = owes_already and not is_known
            kept = await connection.execute(
                PARK,
                {
                    "destination": self.destination,
                    "lane": item.job.lane,
                    "claim": item.job.claim,
                    "id": item.job.id,
                    **columns(park.reason),
                    "uncertain": park.uncertain,
                    "number": item.job.attempt,
                    "duration": item.duration_ms,
                    "status": item.evidence.status,
                    "excerpt": keys_of(connection).seal_text(item.job.id, _storable(item.evidence.excerpt)),
                    "called": item.outcome is not None,
                    "blocked": blocked,
                    "certain": certain,
                    "key": park.key,
                    "recheck": park.recheck,
                },
            )
            if kept.first() is None:
                await connection.rollback()
                return False, blocked
        return True, blocked


async def wake(engine: AsyncEngine, keys: Sequence[str]) -> list[str]:
    """Make every lane due that waits for one of `keys`; the destinations of those woken."""
    async with single_statement(engine) as connection:
        return list((await connection.execute(WAKE, {"keys": sorted(set(keys))})).scalars())


async def wake_stranded(engine: AsyncEngine) -> list[str]:
    """The safety net under `wake`: lanes whose awaited lane owes nothing any more (a worker died before waking them)."""
    async with single_statement(engine) as connection:
        return list((await connection.execute(WAKE_STRANDED)).scalars())


def _key(item: Settlement) -> tuple[UUID, int]:
    """A worker that lost a lease and claimed the lane again may settle both attempts of the job at once."""
    return item.job.id, item.job.claim


def _settle_parameters(items: Sequence[Settlement], ring: KeyRing) -> Mapping[str, list[object]]:
    rows = [_settle_row(item, ring) for item in items]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _settle_row(item: Settlement, ring: KeyRing) -> dict[str, object]:
    job, to = item.job, item.transition
    tried, of_job = columns(item.reason), columns(to.reason)
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
        "attempt_codes": tried["reason_code"],
        "attempt_facts": tried["facts"],
        "excerpts": ring.seal_text(job.id, _storable(item.evidence.excerpt)),
        "states": "waiting",
        "dispositions": to.disposition if not isinstance(to, Park) else None,
        "codes": of_job["reason_code"],
        "facts": of_job["facts"],
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
                "known": to.digest is not None or (to.state == "skipped" and job.known),
            }
        case Again() | GiveBack():
            row |= {"delays": to.delay, "uncertains": to.uncertain, "given_back": int(isinstance(to, GiveBack))}
        case Park():
            raise AssertionError("parked jobs are settled by _park")
    return row


def _storable(text: str | None) -> str | None:
    """`text` as Postgres takes it: a destination's words may hold NULs and halves of surrogate pairs, and one job that cannot
    be settled would stop its destination."""
    if text is None:
        return None
    clean = text.encode("utf-8", "replace").decode()
    return clean.replace("\x00", "\ufffd").replace("\\u0000", "\ufffd")


def _job(row: Row[Any], destination: str, ring: KeyRing) -> Job:
    body, unreadable = None, None
    try:
        body = ring.open(row.message_id, row.encrypted_with, row.body)
    except UnreadableBodyError as error:
        unreadable = error.reason
    return Job(
        id=row.id,
        message_id=row.message_id,
        kind=row.kind,
        destination=destination,
        lane=row.claimed_lane,
        seq=row.seq,
        claim=row.claim,
        attempt=row.attempts,
        uncertain=row.uncertain,
        collapse=row.collapse,
        body=body or b"",
        params=row.params or {},
        version=row.version,
        after=row.after,
        known=row.known,
        delivered=row.digest,
        delivered_version=row.delivered_version,
        must_wait=row.must_wait,
        age=row.age,
        unreadable=unreadable,
    )
