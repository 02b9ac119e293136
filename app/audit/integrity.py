"""Checks that the audit log was not changed after it was written (`relay audit verify`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.audit import known_head
from platform_relay.audit.hash_chain import FIRST_PREVIOUS_HASH, AuditEntry, entry_hash
from platform_relay.audit.known_head import Head

log: Final = structlog.get_logger(__name__)
CHUNK: Final = 1000
_ENTRIES: Final = text("""
SELECT seq, id, at, actor, action, subject, detail, hash FROM audit WHERE seq > :after ORDER BY seq LIMIT :chunk
""")
_NEWEST: Final = text("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
_HASH_OF: Final = text("SELECT hash FROM audit WHERE seq = :seq")


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


@dataclass(frozen=True, slots=True)
class Noted:
    """The newest hash. `missing`: the hash that was noted before, if it is no longer in the chain."""

    head: Head
    missing: Head | None = None


async def note_newest_hash(engine: AsyncEngine, file: Path) -> Noted | None:
    """Log the newest hash and write it to `file`; None if the audit log is empty and nothing was noted before.

    Logs and the file are outside the database, where a change of the audit log does not reach them. If the hash that was noted
    before is missing, that is logged as an error, and the file keeps it.
    """
    known = known_head.read(file)
    async with engine.connect() as connection:
        newest = (await connection.execute(_NEWEST)).one_or_none()
        kept = None if known is None else await connection.scalar(_HASH_OF, {"seq": known.entry})
    head = Head(newest.seq, bytes(newest.hash).hex()) if newest is not None else Head(0, FIRST_PREVIOUS_HASH.hex())
    if known is not None and known.entry > 0 and (kept is None or bytes(kept).hex() != known.hash):
        log.error(
            "audit_head_missing", entry=known.entry, hash=known.hash, newest_entry=head.entry, newest_hash=head.hash
        )
        return Noted(head, known)
    if newest is None:
        return None
    log.info("audit_head", entry=head.entry, hash=head.hash)
    try:
        known_head.write(file, head)
    except OSError as error:  # a read-only folder
        log.warning("audit_head_not_written", error=type(error).__name__)
    return Noted(head)
