"""Repeated messages of a store: which of them are new, although the same was accepted before.

A store's time of change is not its content: a product that is published, hidden and published again within one time has
three versions, and the third is like the first. So a message is a duplicate only of the newest version with its time. If that
has another content, nothing shows which of the two is newer: a job fetches the entity's current state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import single_statement
from platform_relay.inbox.messages import VERSION_DIGITS, Incoming, version_mark
from platform_relay.queue.queue import NewJob, enqueue

Item = tuple[UUID, Incoming]
"""A message, and the id under which it is to be stored."""

_SAME_TIME: Final = f"""
unnest(CAST(:sources AS text[]), CAST(:prefixes AS text[]), CAST(:marks AS bigint[]), CAST(:kinds AS text[]), CAST(:refs AS text[]),
       CAST(:job_kinds AS text[]), CAST(:keys AS text[])) AS t(source, prefix, mark, kind, ref, job_kind, dedupe_key)
CROSS JOIN LATERAL (
    SELECT message.id, left(message.dedupe_key, length(t.prefix) + {VERSION_DIGITS}) AS dedupe_key, job.created_at, job.seq,
           length(message.dedupe_key) > length(t.prefix) + {VERSION_DIGITS} AS is_later
    FROM message JOIN job ON job.message_id = message.id AND job.kind = t.job_kind
    WHERE message.version_mark = t.mark AND message.source = t.source AND starts_with(message.dedupe_key, t.prefix)
      AND message.kind = t.kind AND coalesce(message.order_ref, message.product_ref, message.customer_ref) = t.ref
    ORDER BY job.created_at DESC, job.seq DESC OFFSET 0
) AS accepted
"""  # noqa: S608  # constants only
"""The accepted versions with the same time, the newest first: in the order of their jobs in the entity's lane. A message
whose content was not taken, because it led to a job that fetches the entity, has no such job. `is_later`: it was taken although
there were others, so a fetch has brought it."""
NEWEST: Final = text(f"""
SELECT DISTINCT ON (t.source, t.prefix) t.source, t.prefix, accepted.id, accepted.dedupe_key,
       min(accepted.dedupe_key) OVER version <> max(accepted.dedupe_key) OVER version AS contradicted, accepted.is_later
FROM {_SAME_TIME}
WINDOW version AS (PARTITION BY t.source, t.prefix)
ORDER BY t.source, t.prefix, accepted.created_at DESC, accepted.seq DESC
""")  # noqa: S608  # constants only
_CONTRADICTED: Final = text(f"""
SELECT DISTINCT t.source, t.dedupe_key FROM {_SAME_TIME} WHERE accepted.dedupe_key <> t.dedupe_key
""")  # noqa: S608  # constants only
FETCHES: Final = text("""
SELECT open.lane, message.id, message.dedupe_key, open.started
FROM unnest(CAST(:destinations AS text[]), CAST(:lanes AS text[])) AS t(destination, lane)
CROSS JOIN LATERAL (
    SELECT lane, message_id, state = 'running' OR attempts > 0 AS started FROM job
    WHERE job.destination = t.destination AND job.lane = t.lane AND job.open OFFSET 0
) AS open
JOIN message ON message.id = open.message_id
""")


@dataclass(frozen=True, slots=True)
class Known:
    """What was accepted before. `newest`: the newest version by source and prefix, as its id and its dedupe key. `waiting`:
    fetches that have not started, by lane and dedupe key. `started`: the lanes of those that have. `contradicted`: the sources and
    prefixes with several contents. Two processes may have accepted these in another order than that of the lane, so what a
    fetch brings is sent even if it is like the newest. `unsettled`: those of them of which no fetch has brought the newest."""

    newest: Mapping[tuple[str, str], tuple[UUID, str]]
    waiting: Mapping[tuple[str, str], UUID]
    started: frozenset[str] = frozenset()
    contradicted: frozenset[tuple[str, str]] = frozenset()
    unsettled: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with messages. `repeated`: the ids of duplicates, and of the messages that they repeat. `unopposed`: those
    whose content is taken because no other version has their time. `unsettled`: duplicates of a version that contradicts
    another, and whose entity is not being fetched, with the id of the message that they repeat: the process that accepted it
    could not enqueue the fetch."""

    items: tuple[Item, ...]
    repeated: Mapping[UUID, UUID]
    unopposed: tuple[Item, ...]
    unsettled: tuple[Item, ...] = ()


def plan(items: Sequence[Item], known: Known) -> Plan:
    """Decide about messages with `same_time` or `refetch`, in their order; others are kept as they are. Pure."""
    newest, waiting = dict(known.newest), dict(known.waiting)
    fetched = {lane for lane, _ in waiting}
    kept: list[Item] = []
    unopposed: list[Item] = []
    unsettled: list[Item] = []
    repeated: dict[UUID, UUID] = {}
    for message_id, message in items:
        item = message_id, message
        unique = f"{message.dedupe_key}~{message_id}"
        if message.refetch:
            fetch = message.jobs[0].lane, message.dedupe_key
            if (first := waiting.get(fetch)) is not None:
                repeated[message_id] = first
                continue
            waiting[fetch] = message_id
            fetched.add(message.jobs[0].lane)
            item = message_id, replace(message, dedupe_key=unique)
        elif message.same_time is not None:
            version = message.source, message.same_time.prefix
            last, job = newest.get(version), message.same_time.fetch
            overtaken = job is not None and job.lane in known.started  # a fetch may have read what was before this one
            unordered = message.same_time.is_current and version in known.contradicted
            if last is None:
                unopposed.append(item)
            elif last[1] == message.dedupe_key and not overtaken and not unordered:
                repeated[message_id] = last[0]
                if job is not None and version in known.unsettled and job.lane not in fetched:
                    fetched.add(job.lane)
                    unsettled.append((last[0], message))
                continue
            elif job is not None:
                fetched.add(job.lane)
                kept.append((message_id, replace(message, dedupe_key=unique, jobs=(job,), version=None)))
                continue
            else:
                item = message_id, replace(message, dedupe_key=unique)
            newest[version] = message_id, message.dedupe_key
        kept.append(item)
    return Plan(tuple(kept), repeated, tuple(unopposed), tuple(unsettled))


async def read_known(connection: AsyncConnection, messages: Sequence[Incoming]) -> Known:
    """What was accepted before of the entities of these messages."""
    newest: dict[tuple[str, str], tuple[UUID, str]] = {}
    contradicted: frozenset[tuple[str, str]] = frozenset()
    unsettled: frozenset[tuple[str, str]] = frozenset()
    waiting: dict[tuple[str, str], UUID] = {}
    if versions := [message for message in messages if message.same_time is not None]:
        rows = (await connection.execute(NEWEST, _parameters(versions))).all()
        contradicted = frozenset((row.source, row.prefix) for row in rows if row.contradicted)
        unsettled = frozenset((row.source, row.prefix) for row in rows if row.contradicted and not row.is_later)
        newest = {(row.source, row.prefix): (row.id, row.dedupe_key) for row in rows}
    started: set[str] = set()
    fetches = [message.jobs[0] for message in messages if message.refetch]
    fetches += [message.same_time.fetch for message in messages if message.same_time and message.same_time.fetch]
    if fetches:
        lanes = {"destinations": [job.destination for job in fetches], "lanes": [job.lane for job in fetches]}
        for row in await connection.execute(FETCHES, lanes):
            if row.started:
                started.add(row.lane)
            else:
                waiting[row.lane, row.dedupe_key.partition("~")[0]] = row.id
    return Known(newest, waiting, frozenset(started), contradicted, unsettled)


async def fetch_contradicted(engine: AsyncEngine, items: Sequence[Item]) -> frozenset[str]:
    """Enqueue the job `fetch` of each message whose time has another version too: both were accepted at the same moment.
    `items` were stored with their content. Returns the destinations that have new jobs."""
    checked = [item for item in items if item[1].same_time is not None and item[1].same_time.fetch is not None]
    if not checked:
        return frozenset()
    async with single_statement(engine) as connection:
        rows = await connection.execute(_CONTRADICTED, _parameters([message for _, message in checked]))
        contradicted = {(row.source, row.dedupe_key) for row in rows}
        jobs = [
            NewJob(message_id, message.same_time.fetch)
            for message_id, message in checked
            if (message.source, message.dedupe_key) in contradicted
            and message.same_time is not None
            and message.same_time.fetch is not None
        ]
        await enqueue(connection, jobs)
    return frozenset(job.spec.destination for job in jobs)


def _parameters(messages: Sequence[Incoming]) -> dict[str, Sequence[str | int | None]]:
    prefixes = [message.same_time.prefix for message in messages if message.same_time is not None]
    return {
        "sources": [message.source for message in messages],
        "prefixes": [*prefixes],
        "marks": [version_mark(message.source, prefix) for message, prefix in zip(messages, prefixes, strict=True)],
        "kinds": [str(message.kind) for message in messages],
        "refs": [message.entity_ref for message in messages],
        "job_kinds": [message.jobs[0].kind for message in messages],
        "keys": [message.dedupe_key for message in messages],
    }
