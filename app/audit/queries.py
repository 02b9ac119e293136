"""Reads the audit log."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.audit.hash_chain import AuditEntry

_LIST: Final = text("""
SELECT seq, id, at, actor, action, subject, detail FROM audit
WHERE (CAST(:before AS bigint) IS NULL OR seq < :before) AND (CAST(:subject AS text) IS NULL OR subject = :subject)
ORDER BY seq DESC LIMIT :limit
""")


async def list_audit(
    connection: AsyncConnection, *, subject: str | None = None, before: int | None = None, limit: int = 50
) -> list[AuditEntry]:
    """The newest entries first. `subject` is the id of a job or key, a coupon's code, a destination or a rule.

    `before` is the `seq` of the previous page's last entry.
    """
    rows = await connection.execute(_LIST, {"subject": subject, "before": before, "limit": limit})
    return [AuditEntry(*row) for row in rows]
