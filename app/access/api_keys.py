"""API keys beside STORE_KEY and OPERATOR_KEY. Only a digest of each key is stored; the key itself is shown once."""

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

from platform_relay.audit.record import audit
from platform_relay.core.failed_statements import name_statements

SCOPES: Final = ("events", "read", "operate", "admin")
OVERLAP: Final = timedelta(hours=24)
"""How long a rotated key works beside its successor."""
USE_PRECISION: Final = timedelta(minutes=5)
"""The time of last use is stored at most once within this time, not for each request."""

_CREATE: Final = text("""
INSERT INTO api_key (id, name, hash, scopes, created_at, expires_at)
VALUES (:id, :name, :hash, CAST(:scopes AS text[]), now(), now() + CAST(:lifetime AS interval))
""")
_LIST: Final = text(
    "SELECT id, name, scopes, created_at, expires_at, revoked_at, last_used_at FROM api_key ORDER BY id"
)
_RECORD_USE: Final = text("""
UPDATE api_key SET last_used_at = now()
WHERE hash = :hash AND (last_used_at IS NULL OR last_used_at < now() - CAST(:precision AS interval))
""")
_VALID: Final = text("""
SELECT name, scopes, expires_at - created_at AS lifetime FROM api_key
WHERE id = :id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) FOR UPDATE
""")
_EXPIRE: Final = text("""
UPDATE api_key SET expires_at = least(expires_at, now() + CAST(:overlap AS interval)) WHERE id = :id RETURNING expires_at
""")
_FIND: Final = text("""
SELECT name, hash, scopes, last_used_at IS NULL OR last_used_at <= now() - CAST(:precision AS interval) AS use_is_due
FROM api_key WHERE hash = :hash AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
""")
_REVOKE: Final = text("UPDATE api_key SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL RETURNING name")
name_statements({"find_key": _FIND})


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`last_used_at` is exact to `USE_PRECISION`."""

    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class ValidKey:
    """A key that can be used now. `use_is_due`: its time of last use is older than `USE_PRECISION`, or unknown."""

    name: str
    hash: bytes
    scopes: frozenset[str]
    use_is_due: bool


@dataclass(frozen=True, slots=True)
class RotatedKey:
    """The successor of a key. `key` is shown once; the old key works `until`."""

    name: str
    key: str
    until: datetime


async def create(
    engine: AsyncEngine, name: str, scopes: Sequence[str], by: str, lifetime: timedelta | None = None
) -> str:
    """Create a key and return it. Raises ValueError for an unknown scope."""
    if unknown := set(scopes) - set(SCOPES):
        raise ValueError(f"unknown scope {', '.join(sorted(unknown))}; known: {', '.join(SCOPES)}")
    async with engine.begin() as connection:
        return await _create(connection, name, scopes, by, lifetime)


async def rotate(engine: AsyncEngine, key_id: UUID, by: str, overlap: timedelta = OVERLAP) -> RotatedKey | None:
    """Create a successor with the same name, scopes and lifetime. The old key expires after `overlap`.

    Returns None if the key does not exist, was revoked or has expired.
    """
    async with engine.begin() as connection:
        old = (await connection.execute(_VALID, {"id": key_id})).one_or_none()
        if old is None:
            return None
        key = await _create(connection, old.name, old.scopes, by, old.lifetime)
        until: datetime = (await connection.execute(_EXPIRE, {"id": key_id, "overlap": overlap})).scalar_one()
        await audit(connection, by, "key.rotate", str(key_id), {"name": old.name, "until": until.isoformat()})
        return RotatedKey(old.name, key, until)


async def _create(
    connection: AsyncConnection, name: str, scopes: Sequence[str], by: str, lifetime: timedelta | None
) -> str:
    key, key_id = f"relay_{secrets.token_urlsafe(32)}", uuid_utils.compat.uuid7()
    values = {"id": key_id, "name": name, "scopes": sorted(scopes), "lifetime": lifetime}
    await connection.execute(_CREATE, {**values, "hash": hashlib.sha256(key.encode()).digest()})
    await audit(connection, by, "key.create", str(key_id), {"name": name, "scopes": sorted(scopes)})
    return key


async def list_keys(engine: AsyncEngine) -> list[ApiKey]:
    async with engine.connect() as connection:
        return [ApiKey(*row) for row in await connection.execute(_LIST)]


async def find_valid_key(connection: AsyncConnection, digest: bytes) -> ValidKey | None:
    """The key with this SHA-256 digest; None if there is none, or it was revoked or has expired."""
    row = (await connection.execute(_FIND, {"hash": digest, "precision": USE_PRECISION})).one_or_none()
    return ValidKey(row.name, row.hash, frozenset(row.scopes), row.use_is_due) if row else None


async def record_use(engine: AsyncEngine, digest: bytes) -> None:
    """Store that the key with this digest is used now."""
    async with engine.begin() as connection:
        await connection.execute(_RECORD_USE, {"hash": digest, "precision": USE_PRECISION})


async def revoke(engine: AsyncEngine, key_id: UUID, by: str) -> bool:
    """Revoke a key; False if there is no such key, or it was revoked before. Every process rejects it within seconds."""
    async with engine.begin() as connection:
        row = (await connection.execute(_REVOKE, {"id": key_id})).first()
        if row is not None:
            await audit(connection, by, "key.revoke", str(key_id), {"name": row.name})
        return row is not None
