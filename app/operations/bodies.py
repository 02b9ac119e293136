"""Bodies at rest: under which keys they are, and bringing all of them under the first, so that an old key can go."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.database import keys_of
from app.sealing import UnreadableBodyError, first_email

CHUNK: Final = 200

_USED: Final = text("""
WITH RECURSIVE used(name) AS (
    (SELECT sealed_by FROM message WHERE sealed_by IS NOT NULL AND body IS NOT NULL ORDER BY sealed_by LIMIT 1)
    UNION ALL
    SELECT (SELECT sealed_by FROM message
            WHERE sealed_by > used.name AND sealed_by IS NOT NULL AND body IS NOT NULL ORDER BY sealed_by LIMIT 1)
    FROM used WHERE used.name IS NOT NULL
)
SELECT name FROM used WHERE name IS NOT NULL
""")
"""A look-up in the index for each key, however many rows are under it."""
_OTHERS: Final = text("""
SELECT id, kind, sealed_by, body, event FROM message
WHERE body IS NOT NULL AND id > :after AND sealed_by IS DISTINCT FROM :first
ORDER BY id LIMIT :chunk FOR UPDATE
""")
_STORE: Final = text("""
UPDATE message SET body = changed.body, event = changed.event, sealed_by = :first, email_mark = changed.mark
FROM unnest(CAST(:ids AS uuid[]), CAST(:bodies AS bytea[]), CAST(:events AS bytea[]), CAST(:marks AS bytea[]))
    AS changed(id, body, event, mark)
WHERE message.id = changed.id
""")


@dataclass(frozen=True, slots=True)
class Encrypted:
    """How many bodies were brought under the first key, and why others could not be."""

    messages: int
    refused: dict[UUID, str]


async def used_keys(connection: AsyncConnection) -> list[str]:
    """The names of the keys that kept bodies are under."""
    return list((await connection.execute(_USED)).scalars())


async def encrypt_bodies(engine: AsyncEngine) -> Encrypted:
    """Every kept body under the first key of the engine's ring. A commit for each CHUNK: what was ended half-way goes on
    where it was. Raises ValueError without a key."""
    messages, refused, after = 0, dict[UUID, str](), UUID(int=0)
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
                    body, event = (ring.open(row.id, row.sealed_by, each) for each in (row.body, row.event))
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
            return Encrypted(messages, refused)
        after = rows[-1].id
