"""Links that open a session of the console once, without typing a key. The table has only the SHA-256 of a link's random secret."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

LIFETIME: Final = timedelta(minutes=10)

_DELETE_EXPIRED: Final = text("""
DELETE FROM sign_in_link WHERE hash IN (
    SELECT hash FROM sign_in_link WHERE expires_at <= now() LIMIT 100 FOR UPDATE SKIP LOCKED)
""")
"""Each new link deletes more than one, so that none stays."""
_CREATE: Final = text("""
INSERT INTO sign_in_link (hash, key_hash, name, expires_at)
VALUES (:hash, :key_hash, :name, now() + CAST(:lifetime AS interval)) RETURNING expires_at
""")
_USE: Final = text(
    "DELETE FROM sign_in_link WHERE hash = :hash RETURNING key_hash, name, expires_at > now() AS is_valid"
)


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A new link. `secret`: 256 random bits, shown once."""

    secret: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LinkOwner:
    """`key_hash` is the SHA-256 of the key that created the link. The key must still be valid."""

    key_hash: bytes
    name: str


async def create_link(engine: AsyncEngine, key_hash: bytes, name: str) -> SignInLink:
    """A link for the owner of a key; its sessions have the scopes of that key."""
    secret = secrets.token_urlsafe(32)
    values = {"hash": _digest(secret), "key_hash": key_hash, "name": name, "lifetime": LIFETIME}
    async with engine.begin() as connection:
        await connection.execute(_DELETE_EXPIRED)
        return SignInLink(secret, (await connection.execute(_CREATE, values)).scalar_one())


async def use_link(engine: AsyncEngine, secret: str) -> LinkOwner | None:
    """Who may sign in with this link, and no longer afterwards; None if it does not exist, was used, or has expired."""
    async with engine.begin() as connection:
        row = (await connection.execute(_USE, {"hash": _digest(secret)})).one_or_none()
    return LinkOwner(row.key_hash, row.name) if row is not None and row.is_valid else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
