"""Repairs the differences that a reconciliation found.

Entities that have to be sent are read from the store by a job, which passes them to the inbox, after all live events. Dead
jobs are retried. A repair can be repeated: it skips what is already repaired.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never
from uuid import UUID

import uuid_utils.compat
from pydantic import Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import resolve_alert
from platform_relay.audit.record import audit
from platform_relay.core.reasons import ReasonCode
from platform_relay.forwarding.fetch import store_message
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import PLATFORM, Incoming
from platform_relay.jobs.actions import OperatorActions
from platform_relay.jobs.views import View
from platform_relay.reconcile.differences import CAUSES, LANE, REPAIRS, Cause
from platform_relay.reconcile.runs import DIFFERENCES, Reconciliations
from platform_relay.stores.native import FetchesEntities, ToFetch

CHUNK: Final = 500

_OPEN: Final = text("""
SELECT kind, entity_id, cause, job_id FROM difference
WHERE reconciliation_id = :id AND cause = :cause AND repair IS NULL ORDER BY kind, entity_id LIMIT :limit
""")
_MARK_REPAIRED: Final = text("""
UPDATE difference SET repair = repaired.repair
FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[]), CAST(:repairs AS text[])) AS repaired(kind, entity_id, repair)
WHERE reconciliation_id = :id AND difference.kind = repaired.kind AND difference.entity_id = repaired.entity_id
""")
_LOCK_LANES: Final = text("""
SELECT key FROM lane WHERE destination = :destination AND key = ANY(CAST(:keys AS text[])) ORDER BY key FOR UPDATE
""")
_RESET_DIGEST: Final = text(
    "UPDATE entity SET digest = NULL WHERE destination = :destination AND key = ANY(CAST(:keys AS text[]))"
)
_MARK_RUN: Final = text("UPDATE reconciliation SET repaired_at = now() WHERE id = :id")


Item = tuple[str, str, UUID | None]
"""Kind, entity id, and the id of the dead job if there is one."""


class RepairResult(View):
    """The number of repaired differences by cause. Entities that are sent again are on their way, not yet delivered."""

    repaired: dict[str, int]
    texts: dict[str, str] = Field(description="What the repair of each cause does.")


@dataclass(frozen=True, slots=True)
class Repairer:
    """Repairs reconciliations. `store` is the store's adapter, `source` its name."""

    engine: AsyncEngine
    inbox: Inbox
    actions: OperatorActions
    store: object
    source: str

    async def repair(self, reconciliation_id: UUID, actor: str) -> RepairResult | None:
        """Repair the differences that are not repaired yet; None if there is no such reconciliation.

        Raises DatabaseAway; another call repairs the rest.
        """
        if await Reconciliations(self.engine).find(reconciliation_id) is None:
            return None
        repaired: Counter[str] = Counter()
        for cause in CAUSES:
            while chunk := await self._read_chunk(reconciliation_id, cause):
                repairs = await self._repair_chunk(reconciliation_id, cause, chunk, actor)
                columns = {"kinds": [kind for kind, _, _ in chunk], "ids": [entity_id for _, entity_id, _ in chunk]}
                async with self.engine.begin() as connection:
                    await connection.execute(_MARK_REPAIRED, {"id": reconciliation_id, **columns, "repairs": repairs})
                repaired[cause] += len(chunk)
        async with self.engine.begin() as connection:
            await connection.execute(_MARK_RUN, {"id": reconciliation_id})
            await resolve_alert(connection, ReasonCode.RECONCILIATION_DIFFERENCES, DIFFERENCES)
            await audit(connection, actor, "reconciliation.repair", str(reconciliation_id), dict(repaired))
        return RepairResult(
            repaired=dict(repaired), texts={cause: REPAIRS[cause] for cause in CAUSES if repaired[cause]}
        )

    async def _read_chunk(self, reconciliation_id: UUID, cause: Cause) -> list[Item]:
        async with self.engine.connect() as connection:
            rows = await connection.execute(_OPEN, {"id": reconciliation_id, "cause": cause, "limit": CHUNK})
            return [(row.kind, row.entity_id, row.job_id) for row in rows]

    async def _repair_chunk(
        self, reconciliation_id: UUID, cause: Cause, chunk: Sequence[Item], actor: str
    ) -> list[str]:
        """What was done about each item."""
        match cause:
            case "extra":
                return ["marked"] * len(chunk)
            case "rejected":
                await self.actions.retry([job_id for _, _, job_id in chunk if job_id is not None], actor)
                return [f"job:{job_id} was retried" for _, _, job_id in chunk]
            case "never_sent" | "lost_by_webhook" | "stale":
                if not isinstance(self.store, FetchesEntities):
                    return ["nothing: the store has no look-up of single entities; run relay backfill"] * len(chunk)
                if cause == "stale":
                    await self._reset_digests(chunk)
                items = [
                    _fetch_request(reconciliation_id, kind, entity_id, self.source) for kind, entity_id, _ in chunk
                ]
                receipts = await self.inbox.accept_many(items)
                return [f"message:{receipt.id} reads it from the store" for receipt in receipts]
            case _:
                assert_never(cause)

    async def _reset_digests(self, chunk: Sequence[Item]) -> None:
        """Forget what was last delivered. Otherwise the same content would be skipped as unchanged."""
        keys = sorted(LANE[EventKind(kind)] + entity_id for kind, entity_id, _ in chunk)
        parameters = {"destination": PLATFORM, "keys": keys}
        async with self.engine.begin() as connection:
            await connection.execute(_LOCK_LANES, parameters)
            await connection.execute(_RESET_DIGEST, parameters)


def _fetch_request(reconciliation_id: UUID, kind: str, entity_id: str, source: str) -> tuple[UUID, Incoming]:
    """The message whose job reads the entity from the store."""
    message_id = uuid_utils.compat.uuid7()
    body = json.dumps({"reconciliation": str(reconciliation_id), "kind": kind, "id": entity_id}).encode()
    parsed = ToFetch(EventKind(kind), entity_id, f"reconcile:{reconciliation_id}:{kind}:{entity_id}")
    message = store_message(parsed, body, source=source, message_id=str(message_id), backfill=True)
    again = {"again": str(reconciliation_id)}
    jobs = tuple(replace(job, params={**job.params, **again}) for job in message.jobs)
    return message_id, replace(message, jobs=jobs)
