"""Alerts: what a person has to look at, each with the first thing to do. One of a kind and subject is open at a time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.operations.alerts.kinds import BY_HAND

log: Final = structlog.get_logger(__name__)

_RAISE: Final = text("""
INSERT INTO alert (id, at, kind, subject, detail, first_action)
SELECT :id, now(), :kind, :subject, :detail, :first_action
WHERE :again OR NOT EXISTS (SELECT FROM alert WHERE kind = :kind AND subject = :subject AND detail = :detail)
ON CONFLICT (kind, subject) WHERE resolved_at IS NULL DO NOTHING
RETURNING id
""")
_RESOLVE: Final = text("""
UPDATE alert SET resolved_at = now() WHERE kind = :kind AND subject = :subject AND resolved_at IS NULL
""")
_DISMISS: Final = text("""
UPDATE alert SET resolved_at = now() WHERE kind = ANY(:kinds) AND subject = :subject AND resolved_at IS NULL
RETURNING kind
""")
_OPEN: Final = text("""
SELECT id, at, kind, subject, detail, first_action, resolved_at FROM alert
WHERE resolved_at IS NULL AND (CAST(:subject AS text) IS NULL OR subject = :subject) ORDER BY at, id
""")
_COUNT: Final = text("SELECT kind, count(*) AS alerts FROM alert WHERE resolved_at IS NULL GROUP BY kind")


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert as the table has it."""

    id: UUID
    at: datetime
    kind: str
    subject: str
    detail: str
    first_action: str
    resolved_at: datetime | None


async def raise_alert(
    connection: AsyncConnection, kind: str, subject: str, detail: str, first_action: str, *, again: bool = True
) -> bool:
    """Open an alert in the caller's transaction; false when one of this kind and subject is open already. `again`
    False: nor when it was raised and ended with the same `detail` before, since somebody has looked at just that.

    `subject` names what it is about (a code, a channel), never a person. It is logged at once: an alert that is
    rolled back afterwards was worth a line all the same.
    """
    parameters = {
        "id": uuid_utils.compat.uuid7(),
        "kind": kind,
        "subject": subject,
        "detail": detail,
        "first_action": first_action,
        "again": again,
    }
    if (await connection.execute(_RAISE, parameters)).first() is None:
        return False
    log.warning("alert", kind=kind, subject=subject, detail=detail, first_action=first_action)
    return True


async def resolve_alert(connection: AsyncConnection, kind: str, subject: str) -> None:
    """What it told of is over."""
    await connection.execute(_RESOLVE, {"kind": kind, "subject": subject})


async def dismiss_alerts(connection: AsyncConnection, subject: str) -> list[str]:
    """A person has looked: ends those that nothing else ends (kinds.BY_HAND); their kinds."""
    ended = await connection.execute(_DISMISS, {"kinds": sorted(BY_HAND), "subject": subject})
    return sorted(ended.scalars())


async def open_alerts(connection: AsyncConnection, subject: str | None = None) -> list[AlertRecord]:
    """All, or those about one subject; the oldest first."""
    return [AlertRecord(*row) for row in await connection.execute(_OPEN, {"subject": subject})]


async def count_open(connection: AsyncConnection) -> dict[str, int]:
    """By kind."""
    return {row.kind: row.alerts for row in await connection.execute(_COUNT)}


class Alerts:
    """The same with a transaction of its own, for handlers and ticks."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def raise_alert(self, kind: str, subject: str, detail: str, first_action: str, *, again: bool = True) -> bool:
        async with self._engine.begin() as connection:
            return await raise_alert(connection, kind, subject, detail, first_action, again=again)
