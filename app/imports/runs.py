"""The runs of imports in the database: claimed by one process, resumed by another, cancelled, ended.

A claim counts the run's fencing token up, and every later write names the token: a process that was silent for too long, and
whose run was taken over, changes nothing any more. A run is also resumed if its process ended without a word.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal  # Any: rows, and JSON
from uuid import UUID

import structlog
import uuid_utils.compat
from pydantic import Field, TypeAdapter
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.audit.record import audit
from platform_relay.core.database import advisory_lock
from platform_relay.core.paging import Cursor, Page
from platform_relay.imports.heartbeat import BEAT_SECONDS, SILENT_SECONDS
from platform_relay.imports.summary import ImportColumn
from platform_relay.imports.uploads import ChosenUpload, choose, delete_unused, lock
from platform_relay.inbox.events import EventKind
from platform_relay.jobs.views import View

log: Final = structlog.get_logger(__name__)

_CURSOR: Final = Cursor("imports", TypeAdapter(UUID))
RELEASE_SECONDS: Final = 3.0
RunState = Literal["running", "stopped", "cancelled", "done", "failed"]
RunSource = Literal["file", "http", "console", "store"]

_STATE: Final = """
CASE WHEN state = 'running' AND heartbeat_at < now() - make_interval(secs => :silent)
     THEN CASE WHEN cancelled_by IS NULL THEN 'stopped' ELSE 'cancelled' END ELSE state END
"""
_COLUMNS: Final = f"""
id, kind, name, source, since, {_STATE} AS state, size, position, last_row, rows, accepted, duplicates, newer, rejected, problems,
columns, notes, error, created_at, heartbeat_at, finished_at, cancelled_by,
EXISTS (SELECT FROM import_upload
        WHERE import_upload.id = upload_id AND (expires_at > now() OR state IN ('running', 'stopped'))) AS file_kept,
CASE WHEN state = 'running' AND heartbeat_at > claimed_at THEN
    round((rows - claimed_rows) / extract(epoch FROM heartbeat_at - claimed_at), 1) END AS rows_per_second,
CASE WHEN state = 'running' AND heartbeat_at > claimed_at AND position > claimed_position AND size >= position THEN
    round((size - position) * extract(epoch FROM heartbeat_at - claimed_at) / (position - claimed_position)) END AS seconds_left
"""  # noqa: S608  # constants only
_FIND: Final = text(f"SELECT {_COLUMNS} FROM import_run WHERE digest = :digest AND kind = :kind AND mapping = :mapping")  # noqa: S608  # constants only
_GET: Final = text(f"SELECT {_COLUMNS} FROM import_run WHERE id = :id")  # noqa: S608  # as above
_LIST: Final = text(f"""
SELECT {_COLUMNS} FROM import_run WHERE CAST(:after AS uuid) IS NULL OR id < :after ORDER BY id DESC LIMIT :limit
""")  # noqa: S608  # as above
_SAME: Final = text("""
SELECT upload_id FROM import_run WHERE digest = :digest AND kind = :kind AND mapping = :mapping
""")
_READ_DIFFERENTLY: Final = text("""
SELECT id FROM import_run WHERE upload_id = :upload_id AND state IN ('running', 'stopped')
    AND (digest, kind, mapping) <> (:digest, :kind, :mapping) LIMIT 1
""")
_LEAVE_TO: Final = text("UPDATE import_run SET upload_id = NULL WHERE upload_id = :upload_id AND id <> :id")
_UPLOAD: Final = text("SELECT upload_id FROM import_run WHERE id = :id")
_CLAIMED: Final = """
state = 'running', heartbeat_at = now(), error = NULL, finished_at = NULL, cancelled_by = NULL,
fencing_token = nextval('fencing_token'), claimed_at = now(),
claimed_rows = CASE WHEN run.source = 'store' THEN 0 ELSE run.rows END,
claimed_position = CASE WHEN run.source = 'store' THEN 0 ELSE run.position END
"""
_INSERT: Final = """
INSERT INTO import_run AS run (id, digest, kind, mapping, name, source, since, actor, state, size, position, last_row, rows,
    accepted, duplicates, newer, rejected, problems, columns, notes, created_at, heartbeat_at, upload_id, fencing_token,
    claimed_at, claimed_rows, claimed_position)
VALUES (:id, :digest, :kind, :mapping, :name, :source, :since, :actor, 'running', :size, 0, 0, 0, 0, 0, 0, 0, '[]', '[]',
    CAST(:notes AS jsonb), now(), now(), :upload_id, nextval('fencing_token'), now(), 0, 0)
"""
_CLAIM: Final = text(f"""
{_INSERT} ON CONFLICT (digest, kind, mapping) DO UPDATE SET {_CLAIMED},
    upload_id = coalesce(excluded.upload_id, run.upload_id)
WHERE run.state <> 'running' OR run.heartbeat_at < now() - make_interval(secs => :silent)
RETURNING {_COLUMNS}, fencing_token, mapping, upload_id
""")  # constants only
_CLAIM_STORE: Final = text(f"{_INSERT} RETURNING {_COLUMNS}, fencing_token, mapping, upload_id")  # as above
_STORE_RUNS: Final = text("""
SELECT id FROM import_run WHERE source = 'store' AND kind = :kind AND state IN ('running', 'stopped') LIMIT 1
""")
_TAKE_OVER: Final = text(f"""
UPDATE import_run AS run SET {_CLAIMED} WHERE id = (
    SELECT id FROM import_run
    WHERE state IN ('running', 'stopped') AND cancelled_by IS NULL AND (upload_id IS NOT NULL OR source = 'store')
        AND (state = 'stopped' OR heartbeat_at < now() - make_interval(secs => :silent))
        AND (CAST(:id AS uuid) IS NULL OR id = :id)
    ORDER BY heartbeat_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}, fencing_token, mapping, upload_id
""")  # noqa: S608  # as above
_CONTINUE: Final = text(f"""
UPDATE import_run AS run SET {_CLAIMED}
WHERE id = :id AND upload_id = :upload_id AND {_STATE} IN ('cancelled', 'stopped') AND EXISTS (
    SELECT FROM import_upload WHERE import_upload.id = upload_id AND (expires_at > now() OR {_STATE} = 'stopped'))
RETURNING {_COLUMNS}, fencing_token, mapping, upload_id
""")  # noqa: S608  # as above
_SAVE: Final = text("""
UPDATE import_run SET position = :position, last_row = :last_row, rows = :rows, accepted = :accepted,
    duplicates = :duplicates, newer = :newer, size = greatest(size, :position),
    rejected = :rejected, problems = CAST(:problems AS jsonb), columns = CAST(:columns AS jsonb),
    notes = coalesce(CAST(:notes AS jsonb), notes),
    state = CASE WHEN :state = 'running' AND cancelled_by IS NOT NULL THEN 'cancelled' ELSE :state END, error = :error,
    heartbeat_at = now(),
    finished_at = CASE WHEN :state = 'running' AND cancelled_by IS NULL THEN NULL ELSE now() END
WHERE id = :id AND fencing_token = :token AND state = 'running' RETURNING state
""")
_BEAT: Final = text(
    "UPDATE import_run SET heartbeat_at = now() WHERE id = :id AND fencing_token = :token AND state = 'running'"
)
_CANCEL_SILENT: Final = text("""
UPDATE import_run SET state = 'cancelled', finished_at = now() WHERE state IN ('running', 'stopped')
    AND cancelled_by IS NOT NULL AND (state = 'stopped' OR heartbeat_at < now() - make_interval(secs => :silent))
""")
"""Those whose process was killed after an operator cancelled them, and before it saw that."""
_END: Final = text("""
UPDATE import_run SET state = CASE WHEN :state = 'stopped' AND cancelled_by IS NOT NULL THEN 'cancelled' ELSE :state END,
    error = :error, heartbeat_at = now(),
    finished_at = CASE WHEN :state = 'stopped' AND cancelled_by IS NULL THEN NULL ELSE now() END
WHERE id = :id AND fencing_token = :token AND state IN ('running', 'stopped')
""")
_CANCEL: Final = text(f"""
UPDATE import_run SET cancelled_by = :by, finished_at = CASE WHEN {_STATE} = 'stopped' THEN now() END,
    state = CASE WHEN {_STATE} = 'stopped' THEN 'cancelled' ELSE state END
WHERE id = :id AND state IN ('running', 'stopped') AND cancelled_by IS NULL RETURNING {_COLUMNS}
""")  # noqa: S608  # as above


class ImportProblem(View):
    row: int
    reason: str


class ImportView(View):
    """The progress of an import. rows = accepted + duplicates + newer + rejected."""

    id: UUID
    kind: str
    name: str
    source: RunSource = Field(
        "file", description="`file`: `relay import`; `http`: this API; `console`; `store`: the store's own list."
    )
    since: datetime | None = Field(None, description="Of a store's list: only what changed since then.")
    state: RunState = Field(
        description="`stopped`: its process ended. A worker resumes it if the relay keeps its file; otherwise import the file"
        " again. `cancelled`: by an operator; what was accepted stays."
    )
    size: int = Field(description="Size of the file in bytes; of a store's list the number of entities, 0 if unknown.")
    position: int = Field(description="Processed bytes, or entities.")
    last_row: int = Field(0, description="Number of the last row of the file that was processed.")
    rows: int = Field(description="Processed rows. The rows of one order in a known export count as one.")
    accepted: int = Field(description="Stored as events, which are sent after all live events.")
    duplicates: int = Field(description="Rows that were stored before.")
    newer: int = Field(description="Left out: the row has no version, and the store has sent the same entity itself.")
    rejected: int = Field(description="Invalid rows; `problems` has the first of them.")
    problems: list[ImportProblem]
    columns: list[ImportColumn] = Field([], description="What was found in each column of the file.")
    notes: list[str] = Field([], description="What was decided about the whole file, such as the time zone.")
    rows_per_second: float | None = Field(None, description="Since the import was started or resumed.")
    seconds_left: float | None = Field(None, description="Estimated time until it is done.")
    file_kept: bool = Field(
        False, description="Whether the relay keeps the file: for resuming, and for the rejected rows. At most a day."
    )
    error: str | None = None
    cancelled_by: str | None = Field(
        None, description="Who cancelled it. The import ends after the rows it is storing."
    )
    created_at: datetime
    heartbeat_at: datetime = Field(description="When the import last stored its progress.")
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that this process may continue: `token` is its fencing token. `mapping`: how the file is read (`ImportPlan.key`).
    `upload_id`: the file, if the relay keeps it."""

    view: ImportView
    token: int
    mapping: str
    upload_id: UUID | None


class ImportBusyError(ValueError):
    """Another process is importing the same file, or the same list."""


class TakenOverError(Exception):
    """Another process has taken the run over: it was silent for more than SILENT_SECONDS."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a new run begins with. `since`: of a store's list."""

    digest: bytes
    kind: EventKind
    mapping: str
    name: str
    source: RunSource
    actor: str
    size: int
    notes: Sequence[str] = ()
    since: datetime | None = None
    upload: ChosenUpload | None = None


async def claim_file(engine: AsyncEngine, new: NewRun) -> Claim:
    """Claim the run of a file: a new one, a stopped one, or the completed one, which stays done. `new.upload` then belongs to
    this run alone, in place of the file that it had. Raises ImportBusyError and UploadGoneError."""
    claim, replaced = await _claim_file(engine, new)
    if replaced is not None:
        await delete_unused(engine, replaced)
    return claim


async def _claim_file(engine: AsyncEngine, new: NewRun) -> tuple[Claim, UUID | None]:
    """The claim, and the file that the run had before. The file is locked before its runs, as by an erasure."""
    where = {"digest": new.digest, "kind": str(new.kind), "mapping": new.mapping, "silent": SILENT_SECONDS}
    async with engine.begin() as connection:
        known = await _view(connection, _FIND, where)
        if known is not None and known.state == "done":
            return Claim(known, 0, new.mapping, None), None
        if new.upload is not None:
            await choose(connection, new.upload)
            if (await connection.execute(_READ_DIFFERENTLY, _parameters(new))).first() is not None:
                raise ImportBusyError(
                    "this file is being imported, read in another way; wait until that ends or cancel it"
                )
        before: UUID | None = (await connection.execute(_SAME, where)).scalar_one_or_none()
        row = (await connection.execute(_CLAIM, _parameters(new))).mappings().one_or_none()
        if row is None:
            where_shown = "its progress is on the page Imports, and at GET /v1/imports"
            raise ImportBusyError(f"another process is importing this file; {where_shown}")
        if known is None or new.source == "console":
            await audit(
                connection, new.actor, "import.begin", str(row["id"]), {"kind": str(new.kind), "size": new.size}
            )
        if new.upload is None:
            return _claim(row), None
        await connection.execute(_LEAVE_TO, {"id": row["id"], "upload_id": new.upload.id})
        return _claim(row), None if before == new.upload.id else before


async def claim_store(
    engine: AsyncEngine, kind: EventKind, since: datetime | None, adapter: str, actor: str, size: int
) -> Claim:
    """Begin to read a list of the store. Raises ImportBusyError if it is being read."""
    new = NewRun(os.urandom(32), kind, "store", adapter, "store", actor, size, since=since)
    async with engine.begin() as connection:
        await connection.execute(advisory_lock("'import from the store'"))
        if (await connection.execute(_STORE_RUNS, {"kind": str(kind)})).first() is not None:
            raise ImportBusyError(f"the store's {kind} are being read already; the progress is on the page Imports")
        row = (await connection.execute(_CLAIM_STORE, _parameters(new))).mappings().one()
        detail = {"kind": str(kind), "source": "store", "since": since.isoformat() if since else ""}
        await audit(connection, actor, "import.begin", str(row["id"]), detail)
        return _claim(row)


async def take_over(engine: AsyncEngine, import_id: UUID | None = None) -> Claim | None:
    """Claim a stopped run that can be resumed here: its file is kept, or it reads the store. None if there is none."""
    async with engine.begin() as connection:
        parameters = {"silent": SILENT_SECONDS, "id": import_id}
        await connection.execute(_CANCEL_SILENT, {"silent": SILENT_SECONDS})
        row = (await connection.execute(_TAKE_OVER, parameters)).mappings().one_or_none()
        return None if row is None else _claim(row)


async def continue_cancelled(engine: AsyncEngine, import_id: UUID, actor: str) -> Claim | None:
    """Claim a cancelled or stopped run whose file is kept. None if it is not one. The file is locked before the run, as by who
    deletes it: a cancelled import does not keep its file from being deleted."""
    async with engine.begin() as connection:
        upload_id: UUID | None = (await connection.execute(_UPLOAD, {"id": import_id})).scalar_one_or_none()
        if upload_id is None:
            return None
        await lock(connection, upload_id)
        values = {"id": import_id, "upload_id": upload_id, "silent": SILENT_SECONDS}
        row = (await connection.execute(_CONTINUE, values)).mappings().one_or_none()
        if row is None:
            return None
        await audit(connection, actor, "import.continue", str(import_id), {"kind": row["kind"]})
        return _claim(row)


async def cancel_import(engine: AsyncEngine, import_id: UUID, actor: str) -> ImportView | None:
    """Cancel a running or stopped import. The process that runs it ends after the rows it is storing; what was accepted stays.
    None if it is neither, or is cancelled already."""
    async with engine.begin() as connection:
        view = await _view(connection, _CANCEL, {"id": import_id, "by": actor, "silent": SILENT_SECONDS})
        if view is not None:
            await audit(connection, actor, "import.cancel", str(import_id), {"kind": view.kind, "rows": view.rows})
        return view


async def save_progress(engine: AsyncEngine, claim: Claim, values: Mapping[str, object]) -> RunState:
    """Store the progress and return the run's state, which is `cancelled` if an operator cancelled it. Raises TakenOverError."""
    parameters = {"error": None, "notes": None, **values, "id": claim.view.id, "token": claim.token}
    async with engine.begin() as connection:
        state: RunState | None = (await connection.execute(_SAVE, parameters)).scalar_one_or_none()
    if state is None:
        raise TakenOverError
    return state


async def end(engine: AsyncEngine, claim: Claim, state: Literal["stopped", "failed"], error: str | None = None) -> None:
    """End a run whose process cannot continue: `stopped` can be resumed at once. Nothing happens if it was taken over."""
    async with engine.begin() as connection:
        await connection.execute(_END, {"id": claim.view.id, "token": claim.token, "state": state, "error": error})


async def release(engine: AsyncEngine, claim: Claim) -> None:
    """As `end` with `stopped`, for a process that is being stopped: it waits at most RELEASE_SECONDS, and raises nothing."""
    with suppress(Exception):  # then the run is resumed after SILENT_SECONDS
        await asyncio.wait_for(asyncio.shield(end(engine, claim, "stopped")), RELEASE_SECONDS)


@asynccontextmanager
async def kept_alive(engine: AsyncEngine, claim: Claim) -> AsyncIterator[None]:
    """Stores heartbeats, so that no other process takes the run over while it waits for a slow store or database. A run that ends
    with an error, or whose process is stopped, is released."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            with suppress(Exception):  # the next one may be stored
                async with engine.begin() as connection:
                    await connection.execute(_BEAT, {"id": claim.view.id, "token": claim.token})

    beats = asyncio.create_task(beat())
    try:
        yield
    except BaseException:
        beats.cancel()
        await release(engine, claim)
        raise
    finally:
        beats.cancel()


async def find_import(engine: AsyncEngine, import_id: UUID) -> ImportView | None:
    async with engine.connect() as connection:
        return await _view(connection, _GET, {"id": import_id, "silent": SILENT_SECONDS})


async def upload_of(engine: AsyncEngine, import_id: UUID) -> UUID | None:
    """The id of the import's file, if the relay keeps it."""
    async with engine.connect() as connection:
        upload_id: UUID | None = (await connection.execute(_UPLOAD, {"id": import_id})).scalar_one_or_none()
    return upload_id


async def list_imports(engine: AsyncEngine, *, cursor: str | None = None, limit: int = 50) -> Page[ImportView]:
    """The newest imports first. `cursor` is the last page's `next_cursor`. Raises QueryInvalid for a cursor of another list."""
    values = {"after": _CURSOR.decode(cursor), "limit": limit + 1, "silent": SILENT_SECONDS}
    async with engine.connect() as connection:
        rows = (await connection.execute(_LIST, values)).mappings()
    return _CURSOR.page([ImportView(**row) for row in rows], limit, lambda run: run.id)


async def _view(
    connection: AsyncConnection, statement: TextClause, parameters: Mapping[str, object]
) -> ImportView | None:
    row = (await connection.execute(statement, parameters)).mappings().one_or_none()
    return None if row is None else ImportView(**row)


def _claim(row: Mapping[Any, Any]) -> Claim:  # Any: a row
    values = {str(name): value for name, value in row.items()}
    rest = (values.pop("fencing_token"), values.pop("mapping"), values.pop("upload_id"))
    return Claim(ImportView(**values), *rest)


def _parameters(new: NewRun) -> dict[str, object]:
    return {
        "id": uuid_utils.compat.uuid7(),
        "digest": new.digest,
        "kind": str(new.kind),
        "mapping": new.mapping,
        "name": new.name,
        "source": new.source,
        "since": new.since,
        "actor": new.actor,
        "size": new.size,
        "notes": json.dumps(list(new.notes)),
        "upload_id": new.upload.id if new.upload is not None else None,
        "silent": SILENT_SECONDS,
    }
