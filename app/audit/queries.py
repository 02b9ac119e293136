"""Reads the audit log."""

from typing import Annotated, Final

from pydantic import Field, TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.audit.hash_chain import AuditEntry
from platform_relay.core.paging import Cursor, Page

_CURSOR: Final = Cursor("audit", TypeAdapter[int](Annotated[int, Field(ge=0, lt=1 << 63)]))
_LIST: Final = text("""
SELECT seq, id, at, actor, action, subject, detail FROM audit
WHERE (CAST(:after AS bigint) IS NULL OR seq < :after) AND (CAST(:subject AS text) IS NULL OR subject = :subject)
ORDER BY seq DESC LIMIT :limit
""")


async def list_audit(
    connection: AsyncConnection, *, subject: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[AuditEntry]:
    """The newest entries first. `subject` is the id of a job or key, a coupon's code, a destination or a rule.

    `cursor` is the last page's `next_cursor`. Raises QueryInvalid for a cursor of another list.
    """
    values = {"subject": subject, "after": _CURSOR.decode(cursor), "limit": limit + 1}
    entries = [AuditEntry(*row) for row in await connection.execute(_LIST, values)]
    return _CURSOR.page(entries, limit, lambda entry: entry.seq)
