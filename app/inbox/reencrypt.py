"""Bodies at rest: under which keys they are, and bringing all of them under the first, so that an old key can go."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import keys_of
from platform_relay.core.encryption import SEALED_TEXT, UnreadableBodyError, first_email

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
""")
"""A look-up in the index for each key, however many rows are under it."""
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
SELECT job_id, claim, excerpt FROM attempt
WHERE (job_id, claim) > (:job, :claim) AND excerpt IS NOT NULL AND NOT starts_with(excerpt, :sealed)
ORDER BY job_id, claim LIMIT :chunk FOR UPDATE
""")
_STORE_EXCERPTS: Final = text("""
UPDATE attempt SET excerpt = changed.excerpt
FROM unnest(CAST(:jobs AS uuid[]), CAST(:claims AS bigint[]), CAST(:excerpts AS text[])) AS changed(job_id, claim, excerpt)
WHERE attempt.job_id = changed.job_id AND attempt.claim = changed.claim
""")


@dataclass(frozen=True, slots=True)
class Encrypted:
    """How many were brought under the first key, and why others could not be, by the message's or the job's id."""

    messages: int
    excerpts: int
    refused: dict[UUID, str]


async def used_keys(connection: AsyncConnection) -> list[str]:
    """The names of the keys that kept bodies are under."""
    return list((await connection.execute(_USED)).scalars())


async def encrypt_bodies(engine: AsyncEngine) -> Encrypted:
    """Every kept body and excerpt under the first key of the engine's ring. A commit for each CHUNK: what was ended
    half-way goes on where it was. Raises ValueError without a key."""
    refused: dict[UUID, str] = {}
    messages = await _encrypt_messages(engine, refused)
    return Encrypted(messages, await _encrypt_excerpts(engine, refused), refused)


async def _encrypt_messages(engine: AsyncEngine, refused: dict[UUID, str]) -> int:
    messages, after = 0, UUID(int=0)
    while True:
        async with engine.begin() as connection:
            ring = keys_of(connection)
            if ring.first is None:
                raise ValueError("BODY_KEYS is not set; make a key with: openssl rand -base64 32 (docs/operations.md)")
            asked = {"after": after, "first": ring.first, "chunk": CHUNK}
            rows = (await connection.execute(_OTHERS, asked)).all()
            changed: list[tuple[UUID, bytes | None, bytes | None, bytes | None]] = []
            for row in rows:
                try:
                    body, event = (ring.open(row.id, row.encrypted_with, each) for each in (row.body, row.event))
                except UnreadableBodyError as error:
                    refused[row.id] = str(error)
                    continue
                mark = ring.mark(first_email(row.kind, event or body))
                changed.append((row.id, ring.seal(row.id, body), ring.seal(row.id, event), mark))
            names = ("ids", "bodies", "events", "marks")
            columns = {name: [each[place] for each in changed] for place, name in enumerate(names)}
            await connection.execute(_STORE, {**columns, "first": ring.first})
        messages += len(changed)
        if not rows:
            return messages
        after = rows[-1].id


async def _encrypt_excerpts(engine: AsyncEngine, refused: dict[UUID, str]) -> int:
    excerpts, after = 0, (UUID(int=0), 0)
    while True:
        async with engine.begin() as connection:
            ring = keys_of(connection)
            asked = {"job": after[0], "claim": after[1], "sealed": f"{SEALED_TEXT}{ring.first}:", "chunk": CHUNK}
            rows = (await connection.execute(_EXCERPTS, asked)).all()
            changed: list[tuple[UUID, int, str | None]] = []
            for row in rows:
                try:
                    words = ring.open_text(row.job_id, row.excerpt)
                except UnreadableBodyError as error:
                    refused[row.job_id] = str(error)
                    continue
                changed.append((row.job_id, row.claim, ring.seal_text(row.job_id, words)))
            names = ("jobs", "claims", "excerpts")
            columns = {name: [each[place] for each in changed] for place, name in enumerate(names)}
            await connection.execute(_STORE_EXCERPTS, columns)
        excerpts += len(changed)
        if not rows:
            return excerpts
        after = rows[-1].job_id, rows[-1].claim
