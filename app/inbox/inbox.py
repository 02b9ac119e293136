"""Stores messages with their jobs and lanes in one commit, which many callers share.

    caller ──▶ pending ──▶ one statement ──▶ commit ──▶ every caller gets its receipts

Callers that arrive while a flush runs share the next one. It starts when a flush ends, or when as many messages wait as
are being written: two may run at once, so that one is prepared while the other waits for the disk. There is no timer: a
single caller waits for one commit. The messages of one call stay together, in their order.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import is_unavailable, key_ring_of, single_statement
from platform_relay.core.database_clock import DatabaseClock
from platform_relay.core.encryption import KeyRing, first_email
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.failed_statements import name_statements
from platform_relay.core.reasons import columns
from platform_relay.core.work import Operation, WorkRecord
from platform_relay.inbox.messages import Incoming, key_digest
from platform_relay.inbox.same_time import Item, Plan, fetch_contradicted, plan, read_known
from platform_relay.inbox.versions import is_too_far_ahead
from platform_relay.queue.queue import NewJob, enqueue_parameters
from platform_relay.queue.statements.enqueue import INSERT_JOBS, NEW_JOBS

log: Final = structlog.get_logger(__name__)

BATCH: Final = 1000
"""Messages per commit at most."""
FLUSHES: Final = 2
"""Commits that may run at once."""

_ACCEPT: Final = text(f"""
WITH input AS (
    SELECT * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:sources AS text[]), CAST(:kinds AS text[]), CAST(:dedupe_keys AS text[]),
        CAST(:key_digests AS uuid[]), CAST(:body_digests AS bigint[]), CAST(:version_marks AS bigint[]),
        CAST(:bodies AS bytea[]), CAST(:customers AS text[]), CAST(:orders AS text[]),
        CAST(:products AS text[]), CAST(:coupons AS text[]), CAST(:events AS bytea[]),
        CAST(:keys AS text[]), CAST(:marks AS bytea[]), CAST(:reason_codes AS text[]), CAST(:message_facts AS jsonb[])
    ) AS t(id, source, kind, dedupe_key, key_digest, body_digest, version_mark, body, customer_ref, order_ref, product_ref,
           coupon_ref, event, encrypted_with, email_mark, reason_code, facts)
),
new AS (
    INSERT INTO dedupe_digest (key, message_id, body_digest) SELECT key_digest, id, body_digest FROM input ORDER BY key_digest, id
    ON CONFLICT (key) DO NOTHING
    RETURNING message_id
),
stored AS (
    INSERT INTO message (id, source, kind, dedupe_key, version_mark, body, customer_ref, order_ref, product_ref, coupon_ref,
                         event, encrypted_with, email_mark, reason_code, facts, received_at)
    SELECT id, source, kind, dedupe_key, version_mark, body, customer_ref, order_ref, product_ref, coupon_ref, event,
           encrypted_with, email_mark, reason_code, facts, now()
    FROM input JOIN new ON new.message_id = input.id ORDER BY id
    RETURNING id
),
new_job AS (
    SELECT input_job.* FROM {NEW_JOBS}
    JOIN stored ON stored.id = input_job.message_id
),
{INSERT_JOBS}
SELECT stored.id FROM stored
""")  # noqa: S608  # constants only

FIRST: Final = text("""
SELECT first.key, first.message_id AS id, first.body_digest
FROM unnest(CAST(:key_digests AS uuid[])) AS t(key) JOIN dedupe_digest AS first ON first.key = t.key
""")
name_statements({"accept": _ACCEPT, "first_of_duplicates": FIRST})


@dataclass(frozen=True, slots=True)
class Receipt:
    """`id` is the message's. For a duplicate or a conflict (same key, other body) it is the first message's, which may have
    left the history."""

    id: UUID
    status: Literal["accepted", "duplicate", "conflict"]


@dataclass(slots=True)
class _Call:
    """The messages of one caller, and the receipts that it waits for."""

    items: Sequence[Item]
    receipts: "asyncio.Future[list[Receipt]]"


class Inbox:
    """One per process. `on_commit` is called with the destinations that have new jobs.

    A version that lies in the future (`versions.is_too_far_ahead`) is taken without its version, and `on_future_version` is
    called with the message. The endpoints and the import reject such a version before, by the same `clock`. `on_reason` is
    called with each accepted message that has a reason.
    `time_limit` (seconds): a commit that takes longer counts as failed. The caller must send again; the dedupe key
    prevents a second message. `work` records the results of the commits.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        on_commit: Callable[[frozenset[str]], None],
        on_future_version: Callable[[Incoming], Awaitable[None]] | None = None,
        on_reason: Callable[[Incoming], Awaitable[None]] | None = None,
        time_limit: float = 5.0,
        work: WorkRecord | None = None,
    ) -> None:
        self._engine = engine
        self._on_future_version = on_future_version
        self._on_reason = on_reason
        self._on_commit = on_commit
        self._time_limit = time_limit
        self._work = work or WorkRecord(Operation.ACCEPT)
        self.clock: Final = DatabaseClock(engine, self._work)
        self._pending: deque[_Call] = deque()
        self._waiting = self._written = 0  # messages that are pending, and in the flushes that run
        self._flushers: list[asyncio.Task[None]] = []

    async def accept(self, message: Incoming, message_id: UUID) -> Receipt:
        """Store a message. Returns after the commit. Raises DatabaseAway when the commit failed or is not confirmed, and
        the database's error for a message that it rejects."""
        [receipt] = await self._join([(message_id, message)])
        return receipt

    async def accept_many(self, items: Sequence[Item]) -> list[Receipt]:
        """Store messages in this order, with shared commits. Raises DatabaseAway when any is not confirmed."""
        receipts: list[Receipt] = []
        for start in range(0, len(items), BATCH):
            receipts += await self._join(items[start : start + BATCH])
        return receipts

    async def _join(self, items: Sequence[Item]) -> list[Receipt]:
        receipts = await self._join_with_versions(items)
        for (_, message), receipt in zip(items, receipts, strict=True):
            if message.reason is not None and self._on_reason and receipt.status == "accepted":
                await self._on_reason(message)
        return receipts

    async def _join_with_versions(self, items: Sequence[Item]) -> list[Receipt]:
        if all(message.version is None for _, message in items):
            return await self._store(items)
        now = await self.clock.now()
        if not any(is_too_far_ahead(message.version, now) for _, message in items):
            return await self._store(items)
        receipts = await self._store(
            [
                (message_id, replace(message, version=None) if is_too_far_ahead(message.version, now) else message)
                for message_id, message in items
            ]
        )
        for (_, message), receipt in zip(items, receipts, strict=True):
            if self._on_future_version and receipt.status == "accepted" and is_too_far_ahead(message.version, now):
                await self._on_future_version(message)
        return receipts

    async def _store(self, items: Sequence[Item]) -> list[Receipt]:
        call = _Call(items, asyncio.get_running_loop().create_future())
        self._pending.append(call)
        self._waiting += len(items)
        self._flushers = [flusher for flusher in self._flushers if not flusher.done()]
        if len(self._flushers) < FLUSHES and self._waiting >= self._written:
            self._flushers.append(asyncio.create_task(self._flush_all()))
        return await call.receipts

    async def _flush_all(self) -> None:
        while self._pending and self._waiting >= self._written:
            calls, size = [], 0
            while self._pending and size + len(self._pending[0].items) <= BATCH:
                calls.append(self._pending.popleft())
                size += len(calls[-1].items)
            self._waiting -= size
            self._written += size
            try:
                await self._flush(calls)
            finally:
                self._written -= size

    async def _flush(self, calls: Sequence[_Call]) -> None:
        """Write the messages of the calls, and set the result or the error of each call."""
        items = [item for call in calls for item in call.items]
        try:
            with self._work.attempt():
                async with asyncio.timeout(self._time_limit):
                    receipts = await self._write(items)
        except TimeoutError:
            log.warning("accept_timed_out", messages=len(items), seconds=self._time_limit, **self._work.log_fields())
            _fail(calls, DatabaseAway())
        except Exception as error:  # noqa: BLE001  # every caller gets the error
            if is_unavailable(error):
                log.warning("accept_failed", messages=len(items), **self._work.log_fields())
                _fail(calls, DatabaseAway())
            elif len(items) > 1:
                for call in calls:
                    await self._flush_one_by_one(call)
            else:
                _fail(calls, error)
        except asyncio.CancelledError:
            _fail([*calls, *self._pending], DatabaseAway())
            raise
        else:
            for call in calls:
                if not call.receipts.done():
                    call.receipts.set_result([receipts[message_id] for message_id, _ in call.items])

    async def _flush_one_by_one(self, call: _Call) -> None:
        """Write each message alone, so that one that the database rejects does not affect others. The call gets the first error."""
        parts = [_Call([item], asyncio.get_running_loop().create_future()) for item in call.items]
        for part in parts:
            await self._flush([part])
        errors = [error for part in parts if (error := part.receipts.exception()) is not None]
        if errors:
            _fail([call], errors[0])
        elif not call.receipts.done():
            call.receipts.set_result([receipt for part in parts for receipt in part.receipts.result()])

    async def _write(self, items: Sequence[Item]) -> dict[UUID, Receipt]:
        async with single_statement(self._engine) as connection:
            planned = await _plan(connection, items)
            stored = set[UUID]()
            receipts = {message_id: Receipt(first, "duplicate") for message_id, first in planned.repeated.items()}
            missing: Sequence[Item] = planned.items
            while missing:  # again if the record of the first message reached the end of DEDUPE in between
                new = await self._insert(connection, missing)
                stored |= new
                receipts |= {message_id: Receipt(message_id, "accepted") for message_id in new}
                receipts |= await _receipts_of_first(connection, [item for item in missing if item[0] not in new])
                missing = [item for item in missing if item[0] not in receipts]
        destinations = {
            spec.destination for message_id, message in planned.items if message_id in stored for spec in message.jobs
        }
        checked = [*(item for item in planned.unopposed if item[0] in stored), *planned.unsettled]
        if checked:  # the versions are committed: if this fails, the caller's repetition enqueues the fetch
            destinations |= await fetch_contradicted(self._engine, checked)
        if destinations:
            self._on_commit(frozenset(destinations))
        return receipts

    async def _insert(self, connection: AsyncConnection, items: Sequence[Item]) -> set[UUID]:
        """Returns the ids of the messages that were stored: those whose dedupe key is new."""
        if not items:
            return set()
        messages = [message for _, message in items]
        parameters = {
            "ids": [message_id for message_id, _ in items],
            "sources": [message.source for message in messages],
            "kinds": [str(message.kind) for message in messages],
            "dedupe_keys": [message.dedupe_key for message in messages],
            "key_digests": [key_digest(message.source, message.dedupe_key) for message in messages],
            "body_digests": [message.body_digest for message in messages],
            "version_marks": [message.version_mark for message in messages],
            "customers": [message.customer_ref for message in messages],
            "orders": [message.order_ref for message in messages],
            "products": [message.product_ref for message in messages],
            "coupons": [message.coupon_ref for message in messages],
            "reason_codes": [columns(message.reason)["reason_code"] for message in messages],
            "message_facts": [columns(message.reason)["facts"] for message in messages],
            **enqueue_parameters(
                [NewJob(message_id, spec, message.version) for message_id, message in items for spec in message.jobs]
            ),
        }
        bodies = _body_parameters(key_ring_of(connection), items)
        return set((await connection.execute(_ACCEPT, {**parameters, **bodies})).scalars())


async def _plan(connection: AsyncConnection, items: Sequence[Item]) -> Plan:
    messages = [message for _, message in items if message.same_time is not None or message.refetch]
    return plan(items, await read_known(connection, messages)) if messages else Plan(tuple(items), {}, ())


async def _receipts_of_first(connection: AsyncConnection, items: Sequence[Item]) -> dict[UUID, Receipt]:
    """The receipts of messages whose dedupe key was stored before, and is still known."""
    if not items:
        return {}
    keys = {message_id: key_digest(message.source, message.dedupe_key) for message_id, message in items}
    first = {row.key: row for row in await connection.execute(FIRST, {"key_digests": list(keys.values())})}
    receipts: dict[UUID, Receipt] = {}
    for message_id, message in items:
        if (row := first.get(keys[message_id])) is not None:
            same = row.body_digest == message.body_digest or not message.strict
            receipts[message_id] = Receipt(row.id, "duplicate" if same else "conflict")
    return receipts


def _fail(calls: Iterable[_Call], error: BaseException) -> None:
    for call in calls:
        if not call.receipts.done():
            call.receipts.set_exception(error)


def _body_parameters(ring: KeyRing, items: Sequence[Item]) -> dict[str, list[object]]:
    """The bodies as they are stored."""
    return {
        "bodies": [ring.encrypt(message_id, message.body) for message_id, message in items],
        "events": [ring.encrypt(message_id, message.event, "event") for message_id, message in items],
        "keys": [ring.current for _ in items],
        "marks": [
            ring.email_mark(first_email(message.kind, message.event or message.body)) if ring.current else None
            for _, message in items
        ],
    }
