"""Builders for tests of the engine: take jobs on, look at what became of them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.outcomes import JobSpec
from platform_relay.inbox.inbox import Inbox, Receipt
from platform_relay.inbox.messages import Incoming
from platform_relay.queue.attempts import ATTEMPTS
from platform_relay.queue.jobs import Job
from platform_relay.queue.queue import Queue, Settled, Settlement
from platform_relay.queue.states import Transition

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def customer(key: str, version: int | None = None, *, backfill: bool = False) -> Incoming:
    """A message with a collapsing job in lane `customer:<key>`; `version` counts seconds after NOON."""
    return message(
        JobSpec("forward_customer", "platform", f"customer:{key}", collapse=True, backfill=backfill), version=version
    )


def order(key: str, version: int | None = None, depends_on: str | None = None) -> Incoming:
    return message(JobSpec("forward_order", "platform", f"order:{key}", depends_on=depends_on), version=version)


def message(
    *pending: JobSpec,
    version: int | None = None,
    dedupe_key: str | None = None,
    order_ref: str | None = None,
    strict: bool = True,
) -> Incoming:
    return Incoming(
        "store",
        "test",
        dedupe_key or str(uuid_utils.compat.uuid7()),
        json.dumps({"version": version}).encode(),
        pending,
        at(version),
        order_ref=order_ref,
        strict=strict,
    )


def at(version: int | None) -> datetime | None:
    return None if version is None else NOON + timedelta(seconds=version)


async def accept(engine: AsyncEngine, *messages: Incoming) -> list[Receipt]:
    inbox = Inbox(engine, on_commit=lambda _: None)
    return await inbox.accept_many([(uuid_utils.compat.uuid7(), each) for each in messages])


async def claim(engine: AsyncEngine, limit: int = 10, *, lease: float = 30.0, priority: int = 0) -> list[Job]:
    return await Queue(engine, "platform").claim(limit, lease=lease, priority=priority)


async def settle(
    engine: AsyncEngine, jobs: Sequence[Job], transition: Transition, outcome: str | None = "done"
) -> Settled:
    return await Queue(engine, "platform").settle([Settlement(job, transition, outcome) for job in jobs])


async def rows(engine: AsyncEngine, query: str, **parameters: object) -> list[tuple[object, ...]]:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(query), parameters)]


async def attempts(engine: AsyncEngine, columns: str = "outcome") -> list[tuple[object, ...]]:
    """`columns` of all attempts, in order."""
    return await rows(engine, f"SELECT {columns} FROM {ATTEMPTS} AS attempt ORDER BY fencing_token, job_id")  # noqa: S608  # a test's


async def run(engine: AsyncEngine, statement: str, **parameters: object) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), parameters)


async def states(engine: AsyncEngine) -> dict[str, int]:
    return dict(await rows(engine, "SELECT state, count(*) FROM job GROUP BY state"))  # type: ignore[arg-type]  # the query gives pairs


async def job_row(engine: AsyncEngine, job_id: UUID) -> dict[str, object]:
    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT * FROM job WHERE id = :id"), {"id": job_id})).mappings().one()
        return dict(row)


async def broken_counts(engine: AsyncEngine) -> list[tuple[object, ...]]:
    """Lanes whose `open_jobs` is not the number of their open jobs, and open jobs without a lane: must be none, always."""
    return await rows(
        engine,
        """SELECT coalesce(lane.key, job.lane), lane.open_jobs, count(job.id)
           FROM lane FULL JOIN (SELECT * FROM job WHERE open) AS job ON job.destination = lane.destination AND job.lane = lane.key
           GROUP BY 1, coalesce(lane.destination, job.destination), lane.open_jobs
           HAVING lane.open_jobs IS DISTINCT FROM count(job.id)""",
    )
