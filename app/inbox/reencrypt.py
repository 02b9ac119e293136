"""Re-encrypts stored bodies and excerpts with the first key, so that older keys can be removed; lists the keys in use.

Nothing shows where the few rows are that are not encrypted with the first key: an index of them would cost every message of a
relay without encryption an entry. So all bodies are walked, a few hundred rows in each statement, however many there are.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.chunks import IN_ORDER, Chunks
from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import ENCRYPTED_TEXT, UnreadableBodyError, first_email

CHUNK: Final = 200
"""Bodies or excerpts per commit at most."""
PAUSE: Final = 2.0
"""After each step of the walk for the alert, so many times its duration."""

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
_WALK: Final = text("""
SELECT id, encrypted_with FROM message WHERE body IS NOT NULL AND id > :id ORDER BY id LIMIT :chunk
""")
"""The next stored bodies, whatever they are encrypted with."""
_OTHERS: Final = text("""
SELECT id, kind, encrypted_with, body, event FROM message
WHERE id = ANY(CAST(:ids AS uuid[])) AND body IS NOT NULL AND encrypted_with IS DISTINCT FROM :first
ORDER BY id FOR UPDATE
""")
_STORE: Final = text("""
UPDATE message SET body = changed.body, event = changed.event, encrypted_with = :first, email_mark = changed.mark
FROM unnest(CAST(:ids AS uuid[]), CAST(:bodies AS bytea[]), CAST(:events AS bytea[]), CAST(:marks AS bytea[]))
    AS changed(id, body, event, mark)
WHERE message.id = changed.id
""")

_WALK_ATTEMPTS: Final = text("""
SELECT job_id, fencing_token, excerpt IS NOT NULL AND NOT starts_with(excerpt, :encrypted) AS other FROM attempt
WHERE (job_id, fencing_token) > (:job_id, :fencing_token) ORDER BY job_id, fencing_token LIMIT :chunk
""")
_EXCERPTS: Final = text("""
SELECT attempt.job_id, attempt.fencing_token, excerpt
FROM unnest(CAST(:jobs AS uuid[]), CAST(:tokens AS bigint[])) AS t(job_id, fencing_token)
JOIN attempt ON attempt.job_id = t.job_id AND attempt.fencing_token = t.fencing_token
WHERE excerpt IS NOT NULL AND NOT starts_with(excerpt, :encrypted)
ORDER BY attempt.job_id, attempt.fencing_token FOR UPDATE OF attempt
""")
_STORE_EXCERPTS: Final = text("""
UPDATE attempt SET excerpt = changed.excerpt
FROM unnest(CAST(:jobs AS uuid[]), CAST(:tokens AS bigint[]), CAST(:excerpts AS text[])) AS changed(job_id, fencing_token, excerpt)
WHERE attempt.job_id = changed.job_id AND attempt.fencing_token = changed.fencing_token
""")


_FIRST_ENCRYPTED: Final = text("""
SELECT id FROM message WHERE encrypted_with = :name AND body IS NOT NULL ORDER BY id LIMIT 1
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


async def plain_after_encryption(engine: AsyncEngine) -> UUID | None:
    """The first message whose body is not encrypted although it is younger than the first encrypted one. Ids of messages grow
    with time. Walks all younger messages, with pauses."""
    async with engine.connect() as connection:
        firsts = [
            first
            for name in await used_keys(connection)
            if (first := await connection.scalar(_FIRST_ENCRYPTED, {"name": name})) is not None
        ]
    if not firsts:
        return None
    async for rows in _walk(engine, _WALK, {"id": min(firsts)}, pause=PAUSE):
        for row in rows:
            if row["encrypted_with"] is None:
                plain: UUID = row["id"]
                return plain
    return None


async def encrypt_bodies(engine: AsyncEngine) -> Encrypted:
    """Encrypt every stored body and excerpt with the first key of the engine's key ring. Commits after each CHUNK, so that
    an interrupted run can be repeated. Raises ValueError without a key."""
    async with engine.connect() as connection:
        first = key_ring_of(connection).current
    if first is None:
        raise ValueError("BODY_KEYS is not set; make a key with: openssl rand -base64 32 (docs/operations.md)")
    refused: dict[UUID, str] = {}
    messages = excerpts = 0
    async for rows in _walk(engine, _WALK, {"id": UUID(int=0)}):
        others = [row["id"] for row in rows if row["encrypted_with"] != first]
        for start in range(0, len(others), CHUNK):
            messages += await _encrypt_messages(engine, first, others[start : start + CHUNK], refused)
    encrypted = f"{ENCRYPTED_TEXT}{first}:"
    beginning = {"job_id": UUID(int=0), "fencing_token": 0}
    async for rows in _walk(engine, _WALK_ATTEMPTS, beginning, {"encrypted": encrypted}):
        attempts = [(row["job_id"], row["fencing_token"]) for row in rows if row["other"]]
        for start in range(0, len(attempts), CHUNK):
            excerpts += await _encrypt_excerpts(engine, encrypted, attempts[start : start + CHUNK], refused)
    return Encrypted(messages, excerpts, refused)


async def _walk(
    engine: AsyncEngine,
    statement: TextClause,
    after: Mapping[str, object],
    parameters: Mapping[str, object] | None = None,
    *,
    pause: float = 0.0,
) -> AsyncIterator[Sequence[RowMapping]]:
    """The rows of `statement` in steps, each a transaction that has ended. `after`: the columns of its order, which are also its
    parameters, and the values that the walk begins behind. `pause`: after each step, so many times its duration."""
    steps = Chunks(first=CHUNK)
    while True:
        size = steps.size
        async with steps.transaction(engine) as connection:
            await connection.execute(IN_ORDER)
            result = await connection.execute(statement, {**(parameters or {}), **after, "chunk": size})
            rows = result.mappings().all()
        if rows:
            yield rows
        if len(rows) < size:
            return
        after = {column: rows[-1][column] for column in after}
        await asyncio.sleep(pause * steps.seconds)


async def _encrypt_messages(engine: AsyncEngine, first: str, ids: Sequence[UUID], refused: dict[UUID, str]) -> int:
    """Encrypt the bodies of these messages that are not encrypted with `first`. Returns how many."""
    async with engine.begin() as connection:
        ring = key_ring_of(connection)
        changed: list[tuple[UUID, bytes | None, bytes | None, bytes | None]] = []
        for row in (await connection.execute(_OTHERS, {"ids": list(ids), "first": first})).all():
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
        await connection.execute(_STORE, {**columns, "first": first})
    return len(changed)


async def _encrypt_excerpts(
    engine: AsyncEngine, encrypted: str, attempts: Sequence[tuple[UUID, int]], refused: dict[UUID, str]
) -> int:
    """Encrypt the excerpts of these attempts that do not begin with `encrypted`. Returns how many."""
    async with engine.begin() as connection:
        ring = key_ring_of(connection)
        keys = {"jobs": [job for job, _ in attempts], "tokens": [token for _, token in attempts]}
        changed: list[tuple[UUID, int, str | None]] = []
        for row in (await connection.execute(_EXCERPTS, {**keys, "encrypted": encrypted})).all():
            try:
                words = ring.decrypt_text(row.job_id, row.fencing_token, row.excerpt)
            except UnreadableBodyError as error:
                refused[row.job_id] = str(error)
                continue
            changed.append((row.job_id, row.fencing_token, ring.encrypt_text(row.job_id, row.fencing_token, words)))
        names = ("jobs", "tokens", "excerpts")
        columns = {name: [values[place] for values in changed] for place, name in enumerate(names)}
        await connection.execute(_STORE_EXCERPTS, columns)
    return len(changed)
