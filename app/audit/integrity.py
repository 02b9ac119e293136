"""`relay audit verify`: is the audit still what was written?"""

from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.audit.hash_chain import START, Line, line_hash

log: Final = structlog.get_logger(__name__)
CHUNK: Final = 1000
_LINES: Final = text("""
SELECT seq, id, at, actor, action, subject, detail, hash FROM audit WHERE seq > :after ORDER BY seq LIMIT :chunk
""")
_HEAD: Final = text("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`broken` tells the first place that does not fit; None when all do. `head` is the newest hash, in hex.

    `noted`: the hash that was asked for is in it. Where it is not, lines were cut off or all were written anew.
    """

    lines: int
    head: str
    noted: bool
    broken: str | None = None


async def verify(engine: AsyncEngine, head: str | None = None) -> Verdict:
    """Read the whole chain. `head`: a hash that was noted before, to be looked for."""
    previous, expected, noted = START, 1, head is None
    while True:
        async with engine.connect() as connection:
            rows = (await connection.execute(_LINES, {"after": expected - 1, "chunk": CHUNK})).all()
        for row in rows:
            if row.seq != expected:
                return Verdict(expected - 1, previous.hex(), noted, f"line {expected} is missing")
            line = Line(row.seq, row.id, row.at, row.actor, row.action, row.subject, row.detail)
            if line_hash(previous, line) != bytes(row.hash):
                told = f"line {row.seq} ({row.action} of {row.subject}) is not what was written, or a line before it was changed"
                return Verdict(expected - 1, previous.hex(), noted, told)
            previous, expected = bytes(row.hash), expected + 1
            noted = noted or previous.hex() == head
        if len(rows) < CHUNK:
            break
    return Verdict(expected - 1, previous.hex(), noted)


async def log_head(engine: AsyncEngine) -> None:
    """Write the newest hash to the log, which is kept elsewhere: whoever changes the audit cannot change that."""
    async with engine.connect() as connection:
        row = (await connection.execute(_HEAD)).one_or_none()
    if row is not None:
        log.info("audit_head", line=row.seq, hash=bytes(row.hash).hex())
