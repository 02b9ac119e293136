"""Who did what, for people: the audit's lines, newest first."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final  # Any: a JSON column

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_LINES: Final = text("""
SELECT seq, at, actor, action, subject, detail FROM audit
WHERE (CAST(:before AS bigint) IS NULL OR seq < :before) AND (CAST(:subject AS text) IS NULL OR subject = :subject)
ORDER BY seq DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class AuditLine:
    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any] | None  # Any: JSON


async def list_audit(
    connection: AsyncConnection, *, subject: str | None = None, before: int | None = None, limit: int = 50
) -> list[AuditLine]:
    """`subject`: a job's or key's id, a coupon's code, a destination, a rule; `before`: the last page's last number."""
    rows = await connection.execute(_LINES, {"subject": subject, "before": before, "limit": limit})
    return [AuditLine(*row) for row in rows]
