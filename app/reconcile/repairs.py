"""The repair of what a reconciliation found.

It takes the way of everything else: what has to be sent is asked for at the store by a job and comes in through the inbox,
behind everything live; what was given up is retried. It may be repeated; what was repaired is not touched again.
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
from platform_relay.core.reasons import ReasonCode
from platform_relay.forwarding.fetch import message_of
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import PLATFORM, Incoming, Kind
from platform_relay.jobs.actions import Operator, audit
from platform_relay.jobs.views import View
from platform_relay.reconcile.differences import CAUSES, LANE, REPAIRS, Cause
from platform_relay.reconcile.runs import DIFFERENCES, Reconciliations
from platform_relay.stores.native import FetchesEntities, ToFetch

CHUNK: Final = 500

_OPEN: Final = text("""
SELECT kind, entity_id, cause, job_id FROM difference
WHERE reconciliation_id = :id AND cause = :cause AND repair IS NULL ORDER BY kind, entity_id LIMIT :limit
""")
_REPAIRED: Final = text("""
UPDATE difference SET repair = done.repair
FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[]), CAST(:repairs AS text[])) AS done(kind, entity_id, repair)
WHERE reconciliation_id = :id AND difference.kind = done.kind AND difference.entity_id = done.entity_id
""")
_LOCK_LANES: Final = text("""
SELECT key FROM lane WHERE destination = :destination AND key = ANY(CAST(:keys AS text[])) ORDER BY key FOR UPDATE
""")
_FORGET: Final = text(
    "UPDATE entity SET digest = NULL WHERE destination = :destination AND key = ANY(CAST(:keys AS text[]))"
)
_STAMP: Final = text("UPDATE reconciliation SET repaired_at = now() WHERE id = :id")


class Repaired(View):
    """How many of each cause; what `never_sent`, `lost_by_webhook` and `stale` need is on its way."""

    repaired: dict[str, int]
    does: dict[str, str] = Field(description="What the repair of each cause is.")


@dataclass(frozen=True, slots=True)
class Tools:
    """What repairs are done with. `store` is the store's adapter, `source` its name."""

    engine: AsyncEngine
    inbox: Inbox
    operator: Operator
    store: object
    source: str


async def repair(tools: Tools, reconciliation_id: UUID, actor: str) -> Repaired | None:
    """Repair what was found and is not repaired; None when there is no such reconciliation. Raises DatabaseAway; the
    same again does the rest."""
    engine = tools.engine
    if await Reconciliations(engine).find(reconciliation_id, limit=1) is None:
        return None
    done: Counter[str] = Counter()
    for cause in CAUSES:
        while chunk := await _chunk(engine, reconciliation_id, cause):
            repairs = await _repair(tools, reconciliation_id, cause, chunk, actor)
            async with engine.begin() as connection:
                columns = {"kinds": [kind for kind, _, _ in chunk], "ids": [each for _, each, _ in chunk]}
                await connection.execute(_REPAIRED, {"id": reconciliation_id, **columns, "repairs": repairs})
            done[cause] += len(chunk)
    async with engine.begin() as connection:
        await connection.execute(_STAMP, {"id": reconciliation_id})
        await resolve_alert(connection, ReasonCode.RECONCILIATION_DIFFERENCES, DIFFERENCES)
        await audit(connection, actor, "reconciliation.repair", str(reconciliation_id), dict(done))
    return Repaired(repaired=dict(done), does={cause: REPAIRS[cause] for cause in CAUSES if done[cause]})


Item = tuple[str, str, UUID | None]


async def _chunk(engine: AsyncEngine, reconciliation_id: UUID, cause: Cause) -> list[Item]:
    async with engine.connect() as connection:
        rows = await connection.execute(_OPEN, {"id": reconciliation_id, "cause": cause, "limit": CHUNK})
        return [(row.kind, row.entity_id, row.job_id) for row in rows]


async def _repair(tools: Tools, reconciliation_id: UUID, cause: Cause, chunk: Sequence[Item], actor: str) -> list[str]:
    """What was done about each."""
    match cause:
        case "extra":
            return ["noted"] * len(chunk)
        case "rejected":
            await tools.operator.retry([job_id for _, _, job_id in chunk if job_id is not None], actor)
            return [f"job:{job_id} was retried" for _, _, job_id in chunk]
        case "never_sent" | "lost_by_webhook" | "stale":
            if not isinstance(tools.store, FetchesEntities):
                return ["nothing: the store cannot be asked for single entities; run relay backfill"] * len(chunk)
            if cause == "stale":
                await _forget(tools.engine, chunk)
            items = [_asked(reconciliation_id, kind, entity_id, tools.source) for kind, entity_id, _ in chunk]
            receipts = await tools.inbox.accept_many(items)
            return [f"message:{receipt.id} asks the store for it" for receipt in receipts]
        case _:
            assert_never(cause)


async def _forget(engine: AsyncEngine, chunk: Sequence[Item]) -> None:
    """What was last delivered counts as unknown, or the same would be skipped as unchanged."""
    keys = sorted(LANE[Kind(kind)] + entity_id for kind, entity_id, _ in chunk)
    where = {"destination": PLATFORM, "keys": keys}
    async with engine.begin() as connection:
        await connection.execute(_LOCK_LANES, where)
        await connection.execute(_FORGET, where)


def _asked(reconciliation_id: UUID, kind: str, entity_id: str, source: str) -> tuple[UUID, Incoming]:
    message_id = uuid_utils.compat.uuid7()
    told = json.dumps({"reconciliation": str(reconciliation_id), "kind": kind, "id": entity_id}).encode()
    asks = ToFetch(Kind(kind), entity_id, f"reconcile:{reconciliation_id}:{kind}:{entity_id}")
    message = message_of(asks, told, source=source, message_id=str(message_id), backfill=True)
    again = {"again": str(reconciliation_id)}
    jobs = tuple(replace(job, params={**job.params, **again}) for job in message.jobs)
    return message_id, replace(message, jobs=jobs)
