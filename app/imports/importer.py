"""Imports a file: each valid row becomes an event of the store, which is sent after all live events.

    rows ─▶ mapped ─▶ validated by the event's model ─▶ 1,000 per commit ─▶ progress is stored
                          └─▶ rejected, with the reason

The API and the console let a process of its own read and map the rows (`batches`), so that no file slows down other requests.
The progress is stored under the file's digest. A stopped import resumes there; the inbox recognises rows that were committed
after the stored progress by their dedupe key. Memory does not grow with the file.

Newer data is not overwritten. A row with a version (`updatedAt`) is an event like any other. A row without one counts as
older than every event of the store about the same entity, and is left out if there is such an event.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, Final  # Any: JSON

import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.compute import ComputeProcess
from platform_relay.imports.batches import batches
from platform_relay.imports.files import FileRow, digest_of
from platform_relay.imports.rows import SOURCE, ImportPlan, MappedRow, unused_columns
from platform_relay.imports.runs import (
    Claim,
    ImportProblem,
    ImportView,
    NewRun,
    RunSource,
    claim_file,
    find_import,
    kept_alive,
    save_progress,
)
from platform_relay.imports.summary import ImportColumn, Tally, columns_of, tally_of
from platform_relay.imports.uploads import ChosenUpload
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import OLDEST, Incoming
from platform_relay.inbox.versions import future_version_problem, is_too_far_ahead

PROBLEMS: Final = 20
"""At most so many rejected rows are stored, without their values."""
_REF: Final = {EventKind.CUSTOMER: "customer_ref", EventKind.ORDER: "order_ref", EventKind.PRODUCT: "product_ref"}
_SENT_BY_STORE: Final = {
    kind: text(f"""
SELECT ref FROM unnest(CAST(:refs AS text[])) AS requested(ref)
WHERE EXISTS (SELECT FROM message WHERE {column} = requested.ref AND kind = :kind AND source <> :source)
""")  # noqa: S608  # constants only
    for kind, column in _REF.items()
}


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


@dataclass(frozen=True, slots=True)
class SortedRows:
    """The rows of a batch: those to accept, in their order; how many are left out because the store has sent the entity itself;
    and the rejected ones with the reason."""

    messages: Sequence[Incoming]
    newer: int
    rejected: Sequence[tuple[FileRow, str]]


def with_possible_version(message: Incoming | str, now: datetime) -> Incoming | str:
    """The message of a row, or the reason why it is rejected: its version lies in the future. `now`: the database's time."""
    if isinstance(message, Incoming) and message.version is not None and is_too_far_ahead(message.version, now):
        return f"updatedAt: {future_version_problem(message.version, now)}"
    return message


async def sort_rows(engine: AsyncEngine, kind: EventKind, batch: Sequence[MappedRow], now: datetime) -> SortedRows:
    """What becomes of the rows, before the inbox recognises duplicates. The import and its dry run decide it here. `now`: the
    database's time. Reads only."""
    messages: list[Incoming] = []
    rejected: list[tuple[FileRow, str]] = []
    for row, parsed in batch:
        message = with_possible_version(parsed, now)
        if isinstance(message, Incoming):
            messages.append(message)
        else:
            rejected.append((row, message))
    newer = await _sent_by_store(engine, kind, [message for message in messages if message.version == OLDEST])
    column = _REF[kind]
    kept = [message for message in messages if message.version != OLDEST or getattr(message, column) not in newer]
    return SortedRows(kept, len(messages) - len(kept), rejected)


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
    call's rows, with the first unreadable ones, which are not stored. Returns early if an operator cancels the import. Raises
    ImportBusyError if another process is importing the file, DatabaseAway (import again to resume), TakenOverError, and
    ValueError if the file does not have its format, which is stored.
    """
    claim = await start(engine, plan, file, actor)
    return await resume(engine, inbox, plan, claim, file, rejected=rejected, progress=progress, seen=seen)


async def resume(
    engine: AsyncEngine,
    inbox: Inbox,
    plan: ImportPlan,
    claim: Claim,
    file: IO[bytes],
    *,
    compute: ComputeProcess | None = None,
    rejected: Callable[[FileRow, str], None] = lambda _row, _reason: None,
    progress: Callable[[ImportView], None] = lambda _: None,
    seen: Tally | None = None,
) -> ImportView:
    """Import the rest of the file, for a run that `start` claimed. With `compute`, that process reads the file, which must
    have a name. Raises as `import_file`, and ComputeError if the process cannot read it."""
    run = claim.view
    if run.state == "done":
        return run
    counts = _counts_of(run)
    position = run.position
    progress(run)
    async with kept_alive(engine, claim):
        try:
            async for batch in batches(plan, file, compute, run.position, run.last_row):
                await _accept(engine, inbox, plan, batch.rows, counts, rejected)
                counts.tally.merge(batch.tally)
                if seen is not None:
                    seen.merge(batch.tally)
                position, counts.last_row = batch.rows[-1][0].end, batch.rows[-1][0].number
                state = await _save(engine, claim, plan, position, counts, "running")
                progress(_with_progress(run, plan, position, counts))
                if state == "cancelled":
                    return await find_import(engine, run.id) or run
        except ValueError as error:
            await _save(engine, claim, plan, position, counts, "failed", str(error))
            raise
        await _save(engine, claim, plan, run.size, counts, "done")
    return await find_import(engine, run.id) or run


async def start(
    engine: AsyncEngine,
    plan: ImportPlan,
    file: IO[bytes],
    actor: str,
    *,
    source: RunSource = "file",
    upload: ChosenUpload | None = None,
) -> Claim:
    """Claim the run of the file: a new one, a stopped one, or the completed one. `upload`: the file, if it is kept. Raises
    ImportBusyError and UploadGoneError."""
    digest = await asyncio.to_thread(digest_of, file)
    size = file.seek(0, 2)
    file.seek(0)
    notes = tuple(plan.notes)
    new = NewRun(digest, plan.kind, plan.key, plan.name, source, actor, size, notes, upload=upload)
    return await claim_file(engine, new)


async def _accept(
    engine: AsyncEngine,
    inbox: Inbox,
    plan: ImportPlan,
    batch: Sequence[MappedRow],
    counts: _Counts,
    rejected: Callable[[FileRow, str], None],
) -> None:
    sorted_rows = await sort_rows(engine, plan.kind, batch, await inbox.clock.now())
    counts.rows += len(batch)
    counts.rejected += len(sorted_rows.rejected)
    for row, reason in sorted_rows.rejected:
        rejected(row, reason)
        if len(counts.problems) < PROBLEMS:
            counts.problems.append({"row": row.number, "reason": reason})
    items = [(uuid_utils.compat.uuid7(), message) for message in sorted_rows.messages]
    receipts = await inbox.accept_many(items) if items else []
    counts.newer += sorted_rows.newer
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


async def _save(
    engine: AsyncEngine,
    claim: Claim,
    plan: ImportPlan,
    position: int,
    counts: _Counts,
    state: str,
    error: str | None = None,
) -> str:
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
    return await save_progress(engine, claim, {**values, "position": position, "state": state, "error": error})


def _counts_of(run: ImportView) -> _Counts:
    return _Counts(
        run.last_row,
        run.rows,
        run.accepted,
        run.duplicates,
        run.newer,
        run.rejected,
        _as_json(run.problems),
        tally_of(run.columns),
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
