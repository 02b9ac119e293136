"""Imports a file: each valid row becomes an event of the store, which is sent after all live events.

    rows ─▶ mapped ─▶ validated by the event's model ─▶ 1,000 per commit ─▶ progress is stored
                          └─▶ rejected, with the reason

The API lets a process of its own read and map the rows (`rows.next_batch`), so that no file slows down other requests. The
progress is stored under the file's digest. A stopped import resumes there; the inbox recognises rows that were committed
after the stored progress by their dedupe key. Memory does not grow with the file.

Newer data is not overwritten. A row with a version (`updatedAt`) is an event like any other. A row without one counts as
older than every event of the store about the same entity, and is left out if there is such an event.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import IO, Any, Final, Literal  # Any: rows
from uuid import UUID

import uuid_utils.compat
from pydantic import Field, TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.audit.record import audit
from platform_relay.core.compute import ComputeProcess, pausing
from platform_relay.core.paging import Cursor, Page
from platform_relay.imports.files import FileRow, digest_of
from platform_relay.imports.rows import (
    SOURCE,
    Batch,
    ImportPlan,
    MappedRow,
    NotTheFormat,
    limited,
    next_batch,
    read_messages,
    unused_columns,
)
from platform_relay.imports.summary import ImportColumn, Tally, columns_of, tally_of
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import OLDEST, Incoming
from platform_relay.inbox.versions import future_version_problem, is_too_far_ahead
from platform_relay.jobs.views import View

_CURSOR: Final = Cursor("imports", TypeAdapter(UUID))
PROBLEMS: Final = 20
"""At most so many rejected rows are stored, without their values."""
SILENT_SECONDS: Final = 30.0
"""An import without a heartbeat for this long was killed and can be resumed."""
_REF: Final = {EventKind.CUSTOMER: "customer_ref", EventKind.ORDER: "order_ref", EventKind.PRODUCT: "product_ref"}

_COLUMNS: Final = """
id, kind, name, CASE WHEN state = 'running' AND heartbeat_at < now() - make_interval(secs => :silent) THEN 'stopped' ELSE state
END AS state, size, position, last_row, rows, accepted, duplicates, newer, rejected, problems, columns, notes, error, created_at,
heartbeat_at, finished_at
"""
_FIND: Final = text(f"SELECT {_COLUMNS} FROM import_run WHERE digest = :digest AND kind = :kind AND mapping = :mapping")  # noqa: S608  # constants only
_GET: Final = text(f"SELECT {_COLUMNS} FROM import_run WHERE id = :id")  # noqa: S608  # as above
_LIST: Final = text(f"""
SELECT {_COLUMNS} FROM import_run WHERE CAST(:after AS uuid) IS NULL OR id < :after ORDER BY id DESC LIMIT :limit
""")  # noqa: S608  # as above
_CLAIM: Final = text(f"""
INSERT INTO import_run AS run (id, digest, kind, mapping, name, actor, state, size, position, last_row, rows, accepted,
                               duplicates, newer, rejected, problems, columns, notes, created_at, heartbeat_at)
VALUES (:id, :digest, :kind, :mapping, :name, :actor, 'running', :size, 0, 0, 0, 0, 0, 0, 0, '[]', '[]',
        CAST(:notes AS jsonb), now(), now())
ON CONFLICT (digest, kind, mapping) DO UPDATE SET state = 'running', heartbeat_at = excluded.heartbeat_at, error = NULL,
    finished_at = NULL
WHERE run.state <> 'running' OR run.heartbeat_at < excluded.heartbeat_at - make_interval(secs => :silent)
RETURNING {_COLUMNS}
""")  # noqa: S608  # constants only
_SAVE_PROGRESS: Final = text("""
UPDATE import_run SET position = :position, last_row = :last_row, rows = :rows, accepted = :accepted,
    duplicates = :duplicates, newer = :newer,
    rejected = :rejected, problems = CAST(:problems AS jsonb), columns = CAST(:columns AS jsonb),
    state = :state, error = :error, heartbeat_at = now(),
    finished_at = CASE WHEN :state = 'running' THEN NULL ELSE now() END
WHERE id = :id
""")
_SENT_BY_STORE: Final = {
    kind: text(f"""
SELECT ref FROM unnest(CAST(:refs AS text[])) AS requested(ref)
WHERE EXISTS (SELECT FROM message WHERE {column} = requested.ref AND kind = :kind AND source <> :source)
""")  # noqa: S608  # constants only
    for kind, column in _REF.items()
}


class ImportProblem(View):
    row: int
    reason: str


class ImportView(View):
    """The progress of an import. rows = accepted + duplicates + newer + rejected."""

    id: UUID
    kind: str
    name: str
    state: Literal["running", "stopped", "done", "failed"] = Field(
        description="`stopped`: its process was killed. Import the file again to resume."
    )
    size: int = Field(description="Size of the file in bytes.")
    position: int = Field(description="Processed bytes.")
    last_row: int = Field(0, description="Number of the last row of the file that was processed.")
    rows: int = Field(description="Processed rows. The rows of one order in a known export count as one.")
    accepted: int = Field(description="Stored as events, which are sent after all live events.")
    duplicates: int = Field(description="Rows that were stored before.")
    newer: int = Field(description="Left out: the row has no version, and the store has sent the same entity itself.")
    rejected: int = Field(description="Invalid rows; `problems` has the first of them.")
    problems: list[ImportProblem]
    columns: list[ImportColumn] = Field([], description="What was found in each column of the file.")
    notes: list[str] = Field([], description="What was decided about the whole file, such as the time zone.")
    error: str | None = None
    created_at: datetime
    heartbeat_at: datetime = Field(description="When the import last stored its progress.")
    finished_at: datetime | None = None


class ImportBusyError(ValueError):
    """Another process is importing the same file."""


@dataclass(slots=True)
class _Counts:
    last_row: int = 0
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    newer: int = 0
    rejected: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)  # Any: JSON
    tally: Tally = field(default_factory=Tally)


def with_possible_version(message: Incoming | str, now: datetime) -> Incoming | str:
    """The message of a row, or the reason why it is rejected: its version lies in the future. `now`: the database's time."""
    if isinstance(message, Incoming) and message.version is not None and is_too_far_ahead(message.version, now):
        return f"updatedAt: {future_version_problem(message.version, now)}"
    return message


async def import_file(
    engine: AsyncEngine,
    inbox: Inbox,
    plan: ImportPlan,
    file: IO[bytes],
    *,
    actor: str,
    rejected: Callable[[FileRow, str], None] = lambda _row, _reason: None,
    progress: Callable[[ImportView], None] = lambda _: None,
    seen: Tally | None = None,
) -> ImportView:
    """Import the file, or the rest of it. A file that was imported completely is not read again.

    `progress` is called at the start and after each commit, `rejected` for each rejected row; `seen` counts the values of this
    call's rows, with the first unreadable ones, which are not stored. Raises ImportBusyError if
    another process is importing the file, DatabaseAway (import again to resume), and ValueError if the file does not have
    its format, which is stored.
    """
    run = await start(engine, plan, file, actor)
    return await resume(engine, inbox, plan, run, file, rejected=rejected, progress=progress, seen=seen)


async def resume(
    engine: AsyncEngine,
    inbox: Inbox,
    plan: ImportPlan,
    run: ImportView,
    file: IO[bytes],
    *,
    compute: ComputeProcess | None = None,
    rejected: Callable[[FileRow, str], None] = lambda _row, _reason: None,
    progress: Callable[[ImportView], None] = lambda _: None,
    seen: Tally | None = None,
) -> ImportView:
    """Import the rest of the file, for a run that `start` returned. With `compute`, that process reads the file, which must
    have a name. Raises ComputeError if it cannot."""
    if run.state == "done":
        return run
    counts = _Counts(
        run.last_row,
        run.rows,
        run.accepted,
        run.duplicates,
        run.newer,
        run.rejected,
        _as_json(run.problems),
        tally_of(run.columns),
    )
    position = run.position
    progress(run)
    try:
        async for batch in _batches(plan, file, compute, run.position, run.last_row):
            await _accept(engine, inbox, plan, batch.rows, counts, rejected)
            counts.tally.merge(batch.tally)
            if seen is not None:
                seen.merge(batch.tally)
            position, counts.last_row = batch.rows[-1][0].end, batch.rows[-1][0].number
            await _save_progress(engine, run.id, plan, position, counts, "running")
            progress(_with_progress(run, plan, position, counts))
    except ValueError as error:
        await _save_progress(engine, run.id, plan, position, counts, "failed", str(error))
        raise
    await _save_progress(engine, run.id, plan, run.size, counts, "done")
    finished = await find_import(engine, run.id)
    return finished or run


async def _batches(
    plan: ImportPlan, file: IO[bytes], compute: ComputeProcess | None, position: int, number: int
) -> AsyncIterator[Batch]:
    """The rows after `position`, in batches. Raises ValueError if the file does not have its format."""
    tally = Tally()
    rows = read_messages(plan, file, after=position, number=number, tally=tally)
    while True:
        if compute is None:
            read: Sequence[MappedRow] = [row async for row in pausing(limited(rows))]
            batch: Batch | NotTheFormat = Batch(read, tally.take())
        else:
            batch = await compute.run(partial(next_batch, plan, file.name, position, number))
        if isinstance(batch, NotTheFormat):
            raise ValueError(batch.problem)  # noqa: TRY004  # a result, not a wrong argument
        if not batch.rows:
            return
        yield batch
        position, number = batch.rows[-1][0].end, batch.rows[-1][0].number


async def start(engine: AsyncEngine, plan: ImportPlan, file: IO[bytes], actor: str) -> ImportView:
    """Claim the run of the file: a new one, a stopped one, or the completed one. Raises ImportBusyError."""
    digest = await asyncio.to_thread(digest_of, file)
    where = {"digest": digest, "kind": str(plan.kind), "mapping": plan.key, "silent": SILENT_SECONDS}
    size = file.seek(0, 2)
    file.seek(0)
    async with engine.begin() as connection:
        known = await _view(connection, _FIND, where)
        if known is not None and known.state == "done":
            return known
        new = {**where, "id": uuid_utils.compat.uuid7(), "name": plan.name, "actor": actor, "size": size}
        new["notes"] = json.dumps(plan.notes)
        claimed = await _view(connection, _CLAIM, new)
        if claimed is None:
            raise ImportBusyError("another process is importing this file; its progress is at GET /v1/imports")
        if known is None:
            await audit(connection, actor, "import.begin", str(claimed.id), {"kind": str(plan.kind), "size": size})
        return claimed


async def _accept(
    engine: AsyncEngine,
    inbox: Inbox,
    plan: ImportPlan,
    batch: Sequence[MappedRow],
    counts: _Counts,
    rejected: Callable[[FileRow, str], None],
) -> None:
    items: list[tuple[UUID, Incoming]] = []
    now = await inbox.clock.now()
    for row, parsed in batch:
        counts.rows += 1
        message = with_possible_version(parsed, now)
        if isinstance(message, Incoming):
            items.append((uuid_utils.compat.uuid7(), message))
            continue
        counts.rejected += 1
        rejected(row, message)
        if len(counts.problems) < PROBLEMS:
            counts.problems.append({"row": row.number, "reason": message})
    newer = await _sent_by_store(engine, plan.kind, [message for _, message in items if message.version == OLDEST])
    column = _REF[plan.kind]
    kept = [item for item in items if item[1].version != OLDEST or getattr(item[1], column) not in newer]
    receipts = await inbox.accept_many(kept) if kept else []
    counts.newer += len(items) - len(kept)
    new = sum(receipt.status == "accepted" for receipt in receipts)
    counts.accepted += new
    counts.duplicates += len(receipts) - new


async def _sent_by_store(engine: AsyncEngine, kind: EventKind, messages: Sequence[Incoming]) -> frozenset[str]:
    """The ids of those entities that the store has sent itself."""
    if not messages:
        return frozenset()
    refs = [getattr(message, _REF[kind]) for message in messages]
    async with engine.connect() as connection:
        rows = await connection.execute(_SENT_BY_STORE[kind], {"refs": refs, "kind": str(kind), "source": SOURCE})
        return frozenset(rows.scalars())


async def find_import(engine: AsyncEngine, import_id: UUID) -> ImportView | None:
    async with engine.connect() as connection:
        return await _view(connection, _GET, {"id": import_id, "silent": SILENT_SECONDS})


async def list_imports(engine: AsyncEngine, *, cursor: str | None = None, limit: int = 50) -> Page[ImportView]:
    """The newest imports first. `cursor` is the last page's `next_cursor`. Raises QueryInvalid for a cursor of another list."""
    values = {"after": _CURSOR.decode(cursor), "limit": limit + 1, "silent": SILENT_SECONDS}
    async with engine.connect() as connection:
        rows = (await connection.execute(_LIST, values)).mappings()
    return _CURSOR.page([ImportView(**row) for row in rows], limit, lambda run: run.id)


async def _view(
    connection: AsyncConnection, statement: Any, parameters: Mapping[str, object]
) -> ImportView | None:  # Any: a statement
    row = (await connection.execute(statement, parameters)).mappings().one_or_none()
    return None if row is None else ImportView(**row)


async def _save_progress(
    engine: AsyncEngine,
    import_id: UUID,
    plan: ImportPlan,
    position: int,
    counts: _Counts,
    state: str,
    error: str | None = None,
) -> None:
    values = {
        "last_row": counts.last_row,
        "rows": counts.rows,
        "accepted": counts.accepted,
        "duplicates": counts.duplicates,
        "newer": counts.newer,
        "rejected": counts.rejected,
        "problems": json.dumps(counts.problems),
        "columns": json.dumps([column.model_dump() for column in _columns(plan, counts)]),
    }
    async with engine.begin() as connection:
        await connection.execute(
            _SAVE_PROGRESS, {**values, "id": import_id, "position": position, "state": state, "error": error}
        )


def _columns(plan: ImportPlan, counts: _Counts) -> list[ImportColumn]:
    return columns_of(plan.columns, plan.mapping, counts.tally, unused_columns(plan))


def _with_progress(run: ImportView, plan: ImportPlan, position: int, counts: _Counts) -> ImportView:
    return run.model_copy(
        update={
            "last_row": counts.last_row,
            "rows": counts.rows,
            "accepted": counts.accepted,
            "duplicates": counts.duplicates,
            "newer": counts.newer,
            "rejected": counts.rejected,
            "position": position,
            "columns": _columns(plan, counts),
        }
    )


def _as_json(problems: Sequence[ImportProblem]) -> list[dict[str, Any]]:  # Any: JSON
    return [problem.model_dump() for problem in problems]
