"""Writes entries of the audit log."""

import json
from collections.abc import Mapping
from typing import Final

import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.audit.hash_chain import FIRST_PREVIOUS_HASH, AuditEntry, entry_hash
from platform_relay.core.database import advisory_lock

_LOCK: Final = advisory_lock("'audit'")
_NEWEST: Final = text("""
SELECT now() AS at, last.seq, last.hash
FROM (SELECT) AS always LEFT JOIN LATERAL (SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1) AS last ON true
""")
_INSERT: Final = text("""
INSERT INTO audit (id, seq, hash, at, actor, action, subject, detail)
VALUES (:id, :seq, :hash, :at, :actor, :action, :subject, CAST(:detail AS jsonb))
""")


async def audit(
    connection: AsyncConnection, actor: str, action: str, subject: str, detail: Mapping[str, object]
) -> None:
    """Append an entry to the audit log, in the caller's transaction.

    Call it last in the transaction, because the chain stays locked until the transaction ends. `detail` holds texts, whole
    numbers, booleans and lists of them.
    """
    await connection.execute(_LOCK)  # its own statement: the next one must see what was committed during the wait
    newest = (await connection.execute(_NEWEST)).one()
    previous = FIRST_PREVIOUS_HASH if newest.hash is None else bytes(newest.hash)
    entry = AuditEntry(
        (newest.seq or 0) + 1, uuid_utils.compat.uuid7(), newest.at, actor, action, subject, dict(detail)
    )
    await connection.execute(
        _INSERT,
        {
            "id": entry.id,
            "seq": entry.seq,
            "hash": entry_hash(previous, entry),
            "at": entry.at,
            "actor": actor,
            "action": action,
            "subject": subject,
            "detail": json.dumps(entry.detail),
        },
    )
