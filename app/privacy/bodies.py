"""Reads the stored bodies of messages, in chunks."""

from collections.abc import Iterator, Sequence
from typing import Any, Final  # Any: rows
from uuid import UUID

from sqlalchemy import Row, text

from platform_relay.core.encryption import KeyRing, Purpose

CHUNK: Final = 500

BODIES: Final = text("""
SELECT id, kind, customer_ref, encrypted_with, body, event FROM message WHERE id = ANY(CAST(:ids AS uuid[])) AND body IS NOT NULL
""")


def decrypted(ring: KeyRing, row: Row[Any]) -> list[bytes | None]:
    """The body and the event of a message."""
    columns: tuple[tuple[Purpose, bytes | None], ...] = (("body", row.body), ("event", row.event))
    return [ring.decrypt(row.id, row.encrypted_with, stored, purpose) for purpose, stored in columns]


def chunks(items: Sequence[UUID]) -> Iterator[list[UUID]]:
    for start in range(0, len(items), CHUNK):
        yield list(items[start : start + CHUNK])
