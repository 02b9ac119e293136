"""Checks that the audit log was not changed after it was written (`relay audit verify`)."""

from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.audit.hash_chain import FIRST_PREVIOUS_HASH, AuditEntry, entry_hash

log: Final = structlog.get_logger(__name__)
CHUNK: Final = 1000
_ENTRIES: Final = text("""
SELECT seq, id, at, actor, action, subject, detail, hash FROM audit WHERE seq > :after ORDER BY seq LIMIT :chunk
""")
_NEWEST: Final = text("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a check. `entries` is the number of intact entries, `newest_hash` the hash of the last of them, in hex.

    `problem` describes the first entry that does not fit; None when all entries fit. `contains_expected` is False when the
    expected hash is not in the chain: entries were removed from its end, or the whole chain was written again.
    """

    entries: int
    newest_hash: str
    contains_expected: bool
    problem: str | None = None


async def verify(engine: AsyncEngine, expected_hash: str | None = None) -> Verification:
    """Read and check the whole chain. `expected_hash` is a hash that was noted earlier."""
    previous, entries, contains_expected = FIRST_PREVIOUS_HASH, 0, expected_hash is None
    while True:
        async with engine.connect() as connection:
            rows = (await connection.execute(_ENTRIES, {"after": entries, "chunk": CHUNK})).all()
        for row in rows:
            problem = None
            if row.seq != entries + 1:
                problem = f"entry {entries + 1} is missing"
            elif entry_hash(previous, AuditEntry(*row[:-1])) != bytes(row.hash):
                problem = f"entry {row.seq} ({row.action} of {row.subject}) or an entry before it was changed"
            if problem is not None:
                return Verification(entries, previous.hex(), contains_expected, problem)
            previous, entries = bytes(row.hash), row.seq
            contains_expected = contains_expected or previous.hex() == expected_hash
        if len(rows) < CHUNK:
            return Verification(entries, previous.hex(), contains_expected)


async def log_newest_hash(engine: AsyncEngine) -> None:
    """Log the newest hash. Logs are kept elsewhere, where a change of the audit log does not reach it."""
    async with engine.connect() as connection:
        row = (await connection.execute(_NEWEST)).one_or_none()
    if row is not None:
        log.info("audit_head", entry=row.seq, hash=bytes(row.hash).hex())
