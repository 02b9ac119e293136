"""The queue of one destination: enqueue, claim, renew, settle, park, wake. The SQL is in `statements/`."""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final  # Any: a row's columns
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import key_ring_of, single_statement
from platform_relay.core.encryption import KeyRing, UnreadableBodyError, event_or_body
from platform_relay.core.outcomes import Evidence, JobSpec
from platform_relay.core.reasons import Reason, columns
from platform_relay.queue.fairness import Limits
from platform_relay.queue.jobs import Job
from platform_relay.queue.statements.claim import CLAIM, PROBE, RELEASE, RENEW
from platform_relay.queue.statements.enqueue import ENQUEUE
from platform_relay.queue.statements.settle import SETTLE
from platform_relay.queue.statements.waiting import (
    EXISTS_REMOTELY,
    LOCK_DEPENDENCY,
    LOCK_LANES,
    PARK,
    WAKE,
    WAKE_STRANDED,
    WATCH_LANE,
)
from platform_relay.queue.states import Again, Finish, GiveBack, Park, Transition
from platform_relay.queue.watermark import Watermark

PROBES: Final = 3
"""Jobs that probe a closed destination at once, of lanes that have not failed. One lane can fail alone; of three, one
decides."""
PROBE_INTERVAL: Final = 2.0
"""Seconds between two such rounds, of all workers together."""
PROBE_CANDIDATES: Final = 50
"""Of this many lanes that are due longest, and as many that are due last, the probes are chosen: so that the cost does not
grow with the backlog. New lanes are among the last, behind any number of lanes that failed."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to enqueue. The order in a batch decides the order within a lane."""

    message_id: UUID
    spec: JobSpec
    version: datetime | None = None


def enqueue_parameters(jobs: Sequence[NewJob]) -> dict[str, list[object]]:
    """The parameters of `statements.enqueue.NEW_JOBS`."""
    return {
        "job_ids": [uuid_utils.compat.uuid7() for _ in jobs],
        "job_messages": [job.message_id for job in jobs],
        "job_kinds": [job.spec.kind for job in jobs],
        "job_destinations": [job.spec.destination for job in jobs],
        "job_lanes": [job.spec.lane for job in jobs],
        "job_versions": [job.version for job in jobs],
        "job_dependencies": [job.spec.depends_on for job in jobs],
        "job_collapses": [job.spec.collapse for job in jobs],
        "job_params": [json.dumps(dict(job.spec.params)) if job.spec.params else None for job in jobs],
        "job_priorities": [int(job.spec.backfill) for job in jobs],
        "job_owners": [job.spec.owner or job.spec.depends_on for job in jobs],
    }


async def enqueue(connection: AsyncConnection, jobs: Sequence[NewJob]) -> None:
    """Add jobs in the caller's transaction. The inbox adds those of new messages in its own statement."""
    if jobs:
        await connection.execute(ENQUEUE, enqueue_parameters(jobs))


async def watch_lane(engine: AsyncEngine, destination: str, lane: str) -> int:
    """The number of the newest job in a lane. Every job that is enqueued until the next call makes it grow: by one, or by
    more if the lane was empty in between."""
    async with single_statement(engine) as connection:
        parameters = {"destination": destination, "lane": lane}
        return int((await connection.execute(WATCH_LANE, parameters)).scalar_one())


async def lock_lanes(connection: AsyncConnection, lanes: Iterable[tuple[str, str]]) -> None:
    """Lock lanes, each a destination and a key, until the transaction ends. Nothing is enqueued in them meanwhile, nor
    claimed or settled. One that does not exist is created."""
    ordered = sorted(set(lanes))
    if ordered:
        parameters = {"destinations": [name for name, _ in ordered], "keys": [key for _, key in ordered]}
        await connection.execute(LOCK_LANES, parameters)


@dataclass(frozen=True, slots=True)
class Claim:
    """`cut`: due lanes were left out because their owner has its share."""

    jobs: list[Job]
    cut: bool


@dataclass(frozen=True, slots=True)
class Settlement:
    """A finished attempt: the job, its transition, and the record of the attempt.

    `reason` is the attempt's own; the transition has the job's. `outcome` None: the job was decided without a call, so no
    attempt is recorded. `duration_ms` in milliseconds. `failed`: whether its call failed; None if that is not known.
    """

    job: Job
    transition: Transition
    outcome: str | None
    reason: Reason | None = None
    evidence: Evidence = Evidence()
    duration_ms: int = 0
    failed: bool | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """`lost`: attempts whose lease was lost. `more`: a lane has its next job due now. `woken`: the number of woken lanes."""

    lost: tuple[Settlement, ...]
    more: bool
    woken: int


@dataclass(frozen=True, slots=True)
class Probes:
    """Jobs that probe a closed destination. `failed`: their lanes have failed since their last success."""

    jobs: tuple[Job, ...]
    failed: bool


class Queue:
    """Runs the statements for one destination."""

    def __init__(self, engine: AsyncEngine, destination: str) -> None:
        self.destination = destination
        self._engine = engine
        self._watermarks = defaultdict[int, Watermark](Watermark)
        """By priority."""

    async def claim(self, limit: int, *, lease: float, priority: int = 0) -> list[Job]:
        """Claim up to `limit` jobs, each the head of a lane, for `lease` seconds. One call at a time."""
        limits = Limits((), limit, limit)
        return (await self.claim_within(limits, lease=lease, priority=priority)).jobs

    async def claim_within(self, limits: Limits, *, lease: float, priority: int = 0) -> Claim:
        """As `claim`, within limits for each owner."""
        watermark = self._watermarks[priority]
        async with single_statement(self._engine) as connection:
            ring = key_ring_of(connection)
            parameters = {
                "destination": self.destination,
                "priority": priority,
                "limit": limits.lanes,
                "busy": list(limits.busy),
                "share": limits.share,
                "lease": lease,
                "since": watermark.start(time.monotonic(), limits.busy),
            }
            rows = (await connection.execute(CLAIM, parameters)).all()
            claimed = [row for row in rows if row.claimed_lane is not None]
            cut = bool(rows) and rows[0].due_lanes > len(claimed)
            if rows and rows[0].open:
                times = [row.run_at for row in claimed]
                watermark.advance(time.monotonic(), rows[0].now, times, limits.lanes, busy=limits.busy, cut=cut)
            started = await self._release_empty(connection, claimed)
        return Claim([_job(row, self.destination, ring) for row in started], cut)

    async def probe(self, limit: int, *, lease: float) -> Probes | None:
        """Claim the jobs that may probe the destination now, at most `limit`, for `lease` seconds; None while it is open or
        paused, or when it is not to be probed yet."""
        async with single_statement(self._engine) as connection:
            ring = key_ring_of(connection)
            parameters = {
                "destination": self.destination,
                "lease": lease,
                "probes": min(limit, PROBES),
                "interval": PROBE_INTERVAL,
                "candidates": PROBE_CANDIDATES,
            }
            rows = (await connection.execute(PROBE, parameters)).all()
            claimed = [row for row in rows if row.claimed_lane is not None]
            started = await self._release_empty(connection, claimed)
        if not started:
            return None
        jobs = tuple(_job(row, self.destination, ring) for row in started)
        return Probes(jobs, any(row.lane_failed for row in started))

    async def _release_empty(self, connection: AsyncConnection, claimed: Sequence[Row[Any]]) -> list[Row[Any]]:
        """Release claimed lanes that have no job; returns the rows of the others."""
        empty = [(row.claimed_lane, row.fencing_token) for row in claimed if row.id is None]
        if empty:
            await connection.execute(RELEASE, {"destination": self.destination, **_held_parameters(empty)})
        return [row for row in claimed if row.id is not None]

    async def renew(self, held: Sequence[tuple[str, int]], *, lease: float) -> set[tuple[str, int]]:
        """Extend the leases of claims, each a lane and its fencing token, by `lease` seconds; returns those not lost."""
        async with single_statement(self._engine) as connection:
            parameters = {"destination": self.destination, "lease": lease, **_held_parameters(sorted(held))}
            return {(row.key, row.fencing_token) for row in await connection.execute(RENEW, parameters)}

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        """Settle attempts. Idempotent: a repeated settle finds its lease gone and changes nothing."""
        parked = [(item, item.transition) for item in settlements if isinstance(item.transition, Park)]
        others = [item for item in settlements if not isinstance(item.transition, Park)]
        lost: list[Settlement] = []
        wakes: list[str] = []
        more = False
        if others:
            follow_ups = any(isinstance(item.transition, Finish) and item.transition.follow_ups for item in others)
            if follow_ups:
                async with self._engine.begin() as connection:
                    settled = await self._settle(connection, others)
                    await self._enqueue(connection, [item for item in others if _key(item) in settled])
                more = True
            else:
                async with single_statement(self._engine) as connection:
                    settled = await self._settle(connection, others)
            lost += [item for item in others if _key(item) not in settled]
            wakes = [item.job.lane for item in others if settled.get(_key(item), (False, False))[0]]
            more = more or any(next_due for _, next_due in settled.values())
        for item, park in parked:
            held, waits = await self._park(item, park)
            if not held:
                lost.append(item)
            more = more or not waits or bool(park.follow_ups)
        woken = len(await wake(self._engine, wakes)) if wakes else 0
        return Settled(tuple(lost), more or woken > 0, woken)

    async def _settle(
        self, connection: AsyncConnection, items: Sequence[Settlement]
    ) -> dict[tuple[UUID, int], tuple[bool, bool]]:
        """The attempts that were settled: whether others wait for the lane, and whether its next job is due."""
        rows = await connection.execute(
            SETTLE, {"destination": self.destination, **_settle_parameters(items, key_ring_of(connection))}
        )
        return {(row.id, row.fencing_token): (row.wakes, row.more) for row in rows}

    async def _enqueue(self, connection: AsyncConnection, items: Sequence[Settlement]) -> None:
        jobs = [
            NewJob(item.job.message_id, spec)
            for item in items
            if isinstance(item.transition, Finish)
            for spec in item.transition.follow_ups
        ]
        await enqueue(connection, jobs)

    async def _park(self, item: Settlement, park: Park) -> tuple[bool, bool]:
        """Park one lane. Returns whether its lease was still held, and whether it waits: not if its dependency is done."""
        async with self._engine.begin() as connection:
            waits = True
            if park.for_lane:
                other = {"destination": self.destination, "key": park.key}
                has_jobs = (await connection.execute(LOCK_DEPENDENCY, other)).first() is not None
                if not has_jobs and park.follow_ups:
                    await enqueue(connection, [NewJob(item.job.message_id, spec) for spec in park.follow_ups])
                    has_jobs = (await connection.execute(LOCK_DEPENDENCY, other)).first() is not None
                delivered = item.outcome is None and bool((await connection.execute(EXISTS_REMOTELY, other)).scalar())
                waits = has_jobs and not delivered
            released = await connection.execute(
                PARK,
                {
                    "destination": self.destination,
                    "lane": item.job.lane,
                    "fencing_token": item.job.fencing_token,
                    "id": item.job.id,
                    **columns(park.reason),
                    "uncertain": park.uncertain,
                    "number": item.job.attempt,
                    "duration": item.duration_ms,
                    "status": item.evidence.status,
                    "excerpt": _stored_excerpt(item, key_ring_of(connection)),
                    "called": item.outcome is not None,
                    "failed": item.failed,
                    "waits": waits,
                    "for_lane": park.for_lane,
                    "key": park.key,
                    "recheck": park.recheck,
                },
            )
            if released.first() is None:
                await connection.rollback()
                return False, waits
        return True, waits


async def wake(engine: AsyncEngine, keys: Sequence[str]) -> list[str]:
    """Make the lanes due that wait for one of `keys`; returns their destinations."""
    async with single_statement(engine) as connection:
        return list((await connection.execute(WAKE, {"keys": sorted(set(keys))})).scalars())


async def wake_stranded(engine: AsyncEngine) -> list[str]:
    """Wake lanes that wait for a lane without open jobs: a worker died before it woke them. Returns their destinations."""
    async with single_statement(engine) as connection:
        return list((await connection.execute(WAKE_STRANDED)).scalars())


def _held_parameters(held: Sequence[tuple[str, int]]) -> dict[str, list[object]]:
    return {"lanes": [lane for lane, _ in held], "tokens": [token for _, token in held]}


def _key(item: Settlement) -> tuple[UUID, int]:
    """With the token: a worker that lost a lease and claimed the lane again may settle both attempts of the job at once."""
    return item.job.id, item.job.fencing_token


def _settle_parameters(items: Sequence[Settlement], ring: KeyRing) -> Mapping[str, list[object]]:
    """The arrays of `statements.settle.SETTLE`. Most attempts of a batch end alike, so a value that all rows have is sent once: the
    driver and PostgreSQL convert every element."""
    rows = [_settle_row(item, ring) for item in items]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for name, values in columns.items():
        if name != "ids" and values.count(values[0]) == len(values):
            columns[name] = values[:1]
    return columns


def _stored_excerpt(item: Settlement, ring: KeyRing) -> str | None:
    """The start of the response of a failed attempt. That of a success adds nothing, and may repeat personal data."""
    if item.outcome == "done":
        return None
    return ring.encrypt_text(item.job.id, item.job.fencing_token, _storable(item.evidence.excerpt))


def _settle_row(item: Settlement, ring: KeyRing) -> dict[str, object]:
    job, transition = item.job, item.transition
    attempt_reason, job_reason = columns(item.reason), columns(transition.reason)
    row: dict[str, object] = {
        "lanes": job.lane,
        "tokens": job.fencing_token,
        "ids": job.id,
        "seqs": job.seq,
        "collapses": job.collapse,
        "versions": job.version,
        "numbers": job.attempt,
        "durations": item.duration_ms,
        "outcomes": item.outcome,
        "failed": item.failed,
        "statuses": item.evidence.status,
        "attempt_codes": attempt_reason["reason_code"],
        "attempt_facts": attempt_reason["facts"],
        "excerpts": _stored_excerpt(item, ring),
        "states": "waiting",
        "dispositions": transition.disposition if not isinstance(transition, Park) else None,
        "codes": job_reason["reason_code"],
        "facts": job_reason["facts"],
        "given_back": 0,
        "results": None,
        "delays": 0.0,
        "digests": None,
        "exists_remotely": False,
        "replaces": False,
        "as_newests": job.as_newest is not None,
        "uncertains": job.uncertain,
    }
    match transition:
        case Finish():
            row |= {
                "states": transition.state,
                "results": _storable(json.dumps(dict(transition.result), ensure_ascii=False))
                if transition.result
                else None,
                "digests": transition.digest,
                "exists_remotely": transition.digest is not None
                or (transition.state == "skipped" and job.exists_remotely),
                "replaces": transition.state != "dead" or transition.maybe_delivered,
            }
        case Again() | GiveBack():
            row |= {
                "delays": transition.delay,
                "uncertains": transition.uncertain,
                "given_back": int(isinstance(transition, GiveBack)),
            }
        case Park():
            raise AssertionError("parked jobs are settled by _park")
    return row


def _storable(text: str | None) -> str | None:
    """`text` as PostgreSQL can store it. A destination's response may hold NULs and halves of surrogate pairs, and one
    job that cannot be settled would stop its destination."""
    if text is None:
        return None
    clean = text.encode("utf-8", "replace").decode()
    return clean.replace("\x00", "\ufffd").replace("\\u0000", "\ufffd")


def _job(row: Row[Any], destination: str, ring: KeyRing) -> Job:
    body, unreadable = None, None
    try:
        body = ring.decrypt(row.message_id, row.encrypted_with, row.body, event_or_body(translated=row.translated))
    except UnreadableBodyError as error:
        unreadable = error.reason
    return Job(
        id=row.id,
        message_id=row.message_id,
        kind=row.kind,
        destination=destination,
        lane=row.claimed_lane,
        seq=row.seq,
        fencing_token=row.fencing_token,
        attempt=row.attempts,
        uncertain=row.uncertain,
        collapse=row.collapse,
        body=body or b"",
        params=row.params or {},
        version=row.version,
        depends_on=row.depends_on,
        owner=row.owner,
        exists_remotely=row.exists_remotely,
        delivered_digest=row.digest,
        delivered_version=row.delivered_version,
        must_wait=row.must_wait,
        age=row.age,
        unreadable=unreadable,
        delivered_ahead=row.delivered_ahead,
    )
