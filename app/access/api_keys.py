"""Keys of the API beyond STORE_KEY and OPERATOR_KEY. Only a digest is kept; the key itself is shown once."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.jobs.actions import audit
from platform_relay.jobs.queries import USE_NOTED

SCOPES: Final = ("events", "read", "operate", "admin")
OVERLAP: Final = timedelta(hours=24)
"""How long a key that was rotated works beside its successor."""

_CREATE: Final = text("""
INSERT INTO api_key (id, name, hash, scopes, created_at, expires_at)
VALUES (:id, :name, :hash, CAST(:scopes AS text[]), now(), now() + CAST(:lifetime AS interval))
""")
_LIST: Final = text(
    "SELECT id, name, scopes, created_at, expires_at, revoked_at, last_used_at FROM api_key ORDER BY id"
)
_USED: Final = text("""
UPDATE api_key SET last_used_at = now()
WHERE hash = :hash AND (last_used_at IS NULL OR last_used_at < now() - CAST(:noted AS interval))
""")
_IN_USE: Final = text("""
SELECT name, scopes, expires_at - created_at AS lifetime FROM api_key
WHERE id = :id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) FOR UPDATE
""")
_END: Final = text("""
UPDATE api_key SET expires_at = least(expires_at, now() + CAST(:overlap AS interval)) WHERE id = :id RETURNING expires_at
""")
_REVOKE: Final = text("UPDATE api_key SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL RETURNING name")


@dataclass(frozen=True, slots=True)
class Key:
    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To within `books.USE_NOTED`."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """`key` is shown once; the old one works `until`."""

    name: str
    key: str
    until: datetime


async def create(
    engine: AsyncEngine, name: str, scopes: Sequence[str], by: str, lifetime: timedelta | None = None
) -> str:
    """A new key, to be shown once. Raises ValueError for an unknown scope."""
    if unknown := set(scopes) - set(SCOPES):
        raise ValueError(f"unknown scope {', '.join(sorted(unknown))}; known: {', '.join(SCOPES)}")
    async with engine.begin() as connection:
        return await _create(connection, name, scopes, by, lifetime)


async def rotate(engine: AsyncEngine, key_id: UUID, by: str, overlap: timedelta = OVERLAP) -> Rotated | None:
    """A new key with the name, scopes and lifetime of this one, which ends after `overlap`; None when it is not in use."""
    async with engine.begin() as connection:
        old = (await connection.execute(_IN_USE, {"id": key_id})).one_or_none()
        if old is None:
            return None
        key = await _create(connection, old.name, old.scopes, by, old.lifetime)
        until: datetime = (await connection.execute(_END, {"id": key_id, "overlap": overlap})).scalar_one()
        await audit(connection, by, "key.rotate", str(key_id), {"name": old.name, "until": until.isoformat()})
        return Rotated(old.name, key, until)


async def _create(
    connection: AsyncConnection, name: str, scopes: Sequence[str], by: str, lifetime: timedelta | None
) -> str:
    key, key_id = f"relay_{secrets.token_urlsafe(32)}", uuid_utils.compat.uuid7()
    told = {"id": key_id, "name": name, "scopes": sorted(scopes), "lifetime": lifetime}
    await connection.execute(_CREATE, {**told, "hash": hashlib.sha256(key.encode()).digest()})
    await audit(connection, by, "key.create", str(key_id), {"name": name, "scopes": sorted(scopes)})
    return key


async def list_keys(engine: AsyncEngine) -> list[Key]:
    async with engine.connect() as connection:
        return [Key(*row) for row in await connection.execute(_LIST)]


async def note_use(engine: AsyncEngine, digest: bytes) -> None:
    """The key with this digest is used now."""
    async with engine.begin() as connection:
        await connection.execute(_USED, {"hash": digest, "noted": USE_NOTED})


async def revoke(engine: AsyncEngine, key_id: UUID, by: str) -> bool:
    """False when there is no such key, or it was revoked before. Takes effect within seconds in every process."""
    async with engine.begin() as connection:
        row = (await connection.execute(_REVOKE, {"id": key_id})).first()
        if row is not None:
            await audit(connection, by, "key.revoke", str(key_id), {"name": row.name})
        return row is not None
