"""The list of everything that was received, newest first: for the console's page *Events*, `GET /v1/events` and `relay events`.

Ids of messages sort by time, so a page is a walk down the primary key. A walk is bounded, whatever the filters are: it reads
windows of messages and ends when the page is full, nothing older is left, or `SECONDS` have passed. Then the page has fewer
events than asked for, perhaps none, and `next_cursor` continues where the walk ended. So a filter that matches one event in a
million costs pages, but no page costs more than the others. Two filters do not need a walk over all messages:

    about                               the messages of one order, customer, product or coupon, by the indexes of *Search*
    state needs_attention, held,        while there are at most `CANDIDATES` dead or open jobs, only their messages are read
    waiting or running
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from pydantic import Field, JsonValue, TypeAdapter
from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.database import key_ring_of
from platform_relay.core.ids import first_id
from platform_relay.core.paging import Cursor, Page
from platform_relay.core.reasons import ReasonCode, stored
from platform_relay.explain.collect import BY_EMAIL, COUPONS, spellings
from platform_relay.jobs.failure_groups import HELD
from platform_relay.jobs.views import IS_HELD, MESSAGE_STATES, MessageState, View, message_text, reason_fields
from platform_relay.queue.attempts import ATTEMPTS

SECONDS: Final = 0.06
"""After this time a page starts no further window."""
LARGEST_WINDOW: Final = 4000
GROWTH: Final = 4
QUICK: Final = 0.015
"""A window that took longer, in seconds, is not followed by a larger one."""
CANDIDATES: Final = 5000
_NEWEST: Final = UUID(int=(1 << 128) - 1)
_OLDEST: Final = UUID(int=0)
_CURSOR: Final = Cursor("events", TypeAdapter(UUID))

# ----------------------------------------------------------------------------------------------- statements

_JOB_STATE: Final = f"CASE WHEN {IS_HELD} THEN 'held' ELSE job.state END"
_STATE: Final = " ".join(f"WHEN bool_or({_JOB_STATE} = '{job}') THEN '{name}'" for job, name, _ in MESSAGE_STATES)
_PAGE: Final = f"""
WITH seen AS MATERIALIZED (
    SELECT id, source, kind, received_at, order_ref, product_ref, coupon_ref, customer_ref, reason_code, facts
    FROM message WHERE {{which}} ORDER BY id DESC LIMIT :window
),
page AS (
    SELECT * FROM seen
    WHERE id >= :since AND (CAST(:kind AS text) IS NULL OR kind = :kind) AND (CAST(:source AS text) IS NULL OR source = :source)
      AND (CAST(:reason_code AS text) IS NULL OR reason_code = :reason_code
           OR (SELECT bool_or(job.reason_code = :reason_code) FROM job WHERE job.message_id = seen.id))
      AND (CAST(:state AS text) IS NULL
           OR :state = (SELECT CASE {_STATE} ELSE 'stored' END FROM job WHERE job.message_id = seen.id))
    ORDER BY id DESC LIMIT :limit
)
SELECT bounds.messages, bounds.last, page.*
FROM (SELECT count(*) AS messages, (SELECT id FROM seen ORDER BY id LIMIT 1) AS last FROM seen) AS bounds
LEFT JOIN page ON true ORDER BY page.id DESC
"""  # noqa: S608  # constants only
IN_ORDER: Final = text("SELECT set_config('enable_bitmapscan', 'off', true)")
"""For the transaction that reads a page. A bitmap of all older messages, which is then sorted, was chosen on tables that were
never analysed and on stale statistics, and reads all of them."""
BY_TIME: Final = text(_PAGE.format(which="id < :before"))
"""One window of all messages. `messages` is how many it has, `last` the oldest of them; a row without an id has no event.
`since` is not a condition of the walk, so that the walk always has one end that an index can start at."""
BY_IDS: Final = text(_PAGE.format(which="id = ANY(CAST(:ids AS uuid[]))"))
_BY_REF: Final = """
SELECT newest.id FROM unnest(CAST(:{keys} AS text[])) AS queried(key) CROSS JOIN LATERAL (
    SELECT id FROM message WHERE {column} = queried.key AND id < :before ORDER BY id DESC LIMIT :window
) AS newest
"""
ABOUT: Final = text(
    "SELECT id FROM ("  # noqa: S608  # constants only
    + " UNION ".join(
        _BY_REF.format(column=column, keys="codes" if column == "coupon_ref" else "keys")
        for column in ("order_ref", "customer_ref", "product_ref", "coupon_ref")
    )
    + " UNION SELECT given.id FROM unnest(CAST(:ids AS uuid[])) AS given(id) WHERE given.id < :before"
    ") AS about ORDER BY id DESC LIMIT :window"
)
MESSAGES_OF_JOBS: Final = text("SELECT message_id FROM job WHERE id = ANY(CAST(:ids AS uuid[]))")
MESSAGES_OF_DEAD: Final = text("SELECT message_id FROM job WHERE dead LIMIT :limit")
MESSAGES_OF_OPEN: Final = text("SELECT message_id FROM job WHERE open LIMIT :limit")
_CANDIDATES: Final[Mapping[MessageState, TextClause]] = {
    "needs_attention": MESSAGES_OF_DEAD,
    "running": MESSAGES_OF_OPEN,
    "held": MESSAGES_OF_OPEN,
    "waiting": MESSAGES_OF_OPEN,
}
LAST_ATTEMPTS: Final = text(f"""
SELECT job.message_id, {_JOB_STATE} AS state, job.reason_code, job.facts, last.started_at, last.outcome, last.status,
       last.reason_code AS attempt_code, last.facts AS attempt_facts
FROM job LEFT JOIN LATERAL (
    SELECT * FROM {ATTEMPTS} AS attempt WHERE attempt.job_id = job.id ORDER BY attempt.fencing_token DESC LIMIT 1
) AS last ON true
WHERE job.message_id = ANY(CAST(:ids AS uuid[])) ORDER BY job.id
""")  # noqa: S608  # constants only
SELECTED: Final = text(f"""
SELECT job.id, job.kind, job.dead, job.state = 'waiting' AS waiting, CASE WHEN {HELD} THEN lane.waits_for END AS waits_for
FROM job LEFT JOIN lane ON lane.destination = job.destination AND lane.key = job.lane AND job.open
WHERE job.message_id = ANY(CAST(:ids AS uuid[]))
  AND (CAST(:before AS timestamptz) IS NULL OR coalesce(job.finished_at, job.created_at) <= :before)
ORDER BY job.id
""")  # noqa: S608  # constants only

# ----------------------------------------------------------------------------------------------- what is asked for, and shown


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to list; None does not restrict. `since` and `until` limit the time of receipt.

    `about` is the exact id of an order, a customer, a product, a message or a job, an e-mail address, or the code of a coupon.
    """

    kind: str | None = None
    state: MessageState | None = None
    reason_code: ReasonCode | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    about: str | None = None


class LastResponse(View):
    """The last attempt of an event's jobs. A successful attempt has no text."""

    at: datetime
    outcome: str
    status: int | None = Field(description="The destination's HTTP status; null if it did not respond.")
    reason_code: ReasonCode | None = Field(description="The cause, as a stable code (docs/reason-codes.md).")
    text: str | None = Field(description="What happened and why; null after a success.")


class EventView(View):
    """An event or a webhook in a list."""

    id: UUID
    received_at: datetime
    source: str = Field(description="Who sent it: `store`, `platform`, or the adapter of the store.")
    kind: str = Field(description="The kind of event, or the topic of a webhook.")
    subject: str | None = Field(description="What it is about, such as `order:1001`.")
    state: MessageState
    reason_code: ReasonCode | None = Field(description="The cause of the state (docs/reason-codes.md).")
    text: str = Field(description="What the state means, or the text of `reason_code`.")
    facts: dict[str, JsonValue] | None = Field(None, description="The values in `text`.")
    last_response: LastResponse | None = Field(description="The last attempt to deliver it; null before the first one.")


@dataclass(frozen=True, slots=True)
class SelectedJob:
    """A job of a selected event. `waits_for` is what it is held for; None if it is not held."""

    id: UUID
    kind: str
    dead: bool
    waiting: bool
    waits_for: str | None


async def selected_jobs(
    connection: AsyncConnection, ids: Sequence[UUID], before: datetime | None = None
) -> list[SelectedJob]:
    """The jobs of the events with these ids; with `before`, those that are as they are since then or longer."""
    parameters = {"ids": list(ids), "before": before}
    return [SelectedJob(*row) for row in await connection.execute(SELECTED, parameters)]


async def list_event_ids(
    connection: AsyncConnection, filters: EventFilter, before: UUID, oldest: UUID, limit: int
) -> tuple[list[UUID], UUID | None]:
    """The next matching events older than `before`, newest first, down to `oldest`, and the position after which the next
    ones follow; None when nothing is left. There may be fewer than `limit`, as in a page."""
    before = before if filters.until is None else min(before, first_id(filters.until))
    await connection.execute(IN_ORDER)
    walk = await _Walk.start(connection, filters, oldest)
    rows, last = await walk.page(before, limit)
    return [row["id"] for row in rows], last


async def list_events(
    connection: AsyncConnection, filters: EventFilter, *, cursor: str | None = None, limit: int = 50
) -> Page[EventView]:
    """One page, newest first. It may have fewer than `limit` events although `next_cursor` is not null.

    `cursor` is the last page's `next_cursor`. Raises QueryInvalid for a cursor of another list.
    """
    before = _NEWEST if filters.until is None else first_id(filters.until)
    if (after := _CURSOR.decode(cursor)) is not None:
        before = min(before, after)
    await connection.execute(IN_ORDER)
    walk = await _Walk.start(connection, filters)
    rows, last = await walk.page(before, limit)
    events = await _views(connection, rows)
    return Page[EventView](items=events, next_cursor=_CURSOR.encode(last) if last else None)


def reached(cursor: str | None) -> datetime | None:
    """The time down to which the pages up to `cursor` have been searched; None without a cursor. Raises QueryInvalid."""
    position = _CURSOR.decode(cursor)
    return None if position is None else datetime.fromtimestamp((position.int >> 80) / 1000, UTC)


# ----------------------------------------------------------------------------------------------- the walk


class _Walk:
    """Reads windows of messages, newest first. `keys`, `codes` and `ids` are what `about` can mean; None: all messages."""

    def __init__(
        self,
        connection: AsyncConnection,
        filters: EventFilter,
        about: Mapping[str, Sequence[object]] | None,
        candidates: list[UUID] | None,
        oldest: UUID,
    ) -> None:
        self._connection = connection
        self._about = about
        self._candidates = candidates
        self._since = oldest if filters.since is None else max(oldest, first_id(filters.since))
        self._filters: Mapping[str, object] = {
            "kind": filters.kind,
            "source": filters.source,
            "reason_code": filters.reason_code,
            "state": filters.state,
        }

    @classmethod
    async def start(cls, connection: AsyncConnection, filters: EventFilter, oldest: UUID = _OLDEST) -> "_Walk":
        if filters.about is not None:
            return cls(connection, filters, await _meanings(connection, filters.about), None, oldest)
        return cls(connection, filters, None, await _candidates(connection, filters.state), oldest)

    async def page(self, before: UUID, limit: int) -> tuple[list[RowMapping], UUID | None]:
        """At most `limit` rows, and the position after which the next page starts; None when nothing is left."""
        rows: list[RowMapping] = []
        window, started = limit + 1, time.monotonic()
        while True:
            began = time.monotonic()
            matching, messages, last = await self._window(before, window, limit + 1 - len(rows))
            rows += matching
            if len(rows) > limit:
                return rows[:limit], rows[limit - 1]["id"]
            if last is None or messages < window or last < self._since:
                return rows, None
            before, now = last, time.monotonic()
            if now - started > SECONDS:
                return rows, before
            if now - began < QUICK:
                window = min(LARGEST_WINDOW, window * GROWTH)

    async def _window(self, before: UUID, window: int, limit: int) -> tuple[list[RowMapping], int, UUID | None]:
        """The matching messages among the next `window` ones, how many messages these were, and the oldest of them."""
        parameters = {**self._filters, "since": self._since, "window": window, "limit": limit}
        if (ids := await self._ids(before, window)) is None:
            statement, parameters = BY_TIME, {**parameters, "before": before}
        else:
            statement, parameters = BY_IDS, {**parameters, "ids": ids}
        rows = (await self._connection.execute(statement, parameters)).mappings().all()
        messages, last = (rows[0]["messages"], rows[0]["last"]) if ids is None else (len(ids), ids[-1] if ids else None)
        return [row for row in rows if row["id"] is not None], messages, last

    async def _ids(self, before: UUID, window: int) -> list[UUID] | None:
        """The ids of the next messages to read, newest first; None: the next of all messages."""
        if self._about is not None:
            parameters = {**self._about, "before": before, "window": window}
            return list((await self._connection.execute(ABOUT, parameters)).scalars())
        if self._candidates is not None:
            return [candidate for candidate in self._candidates if candidate < before][:window]
        return None


async def _meanings(connection: AsyncConnection, about: str) -> dict[str, list[object]]:
    """What the text can mean: ids of entities, codes of coupons, ids of messages."""
    term = about.strip()
    keys, codes = spellings("order", term), spellings("coupon", term)
    ids: list[object] = [row.message_id for row in await connection.execute(COUPONS, {"codes": codes})]
    if "@" in term:
        marks = key_ring_of(connection).email_marks(term)
        rows = await connection.execute(BY_EMAIL, {"email": term.lower(), "marks": marks})
        keys += [row.customer_ref for row in rows]
    try:
        given = UUID(term)
    except ValueError:
        pass
    else:
        ids += [given, *(await connection.execute(MESSAGES_OF_JOBS, {"ids": [given]})).scalars()]
    return {"keys": list(dict.fromkeys(keys)), "codes": list(codes), "ids": ids}


async def _candidates(connection: AsyncConnection, state: MessageState | None) -> list[UUID] | None:
    """The messages that can be in this state, newest first; None: too many, or it is not known without reading them."""
    if (statement := _CANDIDATES.get(state) if state else None) is None:
        return None
    ids = (await connection.execute(statement, {"limit": CANDIDATES + 1})).scalars().all()
    return None if len(ids) > CANDIDATES else sorted(set(ids), reverse=True)


# ----------------------------------------------------------------------------------------------- views


async def _views(connection: AsyncConnection, messages: Sequence[RowMapping]) -> list[EventView]:
    jobs: dict[UUID, list[RowMapping]] = {row["id"]: [] for row in messages}
    if jobs:
        for row in (await connection.execute(LAST_ATTEMPTS, {"ids": list(jobs)})).mappings():
            jobs[row["message_id"]].append(row)
    return [_view(row, jobs[row["id"]]) for row in messages]


def _view(row: RowMapping, jobs: Sequence[RowMapping]) -> EventView:
    state, state_text = message_text(job["state"] for job in jobs)
    job_state = next((job for job, name, _ in MESSAGE_STATES if name == state), None)
    of_jobs = (stored(job["reason_code"], job["facts"]) for job in jobs if job["state"] == job_state)
    reason = next((one for one in of_jobs if one is not None), None) or stored(row["reason_code"], row["facts"])
    attempts = sorted((job for job in jobs if job["started_at"] is not None), key=lambda job: job["started_at"])
    return EventView(
        id=row["id"],
        received_at=row["received_at"],
        source=row["source"],
        kind=row["kind"],
        subject=_subject(row),
        state=state,
        reason_code=reason.code if reason else None,
        text=(reason.text if reason else "") or state_text,
        facts=dict(reason.facts) if reason else None,
        last_response=_last_response(attempts[-1]) if attempts else None,
    )


def _last_response(row: RowMapping) -> LastResponse:
    reason = reason_fields({"reason_code": row["attempt_code"], "facts": row["attempt_facts"]})
    return LastResponse(
        at=row["started_at"],
        outcome=row["outcome"],
        status=row["status"],
        reason_code=reason["reason_code"],
        text=reason["text"],
    )


def _subject(row: RowMapping) -> str | None:
    subjects = (
        f"{name}:{row[f'{name}_ref']}" for name in ("order", "product", "coupon", "customer") if row[f"{name}_ref"]
    )
    return next(subjects, None)
