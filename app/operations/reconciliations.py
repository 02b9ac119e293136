"""The books of reconciliation: when it was compared, what was found, and its repair.

A repair takes the way of everything else: what has to be sent is asked for at the shop by a job and comes in through the
inbox; what was given up is retried. It may be repeated; what was repaired is not touched again.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal, assert_never
from uuid import UUID

import uuid_utils.compat
from pydantic import Field, JsonValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.engine.operator import Operator, audit
from app.handlers.fetch_entity import message_of
from app.inbox import Inbox
from app.messages import PLATFORM, Incoming, Kind
from app.operations.alerts import raise_alert, resolve_alert
from app.operations.differences import CAUSES, LANE, REPAIRS, Cause, Difference
from app.operations.views import View
from app.stores.native import ToFetch

CHUNK: Final = 500
SHOWN: Final = 200
WEBHOOK_OFF: Final = "store_webhook_off"
FOUND: Final = "reconciliation"
"""The kinds of alerts that are raised here."""

_COLUMNS: Final = "id, actor, state, since, compared, found, notes, error, started_at, finished_at, repaired_at"
_BEGIN: Final = text("""
INSERT INTO reconciliation (id, actor, state, since, compared, found, notes, started_at)
VALUES (:id, :actor, 'running', :since, '{}', '{}', '[]', now()) RETURNING started_at
""")
_ADD: Final = text("""
INSERT INTO difference (reconciliation_id, kind, entity_id, cause, detail, version, job_id)
SELECT :id, kind, entity_id, cause, detail, version, job_id
FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[]), CAST(:causes AS text[]), CAST(:details AS text[]),
            CAST(:versions AS timestamptz[]), CAST(:jobs AS uuid[])) AS t(kind, entity_id, cause, detail, version, job_id)
WHERE t.cause <> 'extra' OR NOT EXISTS (
    SELECT FROM difference AS before
    WHERE before.kind = t.kind AND before.entity_id = t.entity_id AND before.cause = 'extra' AND before.repair IS NOT NULL)
ON CONFLICT DO NOTHING
""")
_END: Final = text(f"""
UPDATE reconciliation SET state = CASE WHEN CAST(:error AS text) IS NULL THEN 'done' ELSE 'failed' END, error = :error,
    compared = CAST(:compared AS jsonb), notes = CAST(:notes AS jsonb), finished_at = now(),
    found = (SELECT coalesce(jsonb_object_agg(cause, differences), '{{}}') FROM (
        SELECT cause, count(*) AS differences FROM difference WHERE reconciliation_id = :id GROUP BY cause) AS counted)
WHERE id = :id RETURNING {_COLUMNS}
""")  # noqa: S608  # constants only
_LATEST: Final = text(f"SELECT {_COLUMNS} FROM reconciliation ORDER BY started_at DESC LIMIT 1")  # noqa: S608  # as above
_GET: Final = text(f"SELECT {_COLUMNS} FROM reconciliation WHERE id = :id")  # noqa: S608  # as above
_LIST: Final = text("""
SELECT kind, entity_id, cause, detail, version, repair FROM difference
WHERE reconciliation_id = :id AND (CAST(:cause AS text) IS NULL OR cause = :cause)
ORDER BY kind, entity_id LIMIT :limit
""")
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
SELECT key FROM lane WHERE channel = :channel AND key = ANY(CAST(:keys AS text[])) ORDER BY key FOR UPDATE
""")
_FORGET: Final = text("UPDATE entity SET digest = NULL WHERE channel = :channel AND key = ANY(CAST(:keys AS text[]))")
_DUE: Final = text("""
SELECT NOT EXISTS (SELECT FROM reconciliation WHERE started_at > now() - CAST(:every AS interval)) AS due
""")


class DifferenceView(View):
    kind: str
    entity_id: str = Field(description="The shop's id.")
    cause: Cause
    detail: str
    version: datetime | None = Field(None, description="The shop's time of it.")
    repair: str | None = Field(None, description="What the repair did; null: it was not repaired.")


class ReconciliationView(View):
    """One comparison of the shop, the relay and the Platform."""

    id: UUID
    actor: str
    state: Literal["running", "done", "failed"]
    since: datetime | None = Field(description="What changed in the shop since then; null: everything.")
    compared: dict[str, int] = Field(description="Entities looked at, by kind.")
    found: dict[str, int] = Field(description="Differences by their cause.")
    notes: list[str] = Field(description="What could not be compared, and webhooks that the shop switched off.")
    error: str | None = None
    started_at: datetime
    finished_at: datetime | None = None
    repaired_at: datetime | None = None

    @property
    def differences(self) -> int:
        return sum(self.found.values())


class ReconciliationDetail(ReconciliationView):
    items: list[DifferenceView] = Field(description=f"The first {SHOWN}; `cause` chooses.")


class Repaired(View):
    """How many of each cause; what `never_sent`, `lost_by_webhook` and `stale` need is on its way."""

    repaired: dict[str, int]
    does: dict[str, str] = Field(description="What the repair of each cause is.")


class Reconciliations:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def begin(self, actor: str, since: datetime | None) -> tuple[UUID, datetime]:
        """A new one: its id, and when it began by the database's clock."""
        identifier = uuid_utils.compat.uuid7()
        async with self._engine.begin() as connection:
            asked = {"id": identifier, "actor": actor, "since": since}
            started: datetime = (await connection.execute(_BEGIN, asked)).scalar_one()
        return identifier, started

    async def add(self, reconciliation_id: UUID, found: Sequence[Difference]) -> None:
        """Write differences down; an entity that is in twice counts once, an extra that was noted before not at all."""
        if not found:
            return
        columns = {
            "kinds": [str(each.kind) for each in found],
            "ids": [each.id for each in found],
            "causes": [each.cause for each in found],
            "details": [each.detail[:1000] for each in found],
            "versions": [each.version for each in found],
            "jobs": [each.job_id for each in found],
        }
        async with self._engine.begin() as connection:
            await connection.execute(_ADD, {"id": reconciliation_id, **columns})

    async def end(
        self, reconciliation_id: UUID, compared: Mapping[str, JsonValue], notes: Sequence[str], error: str | None
    ) -> ReconciliationView:
        """Close it, and raise an alert when something was found, or take the last one back."""
        told = {"compared": json.dumps(dict(compared)), "notes": json.dumps(list(notes)), "error": error}
        async with self._engine.begin() as connection:
            row = (await connection.execute(_END, {"id": reconciliation_id, **told})).mappings().one()
            view = ReconciliationView(**row)
            await resolve_alert(connection, FOUND, "differences")
            if view.differences:
                by_cause = ", ".join(f"{count} {cause}" for cause, count in sorted(view.found.items()))
                first = f"look at GET /v1/reconciliations/latest, then POST /v1/reconciliations/{view.id}/repair"
                await raise_alert(connection, FOUND, "differences", f"found {by_cause}", first)
        return view

    async def webhooks_off(self, topics: Sequence[str]) -> None:
        """An alert for the webhooks that the shop has switched off; none off takes it back."""
        async with self._engine.begin() as connection:
            await resolve_alert(connection, WEBHOOK_OFF, "shop")
            if topics:
                detail = f"the shop's own webhooks are switched off or gone: {', '.join(topics)}"
                await raise_alert(
                    connection, WEBHOOK_OFF, "shop", detail, "relay connect, then relay backfill --since …"
                )

    async def find(
        self, reconciliation_id: UUID | None = None, cause: Cause | None = None, limit: int = SHOWN
    ) -> ReconciliationDetail | None:
        """One with its differences; without an id the latest."""
        async with self._engine.connect() as connection:
            statement = _LATEST if reconciliation_id is None else _GET
            asked = {} if reconciliation_id is None else {"id": reconciliation_id}
            row = (await connection.execute(statement, asked)).mappings().one_or_none()
            if row is None:
                return None
            items = await connection.execute(_LIST, {"id": row["id"], "cause": cause, "limit": limit})
            return ReconciliationDetail(**row, items=[DifferenceView(**item) for item in items.mappings()])

    async def due(self, every: timedelta) -> bool:
        """Whether none was begun within `every`."""
        async with self._engine.connect() as connection:
            return bool((await connection.execute(_DUE, {"every": every})).scalar())


async def repair(
    engine: AsyncEngine,
    inbox: Inbox,
    operator: Operator,
    reconciliation_id: UUID,
    *,
    source: str,
    can_fetch: bool,
    actor: str,
) -> Repaired | None:
    """Repair what was found and is not repaired; None when there is no such reconciliation. Raises DatabaseAway; the
    same again does the rest. `can_fetch`: the shop can be asked for single entities."""
    if await Reconciliations(engine).find(reconciliation_id, limit=1) is None:
        return None
    done: Counter[str] = Counter()
    for cause in CAUSES:
        while chunk := await _chunk(engine, reconciliation_id, cause):
            repairs = await _repair(engine, inbox, operator, reconciliation_id, cause, chunk, source, can_fetch, actor)
            async with engine.begin() as connection:
                columns = {"kinds": [kind for kind, _, _ in chunk], "ids": [each for _, each, _ in chunk]}
                await connection.execute(_REPAIRED, {"id": reconciliation_id, **columns, "repairs": repairs})
            done[cause] += len(chunk)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE reconciliation SET repaired_at = now() WHERE id = :id"), {"id": reconciliation_id}
        )
        await resolve_alert(connection, FOUND, "differences")
        await audit(connection, actor, "reconciliation.repair", str(reconciliation_id), dict(done))
    return Repaired(repaired=dict(done), does={cause: REPAIRS[cause] for cause in CAUSES if done[cause]})


Item = tuple[str, str, UUID | None]


async def _chunk(engine: AsyncEngine, reconciliation_id: UUID, cause: Cause) -> list[Item]:
    async with engine.connect() as connection:
        rows = await connection.execute(_OPEN, {"id": reconciliation_id, "cause": cause, "limit": CHUNK})
        return [(row.kind, row.entity_id, row.job_id) for row in rows]


async def _repair(
    engine: AsyncEngine,
    inbox: Inbox,
    operator: Operator,
    reconciliation_id: UUID,
    cause: Cause,
    chunk: Sequence[Item],
    source: str,
    can_fetch: bool,
    actor: str,
) -> list[str]:
    match cause:
        case "extra":
            return ["noted"] * len(chunk)
        case "rejected":
            await operator.retry([job_id for _, _, job_id in chunk if job_id is not None], actor)
            return [f"job:{job_id} was retried" for _, _, job_id in chunk]
        case "never_sent" | "lost_by_webhook" | "stale":
            if not can_fetch:
                return ["nothing: the shop cannot be asked for single entities; run relay backfill"] * len(chunk)
            if cause == "stale":
                await _forget(engine, chunk)
            items = [_asked(reconciliation_id, kind, entity_id, source) for kind, entity_id, _ in chunk]
            receipts = await inbox.accept_many(items)
            return [f"message:{receipt.id} asks the shop for it" for receipt in receipts]
        case _:
            assert_never(cause)


async def _forget(engine: AsyncEngine, chunk: Sequence[Item]) -> None:
    """What was last delivered counts as unknown, or the same would be skipped as unchanged."""
    keys = sorted(LANE[Kind(kind)] + entity_id for kind, entity_id, _ in chunk)
    where = {"channel": PLATFORM, "keys": keys}
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
