"""Repairs the differences that a reconciliation found: all, those of a cause and kind, or one.

Entities that have to be sent are read from the store by a job, which passes them to the inbox, after all live events. Dead
jobs are retried. A repair works in chunks, and one process at a time repairs a reconciliation, so it can be repeated, sent
twice, or stopped: each difference is repaired once, and what cannot be repaired stays open.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

import uuid_utils.compat
from pydantic import Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.alerts.alerts import resolve_alert
from platform_relay.audit.record import audit
from platform_relay.core.database import try_advisory_lock
from platform_relay.core.errors import WrongState
from platform_relay.core.http import WriteGuard
from platform_relay.core.reasons import ReasonCode
from platform_relay.forwarding.fetch import store_message
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import PLATFORM, Incoming
from platform_relay.jobs.actions import OperatorActions
from platform_relay.jobs.views import View
from platform_relay.queue.queue import lock_lanes
from platform_relay.reconcile.difference_list import ALL, MATCHING, Selection
from platform_relay.reconcile.differences import CAUSES, LANE, REPAIRS, Cause
from platform_relay.reconcile.repair_plan import Action, Found, RepairPreview, preview, step
from platform_relay.reconcile.runs import DIFFERENCES, Reconciliations, ReconciliationView
from platform_relay.stores.native import FetchesEntities, ToFetch

CHUNK: Final = 500

LOCK_PAUSE: Final = 0.1
"""Seconds until a repair that waits for another one asks again. It holds no connection meanwhile."""
_LOCK: Final = try_advisory_lock("'repair:' || CAST(:id AS text)")
_JOB: Final = "SELECT job.kind, job.state FROM job WHERE job.id = difference.job_id LIMIT 1"
OPEN: Final = text(f"""
SELECT difference.kind, difference.entity_id, difference.cause, difference.job_id, job.kind AS job_kind, job.state AS job_state
FROM difference LEFT JOIN LATERAL ({_JOB}) AS job ON true
WHERE {MATCHING} AND difference.repair IS NULL
  AND (difference.kind, difference.entity_id) > (:after_kind, :after_id)
ORDER BY difference.kind, difference.entity_id LIMIT :limit
""")  # noqa: S608  # constants only
FOUND: Final = text(f"""
SELECT difference.cause, difference.kind, job.kind AS job_kind, job.state AS job_state, count(*) AS differences
FROM difference LEFT JOIN LATERAL ({_JOB}) AS job ON true
WHERE {MATCHING} AND difference.repair IS NULL GROUP BY 1, 2, 3, 4
""")  # noqa: S608  # as above
_MARK_REPAIRED: Final = text("""
UPDATE difference SET repair = repaired.repair, repair_message_id = repaired.message_id
FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[]), CAST(:repairs AS text[]), CAST(:messages AS uuid[]))
     AS repaired(kind, entity_id, repair, message_id)
WHERE reconciliation_id = :id AND difference.kind = repaired.kind AND difference.entity_id = repaired.entity_id
  AND difference.repair IS NULL
RETURNING difference.cause
""")
_RESET_DIGEST: Final = text(
    "UPDATE entity SET digest = NULL WHERE destination = :destination AND key = ANY(CAST(:keys AS text[]))"
)
_MARK_RUN: Final = text("""
UPDATE reconciliation SET repaired_at = now() WHERE id = :id
RETURNING NOT EXISTS (SELECT FROM difference WHERE reconciliation_id = :id AND repair IS NULL) AS complete
""")


class RepairResult(View):
    """The number of repaired differences by cause. Entities that are sent again are on their way, not yet delivered."""

    repaired: dict[str, int]
    left: int = Field(0, description="Selected differences that could not be repaired; the preview has the reasons.")
    texts: dict[str, str] = Field(description="What the repair of each cause does.")


@dataclass(frozen=True, slots=True)
class Item:
    """An open difference. `action` is what its repair does."""

    kind: EventKind
    entity_id: str
    cause: Cause
    job_id: UUID | None
    action: Action


@dataclass(slots=True)
class Chunk:
    """What one chunk repaired, by cause, and how many it left open. `position` is where the next one begins; None at the end."""

    repaired: Counter[str] = field(default_factory=Counter)
    left: int = 0
    position: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Repairer:
    """Repairs reconciliations. `store` is the store's adapter, `source` its name. `guard` refuses repairs during a trial."""

    engine: AsyncEngine
    inbox: Inbox
    actions: OperatorActions
    store: object
    source: str
    guard: WriteGuard

    async def preview(self, reconciliation_id: UUID, selection: Selection = ALL) -> RepairPreview | None:
        """What a repair of the open differences would do; None if there is no such reconciliation. Changes nothing."""
        run = await Reconciliations(self.engine).find(reconciliation_id)
        if run is None:
            return None
        async with self.engine.connect() as connection:
            rows = (await connection.execute(FOUND, selection.parameters(reconciliation_id))).all()
        counted = [Found(row.cause, EventKind(row.kind), row.differences, row.job_kind, row.job_state) for row in rows]
        return preview(counted, await self._refusal(run), can_fetch=self._can_fetch)

    async def repair(self, reconciliation_id: UUID, actor: str, selection: Selection = ALL) -> RepairResult | None:
        """Repair the selected differences that are not repaired yet; None if there is no such reconciliation.

        Raises DatabaseAway; another call repairs the rest. Raises WrongState during a trial, and before the reconciliation
        has ended.
        """
        repaired, left, position = Counter[str](), 0, ("", "")
        while True:
            chunk = await self.repair_chunk(reconciliation_id, actor, selection, position)
            if chunk is None:
                return None
            repaired += chunk.repaired
            left += chunk.left
            if chunk.position is None:
                texts: dict[str, str] = {cause: REPAIRS[cause] for cause in CAUSES if repaired[cause]}
                return RepairResult(repaired=dict(repaired), left=left, texts=texts)
            position = chunk.position

    async def repair_chunk(
        self, reconciliation_id: UUID, actor: str, selection: Selection, position: tuple[str, str]
    ) -> Chunk | None:
        """Repair the next open differences after `position` (kind and id). Returns and raises as `repair`.

        Another process that repairs the same reconciliation waits meanwhile, and then sees what was repaired.
        """
        run = await Reconciliations(self.engine).find(reconciliation_id)
        if run is None:
            return None
        if refusal := await self._refusal(run):
            raise WrongState(refusal)
        while True:
            async with self.engine.begin() as connection:
                if (await connection.execute(_LOCK, {"id": str(reconciliation_id)})).scalar_one():
                    return await self._repair_alone(connection, reconciliation_id, actor, selection, position)
            await asyncio.sleep(LOCK_PAUSE)

    async def _repair_alone(
        self,
        connection: AsyncConnection,
        reconciliation_id: UUID,
        actor: str,
        selection: Selection,
        position: tuple[str, str],
    ) -> Chunk:
        """As `repair_chunk`, with the lock, which `connection` holds."""
        items = await self._read_open(reconciliation_id, selection, position)
        repairable = [item for item in items if item.action != "none"]
        chunk = Chunk(left=len(items) - len(repairable))
        if len(items) == CHUNK:
            chunk.position = (items[-1].kind, items[-1].entity_id)
        if repairable:
            await self._retry(repairable, actor)
            messages = await self._read_and_send(reconciliation_id, repairable)
            marks = [_mark(item, messages.get((item.kind, item.entity_id))) for item in repairable]
            chunk.repaired = await self._mark(connection, reconciliation_id, repairable, marks)
            detail = {**selection.named(), **chunk.repaired}
            await audit(connection, actor, "reconciliation.repair", str(reconciliation_id), detail)
        return chunk

    @property
    def _can_fetch(self) -> bool:
        return isinstance(self.store, FetchesEntities)

    async def _refusal(self, run: ReconciliationView) -> str | None:
        """Why nothing can be repaired now."""
        if not run.has_ended:
            return f"The reconciliation is {run.state}. Wait until it has ended, or cancel it."
        reason = await self.guard.refusal()
        return None if reason is None else f"Nothing can be repaired now. {reason.text}"

    async def _read_open(self, reconciliation_id: UUID, selection: Selection, position: tuple[str, str]) -> list[Item]:
        kind, entity_id = position
        page = {"after_kind": kind, "after_id": entity_id, "limit": CHUNK}
        async with self.engine.connect() as connection:
            rows = await connection.execute(OPEN, {**selection.parameters(reconciliation_id), **page})
            return [
                Item(
                    EventKind(row.kind),
                    row.entity_id,
                    row.cause,
                    row.job_id,
                    step(
                        Found(row.cause, EventKind(row.kind), 1, row.job_kind, row.job_state), can_fetch=self._can_fetch
                    ).action,
                )
                for row in rows
            ]

    async def _retry(self, items: Sequence[Item], actor: str) -> None:
        """A job that is no longer dead is left unchanged."""
        if jobs := [item.job_id for item in items if item.action == "retry" and item.job_id is not None]:
            await self.actions.retry(jobs, actor)

    async def _read_and_send(self, reconciliation_id: UUID, items: Sequence[Item]) -> dict[tuple[str, str], UUID]:
        """The messages whose jobs read the entities from the store, by kind and id."""
        reads = [item for item in items if item.action == "read_and_send"]
        if not reads:
            return {}
        await self._reset_digests([item for item in reads if item.cause == "stale"])
        requests = [_fetch_request(reconciliation_id, item.kind, item.entity_id, self.source) for item in reads]
        receipts = await self.inbox.accept_many(requests)
        return {(item.kind, item.entity_id): receipt.id for item, receipt in zip(reads, receipts, strict=True)}

    async def _reset_digests(self, items: Sequence[Item]) -> None:
        """Forget what was last delivered. Otherwise the same content would be skipped as unchanged."""
        keys = sorted(LANE[item.kind] + item.entity_id for item in items)
        if keys:
            parameters = {"destination": PLATFORM, "keys": keys}
            async with self.engine.begin() as connection:
                await lock_lanes(connection, [(PLATFORM, key) for key in keys])
                await connection.execute(_RESET_DIGEST, parameters)

    async def _mark(
        self,
        connection: AsyncConnection,
        reconciliation_id: UUID,
        items: Sequence[Item],
        marks: Sequence[tuple[str, UUID | None]],
    ) -> Counter[str]:
        """Store what was done about each item. Returns how many were repaired, by cause."""
        columns = {
            "kinds": [str(item.kind) for item in items],
            "ids": [item.entity_id for item in items],
            "repairs": [repair for repair, _ in marks],
            "messages": [message for _, message in marks],
        }
        rows = await connection.execute(_MARK_REPAIRED, {"id": reconciliation_id, **columns})
        repaired = Counter(rows.scalars().all())
        if (await connection.execute(_MARK_RUN, {"id": reconciliation_id})).scalar():
            await resolve_alert(connection, ReasonCode.RECONCILIATION_DIFFERENCES, DIFFERENCES)
        return repaired


def _mark(item: Item, message: UUID | None) -> tuple[str, UUID | None]:
    """What the repair of an item did, and the message that it stored."""
    if message is not None:
        return f"message:{message} reads it from the store", message
    if item.action == "retry":
        return f"job:{item.job_id} was retried", None
    return ("marked" if item.cause == "extra" else f"job:{item.job_id} was no longer dead-lettered"), None


def _fetch_request(reconciliation_id: UUID, kind: str, entity_id: str, source: str) -> tuple[UUID, Incoming]:
    """The message whose job reads the entity from the store."""
    message_id = uuid_utils.compat.uuid7()
    body = json.dumps({"reconciliation": str(reconciliation_id), "kind": kind, "id": entity_id}).encode()
    parsed = ToFetch(EventKind(kind), entity_id, f"reconcile:{reconciliation_id}:{kind}:{entity_id}")
    message = store_message(parsed, body, source=source, message_id=str(message_id), backfill=True)
    again = {"again": str(reconciliation_id)}
    jobs = tuple(replace(job, params={**job.params, **again}) for job in message.jobs)
    return message_id, replace(message, jobs=jobs)
