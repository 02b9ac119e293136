"""The books: what the tables say, for people and their programs. Reads only."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, Select, and_, case, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.alerts.alerts import count_open
from platform_relay.core.database import is_unavailable, keys_of
from platform_relay.core.encryption import OVERHEAD, readable
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.models import ApiKey, Attempt, Coupon, Destination, Job, Lane, Message
from platform_relay.core.reasons import ReasonCode, stored
from platform_relay.core.telemetry import Backlog, Look
from platform_relay.jobs.views import (
    AttemptView,
    Counts,
    CouponPage,
    CouponView,
    DestinationView,
    JobCounts,
    JobDetail,
    JobPage,
    JobView,
    MessageView,
    job_texts,
    message_text,
    reason_fields,
)
from platform_relay.platform.webhooks import parse
from platform_relay.queue.oldest_due import OldestWaiting


@asynccontextmanager
async def when_away() -> AsyncIterator[None]:
    """Inside, an unreachable database raises DatabaseAway."""
    try:
        yield
    except Exception as error:
        if is_unavailable(error):
            raise DatabaseAway("The relay cannot reach its database at the moment.") from error
        raise


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection to read with. Raises DatabaseAway."""
    async with when_away(), engine.connect() as connection:
        yield connection


# ----------------------------------------------------------------------------------------------- jobs, messages

_JOBS: Final = (
    select(Job.__table__, Lane.run_at, Lane.waits_for, Destination.state.label("destination_state"))
    .outerjoin(Lane, and_(Lane.destination == Job.destination, Lane.key == Job.lane))
    .outerjoin(Destination, Destination.name == Job.destination)
)


async def find_message(connection: AsyncConnection, message_id: UUID) -> MessageView | None:
    size = (func.octet_length(Message.body) - case((Message.encrypted_with.is_(None), 0), else_=OVERHEAD)).label("size")
    columns = select(Message.id, Message.source, Message.kind, Message.received_at, size)
    row = (await connection.execute(columns.where(Message.id == message_id))).mappings().one_or_none()
    if row is None:
        return None
    jobs = await _with_tries(connection, _JOBS.where(Job.message_id == message_id).order_by(Job.id))
    state, meaning = message_text(job.state for job in jobs)
    return MessageView(**row, state=state, text=meaning, jobs=jobs)


async def find_job(connection: AsyncConnection, job_id: UUID) -> JobDetail | None:
    jobs = await _with_tries(connection, _JOBS.where(Job.id == job_id))
    return jobs[0] if jobs else None


async def list_jobs(
    connection: AsyncConnection,
    *,
    state: str | None = None,
    kind: str | None = None,
    lane: str | None = None,
    reason_code: ReasonCode | None = None,
    cursor: UUID | None = None,
    limit: int = 50,
) -> JobPage:
    """Newest first. `cursor` is the last page's `next_cursor`."""
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
    if cursor is not None:
        statement = statement.where(Job.id < cursor)
    items = [_job(row) for row in (await connection.execute(statement)).mappings()]
    return JobPage(items=items[:limit], next_cursor=items[limit - 1].id if len(items) > limit else None)


async def list_jobs_by_id(connection: AsyncConnection, ids: Sequence[UUID]) -> list[JobView]:
    """Those of `ids` that exist, by id."""
    rows = await connection.execute(_JOBS.where(Job.id.in_(ids)).order_by(Job.id))
    return [_job(row) for row in rows.mappings()]


async def _with_tries(connection: AsyncConnection, statement: Select[*tuple[object, ...]]) -> list[JobDetail]:
    jobs = [_job(row) for row in (await connection.execute(statement)).mappings()]
    ring = keys_of(connection)
    tries: dict[UUID, list[AttemptView]] = {job.id: [] for job in jobs}
    attempts = select(Attempt.__table__).where(Attempt.job_id.in_(tries)).order_by(Attempt.job_id, Attempt.claim)
    for row in (await connection.execute(attempts)).mappings():
        excerpt = ring.shown_text(row["job_id"], row["excerpt"])
        tries[row["job_id"]].append(AttemptView(**{**row, **reason_fields(row), "excerpt": excerpt}))
    return [JobDetail(**dict(job), tries=tries[job.id]) for job in jobs]


def _job(row: RowMapping) -> JobView:
    waiting = row["state"] == "waiting"
    waits_for = row["waits_for"] if waiting else None
    run_at = row["run_at"] if waiting and waits_for is None else None
    reason = stored(row["reason_code"], row["facts"])
    meaning, following = job_texts(row["state"], row["disposition"], reason, row["destination_state"])
    shown = {"run_at": run_at, "reason_code": reason and reason.code, "text": meaning, "next_step": following}
    return JobView(**{**row, **shown})


# ----------------------------------------------------------------------------------------------- accounting

_BOOKS: Final = text("""
WITH tally AS (
    SELECT kind, count(*) AS jobs,
           CASE WHEN state = 'waiting' AND uncertain THEN 'unknown'
                WHEN state = 'done' THEN 'delivered' ELSE state END AS state
    FROM job WHERE CAST(:reason_code AS text) IS NULL OR reason_code = :reason_code GROUP BY 1, 3
)
SELECT (SELECT count(*) FROM message) AS messages,
       (SELECT coalesce(sum(waiting), 0) FROM lane) = (SELECT count(*) FROM job WHERE open) AS balanced,
       coalesce((SELECT jsonb_agg(to_jsonb(tally)) FROM tally), '[]') AS tally
""")


async def read_books(connection: AsyncConnection, reason_code: ReasonCode | None = None) -> JobCounts:
    """The accounting identity, from one snapshot; with `reason_code` only of the jobs that have it. Reads all jobs: for
    people, not for every second."""
    row = (await connection.execute(_BOOKS, {"reason_code": reason_code})).one()
    by_kind: dict[str, dict[str, int]] = {}
    total: dict[str, int] = {}
    for entry in row.tally:
        counts = by_kind.setdefault(entry["kind"], {})
        for tally in (counts, total):
            tally[entry["state"]] = tally.get(entry["state"], 0) + entry["jobs"]
            tally["received"] = tally.get("received", 0) + entry["jobs"]
    return JobCounts(
        messages=row.messages,
        total=Counts(**total),
        by_kind={kind: Counts(**counts) for kind, counts in sorted(by_kind.items())},
        balanced=row.balanced,
    )


_BACKLOG: Final = text("""
WITH owed AS (
    SELECT destination, sum(waiting) AS waiting,
           greatest(0, extract(epoch FROM now() - min(run_at) FILTER (WHERE NOT leased))) AS oldest
    FROM lane WHERE waiting > 0 GROUP BY destination
), dead AS (
    SELECT destination, jsonb_object_agg(reason_code, jobs) AS jobs
    FROM (
        SELECT destination, coalesce(reason_code, '') AS reason_code, count(*) AS jobs FROM job WHERE dead GROUP BY 1, 2
    ) AS by_code
    GROUP BY destination
)
SELECT name, coalesce(owed.waiting, 0) AS waiting, coalesce(owed.oldest, 0) AS oldest, coalesce(dead.jobs, '{}') AS dead,
       coalesce(destination.state, 'open') AS state
FROM (SELECT name FROM destination UNION SELECT destination FROM owed UNION SELECT destination FROM dead) AS names
LEFT JOIN destination USING (name) LEFT JOIN owed ON owed.destination = name LEFT JOIN dead ON dead.destination = name
ORDER BY name
""")


async def read_backlog(connection: AsyncConnection, oldest: OldestWaiting) -> Look:
    """Cheap enough to be asked every few seconds: reads only what is open or dead."""
    ages = await oldest.read(connection)
    destinations = [
        Backlog(row.name, int(row.waiting), float(row.oldest), ages.get(row.name, 0.0), row.dead, row.state)
        for row in await connection.execute(_BACKLOG)
    ]
    return Look(destinations, await count_open(connection))


async def list_destinations(connection: AsyncConnection) -> list[DestinationView]:
    owed = (
        select(func.coalesce(func.sum(Lane.waiting), 0)).where(Lane.destination == Destination.name).scalar_subquery()
    )
    columns = (
        Destination.name,
        Destination.state,
        Destination.reason_code,
        Destination.facts,
        Destination.since,
        Destination.retry_at,
    )
    rows = await connection.execute(select(*columns, owed.label("waiting")).order_by(Destination.name))
    return [DestinationView(**{**row, **reason_fields(row)}) for row in rows.mappings()]


# ----------------------------------------------------------------------------------------------- coupons, keys


async def find_coupon(connection: AsyncConnection, code: str) -> CouponView | None:
    found = await _coupons(connection, [Coupon.code == code], 1)
    return found[0] if found else None


async def list_coupons(
    connection: AsyncConnection,
    *,
    state: str | None = None,
    customer: str | None = None,
    reason_code: ReasonCode | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> CouponPage:
    """Newest first. `cursor` is the last page's `next_cursor`; `customer` the store's id of the customer."""
    where: list[ColumnElement[bool]] = []
    if state is not None:
        where.append(Coupon.state == state)
    if customer is not None:
        where.append(Coupon.customer_ref == customer)
    if reason_code is not None:
        where.append(Coupon.reason_code == reason_code)
    if cursor is not None:
        last = select(Coupon.created_at).where(Coupon.code == cursor).scalar_subquery()
        where.append(tuple_(Coupon.created_at, Coupon.code) < tuple_(last, cursor))
    items = await _coupons(connection, where, limit + 1)
    return CouponPage(items=items[:limit], next_cursor=items[limit - 1].code if len(items) > limit else None)


async def _coupons(connection: AsyncConnection, where: Sequence[ColumnElement[bool]], limit: int) -> list[CouponView]:
    newest = (
        select(Coupon.__table__, Message.kind.label("topic"), Message.encrypted_with, Message.body)
        .outerjoin(Message, Message.id == Coupon.message_id)
        .where(*where)
        .order_by(Coupon.created_at.desc(), Coupon.code.desc())
        .limit(limit)
    )
    ring = keys_of(connection)

    def customer(row: RowMapping) -> str | None:
        body = readable(lambda: ring.open(row["message_id"], row["encrypted_with"], row["body"]))
        return _shopper(row["topic"], body, row["customer_ref"])

    rows = (await connection.execute(newest)).mappings()
    return [CouponView(**{**row, **reason_fields(row)}, customer=customer(row)) for row in rows]


def _shopper(topic: str | None, body: bytes | None, ref: str | None) -> str | None:
    """The name of the person whose coupon it is, as the webhook told it."""
    webhook = parse(topic, body) if topic and body else None
    people = (webhook.customer, webhook.friend) if webhook else ()
    return next((person.name for person in people if person and person.ref == ref), None)


USE_NOTED: Final = timedelta(minutes=5)
"""How exactly it is known when a key was last used: one write in so long, not one per request."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    name: str
    hash: bytes
    scopes: frozenset[str]
    use_is_news: bool
    """It was not noted as used for `USE_NOTED`."""


async def find_api_key(connection: AsyncConnection, digest: bytes) -> KeyRow | None:
    """The key with this SHA-256 digest, unless it was revoked or has expired."""
    noted = func.coalesce(ApiKey.last_used_at > func.now() - USE_NOTED, False).label("noted")
    statement = select(ApiKey.name, ApiKey.hash, ApiKey.scopes, noted).where(
        ApiKey.hash == digest,
        ApiKey.revoked_at.is_(None),
        ApiKey.expires_at.is_(None) | (ApiKey.expires_at > func.now()),
    )
    row = (await connection.execute(statement)).one_or_none()
    return KeyRow(row.name, row.hash, frozenset(row.scopes), not row.noted) if row else None
