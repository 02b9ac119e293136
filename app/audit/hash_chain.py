"""The audit's chain: each line's hash covers its content and the hash of the line before. Pure.

Whoever changes, removes or adds a line afterwards has to change every later hash too; the newest one, kept elsewhere
(`relay audit verify` prints it, the worker logs it every hour), then no longer fits.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

START: Final = b"\x00" * 32
"""What the first line has before it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the audit. `at` is the database's time of the transaction; `detail` is JSON."""

    seq: int
    id: UUID
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, object] | None


def line_hash(previous: bytes, line: Line) -> bytes:
    """SHA-256 of the hash before and of the line, written as JSON with sorted names."""
    content = [line.seq, str(line.id), line.at.astimezone(UTC).isoformat(), line.actor, line.action, line.subject]
    written = json.dumps([*content, line.detail], sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(previous + written).digest()
