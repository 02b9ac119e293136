"""Reads the differences of a reconciliation: page by page, and counted by cause and kind, with what became of each repair."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal  # Any: rows
from uuid import UUID

from pydantic import Field, TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.paging import Cursor, KeyText, Page
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.messages import JobKind
from platform_relay.jobs.views import View
from platform_relay.reconcile.differences import CAUSES, Cause

Outcome = Literal["open", "noted", "in_progress", "delivered", "nothing_sent", "failed", "unknown"]
OUTCOME: Final = (
    "`open`: not repaired; `in_progress`: its job waits or runs; `delivered`; `nothing_sent`: its job had nothing to"
    " send; `failed`: its job is dead-lettered; `noted`: only the Platform has it, which no call can change; `unknown`:"
    " its job was deleted after HISTORY."
)

MATCHING: Final = """
    difference.reconciliation_id = :id AND (CAST(:cause AS text) IS NULL OR difference.cause = :cause)
    AND (CAST(:kind AS text) IS NULL OR difference.kind = :kind)
    AND (CAST(:entity_id AS text) IS NULL OR difference.entity_id = :entity_id)
"""
_RESULT: Final = f"""
LEFT JOIN LATERAL (
    SELECT id, kind, state, result FROM job WHERE job.id = difference.job_id AND difference.cause = 'rejected'
    UNION ALL
    SELECT id, kind, state, result FROM job WHERE job.message_id = difference.repair_message_id
    LIMIT 1
) AS first ON difference.repair IS NOT NULL
LEFT JOIN LATERAL (
    SELECT id, state FROM job
    WHERE job.message_id = CAST(first.result ->> 'message' AS uuid) AND first.kind = '{JobKind.FETCH_ENTITY}'
      AND job.kind = 'forward_' || rtrim(difference.kind, 's')
    LIMIT 1
) AS second ON true
"""  # noqa: S608  # constants only
"""The job that the repair retried, or that reads the entity from the store; then the job that sends what it read."""
_OUTCOME: Final = """
CASE WHEN difference.repair IS NULL THEN 'open' WHEN difference.cause = 'extra' THEN 'noted'
     WHEN coalesce(second.state, first.state) IN ('waiting', 'running') THEN 'in_progress'
     WHEN coalesce(second.state, first.state) = 'done' THEN 'delivered'
     WHEN coalesce(second.state, first.state) = 'dead' THEN 'failed'
     WHEN coalesce(second.state, first.state) IS NULL THEN 'unknown' ELSE 'nothing_sent' END AS outcome
"""
LIST: Final = text(f"""
WITH page AS (
    SELECT * FROM difference
    WHERE {MATCHING} AND (CAST(:repaired AS boolean) IS NULL OR (repair IS NOT NULL) = :repaired)
      AND (kind, entity_id) > (:after_kind, :after_id)
    ORDER BY kind, entity_id LIMIT :limit
)
SELECT difference.kind, difference.entity_id, difference.cause, difference.detail, difference.version, difference.fields,
       difference.repair, coalesce(second.id, first.id, difference.job_id) AS job_id, {_OUTCOME}
FROM page AS difference {_RESULT} ORDER BY difference.kind, difference.entity_id
""")  # noqa: S608  # constants only
GROUPS: Final = text(f"""
SELECT cause, kind, outcome, count(*) AS differences
FROM (SELECT difference.cause, difference.kind, {_OUTCOME} FROM difference {_RESULT} WHERE {MATCHING}) AS seen
GROUP BY cause, kind, outcome
""")  # noqa: S608  # as above

_POSITION: Final = TypeAdapter[tuple[str, str]](tuple[KeyText, KeyText])


@dataclass(frozen=True, slots=True)
class Selection:
    """Which differences of a reconciliation: None does not restrict."""

    cause: Cause | None = None
    kind: EventKind | None = None
    entity_id: str | None = None

    def parameters(self, reconciliation_id: UUID) -> dict[str, object]:
        """The parameters of `MATCHING`."""
        return {"id": reconciliation_id, "cause": self.cause, "kind": self.kind, "entity_id": self.entity_id}

    def named(self) -> dict[str, object]:
        """What it restricts, for the audit."""
        names = {"cause": self.cause, "kind": self.kind and str(self.kind), "entity_id": self.entity_id}
        return {name: value for name, value in names.items() if value is not None}


ALL: Final = Selection()


class DifferenceView(View):
    kind: EventKind
    entity_id: str = Field(description="The store's id.")
    cause: Cause
    detail: str
    version: datetime | None = Field(None, description="When it changed, by the store's time.")
    fields: list[str] = Field([], description="The names of the fields that differ, if they are known.")
    repair: str | None = Field(None, description="What the repair did; null if it was not repaired.")
    outcome: Outcome = Field("open", description=OUTCOME)
    job_id: UUID | None = Field(
        None, description="The job of the repair; before it, the dead job of a rejected entity."
    )


class DifferenceGroup(View):
    """The differences of one cause and kind."""

    cause: Cause
    kind: EventKind
    differences: int
    outcomes: dict[Outcome, int] = Field(description=OUTCOME)

    @property
    def open(self) -> int:
        """The differences that are not repaired."""
        return self.outcomes.get("open", 0)


async def list_differences(
    engine: AsyncEngine,
    reconciliation_id: UUID,
    selection: Selection = ALL,
    *,
    repaired: bool | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[DifferenceView]:
    """The differences of a reconciliation, by kind and id. `cursor` is the last page's `next_cursor`. Raises QueryInvalid for a
    cursor of another list, or of another reconciliation."""
    cursors = Cursor(f"differences of the reconciliation {reconciliation_id}", _POSITION)
    kind, entity_id = cursors.decode(cursor) or ("", "")
    page = {"after_kind": kind, "after_id": entity_id, "limit": limit + 1, "repaired": repaired}
    async with engine.connect() as connection:
        rows = (await connection.execute(LIST, {**selection.parameters(reconciliation_id), **page})).mappings()
    differences = [DifferenceView.model_validate(dict(row)) for row in rows]
    return cursors.page(differences, limit, lambda difference: (difference.kind, difference.entity_id))


async def group_differences(
    engine: AsyncEngine, reconciliation_id: UUID, selection: Selection = ALL
) -> list[DifferenceGroup]:
    """The differences by cause and kind, in the order of `CAUSES`."""
    async with engine.connect() as connection:
        rows = (await connection.execute(GROUPS, selection.parameters(reconciliation_id))).all()
    return _grouped(rows)


def _grouped(rows: Sequence[Any]) -> list[DifferenceGroup]:  # Any: rows
    kinds = list(EventKind)
    outcomes: dict[tuple[Cause, EventKind], dict[Outcome, int]] = {}
    for row in rows:
        outcomes.setdefault((row.cause, EventKind(row.kind)), {})[row.outcome] = row.differences
    return [
        DifferenceGroup(cause=cause, kind=kind, differences=sum(counts.values()), outcomes=counts)
        for (cause, kind), counts in sorted(
            outcomes.items(), key=lambda item: (CAUSES.index(item[0][0]), kinds.index(item[0][1]))
        )
    ]
