"""Sessions of the console. The table has the SHA-256 of a session's random secret, which only the browser's cookie contains."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.audit.record import audit

LIFETIME: Final = timedelta(hours=12)
USE_PRECISION: Final = timedelta(minutes=5)
"""The time of last use is stored at most once within this time, not for each request."""

_OPEN: Final = text("""
INSERT INTO console_session (id, hash, key_hash, name, created_at, expires_at, last_used_at)
VALUES (:id, :hash, :key_hash, :name, now(), now() + CAST(:lifetime AS interval), now())
""")
_DELETE_EXPIRED: Final = text("""
DELETE FROM console_session WHERE id IN (
    SELECT id FROM console_session WHERE expires_at <= now() LIMIT 100 FOR UPDATE SKIP LOCKED)
""")
"""Each new session deletes more than one, so that none stays."""
_FIND: Final = text("""
SELECT id, key_hash, last_used_at <= now() - CAST(:precision AS interval) AS use_is_due
FROM console_session WHERE hash = :hash AND expires_at > now()
""")
_RECORD_USE: Final = text("UPDATE console_session SET last_used_at = now() WHERE id = :id")
_LIST: Final = text("""
SELECT id, name, created_at, expires_at, last_used_at FROM console_session WHERE expires_at > now() ORDER BY id
""")
_END: Final = text("DELETE FROM console_session WHERE id = :id AND expires_at > now() RETURNING name")


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session that can be used. `name` is that of its key; `last_used_at` is exact to `USE_PRECISION`."""

    id: UUID
    name: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class FoundSession:
    """`key_hash` is the SHA-256 of the key with which the session was opened. The key must still be valid."""

    id: UUID
    key_hash: bytes
    use_is_due: bool


async def open_session(engine: AsyncEngine, key_hash: bytes, name: str) -> str:
    """Open a session for a key, and return its secret: 256 random bits."""
    secret = secrets.token_urlsafe(32)
    values = {"id": uuid_utils.compat.uuid7(), "hash": _digest(secret), "key_hash": key_hash, "name": name}
    async with engine.begin() as connection:
        await connection.execute(_DELETE_EXPIRED)
        await connection.execute(_OPEN, {**values, "lifetime": LIFETIME})
    return secret


async def find_session(connection: AsyncConnection, secret: str) -> FoundSession | None:
    """The session with this secret; None if there is none, or it was ended or has expired."""
    row = (await connection.execute(_FIND, {"hash": _digest(secret), "precision": USE_PRECISION})).one_or_none()
    return FoundSession(row.id, row.key_hash, row.use_is_due) if row else None


async def record_use(engine: AsyncEngine, session_id: UUID) -> None:
    """Store that the session is used now."""
    async with engine.begin() as connection:
        await connection.execute(_RECORD_USE, {"id": session_id})


async def list_sessions(connection: AsyncConnection) -> list[OpenSession]:
    """The open sessions, the oldest first."""
    return [OpenSession(*row) for row in await connection.execute(_LIST)]


async def end_session(engine: AsyncEngine, session_id: UUID, by: str) -> bool:
    """End a session at once, in every process; False if it has ended before."""
    async with engine.begin() as connection:
        row = (await connection.execute(_END, {"id": session_id})).first()
        if row is not None:
            await audit(connection, by, "session.end", str(session_id), {"name": row.name})
        return row is not None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
