"""What an import of a file would do, without changing anything: the same decisions, with reads only."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from typing import IO, Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.compute import ComputeProcess
from platform_relay.imports.batches import batches
from platform_relay.imports.importer import PROBLEMS, sort_rows
from platform_relay.imports.rows import SOURCE, ImportPlan, unused_columns
from platform_relay.imports.runs import ImportProblem
from platform_relay.imports.summary import ImportColumn, Tally, columns_of
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import key_digest
from platform_relay.jobs.views import View

_KNOWN: Final = text("""
SELECT key FROM dedupe_digest WHERE key = ANY(CAST(:keys AS uuid[]))
""")


class DryRun(View):
    """What an import would do. Nothing was stored. rows = accepted + duplicates + newer + rejected."""

    kind: str
    size: int = Field(description="Size of the file in bytes.")
    position: int = Field(description="Bytes that were read.")
    rows: int
    accepted: int = Field(description="Rows that would be stored as events.")
    duplicates: int = Field(description="Rows that are stored already, or are twice in the file.")
    newer: int = Field(description="Rows without a version, of entities that the store has sent itself.")
    rejected: int = Field(description="Invalid rows; `problems` has the first of them.")
    problems: list[ImportProblem]
    columns: list[ImportColumn]
    notes: list[str] = Field(description="What was decided about the whole file, such as the time zone.")
    error: str | None = Field(None, description="Why the file cannot be read to its end.")


async def dry_run(
    engine: AsyncEngine,
    inbox: Inbox,
    plan: ImportPlan,
    file: IO[bytes],
    compute: ComputeProcess | None,
    seen: Tally | None = None,
) -> AsyncIterator[DryRun]:
    """What was counted so far, after each batch; the last one is complete. `seen` counts the values, with the first unreadable
    ones. Raises ComputeError if the process that reads the file ended.

    Memory does not grow with the file: the digests of the rows are in a temporary database without personal data.
    """
    tally = Tally() if seen is None else seen
    size = file.seek(0, 2)
    file.seek(0)
    counted = _Counted(plan, size, tally)
    with closing(_TwiceInFile()) as twice:
        try:
            async for batch in batches(plan, file, compute):
                batch_rows = await sort_rows(engine, plan.kind, batch.rows, await inbox.clock.now())
                tally.merge(batch.tally)
                keys = [key_digest(SOURCE, message.dedupe_key) for message in batch_rows.messages]
                async with engine.connect() as connection:
                    known = set((await connection.execute(_KNOWN, {"keys": keys})).scalars())
                new = twice.first_ones([key for key in keys if key not in known])
                counted.rows += len(batch.rows)
                counted.newer += batch_rows.newer
                counted.accepted += new
                counted.duplicates += len(keys) - new
                counted.rejected += len(batch_rows.rejected)
                left = PROBLEMS - len(counted.problems)
                counted.problems += [
                    ImportProblem(row=row.number, reason=reason) for row, reason in batch_rows.rejected[:left]
                ]
                yield counted.view(batch.rows[-1][0].end)
        except ValueError as error:
            yield counted.view(counted.position, str(error))
            return
    yield counted.view(size)


async def whole_dry_run(
    engine: AsyncEngine, inbox: Inbox, plan: ImportPlan, file: IO[bytes], compute: ComputeProcess | None
) -> DryRun:
    """As `dry_run`, when it is complete."""
    return await last_of(dry_run(engine, inbox, plan, file, compute))


async def last_of(counts: AsyncIterator[DryRun]) -> DryRun:
    """The complete one. The others are not kept in memory: a large file has thousands of them."""
    last = await anext(counts)
    async for counted in counts:
        last = counted
    return last


class _Counted:
    def __init__(self, plan: ImportPlan, size: int, tally: Tally) -> None:
        self._plan, self._size, self._tally = plan, size, tally
        self.rows = self.accepted = self.duplicates = self.newer = self.rejected = self.position = 0
        self.problems: list[ImportProblem] = []

    def view(self, position: int, error: str | None = None) -> DryRun:
        plan, self.position = self._plan, position
        return DryRun(
            kind=str(plan.kind),
            size=self._size,
            position=position,
            rows=self.rows,
            accepted=self.accepted,
            duplicates=self.duplicates,
            newer=self.newer,
            rejected=self.rejected,
            problems=list(self.problems),
            columns=columns_of(plan.columns, plan.mapping, self._tally, unused_columns(plan)),
            notes=list(plan.notes),
            error=error,
        )


class _TwiceInFile:
    """Recognises keys that were given before. They are in a temporary file of SQLite."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary file, which SQLite deletes
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID")

    def first_ones(self, keys: Sequence[UUID]) -> int:
        """How many of the keys were not given before."""
        digests = [(key.bytes,) for key in keys]
        return self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?)", digests).rowcount if digests else 0

    def close(self) -> None:
        self._database.close()
