"""Files taken in: every good row becomes an event of the store, sent after everything live.

    rows ─▶ mapped ─▶ checked by the event's own model ─▶ 1,000 per commit ─▶ progress row
                          └─▶ rejected, with the reason

How far a file was dealt with is a row, found by the file's digest: an import that was killed goes on there, and what it
had committed beyond is recognised by its dedupe key. Memory does not grow with the file.

Nothing newer is overwritten. A row that tells its version (`updatedAt`) is an event like any other. One that tells none
is older than anything that the store ever reported of the same entity, and left out where there is such a report.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Any, Final, Literal  # Any: rows
from uuid import UUID

import uuid_utils.compat
from pydantic import Field, JsonValue, ValidationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.imports.files import FileFormat, Row, digest_of, read_rows
from platform_relay.imports.mapping import event_of
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import EVENTS, Incoming, Kind, incoming
from platform_relay.jobs.actions import audit
from platform_relay.jobs.views import View

SOURCE: Final = "import"
BATCH: Final = 1000
PROBLEMS: Final = 20
"""So many rejected rows are kept with the run, without their values."""
SILENT_SECONDS: Final = 30.0
"""A run without a sign of life for so long was killed, and may be taken on."""
OLDEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The version of rows that tell none."""
_REF: Final = {Kind.CUSTOMER: "customer_ref", Kind.ORDER: "order_ref", Kind.PRODUCT: "product_ref"}

_COLUMNS: Final = """
id, kind, name, CASE WHEN state = 'running' AND heartbeat_at < now() - make_interval(secs => :silent) THEN 'stopped' ELSE state
END AS state, size, position, rows, accepted, duplicates, newer, rejected, problems, error, created_at, heartbeat_at, finished_at
"""
_FIND: Final = text(f"SELECT {_COLUMNS} FROM import_run WHERE digest = :digest AND kind = :kind AND mapping = :mapping")  # noqa: S608  # constants only
_GET: Final = text(f"SELECT {_COLUMNS} FROM import_run WHERE id = :id")  # noqa: S608  # as above
_LIST: Final = text(f"SELECT {_COLUMNS} FROM import_run ORDER BY created_at DESC LIMIT :limit")  # noqa: S608  # as above
_TAKE: Final = text(f"""
INSERT INTO import_run AS run (id, digest, kind, mapping, name, actor, state, size, position, rows, accepted, duplicates,
                               newer, rejected, problems, created_at, heartbeat_at)
VALUES (:id, :digest, :kind, :mapping, :name, :actor, 'running', :size, 0, 0, 0, 0, 0, 0, '[]', now(), now())
ON CONFLICT (digest, kind, mapping) DO UPDATE SET state = 'running', heartbeat_at = excluded.heartbeat_at, error = NULL,
    finished_at = NULL
WHERE run.state <> 'running' OR run.heartbeat_at < excluded.heartbeat_at - make_interval(secs => :silent)
RETURNING {_COLUMNS}
""")  # noqa: S608  # constants only
_MOVE: Final = text("""
UPDATE import_run SET position = :position, rows = :rows, accepted = :accepted, duplicates = :duplicates, newer = :newer,
    rejected = :rejected, problems = CAST(:problems AS jsonb), state = :state, error = :error, heartbeat_at = now(),
    finished_at = CASE WHEN :state = 'running' THEN NULL ELSE now() END
WHERE id = :id
""")
_REPORTED: Final = {
    kind: text(f"""
SELECT ref FROM unnest(CAST(:refs AS text[])) AS asked(ref)
WHERE EXISTS (SELECT FROM message WHERE {column} = asked.ref AND kind = :kind AND source <> :source)
""")  # noqa: S608  # constants only
    for kind, column in _REF.items()
}


class ImportProblem(View):
    row: int
    reason: str


class ImportView(View):
    """How far an import is. rows = accepted + duplicates + newer + rejected."""

    id: UUID
    kind: str
    name: str
    state: Literal["running", "stopped", "done", "failed"] = Field(
        description="`stopped`: it was killed; the same file again goes on where it ended."
    )
    size: int = Field(description="Bytes of the file.")
    position: int = Field(description="Bytes that are dealt with.")
    rows: int
    accepted: int = Field(description="Stored as events; they are sent after everything live.")
    duplicates: int = Field(description="Stored before.")
    newer: int = Field(description="Left out: they tell no version, and the store has reported the same thing itself.")
    rejected: int = Field(description="Not usable; `problems` tells the first of them.")
    problems: list[ImportProblem]
    error: str | None = None
    created_at: datetime
    heartbeat_at: datetime = Field(description="The last sign of life.")
    finished_at: datetime | None = None


class ImportBusyError(ValueError):
    """The same file is being taken in by another process."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to take in. `mapping` is field -> column; `as_of` the version of rows that tell none, None: older than all."""

    name: str
    form: FileFormat
    kind: Kind
    mapping: Mapping[str, str] = field(default_factory=dict)
    as_of: datetime | None = None

    @property
    def key(self) -> str:
        """What decides, besides the bytes, about what the file means."""
        told = {"mapping": dict(self.mapping), "as_of": self.as_of.isoformat() if self.as_of else None}
        return json.dumps(told, sort_keys=True)


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    newer: int = 0
    rejected: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)  # Any: JSON


def events(plan: Plan, file: IO[bytes], *, after: int = 0, number: int = 0) -> Iterator[tuple[Row, Incoming | str]]:
    """Every row as the message that it makes, or the reason why it cannot be taken in. Pure but for reading the file."""
    for row in read_rows(file, plan.form, after=after, number=number):
        yield row, row.problem or _message(plan, row.values)


def _message(plan: Plan, values: Mapping[str, JsonValue]) -> Incoming | str:
    told = event_of(plan.kind, values, plan.mapping, flat=plan.form == "csv")
    if plan.as_of is not None and "updatedAt" not in told:
        told["updatedAt"] = plan.as_of.isoformat()
    raw = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    try:
        event = EVENTS[plan.kind].parse(raw)
    except ValidationError as error:
        items = error.errors(include_url=False, include_input=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'row'}: {item['msg']}" for item in items)[:500]
    except ValueError as error:
        return str(error)[:500]
    key = f"{plan.kind}:{event.id}:{event.updatedAt}:{hashlib.sha256(raw).hexdigest()}"
    message = incoming(event, raw, message_id="", source=SOURCE, dedupe_key=key, backfill=True)
    return message if event.updatedAt is not None else replace(message, version=OLDEST)


async def take_in(
    engine: AsyncEngine,
    inbox: Inbox,
    plan: Plan,
    file: IO[bytes],
    *,
    actor: str,
    rejected: Callable[[Row, str], None] = lambda _row, _reason: None,
    progress: Callable[[ImportView], None] = lambda _: None,
) -> ImportView:
    """Take the file in to its end, from where it was left. A file that was taken in before is not read again. `progress`
    is told where it begins, and after each commit.

    Raises ImportBusyError when another process has it, DatabaseAway when the database cannot be reached (the same again goes on),
    ValueError for a file that is none of its kind; that is kept with the run.
    """
    run = await begin(engine, plan, file, actor)
    return await go_on(engine, inbox, plan, run, file, rejected=rejected, progress=progress)


async def go_on(
    engine: AsyncEngine,
    inbox: Inbox,
    plan: Plan,
    run: ImportView,
    file: IO[bytes],
    *,
    rejected: Callable[[Row, str], None] = lambda _row, _reason: None,
    progress: Callable[[ImportView], None] = lambda _: None,
) -> ImportView:
    """The rest of `take_in`, for a run that `begin` gave."""
    if run.state == "done":
        return run
    counts = _Counts(run.rows, run.accepted, run.duplicates, run.newer, run.rejected, _dumped(run.problems))
    position = run.position
    rows = events(plan, file, after=run.position, number=run.rows)
    progress(run)
    try:
        while batch := list(islice(rows, BATCH)):
            await _accept(engine, inbox, plan, batch, counts, rejected)
            position = batch[-1][0].end
            await _move(engine, run.id, position, counts, "running")
            progress(_seen(run, position, counts))
    except ValueError as error:
        await _move(engine, run.id, position, counts, "failed", str(error))
        raise
    await _move(engine, run.id, run.size, counts, "done")
    found = await find_import(engine, run.id)
    return found or run


async def begin(engine: AsyncEngine, plan: Plan, file: IO[bytes], actor: str) -> ImportView:
    """The file's run: a new one, or the one that was ended before its end. Raises ImportBusyError."""
    where = {"digest": digest_of(file), "kind": str(plan.kind), "mapping": plan.key, "silent": SILENT_SECONDS}
    size = file.seek(0, 2)
    file.seek(0)
    async with engine.begin() as connection:
        known = await _view(connection, _FIND, where)
        if known is not None and known.state == "done":
            return known
        new = {**where, "id": uuid_utils.compat.uuid7(), "name": plan.name, "actor": actor, "size": size}
        taken = await _view(connection, _TAKE, new)
        if taken is None:
            raise ImportBusyError("another process is taking this file in at the moment; see: GET /v1/imports")
        if known is None:
            await audit(connection, actor, "import.begin", str(taken.id), {"kind": str(plan.kind), "size": size})
        return taken


async def _accept(
    engine: AsyncEngine,
    inbox: Inbox,
    plan: Plan,
    batch: Sequence[tuple[Row, Incoming | str]],
    counts: _Counts,
    rejected: Callable[[Row, str], None],
) -> None:
    items: list[tuple[UUID, Incoming]] = []
    for row, message in batch:
        counts.rows += 1
        if isinstance(message, Incoming):
            items.append((uuid_utils.compat.uuid7(), message))
            continue
        counts.rejected += 1
        rejected(row, message)
        if len(counts.problems) < PROBLEMS:
            counts.problems.append({"row": row.number, "reason": message})
    reported = await _reported(engine, plan.kind, [message for _, message in items if message.version == OLDEST])
    column = _REF[plan.kind]
    kept = [item for item in items if item[1].version != OLDEST or getattr(item[1], column) not in reported]
    receipts = await inbox.accept_many(kept) if kept else []
    counts.newer += len(items) - len(kept)
    new = sum(receipt.status == "accepted" for receipt in receipts)
    counts.accepted += new
    counts.duplicates += len(receipts) - new


async def _reported(engine: AsyncEngine, kind: Kind, messages: Sequence[Incoming]) -> frozenset[str]:
    """Which of them the store has told of itself."""
    if not messages:
        return frozenset()
    refs = [getattr(message, _REF[kind]) for message in messages]
    async with engine.connect() as connection:
        rows = await connection.execute(_REPORTED[kind], {"refs": refs, "kind": str(kind), "source": SOURCE})
        return frozenset(rows.scalars())


async def find_import(engine: AsyncEngine, import_id: UUID) -> ImportView | None:
    async with engine.connect() as connection:
        return await _view(connection, _GET, {"id": import_id, "silent": SILENT_SECONDS})


async def list_imports(engine: AsyncEngine, limit: int = 50) -> list[ImportView]:
    """The newest first."""
    async with engine.connect() as connection:
        rows = await connection.execute(_LIST, {"limit": limit, "silent": SILENT_SECONDS})
        return [ImportView(**row) for row in rows.mappings()]


async def _view(
    connection: AsyncConnection, statement: Any, parameters: Mapping[str, object]
) -> ImportView | None:  # Any: a statement
    row = (await connection.execute(statement, parameters)).mappings().one_or_none()
    return None if row is None else ImportView(**row)


async def _move(
    engine: AsyncEngine, import_id: UUID, position: int, counts: _Counts, state: str, error: str | None = None
) -> None:
    values = {
        "rows": counts.rows,
        "accepted": counts.accepted,
        "duplicates": counts.duplicates,
        "newer": counts.newer,
        "rejected": counts.rejected,
        "problems": json.dumps(counts.problems),
    }
    async with engine.begin() as connection:
        await connection.execute(
            _MOVE, {**values, "id": import_id, "position": position, "state": state, "error": error}
        )


def _seen(run: ImportView, position: int, counts: _Counts) -> ImportView:
    told = {"rows": counts.rows, "accepted": counts.accepted, "duplicates": counts.duplicates, "newer": counts.newer}
    return run.model_copy(update={**told, "rejected": counts.rejected, "position": position})


def _dumped(problems: Sequence[ImportProblem]) -> list[dict[str, Any]]:  # Any: JSON
    return [problem.model_dump() for problem in problems]
