"""accept(): message + job + lane in ONE commit, many callers per commit.

    caller ──▶ pending ──▶ one statement ──▶ commit ──▶ every caller gets its receipt

While one flush runs, the next callers gather; the next flush starts when the last one ends. There is no timer: a
single caller waits for one commit, a crowd shares one.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import is_unavailable, keys_of, single_statement
from app.engine.queue import NewJob, owed_parameters
from app.engine.statements import OWED_COLUMNS, TAKE_ON
from app.errors import DatabaseAway
from app.messages import Incoming
from app.sealing import KeyRing, first_email

log: Final = structlog.get_logger(__name__)

BATCH: Final = 1000
"""Messages per commit at most."""

_ACCEPT: Final = text(f"""
WITH input AS (
    SELECT * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:sources AS text[]), CAST(:kinds AS text[]), CAST(:dedupe_keys AS text[]),
        CAST(:bodies AS bytea[]), CAST(:hashes AS bytea[]), CAST(:customers AS text[]), CAST(:orders AS text[]),
        CAST(:products AS text[]), CAST(:coupons AS text[]), CAST(:events AS bytea[]),
        CAST(:keys AS text[]), CAST(:marks AS bytea[])
    ) AS t(id, source, kind, dedupe_key, body, body_hash, customer_ref, order_ref, product_ref, coupon_ref, event,
           sealed_by, email_mark)
),
stored AS (
    INSERT INTO message (id, source, kind, dedupe_key, body, body_hash, customer_ref, order_ref, product_ref, coupon_ref,
                         event, sealed_by, email_mark, received_at)
    SELECT id, source, kind, dedupe_key, body, body_hash, customer_ref, order_ref, product_ref, coupon_ref, event,
           sealed_by, email_mark, now()
    FROM input ORDER BY source, dedupe_key
    ON CONFLICT (source, dedupe_key) DO NOTHING
    RETURNING id
),
owed AS (
    SELECT job_input.* FROM unnest({OWED_COLUMNS}
    JOIN stored ON stored.id = job_input.message_id
),
{TAKE_ON}
SELECT stored.id FROM stored
""")  # noqa: S608  # constants only

_FIRST: Final = text("""
SELECT message.source, message.dedupe_key, message.id, message.body_hash
FROM unnest(CAST(:sources AS text[]), CAST(:keys AS text[])) AS t(source, dedupe_key)
JOIN message ON message.source = t.source AND message.dedupe_key = t.dedupe_key
""")


@dataclass(frozen=True, slots=True)
class Receipt:
    """`id` is the message's; of a duplicate or a conflict (same key, other body) it is the FIRST message's."""

    id: UUID
    status: Literal["accepted", "duplicate", "conflict"]


@dataclass(slots=True)
class _Waiting:
    id: UUID
    message: Incoming
    receipt: "asyncio.Future[Receipt]"


class Inbox:
    """One per web process. `on_commit` is told the channels that got work.

    `time_limit` (seconds): a commit that takes longer counts as not made; the caller must send again, and the
    dedupe key keeps that harmless.
    """

    def __init__(
        self, engine: AsyncEngine, *, on_commit: Callable[[frozenset[str]], None], time_limit: float = 5.0
    ) -> None:
        self._engine = engine
        self._on_commit = on_commit
        self._time_limit = time_limit
        self._pending: list[_Waiting] = []
        self._flusher: asyncio.Task[None] | None = None

    async def accept(self, message: Incoming, message_id: UUID) -> Receipt:
        """Returns after the commit. Raises DatabaseAway when it could not be made or confirmed, and whatever the
        database says against a message that it will not take."""
        waiting = _Waiting(message_id, message, asyncio.get_running_loop().create_future())
        self._pending.append(waiting)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_all())
        return await waiting.receipt

    async def accept_many(self, items: Sequence[tuple[UUID, Incoming]]) -> list[Receipt]:
        """Like `accept` for each, sharing commits. Raises DatabaseAway when any could not be confirmed."""
        results = await asyncio.gather(
            *(self.accept(message, message_id) for message_id, message in items), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, Receipt)]

    async def accept_each(self, items: Sequence[tuple[UUID, Incoming]]) -> Sequence[Receipt | DatabaseAway]:
        """Like `accept_many`; where there are several cells, what could not be confirmed in some of them has
        DatabaseAway in its place. Raises DatabaseAway when nothing was confirmed."""
        return await self.accept_many(items)

    async def _flush_all(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:BATCH], self._pending[BATCH:]
            await self._flush(batch)

    async def _flush(self, batch: list[_Waiting]) -> None:
        """Settle every future of the batch, whatever happens."""
        try:
            async with asyncio.timeout(self._time_limit):
                receipts = await self._write(batch)
        except TimeoutError:
            log.warning("accept_timed_out", messages=len(batch), seconds=self._time_limit)
            self._fail(batch, DatabaseAway())
        except Exception as error:  # noqa: BLE001  # whatever it is, every caller is told
            if is_unavailable(error):
                log.warning("accept_failed", messages=len(batch), error=type(error).__name__)
                self._fail(batch, DatabaseAway())
            elif len(batch) > 1:
                for waiting in batch:
                    await self._flush([waiting])
            else:
                self._fail(batch, error)
        except asyncio.CancelledError:
            self._fail(batch + self._pending, DatabaseAway())
            raise
        else:
            for waiting in batch:
                if not waiting.receipt.done():
                    waiting.receipt.set_result(receipts[waiting.id])

    @staticmethod
    def _fail(batch: list[_Waiting], error: Exception) -> None:
        for waiting in batch:
            if not waiting.receipt.done():
                waiting.receipt.set_exception(error)

    async def _write(self, batch: list[_Waiting]) -> dict[UUID, Receipt]:
        messages = [waiting.message for waiting in batch]
        parameters = {
            "ids": [waiting.id for waiting in batch],
            "sources": [message.source for message in messages],
            "kinds": [str(message.kind) for message in messages],
            "dedupe_keys": [message.dedupe_key for message in messages],
            "hashes": [message.body_hash for message in messages],
            "customers": [message.customer_ref for message in messages],
            "orders": [message.order_ref for message in messages],
            "products": [message.product_ref for message in messages],
            "coupons": [message.coupon_ref for message in messages],
            **owed_parameters(
                [
                    NewJob(waiting.id, owed, waiting.message.version)
                    for waiting in batch
                    for owed in waiting.message.jobs
                ]
            ),
        }
        async with single_statement(self._engine) as connection:
            sealed = _sealed(keys_of(connection), batch)
            stored = set((await connection.execute(_ACCEPT, {**parameters, **sealed})).scalars())
            receipts = {waiting.id: Receipt(waiting.id, "accepted") for waiting in batch if waiting.id in stored}
            repeated = [waiting for waiting in batch if waiting.id not in stored]
            if repeated:
                rows = await connection.execute(
                    _FIRST,
                    {
                        "sources": [waiting.message.source for waiting in repeated],
                        "keys": [waiting.message.dedupe_key for waiting in repeated],
                    },
                )
                first = {(row.source, row.dedupe_key): row for row in rows}
                for waiting in repeated:
                    row = first[waiting.message.source, waiting.message.dedupe_key]
                    same = bytes(row.body_hash) == waiting.message.body_hash or not waiting.message.strict
                    receipts[waiting.id] = Receipt(row.id, "duplicate" if same else "conflict")
        channels = {owed.channel for waiting in batch if waiting.id in stored for owed in waiting.message.jobs}
        if channels:
            self._on_commit(frozenset(channels))
        return receipts


def _sealed(ring: KeyRing, batch: Sequence[_Waiting]) -> dict[str, list[object]]:
    """What is stored of the bodies."""
    told = [(waiting.id, waiting.message) for waiting in batch]
    return {
        "bodies": [ring.seal(message_id, message.body) for message_id, message in told],
        "events": [ring.seal(message_id, message.event) for message_id, message in told],
        "keys": [ring.first for _ in told],
        "marks": [
            ring.mark(first_email(message.kind, message.event or message.body)) if ring.first else None
            for _, message in told
        ],
    }
