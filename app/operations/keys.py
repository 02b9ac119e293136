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
from sqlalchemy.ext.asyncio import AsyncEngine

from app.engine.operator import audit

SCOPES: Final = ("events", "read", "operate", "admin")

_CREATE: Final = text("""
INSERT INTO api_key (id, name, hash, scopes, created_at, expires_at)
VALUES (:id, :name, :hash, CAST(:scopes AS text[]), now(), now() + CAST(:lifetime AS interval))
""")
_LIST: Final = text("SELECT id, name, scopes, created_at, expires_at, revoked_at FROM api_key ORDER BY id")
_REVOKE: Final = text("UPDATE api_key SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL RETURNING name")


@dataclass(frozen=True, slots=True)
class Key:
    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


async def create(
    engine: AsyncEngine, name: str, scopes: Sequence[str], by: str, lifetime: timedelta | None = None
) -> str:
    """A new key, to be shown once. Raises ValueError for an unknown scope."""
    if unknown := set(scopes) - set(SCOPES):
        raise ValueError(f"unknown scope {', '.join(sorted(unknown))}; known: {', '.join(SCOPES)}")
    key = f"relay_{secrets.token_urlsafe(32)}"
    async with engine.begin() as connection:
        key_id = uuid_utils.compat.uuid7()
        await connection.execute(
            _CREATE,
            {
                "id": key_id,
                "name": name,
                "hash": hashlib.sha256(key.encode()).digest(),
                "scopes": sorted(scopes),
                "lifetime": lifetime,
            },
        )
        await audit(connection, by, "key.create", str(key_id), {"name": name, "scopes": sorted(scopes)})
    return key


async def list_keys(engine: AsyncEngine) -> list[Key]:
    async with engine.connect() as connection:
        return [Key(*row) for row in await connection.execute(_LIST)]


async def revoke(engine: AsyncEngine, key_id: UUID, by: str) -> bool:
    """False when there is no such key, or it was revoked before. Takes effect within seconds in every process."""
    async with engine.begin() as connection:
        row = (await connection.execute(_REVOKE, {"id": key_id})).first()
        if row is not None:
            await audit(connection, by, "key.revoke", str(key_id), {"name": row.name})
        return row is not None
