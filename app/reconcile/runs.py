"""Stored reconciliations: what was requested, the progress, and the differences that were found.

waiting ─▶ running ─▶ done | failed        a worker claims waiting ones, and those whose process was killed
   └──────────┴─────▶ cancelled            an operator ended it; what was found until then is kept
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import uuid_utils.compat
from pydantic import Field, JsonValue, TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.audit.record import audit
from platform_relay.core.chunks import run_in_chunks
from platform_relay.core.database import advisory_lock
from platform_relay.core.paging import Cursor, Page
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.jobs.views import View
from platform_relay.reconcile.coverage import Coverage, stored_counts
from platform_relay.reconcile.differences import Difference
from platform_relay.sync.webhooks import ALERT_SUBJECT

DIFFERENCES: Final = "differences"
"""The subject of the alerts about differences and about incomplete reconciliations."""
NIGHTLY: Final = "nightly"
"""The actor of the nightly reconciliations."""

SILENT: Final = timedelta(minutes=5)
"""A running reconciliation without a heartbeat for this long was killed. A worker runs it again."""
MAX_FIELDS: Final = 20
"""Names of fields that are stored with a difference."""
OVERLAP: Final = timedelta(days=1)
FIRST_NIGHT: Final = timedelta(days=2)
"""How far back the first nightly reconciliation goes. A later one begins a day before the start of the last one, or with the
oldest difference of it that is not repaired."""

_COLUMNS: Final = """
id, actor, CASE WHEN state = 'running' AND heartbeat_at < now() - CAST(:silent AS interval) THEN 'stopped' ELSE state END AS state,
kind, since, grace, compared, store_counts, unreadable, complete, difference_counts, notes, error, started_at, finished_at,
repaired_at
"""
_REQUEST: Final = text("""
INSERT INTO reconciliation (id, actor, state, kind, since, grace, compared, difference_counts, notes, started_at)
VALUES (:id, :actor, 'waiting', :kind, :since, :grace, '{}', '{}', '[]', now())
""")
_LOCK_NIGHTLY: Final = advisory_lock("'reconciliation'")
_REQUEST_NIGHTLY: Final = text("""
INSERT INTO reconciliation (id, actor, state, since, compared, difference_counts, notes, started_at)
SELECT :id, :actor, 'waiting', least(
           coalesce(last.started_at - CAST(:overlap AS interval), incomplete.since, now() - CAST(:first AS interval)),
           open_difference.version
       ), '{}', '{}', '[]', now()
FROM (SELECT) AS always LEFT JOIN LATERAL (
    SELECT started_at FROM reconciliation WHERE state = 'done' AND complete ORDER BY started_at DESC LIMIT 1
) AS last ON true LEFT JOIN LATERAL (
    SELECT min(since) AS since FROM reconciliation WHERE actor = :actor
) AS incomplete ON true LEFT JOIN LATERAL (
    SELECT min(difference.version) AS version
    FROM reconciliation JOIN difference ON difference.reconciliation_id = reconciliation.id
    WHERE reconciliation.state = 'done' AND reconciliation.started_at >= coalesce(last.started_at, '-infinity')
      AND difference.repair IS NULL AND difference.cause <> 'extra'
) AS open_difference ON true
WHERE NOT EXISTS (SELECT FROM reconciliation WHERE actor = :actor AND started_at >= :tonight)
  AND (SELECT received_at FROM message ORDER BY id LIMIT 1) < now() - interval '1 hour'
RETURNING id
""")
"""Not in the relay's first hour, in which existing entities of the store may still be on their way.

What an incomplete one left out is compared again: the next one begins before the last that was complete."""
_CLAIM: Final = text(f"""
UPDATE reconciliation SET state = 'running', started_at = now(), heartbeat_at = now()
WHERE id = (
    SELECT id FROM reconciliation
    WHERE (CAST(:id AS uuid) IS NULL OR id = :id)
      AND (state = 'waiting' OR (state = 'running' AND heartbeat_at < now() - CAST(:silent AS interval)))
    ORDER BY started_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}
""")  # noqa: S608  # constants only
_CLEAR: Final = text("""
DELETE FROM difference WHERE reconciliation_id = :id AND (kind, entity_id) IN (
    SELECT kind, entity_id FROM difference WHERE reconciliation_id = :id LIMIT :chunk FOR UPDATE SKIP LOCKED)
""")
_RELEASE: Final = text(
    "UPDATE reconciliation SET state = 'waiting', heartbeat_at = NULL WHERE id = :id AND state = 'running'"
)
_HEARTBEAT: Final = text("""
UPDATE reconciliation SET heartbeat_at = now(), compared = CAST(:compared AS jsonb) WHERE id = :id AND state <> 'cancelled'
RETURNING id
""")
_ADD: Final = text("""
WITH run AS (SELECT id FROM reconciliation WHERE id = :id AND state <> 'cancelled' FOR SHARE)
INSERT INTO difference (reconciliation_id, kind, entity_id, cause, detail, version, job_id, fields)
SELECT run.id, t.kind, t.entity_id, t.cause, t.detail, t.version, t.job_id, t.fields
FROM run, unnest(CAST(:kinds AS text[]), CAST(:ids AS text[]), CAST(:causes AS text[]), CAST(:details AS text[]),
                 CAST(:versions AS timestamptz[]), CAST(:jobs AS uuid[]), CAST(:fields AS jsonb[]))
              AS t(kind, entity_id, cause, detail, version, job_id, fields)
WHERE t.cause <> 'extra' OR NOT EXISTS (
    SELECT FROM difference AS before
    WHERE before.kind = t.kind AND before.entity_id = t.entity_id AND before.cause = 'extra' AND before.repair IS NOT NULL)
ON CONFLICT DO NOTHING
""")
_COUNTED: Final = """
difference_counts = (SELECT coalesce(jsonb_object_agg(cause, differences), '{}') FROM (
        SELECT cause, count(*) AS differences FROM difference WHERE reconciliation_id = :id GROUP BY cause) AS counted)
"""
_FINISH: Final = text(f"""
UPDATE reconciliation SET state = CASE WHEN CAST(:error AS text) IS NULL THEN 'done' ELSE 'failed' END, error = :error,
    store_counts = CAST(:store_counts AS jsonb), unreadable = CAST(:unreadable AS jsonb), complete = :complete,
    compared = CAST(:compared AS jsonb), notes = CAST(:notes AS jsonb), finished_at = now(),
    {_COUNTED}
WHERE id = :id AND state <> 'cancelled' RETURNING {_COLUMNS}
""")  # noqa: S608  # constants only
_LOCK: Final = text("SELECT state FROM reconciliation WHERE id = :id FOR UPDATE")
_CANCEL: Final = text(f"""
UPDATE reconciliation SET state = 'cancelled', finished_at = now(), {_COUNTED}
WHERE id = :id
""")  # noqa: S608  # as above
_NEWEST: Final = text(f"""
SELECT {_COLUMNS} FROM reconciliation WHERE CAST(:after AS uuid) IS NULL OR id < :after ORDER BY id DESC LIMIT :limit
""")  # noqa: S608  # as above
_GET: Final = text(f"SELECT {_COLUMNS} FROM reconciliation WHERE id = :id")  # noqa: S608  # as above
_PRUNE_DIFFERENCES: Final = text("""
DELETE FROM difference WHERE (reconciliation_id, kind, entity_id) IN (
    SELECT difference.reconciliation_id, difference.kind, difference.entity_id
    FROM reconciliation JOIN difference ON difference.reconciliation_id = reconciliation.id
    WHERE reconciliation.started_at < now() - CAST(:retention AS interval) AND (cause <> 'extra' OR repair IS NULL)
    LIMIT :chunk FOR UPDATE OF difference SKIP LOCKED)
""")
"""Repaired extras are kept, so that they are not reported again."""
_PRUNE: Final = text("""
DELETE FROM reconciliation WHERE id IN (
    SELECT id FROM reconciliation
    WHERE started_at < now() - CAST(:retention AS interval)
      AND NOT EXISTS (SELECT FROM difference WHERE reconciliation_id = reconciliation.id AND (cause <> 'extra' OR repair IS NULL))
    ORDER BY started_at LIMIT :chunk FOR UPDATE SKIP LOCKED)
""")


class StoreCountView(View):
    before: int | None = Field(description="null: the store cannot count them.")
    after: int | None


class ReconciliationView(View):
    """One reconciliation of the store, the relay and the Platform."""

    id: UUID
    actor: str
    state: Literal["waiting", "running", "stopped", "done", "failed", "cancelled"] = Field(
        description="`waiting` for a worker; `stopped`: its process was killed, and a worker will run it again; `cancelled`"
        " by an operator: what was found until then is kept."
    )
    kind: EventKind | None = Field(None, description="The kind that is compared; null: all.")
    since: datetime | None = Field(
        description="Entities that changed in the store since then were compared; null: all."
    )
    grace: timedelta | None = Field(
        None, description="Entities that changed within this time before the start were left out; null: 10 minutes."
    )
    compared: dict[str, int] = Field(description="Compared entities, by kind.")
    store_counts: dict[str, StoreCountView] = Field(
        description="How many entities the store counted, by kind: before and after its list was read."
    )
    unreadable: dict[str, int] = Field(description="Entities of the store's lists that could not be read, by kind.")
    complete: bool = Field(
        description="All kinds were compared, and everything that was to be read was read. Only then, no differences mean that"
        " nothing is missing."
    )
    difference_counts: dict[str, int] = Field(description="Differences, by cause.")
    notes: list[str] = Field(description="What could not be compared, and webhooks that the store has switched off.")
    error: str | None = None
    started_at: datetime
    finished_at: datetime | None = None
    repaired_at: datetime | None = None

    @property
    def difference_count(self) -> int:
        return sum(self.difference_counts.values())

    @property
    def has_ended(self) -> bool:
        """Whether it finds no more differences, so that they can be repaired."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def is_clean(self) -> bool:
        """Whether it shows that nothing is missing or different."""
        return self.state == "done" and self.complete and not self.difference_count and not self.notes


_CURSOR: Final = Cursor("reconciliations", TypeAdapter(UUID))


class Reconciliations:
    """Reads and writes the stored reconciliations."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def request(
        self, actor: str, since: datetime | None, grace: timedelta | None = None, kind: EventKind | None = None
    ) -> UUID:
        """Store a new reconciliation, which waits for a worker."""
        identifier = uuid_utils.compat.uuid7()
        async with self._engine.begin() as connection:
            values = {"id": identifier, "actor": actor, "kind": kind, "since": since, "grace": grace}
            await connection.execute(_REQUEST, values)
            detail: dict[str, object] = {} if since is None else {"since": since.isoformat()}
            detail |= {} if kind is None else {"kind": str(kind)}
            await audit(connection, actor, "reconciliation.request", str(identifier), detail)
        return identifier

    async def request_nightly(self, tonight: datetime) -> bool:
        """Request the nightly reconciliation; False if a replica has already requested it since `tonight`."""
        values = {"id": uuid_utils.compat.uuid7(), "actor": NIGHTLY, "tonight": tonight}
        async with self._engine.begin() as connection:
            await connection.execute(_LOCK_NIGHTLY)
            spans = {"overlap": OVERLAP, "first": FIRST_NIGHT}
            return (await connection.execute(_REQUEST_NIGHTLY, {**values, **spans})).first() is not None

    async def claim(self, reconciliation_id: UUID | None = None) -> ReconciliationView | None:
        """Claim a waiting or killed reconciliation (the oldest, or this one). It is then running. None if there is none."""
        async with self._engine.begin() as connection:
            claimed = await connection.execute(_CLAIM, {"id": reconciliation_id, "silent": SILENT})
            row = claimed.mappings().one_or_none()
            if row is None:
                return None
        await run_in_chunks(self._engine, _CLEAR, {"id": row["id"]})
        return ReconciliationView(**row)

    async def release(self, reconciliation_id: UUID) -> None:
        """Let a claimed reconciliation wait again."""
        async with self._engine.begin() as connection:
            await connection.execute(_RELEASE, {"id": reconciliation_id})

    async def cancel(self, reconciliation_id: UUID, actor: str) -> bool | None:
        """End a reconciliation that has not ended. False if it has; None if there is none with this id.

        The process that runs it stops at the next page of the list that it reads.
        """
        async with self._engine.begin() as connection:
            row = (await connection.execute(_LOCK, {"id": reconciliation_id})).one_or_none()
            if row is None or row.state not in ("waiting", "running"):
                return None if row is None else False
            await connection.execute(_CANCEL, {"id": reconciliation_id})
            await audit(connection, actor, "reconciliation.cancel", str(reconciliation_id), {})
        return True

    async def heartbeat(self, reconciliation_id: UUID, compared: Mapping[str, int]) -> bool:
        """Store the progress. False if the reconciliation was cancelled."""
        async with self._engine.begin() as connection:
            values = {"id": reconciliation_id, "compared": json.dumps(dict(compared))}
            return (await connection.execute(_HEARTBEAT, values)).first() is not None

    async def add_differences(self, reconciliation_id: UUID, differences: Sequence[Difference]) -> None:
        """Store differences. An entity is stored once, and an extra that was repaired before is not stored again."""
        if not differences:
            return
        columns = {
            "kinds": [str(difference.kind) for difference in differences],
            "ids": [difference.id for difference in differences],
            "causes": [difference.cause for difference in differences],
            "details": [difference.detail[:1000] for difference in differences],
            "versions": [difference.version for difference in differences],
            "jobs": [difference.job_id for difference in differences],
            "fields": [json.dumps(difference.fields[:MAX_FIELDS]) for difference in differences],
        }
        async with self._engine.begin() as connection:
            await connection.execute(_ADD, {"id": reconciliation_id, **columns})

    async def finish(
        self,
        reconciliation_id: UUID,
        compared: Mapping[str, JsonValue],
        notes: Sequence[str],
        error: Reason | None,
        coverage: Coverage,
    ) -> ReconciliationView:
        """End a running reconciliation; one that was cancelled stays so. Raise the alerts about differences and about what
        could not be read. Only a complete reconciliation resolves alerts."""
        if error is not None:
            coverage.failures["reconciliation"] = error
        values = {
            "compared": json.dumps(dict(compared)),
            "store_counts": json.dumps(stored_counts(coverage.store_counts)),
            "unreadable": json.dumps(coverage.unreadable),
            "complete": coverage.complete,
            "notes": json.dumps(list(notes)),
            "error": error.text if error else None,
            "silent": SILENT,
        }
        async with self._engine.begin() as connection:
            row = (await connection.execute(_FINISH, {"id": reconciliation_id, **values})).mappings().one_or_none()
            if row is None:  # it was cancelled
                existing = await connection.execute(_GET, {"id": reconciliation_id, "silent": SILENT})
                return ReconciliationView(**existing.mappings().one())
            view = ReconciliationView(**row)
            await self._alert(connection, view, coverage.alert_reason(str(reconciliation_id)))
        return view

    async def _alert(self, connection: AsyncConnection, view: ReconciliationView, incomplete: Reason | None) -> None:
        if view.complete or incomplete is not None:
            await resolve_alert(connection, ReasonCode.RECONCILIATION_INCOMPLETE, DIFFERENCES)
        if incomplete is not None:
            await raise_alert(connection, incomplete, DIFFERENCES)
        if view.complete or view.difference_count:
            await resolve_alert(connection, ReasonCode.RECONCILIATION_DIFFERENCES, DIFFERENCES)
        if view.difference_count:
            counts: dict[str, JsonValue] = dict(sorted(view.difference_counts.items()))
            reason = because(ReasonCode.RECONCILIATION_DIFFERENCES, counts=counts, reconciliation=str(view.id))
            await raise_alert(connection, reason, DIFFERENCES)

    async def alert_about_webhooks(self, topics: Sequence[str]) -> None:
        """Raise an alert about the webhooks that the store has switched off; resolve it if there are none."""
        async with self._engine.begin() as connection:
            await resolve_alert(connection, ReasonCode.STORE_WEBHOOKS_OFF, ALERT_SUBJECT)
            if topics:
                await raise_alert(
                    connection, because(ReasonCode.STORE_WEBHOOKS_OFF, topics=list(topics)), ALERT_SUBJECT
                )

    async def list_newest(self, *, cursor: str | None = None, limit: int = 50) -> Page[ReconciliationView]:
        """The newest first. `cursor` is the last page's `next_cursor`. Raises QueryInvalid for a cursor of another list."""
        values = {"after": _CURSOR.decode(cursor), "limit": limit + 1, "silent": SILENT}
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_NEWEST, values)).mappings()
        return _CURSOR.page([ReconciliationView(**row) for row in rows], limit, lambda view: view.id)

    async def find(self, reconciliation_id: UUID) -> ReconciliationView | None:
        async with self._engine.connect() as connection:
            result = await connection.execute(_GET, {"id": reconciliation_id, "silent": SILENT})
            row = result.mappings().one_or_none()
        return None if row is None else ReconciliationView(**row)


async def prune_reconciliations(engine: AsyncEngine, retention: timedelta) -> None:
    """Delete reconciliations that are older than `retention`."""
    for statement in (_PRUNE_DIFFERENCES, _PRUNE):
        await run_in_chunks(engine, statement, {"retention": retention})
