"""The stored reconciliations: what was asked for, how far it is, what was found.

waiting ─▶ running ─▶ done | failed        a worker takes what waits, and what was killed half-way
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import uuid_utils.compat
from pydantic import Field, JsonValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.core.database import advisory_lock
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.jobs.actions import audit
from platform_relay.jobs.views import View
from platform_relay.reconcile.differences import Cause, Difference
from platform_relay.sync.webhooks import SUBJECT

SHOWN: Final = 200
DIFFERENCES: Final = "differences"
"""The subject of the alert."""
NIGHTLY: Final = "nightly"
"""The actor of those that nobody asked for."""

SILENT: Final = timedelta(minutes=5)
"""A running one without a sign of life for so long was killed; a worker does it again."""
OVERLAP: Final = timedelta(days=1)
FIRST_NIGHT: Final = timedelta(days=2)
"""How far back the first nightly one looks; later ones begin a day before the last, or with what is open of it."""

_COLUMNS: Final = """
id, actor, CASE WHEN state = 'running' AND heartbeat_at < now() - CAST(:silent AS interval) THEN 'stopped' ELSE state END AS state,
since, grace, compared, found, notes, error, started_at, finished_at, repaired_at
"""
_ASK: Final = text("""
INSERT INTO reconciliation (id, actor, state, since, grace, compared, found, notes, started_at)
VALUES (:id, :actor, 'waiting', :since, :grace, '{}', '{}', '[]', now())
""")
_LOCK_NIGHT: Final = advisory_lock("'reconciliation'")
_ASK_AT_NIGHT: Final = text("""
INSERT INTO reconciliation (id, actor, state, since, compared, found, notes, started_at)
SELECT :id, :actor, 'waiting', coalesce(least(last.started_at - CAST(:overlap AS interval), last.oldest),
       now() - CAST(:first AS interval)), '{}', '{}', '[]', now()
FROM (SELECT) AS always LEFT JOIN LATERAL (
    SELECT started_at, (
        SELECT min(version) FROM difference
        WHERE reconciliation_id = reconciliation.id AND repair IS NULL AND cause <> 'extra') AS oldest
    FROM reconciliation WHERE state = 'done' ORDER BY started_at DESC LIMIT 1
) AS last ON true
WHERE NOT EXISTS (SELECT FROM reconciliation WHERE actor = :actor AND started_at >= :tonight)
  AND (SELECT received_at FROM message ORDER BY id LIMIT 1) < now() - interval '1 hour'
RETURNING id
""")
"""Not in the relay's first hour: what the store had before may still be on its way in."""
_TAKE: Final = text(f"""
UPDATE reconciliation SET state = 'running', started_at = now(), heartbeat_at = now()
WHERE id = (
    SELECT id FROM reconciliation
    WHERE (CAST(:id AS uuid) IS NULL OR id = :id)
      AND (state = 'waiting' OR (state = 'running' AND heartbeat_at < now() - CAST(:silent AS interval)))
    ORDER BY started_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}
""")  # noqa: S608  # constants only
_CLEAR: Final = text("DELETE FROM difference WHERE reconciliation_id = :id")
_GIVE_BACK: Final = text("UPDATE reconciliation SET state = 'waiting', heartbeat_at = NULL WHERE id = :id")
_BEAT: Final = text(
    "UPDATE reconciliation SET heartbeat_at = now(), compared = CAST(:compared AS jsonb) WHERE id = :id"
)
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
_NEWEST: Final = text(f"SELECT {_COLUMNS} FROM reconciliation ORDER BY started_at DESC LIMIT 50")  # noqa: S608  # as above
_GET: Final = text(f"SELECT {_COLUMNS} FROM reconciliation WHERE id = :id")  # noqa: S608  # as above
_LIST: Final = text("""
SELECT kind, entity_id, cause, detail, version, repair FROM difference
WHERE reconciliation_id = :id AND (CAST(:cause AS text) IS NULL OR cause = :cause)
  AND (kind, entity_id) > (:after_kind, :after_id)
ORDER BY kind, entity_id LIMIT :limit
""")
_PRUNE: Final = text("""
WITH old AS (DELETE FROM reconciliation WHERE started_at < now() - CAST(:retention AS interval) RETURNING id)
DELETE FROM difference USING old WHERE reconciliation_id = old.id AND (cause <> 'extra' OR repair IS NULL)
""")
"""What is noted as extra stays noted."""


class DifferenceView(View):
    kind: str
    entity_id: str = Field(description="The store's id.")
    cause: Cause
    detail: str
    version: datetime | None = Field(None, description="The store's time of it.")
    repair: str | None = Field(None, description="What the repair did; null: it was not repaired.")


class ReconciliationView(View):
    """One comparison of the store, the relay and the Platform."""

    id: UUID
    actor: str
    state: Literal["waiting", "running", "stopped", "done", "failed"] = Field(
        description="`waiting` for a worker; `stopped`: it was killed, and a worker will do it again."
    )
    since: datetime | None = Field(description="What changed in the store since then; null: everything.")
    grace: timedelta | None = Field(
        None, description="What changed in the store so shortly before was left out; null: 10 minutes."
    )
    compared: dict[str, int] = Field(description="Entities looked at, by kind.")
    found: dict[str, int] = Field(description="Differences by their cause.")
    notes: list[str] = Field(description="What could not be compared, and webhooks that the store switched off.")
    error: str | None = None
    started_at: datetime
    finished_at: datetime | None = None
    repaired_at: datetime | None = None

    @property
    def differences(self) -> int:
        return sum(self.found.values())


class ReconciliationDetail(ReconciliationView):
    items: list[DifferenceView]
    next_cursor: str | None = Field(None, description="For the next page of `items`; null: this was the last.")


class Reconciliations:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def ask(self, actor: str, since: datetime | None, grace: timedelta | None = None) -> UUID:
        """A new one, for a worker to do."""
        identifier = uuid_utils.compat.uuid7()
        async with self._engine.begin() as connection:
            asked = {"id": identifier, "actor": actor, "since": since, "grace": grace}
            await connection.execute(_ASK, asked)
            told: dict[str, object] = {} if since is None else {"since": since.isoformat()}
            await audit(connection, actor, "reconciliation.ask", str(identifier), told)
        return identifier

    async def ask_at_night(self, tonight: datetime) -> bool:
        """The nightly one, unless some replica has asked for it since `tonight`."""
        asked = {"id": uuid_utils.compat.uuid7(), "actor": NIGHTLY, "tonight": tonight}
        async with self._engine.begin() as connection:
            await connection.execute(_LOCK_NIGHT)
            spans = {"overlap": OVERLAP, "first": FIRST_NIGHT}
            return (await connection.execute(_ASK_AT_NIGHT, {**asked, **spans})).first() is not None

    async def take(self, reconciliation_id: UUID | None = None) -> ReconciliationView | None:
        """One that waits to be done (this one), or was killed; it is running now. None: there is none."""
        async with self._engine.begin() as connection:
            taken = await connection.execute(_TAKE, {"id": reconciliation_id, "silent": SILENT})
            row = taken.mappings().one_or_none()
            if row is None:
                return None
            await connection.execute(_CLEAR, {"id": row["id"]})
        return ReconciliationView(**row)

    async def give_back(self, reconciliation_id: UUID) -> None:
        """It could not be done to its end, and waits again."""
        async with self._engine.begin() as connection:
            await connection.execute(_GIVE_BACK, {"id": reconciliation_id})

    async def beat(self, reconciliation_id: UUID, compared: Mapping[str, int]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(_BEAT, {"id": reconciliation_id, "compared": json.dumps(dict(compared))})

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
        """Close it. Raise an alert when it found differences, else end the last one."""
        told = {
            "compared": json.dumps(dict(compared)),
            "notes": json.dumps(list(notes)),
            "error": error,
            "silent": SILENT,
        }
        async with self._engine.begin() as connection:
            row = (await connection.execute(_END, {"id": reconciliation_id, **told})).mappings().one()
            view = ReconciliationView(**row)
            if view.state == "done":
                await self._alert(connection, view)
        return view

    async def _alert(self, connection: AsyncConnection, view: ReconciliationView) -> None:
        await resolve_alert(connection, ReasonCode.RECONCILIATION_DIFFERENCES, DIFFERENCES)
        if view.differences:
            counts: dict[str, JsonValue] = dict(sorted(view.found.items()))
            reason = because(ReasonCode.RECONCILIATION_DIFFERENCES, counts=counts, reconciliation=str(view.id))
            await raise_alert(connection, reason, DIFFERENCES)

    async def webhooks_off(self, topics: Sequence[str]) -> None:
        """Raise an alert for the webhooks that the store has switched off; without any, end it."""
        async with self._engine.begin() as connection:
            await resolve_alert(connection, ReasonCode.STORE_WEBHOOKS_OFF, SUBJECT)
            if topics:
                await raise_alert(connection, because(ReasonCode.STORE_WEBHOOKS_OFF, topics=list(topics)), SUBJECT)

    async def newest(self) -> list[ReconciliationView]:
        """The last 50, newest first."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(_NEWEST, {"silent": SILENT})
            return [ReconciliationView(**row) for row in rows.mappings()]

    async def find(
        self, reconciliation_id: UUID, cause: Cause | None = None, limit: int = SHOWN, cursor: str = ""
    ) -> ReconciliationDetail | None:
        """One with a page of its differences; `cursor` is the page's before."""
        after_kind, _, after_id = cursor.partition(":")
        async with self._engine.connect() as connection:
            found = await connection.execute(_GET, {"id": reconciliation_id, "silent": SILENT})
            row = found.mappings().one_or_none()
            if row is None:
                return None
            asked = {"id": reconciliation_id, "cause": cause, "limit": limit + 1}
            rows = await connection.execute(_LIST, {**asked, "after_kind": after_kind, "after_id": after_id})
            items = [DifferenceView(**item) for item in rows.mappings()]
        last = items[limit - 1] if len(items) > limit else None
        following = f"{last.kind}:{last.entity_id}" if last else None
        return ReconciliationDetail(**row, items=items[:limit], next_cursor=following)


async def prune_reconciliations(engine: AsyncEngine, retention: timedelta) -> None:
    """Forget those that are older."""
    async with engine.begin() as connection:
        await connection.execute(_PRUNE, {"retention": retention})
