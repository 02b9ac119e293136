"""Uploaded files, kept in the database until they are imported: any replica can read them, and a restart loses none.

A file is stored in chunks, each encrypted like a message's body, and read back into a temporary file. It is deleted when its
import has no rejected rows, else after KEPT_FOR, and by every erasure of a customer (`privacy.imported_files`).
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO, Any, Final  # Any: JSON
from uuid import UUID

import uuid_utils.compat
from pydantic import TypeAdapter
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.chunks import run_in_chunks
from platform_relay.core.database import advisory_lock, key_ring_of
from platform_relay.core.visible_text import visible
from platform_relay.imports.choices import Choices
from platform_relay.imports.files import FileFormat
from platform_relay.inbox.events import EventKind

CHUNK: Final = 1 << 20
MAX_BYTES: Final = 1 << 30
"""Of one file."""
MAX_KEPT: Final = 4 << 30
"""Bytes of all files. A file that would exceed it takes the place of finished ones."""
KEPT_FOR: Final = timedelta(days=1)
STORED_WITHIN: Final = timedelta(minutes=10)
"""An incomplete file is deleted after so long without another chunk: the process that stored it was killed."""
NAME_LENGTH: Final = 100
_CHOICES: Final = TypeAdapter(Choices)

_INSERT: Final = text("""
INSERT INTO import_upload (id, name, file_format, kind, size, actor, choices, complete, created_at, expires_at)
VALUES (:id, :name, :file_format, :kind, :size, :actor, '{}', false, now(), now() + CAST(:within AS interval))
""")
_STORING: Final = text("""
UPDATE import_upload SET expires_at = now() + CAST(:within AS interval) WHERE id = :id AND expires_at > now() RETURNING id
""")
_CHUNK: Final = text("""
INSERT INTO import_chunk (upload_id, number, encrypted_with, data) VALUES (:upload_id, :number, :encrypted_with, :data)
""")
_COMPLETE: Final = text("""
UPDATE import_upload SET complete = true, expires_at = now() + CAST(:kept_for AS interval)
WHERE id = :id AND expires_at > now() RETURNING id
""")
_ONE_BY_ONE: Final = advisory_lock("'room for an uploaded file'")
_IN_USE: Final = (
    "EXISTS (SELECT FROM import_run WHERE upload_id = import_upload.id AND state IN ('running', 'stopped'))"
)
_IS_FINISHED: Final = (
    f"NOT {_IN_USE} AND (expires_at <= now() OR EXISTS (SELECT FROM import_run WHERE upload_id = import_upload.id))"
)
_SPACE: Final = text(f"""
SELECT coalesce(sum(size), 0) <= CAST(:left AS bigint) AS is_free,
       coalesce(sum(size) FILTER (WHERE NOT ({_IS_FINISHED})), 0) <= CAST(:left AS bigint) AS can_be_free
FROM import_upload
""")  # noqa: S608  # constants only
_FINISHED: Final = text(f"SELECT id FROM import_upload WHERE {_IS_FINISHED} ORDER BY created_at LIMIT 1")  # noqa: S608  # as above
_FIND: Final = text("""
SELECT id, name, file_format, kind, size, actor, choices, as_of, created_at, expires_at FROM import_upload
WHERE id = :id AND complete AND (expires_at > now() OR CAST(:expired AS boolean))
""")
_WAITING: Final = text("""
SELECT id, name, file_format, kind, size, actor, choices, as_of, created_at, expires_at FROM import_upload
WHERE complete AND expires_at > now() AND NOT EXISTS (SELECT FROM import_run WHERE upload_id = import_upload.id)
ORDER BY created_at DESC LIMIT 20
""")
_CHUNKS: Final = text("SELECT encrypted_with, data FROM import_chunk WHERE upload_id = :id AND number = :number")
_CHOOSE: Final = text("""
UPDATE import_upload SET kind = :kind, choices = CAST(:choices AS jsonb), as_of = :as_of
WHERE id = :id AND complete AND expires_at > now() RETURNING id
""")
_LOCK: Final = text("SELECT id FROM import_upload WHERE id = :id FOR UPDATE")
_NOT_IN_USE: Final = text(f"SELECT id FROM import_upload WHERE id = :id AND NOT {_IN_USE}")  # noqa: S608  # as above
_HAS_NO_RUN: Final = text("SELECT 1 WHERE NOT EXISTS (SELECT FROM import_run WHERE upload_id = :id)")
_EXPIRED_AND_UNUSED: Final = text(f"""
SELECT id FROM import_upload WHERE id = :id AND expires_at <= now() AND NOT {_IN_USE}
""")  # noqa: S608  # as above
_IS_STILL_FINISHED: Final = text(f"SELECT id FROM import_upload WHERE id = :id AND {_IS_FINISHED}")  # noqa: S608  # as above
_EXPIRED: Final = text(f"SELECT id FROM import_upload WHERE expires_at <= now() AND NOT {_IN_USE} LIMIT 100")  # noqa: S608  # constants only
_DELETE_CHUNKS: Final = text("""
DELETE FROM import_chunk WHERE upload_id = :id AND number IN (
    SELECT number FROM import_chunk WHERE upload_id = :id ORDER BY number LIMIT :chunk FOR UPDATE SKIP LOCKED)
""")
_DELETE: Final = tuple(
    text(statement)
    for statement in (
        "DELETE FROM import_upload WHERE id = :id",  # first, as all others lock a file before its runs
        "UPDATE import_run SET upload_id = NULL WHERE upload_id = :id",
    )
)
_ORPHANS: Final = text("""
SELECT upload_id FROM import_chunk EXCEPT SELECT id FROM import_upload
""")
"""What a process left that was killed while it deleted a file, or stored one that an erasure deleted."""
_KEEP_ON: Final = text("""
UPDATE import_upload SET expires_at = now() + CAST(:kept_for AS interval) WHERE id = :id AND expires_at > now() RETURNING id
""")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that the relay keeps. `choices` and `as_of`: what was stated about reading it when its import was started."""

    id: UUID
    name: str
    file_format: FileFormat
    kind: EventKind
    size: int
    actor: str
    choices: Choices
    as_of: datetime | None
    created_at: datetime
    expires_at: datetime


class UploadGoneError(ValueError):
    """The file is not kept any more, or not completely."""


class TooManyUploadsError(ValueError):
    """The files that wait for their import have taken all the space."""


def shown_name(name: str) -> str:
    """The last part of a file's name, as it can be stored and shown; whatever a sender writes into it."""
    last = name.replace("\\", "/").rpartition("/")[2].strip()
    return visible(last[-NAME_LENGTH:]) or "file"


async def keep_upload(
    engine: AsyncEngine, file: IO[bytes], name: str, file_format: FileFormat, kind: EventKind, actor: str
) -> UUID:
    """Store the file, and return its id. One chunk is in memory at a time.

    Raises TooManyUploadsError, UploadGoneError if a customer was erased meanwhile, and the database's errors; then nothing is
    kept, or it is deleted after STORED_WITHIN.
    """
    upload_id = uuid_utils.compat.uuid7()
    size = file.seek(0, 2)
    file.seek(0)
    new = {"id": upload_id, "name": name, "file_format": file_format, "kind": str(kind), "size": size, "actor": actor}
    await _make_room_and_insert(engine, {**new, "within": STORED_WITHIN}, size)
    try:
        await _store_chunks(engine, upload_id, file)
    except BaseException:
        with suppress(Exception):  # it expires otherwise
            await delete_upload(engine, upload_id)
        raise
    file.seek(0)
    return upload_id


async def _store_chunks(engine: AsyncEngine, upload_id: UUID, file: IO[bytes]) -> None:
    async with engine.connect() as connection:
        ring = key_ring_of(connection)
    number = 0
    while data := await asyncio.to_thread(file.read, CHUNK):
        encrypted = await asyncio.to_thread(ring.encrypt, upload_id, data, "upload", number)
        chunk = {"upload_id": upload_id, "number": number, "encrypted_with": ring.current, "data": encrypted}
        async with engine.begin() as connection:
            _require((await connection.execute(_STORING, {"id": upload_id, "within": STORED_WITHIN})).first())
            await connection.execute(_CHUNK, chunk)
        number += 1
    async with engine.begin() as connection:
        _require((await connection.execute(_COMPLETE, {"id": upload_id, "kept_for": KEPT_FOR})).first())


def _require(row: object) -> None:
    if row is None:
        raise UploadGoneError(
            "a customer was erased meanwhile, which deletes all uploaded files; upload the file again"
        )


async def find_upload(engine: AsyncEngine, upload_id: UUID, *, expired: bool = False) -> Upload | None:
    """The file; None if it is not kept. `expired`: also one that is only kept until its import ends."""
    async with engine.connect() as connection:
        row = (await connection.execute(_FIND, {"id": upload_id, "expired": expired})).mappings().one_or_none()
    return None if row is None else _upload(row)


async def waiting_uploads(engine: AsyncEngine) -> list[Upload]:
    """The files whose import was not started, the newest first."""
    async with engine.connect() as connection:
        return [_upload(row) for row in (await connection.execute(_WAITING)).mappings()]


@asynccontextmanager
async def local_copy(engine: AsyncEngine, upload: Upload) -> AsyncIterator[IO[bytes]]:
    """The file as a temporary one with a name. Raises UploadGoneError, and UnreadableBodyError if its key is missing."""
    with tempfile.NamedTemporaryFile(prefix="relay-import-") as file:
        await write_to(engine, upload, file)
        yield file


async def write_to(engine: AsyncEngine, upload: Upload, file: IO[bytes]) -> None:
    """Write what is kept into `file`. Raises as `local_copy`."""
    for number in range(-(-upload.size // CHUNK)):
        async with engine.connect() as connection:
            row = (await connection.execute(_CHUNKS, {"id": upload.id, "number": number})).one_or_none()
            ring = key_ring_of(connection)
        if row is None:
            raise UploadGoneError("the file is not kept any more; upload it again")
        plain = await asyncio.to_thread(ring.decrypt, upload.id, row.encrypted_with, bytes(row.data), "upload", number)
        await asyncio.to_thread(file.write, plain or b"")
    file.flush()
    if file.tell() != upload.size:
        raise UploadGoneError("the file is not kept completely; upload it again")
    file.seek(0)


@dataclass(frozen=True, slots=True)
class ChosenUpload:
    """A kept file and how it is to be read, so that any process reads it in the same way."""

    id: UUID
    kind: EventKind
    choices: Choices = field(default_factory=Choices)
    as_of: datetime | None = None


async def choose(connection: AsyncConnection, chosen: ChosenUpload) -> None:
    """Store how the file is to be read, and lock it until the end of the transaction. Raises UploadGoneError."""
    stated = _CHOICES.dump_json(chosen.choices).decode()
    values = {"id": chosen.id, "kind": str(chosen.kind), "choices": stated, "as_of": chosen.as_of}
    if (await connection.execute(_CHOOSE, values)).first() is None:
        raise UploadGoneError("the file is not kept any more; upload it again")


async def lock(connection: AsyncConnection, upload_id: UUID) -> None:
    """Lock the file until the end of the transaction. Who continues its import, or deletes it, does so first, and then looks in
    another statement whether it still can: that one sees what was committed meanwhile."""
    await connection.execute(_LOCK, {"id": upload_id})


async def delete_upload(engine: AsyncEngine, upload_id: UUID) -> bool:
    """Delete the file, unless it is being imported. Its import, if there is one, stays. Returns whether it did."""
    return await _delete_if(engine, upload_id, _NOT_IN_USE)


async def delete_unused(engine: AsyncEngine, upload_id: UUID) -> bool:
    """Delete the file, unless it belongs to an import. Returns whether it is gone."""
    return await _delete_if(engine, upload_id, _HAS_NO_RUN)


async def delete_expired(engine: AsyncEngine, upload_id: UUID) -> bool:
    """Delete the file if it has expired, or an erasure expired it, and it is not being imported. Returns whether it did."""
    return await _delete_if(engine, upload_id, _EXPIRED_AND_UNUSED)


async def _delete_if(engine: AsyncEngine, upload_id: UUID, condition: TextClause) -> bool:
    """Delete the file if `condition` returns a row; its chunks in small commits. If its process is killed before it has deleted
    these, `prune_uploads` does."""
    async with engine.begin() as connection:
        await lock(connection, upload_id)
        if (await connection.execute(condition, {"id": upload_id})).first() is None:
            return False
        for statement in _DELETE:
            await connection.execute(statement, {"id": upload_id})
    await run_in_chunks(engine, _DELETE_CHUNKS, {"id": upload_id})
    return True


async def keep_for_rejected_rows(engine: AsyncEngine, upload_id: UUID) -> None:
    """Keep the file of an ended import for KEPT_FOR; one that has expired, or that an erasure expired, is deleted."""
    async with engine.begin() as connection:
        kept = (await connection.execute(_KEEP_ON, {"id": upload_id, "kept_for": KEPT_FOR})).first()
    if kept is None:
        await delete_expired(engine, upload_id)


async def prune_uploads(engine: AsyncEngine) -> int:
    """Delete the files that have expired and are not being imported. Returns their number."""
    async with engine.connect() as connection:
        expired = list((await connection.execute(_EXPIRED)).scalars())
    deleted = [await delete_expired(engine, upload_id) for upload_id in expired]
    async with engine.connect() as connection:
        orphans = list((await connection.execute(_ORPHANS)).scalars())
    for upload_id in orphans:
        await run_in_chunks(engine, _DELETE_CHUNKS, {"id": upload_id})
    return sum(deleted)


async def _make_room_and_insert(engine: AsyncEngine, new: Mapping[str, object], size: int) -> None:
    """Insert the file `new`. Finished files are deleted until it fits, the oldest one first and each in transactions of its own;
    none if it does not fit without them all. Raises TooManyUploadsError."""
    while (finished := await _insert_if_it_fits(engine, new, size)) is not None:
        await _delete_if(engine, finished, _IS_STILL_FINISHED)


async def _insert_if_it_fits(engine: AsyncEngine, new: Mapping[str, object], size: int) -> UUID | None:
    """The finished file to be deleted first; None if `new` was inserted. Other uploads wait until the end of the transaction, so
    that together they do not exceed MAX_KEPT."""
    async with engine.begin() as connection:
        await connection.execute(_ONE_BY_ONE)
        space = (await connection.execute(_SPACE, {"left": MAX_KEPT - size})).one()
        if space.is_free:
            await connection.execute(_INSERT, new)
            return None
        finished: UUID | None = (
            (await connection.execute(_FINISHED)).scalar_one_or_none() if space.can_be_free else None
        )
    if finished is None:
        raise TooManyUploadsError(
            "other uploaded files wait for their import and take all the space; import or delete them first"
        )
    return finished


def _upload(row: Mapping[Any, Any]) -> Upload:  # Any: a row
    values = {str(name): value for name, value in row.items()}
    choices = _CHOICES.validate_python(values["choices"])
    return Upload(**{**values, "choices": choices, "kind": EventKind(values["kind"])})
