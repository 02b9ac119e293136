"""The hash chain of the audit log: each entry's hash covers its content and the hash of the entry before. Pure.

To hide that an entry was changed, removed or inserted, every later hash has to be changed too. The newest hash then differs
from the copy that is kept elsewhere: `relay audit verify` prints it. A worker logs it and
keeps it in a file at its start and every hour, and sends it to the chat at its start and every day.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final  # Any: a JSON column
from uuid import UUID

FIRST_PREVIOUS_HASH: Final = b"\x00" * 32
"""The previous hash of the first entry."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the audit log. `at` is the database's time of the transaction; `detail` is a JSON object."""

    seq: int
    id: UUID
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any] | None  # Any: JSON


def entry_hash(previous: bytes, entry: AuditEntry) -> bytes:
    """SHA-256 of the previous hash and the entry as JSON with sorted names."""
    at = entry.at.astimezone(UTC).isoformat()
    content = [entry.seq, str(entry.id), at, entry.actor, entry.action, entry.subject, entry.detail]
    return hashlib.sha256(previous + json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).digest()
