"""Re-encrypts stored bodies and excerpts with the first key, so that older keys can be removed; lists the keys in use."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import ENCRYPTED_TEXT, UnreadableBodyError, first_email

CHUNK: Final = 200

_USED: Final = text("""
WITH RECURSIVE used(name) AS (
    (SELECT encrypted_with FROM message WHERE encrypted_with IS NOT NULL AND body IS NOT NULL ORDER BY encrypted_with LIMIT 1)
    UNION ALL
    SELECT (SELECT encrypted_with FROM message
            WHERE encrypted_with > used.name AND encrypted_with IS NOT NULL AND body IS NOT NULL ORDER BY encrypted_with LIMIT 1)
    FROM used WHERE used.name IS NOT NULL
)
SELECT name FROM used WHERE name IS NOT NULL
UNION SELECT encrypted_with FROM import_chunk WHERE encrypted_with IS NOT NULL
ORDER BY 1
""")
"""One index look-up for each key, however many messages it has. Uploaded files are few, and are deleted within days."""
_OTHERS: Final = text("""
SELECT id, kind, encrypted_with, body, event FROM message
WHERE body IS NOT NULL AND id > :after AND encrypted_with IS DISTINCT FROM :first
ORDER BY id LIMIT :chunk FOR UPDATE
""")
_STORE: Final = text("""
UPDATE message SET body = changed.body, event = changed.event, encrypted_with = :first, email_mark = changed.mark
FROM unnest(CAST(:ids AS uuid[]), CAST(:bodies AS bytea[]), CAST(:events AS bytea[]), CAST(:marks AS bytea[]))
    AS changed(id, body, event, mark)
WHERE message.id = changed.id
""")

_EXCERPTS: Final = text("""
SELECT job_id, fencing_token, excerpt FROM attempt
WHERE (job_id, fencing_token) > (:job, :fencing_token) AND excerpt IS NOT NULL AND NOT starts_with(excerpt, :encrypted)
ORDER BY job_id, fencing_token LIMIT :chunk FOR UPDATE
""")
_STORE_EXCERPTS: Final = text("""
UPDATE attempt SET excerpt = changed.excerpt
FROM unnest(CAST(:jobs AS uuid[]), CAST(:tokens AS bigint[]), CAST(:excerpts AS text[])) AS changed(job_id, fencing_token, excerpt)
WHERE attempt.job_id = changed.job_id AND attempt.fencing_token = changed.fencing_token
""")


_FIRST_ENCRYPTED: Final = text("""
SELECT id FROM message WHERE encrypted_with = :name AND body IS NOT NULL ORDER BY id LIMIT 1
""")
_PLAIN_AFTER: Final = text("""
SELECT id FROM message WHERE encrypted_with IS NULL AND body IS NOT NULL AND id > :first ORDER BY id LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Encrypted:
    """How many bodies and excerpts were re-encrypted. `refused`: why others could not be, by the message's or job's id."""

    messages: int
    excerpts: int
    refused: dict[UUID, str]


async def used_keys(connection: AsyncConnection) -> list[str]:
    """The names of the keys with which stored bodies and uploaded files are encrypted."""
    return list((await connection.execute(_USED)).scalars())


async def plain_after_encryption(connection: AsyncConnection) -> UUID | None:
    """The first message whose body is not encrypted although it is younger than the first encrypted one. Ids of messages grow
    with time. Reads all younger messages."""
    firsts = [
        first
        for name in await used_keys(connection)
        if (first := await connection.scalar(_FIRST_ENCRYPTED, {"name": name})) is not None
    ]
    if not firsts:
        return None
    plain: UUID | None = await connection.scalar(_PLAIN_AFTER, {"first": min(firsts)})
    return plain


async def encrypt_bodies(engine: AsyncEngine) -> Encrypted:
    """Encrypt every stored body and excerpt with the first key of the engine's key ring. Commits after each CHUNK, so that
    an interrupted run can be repeated. Raises ValueError without a key."""
    refused: dict[UUID, str] = {}
    messages = await _encrypt_messages(engine, refused)
    return Encrypted(messages, await _encrypt_excerpts(engine, refused), refused)


async def _encrypt_messages(engine: AsyncEngine, refused: dict[UUID, str]) -> int:
    messages, after = 0, UUID(int=0)
    while True:
        async with engine.begin() as connection:
            ring = key_ring_of(connection)
            if ring.current is None:
                raise ValueError("BODY_KEYS is not set; make a key with: openssl rand -base64 32 (docs/operations.md)")
            parameters = {"after": after, "first": ring.current, "chunk": CHUNK}
            rows = (await connection.execute(_OTHERS, parameters)).all()
            changed: list[tuple[UUID, bytes | None, bytes | None, bytes | None]] = []
            for row in rows:
                try:
                    body = ring.decrypt(row.id, row.encrypted_with, row.body)
                    event = ring.decrypt(row.id, row.encrypted_with, row.event, "event")
                except UnreadableBodyError as error:
                    refused[row.id] = str(error)
                    continue
                mark = ring.email_mark(first_email(row.kind, event or body))
                changed.append((row.id, ring.encrypt(row.id, body), ring.encrypt(row.id, event, "event"), mark))
            names = ("ids", "bodies", "events", "marks")
            columns = {name: [values[place] for values in changed] for place, name in enumerate(names)}
            await connection.execute(_STORE, {**columns, "first": ring.current})
        messages += len(changed)
        if not rows:
            return messages
        after = rows[-1].id


async def _encrypt_excerpts(engine: AsyncEngine, refused: dict[UUID, str]) -> int:
    excerpts, after = 0, (UUID(int=0), 0)
    while True:
        async with engine.begin() as connection:
            ring = key_ring_of(connection)
            parameters = {
                "job": after[0],
                "fencing_token": after[1],
                "encrypted": f"{ENCRYPTED_TEXT}{ring.current}:",
                "chunk": CHUNK,
            }
            rows = (await connection.execute(_EXCERPTS, parameters)).all()
            changed: list[tuple[UUID, int, str | None]] = []
            for row in rows:
                try:
                    words = ring.decrypt_text(row.job_id, row.fencing_token, row.excerpt)
                except UnreadableBodyError as error:
                    refused[row.job_id] = str(error)
                    continue
                encrypted = ring.encrypt_text(row.job_id, row.fencing_token, words)
                changed.append((row.job_id, row.fencing_token, encrypted))
            names = ("jobs", "tokens", "excerpts")
            columns = {name: [values[place] for values in changed] for place, name in enumerate(names)}
            await connection.execute(_STORE_EXCERPTS, columns)
        excerpts += len(changed)
        if not rows:
            return excerpts
        after = rows[-1].job_id, rows[-1].fencing_token
