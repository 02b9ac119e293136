"""Writes the rows that leave the history into files: one JSON document per message and line, compressed by gzip.

Rows are on disk before they are deleted. If a process is killed in between, they stay, and are exported again later, so a
message can be in two files; its id shows it. A file is noted in the database before it is created, so that an erasure names it
whatever happens to the process. Each chunk of rows is a gzip member of its own, so a file that a kill left is
readable up to its last whole chunk. There are no bodies, no facts and no dedupe keys in it: the only personal data are the
references to customers (an id, or the e-mail address of a guest).
"""

import asyncio
import gzip
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.history.customers import filter_of, may_contain
from platform_relay.queue.attempts import ATTEMPTS

MESSAGES_PER_FILE: Final = 50_000

EXPORTED: Final = text(f"""
SELECT message.customer_ref, CAST(jsonb_build_object(
    'id', message.id, 'source', message.source, 'kind', message.kind, 'received_at', message.received_at,
    'customer_ref', message.customer_ref, 'order_ref', message.order_ref, 'product_ref', message.product_ref,
    'coupon_ref', message.coupon_ref, 'reason_code', message.reason_code,
    'jobs', coalesce((
        SELECT jsonb_agg(jsonb_build_object(
            'id', job.id, 'kind', job.kind, 'destination', job.destination, 'lane', job.lane, 'state', job.state,
            'reason_code', job.reason_code, 'version', job.version, 'created_at', job.created_at,
            'finished_at', job.finished_at,
            'attempts', coalesce((
                SELECT jsonb_agg(jsonb_build_object(
                    'number', attempt.number, 'started_at', attempt.started_at, 'duration_ms', attempt.duration_ms,
                    'outcome', attempt.outcome, 'status', attempt.status, 'reason_code', attempt.reason_code
                ) ORDER BY attempt.fencing_token) FROM {ATTEMPTS} AS attempt WHERE attempt.job_id = job.id), '[]')
        ) ORDER BY job.id) FROM job WHERE job.message_id = message.id), '[]')
) AS text) AS line
FROM message WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id
""")  # noqa: S608  # constants only
_BEGIN: Final = text("INSERT INTO history_export (name, at, messages) VALUES (:name, now(), 0)")
_ADD: Final = text("UPDATE history_export SET messages = messages + :messages WHERE name = :name")
_FINISH: Final = text("UPDATE history_export SET customers = :customers WHERE name = :name")
_UNUSED: Final = text("DELETE FROM history_export WHERE name = :name AND messages = 0")
_FILES: Final = text("SELECT name, customers FROM history_export ORDER BY name")


class ExportError(OSError):
    """Rows could not be written, so they stay. `filename`: the folder; `strerror`: the system's reason."""


class Export:
    """The files of one run. `folder` is created if it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name: str | None = None
        self._messages = 0
        self._customers: set[str] = set()

    async def begin(self, engine: AsyncEngine, now: datetime) -> None:
        """Before each chunk: note a new file, unless there is one that is not full."""
        if self._messages >= MESSAGES_PER_FILE:
            await self.finish(engine)
        if self._name is None:
            name = f"history-{now:%Y%m%dT%H%M%SZ}-{uuid_utils.compat.uuid7()}.ndjson.gz"
            async with engine.begin() as connection:
                await connection.execute(_BEGIN, {"name": name})
            self._name = name

    async def write(self, connection: AsyncConnection, ids: Sequence[UUID]) -> None:
        """Write these messages, whose rows the connection's transaction deletes afterwards. Raises ExportError when the file
        cannot be written."""
        assert self._name is not None  # noqa: S101  # after `begin`
        rows = (await connection.execute(EXPORTED, {"ids": list(ids)})).all()
        lines = "".join(f"{row.line}\n" for row in rows).encode()
        try:
            await asyncio.to_thread(_append, self._folder, self._name, lines)
        except OSError as error:
            raise ExportError(error.errno, error.strerror, str(self._folder)) from error
        await connection.execute(_ADD, {"name": self._name, "messages": len(rows)})
        self._messages += len(rows)
        self._customers |= {row.customer_ref for row in rows if row.customer_ref is not None}

    async def finish(self, engine: AsyncEngine) -> None:
        """Note which customers the file holds. Without this, it may hold every customer."""
        if self._name is None:
            return
        async with engine.begin() as connection:
            if self._messages:
                await connection.execute(_FINISH, {"name": self._name, "customers": filter_of(self._customers)})
            else:
                await connection.execute(_UNUSED, {"name": self._name})
        self._name, self._messages = None, 0
        self._customers.clear()


async def exports_with(connection: AsyncConnection, customers: Sequence[str]) -> list[str]:
    """The names of the files that may hold rows of these customers."""
    return [
        row.name
        for row in await connection.execute(_FILES)
        if row.customers is None or any(may_contain(row.customers, customer) for customer in customers)
    ]


def _append(folder: Path, name: str, lines: bytes) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "ab") as stream:
        stream.write(gzip.compress(lines, mtime=0))
        stream.flush()
        os.fsync(stream.fileno())
