"""Alerts: what an operator has to look at. One alert of a code and a subject is open at a time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.reasons import ALERTS, DISMISSED_BY_HAND, Reason, ReasonCode, columns, stored

log: Final = structlog.get_logger(__name__)

_RAISE: Final = text("""
INSERT INTO alert (id, at, code, subject, facts)
SELECT :id, now(), :reason_code, :subject, CAST(:facts AS jsonb)
WHERE :again OR NOT EXISTS (
    SELECT FROM alert WHERE code = :reason_code AND subject = :subject AND facts = CAST(:facts AS jsonb))
ON CONFLICT (code, subject) WHERE resolved_at IS NULL DO NOTHING
RETURNING id
""")
_RESOLVE: Final = text("""
UPDATE alert SET resolved_at = now() WHERE code = :code AND subject = :subject AND resolved_at IS NULL
""")
_DISMISS: Final = text("""
UPDATE alert SET resolved_at = now() WHERE code = ANY(:codes) AND subject = :subject AND resolved_at IS NULL
RETURNING code
""")
_OPEN: Final = text("""
SELECT id, at, code, subject, facts, resolved_at FROM alert
WHERE resolved_at IS NULL AND (CAST(:subject AS text) IS NULL OR subject = :subject) ORDER BY at, id
""")
_COUNT: Final = text("SELECT code, count(*) AS alerts FROM alert WHERE resolved_at IS NULL GROUP BY code")


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert as the table has it."""

    id: UUID
    at: datetime
    reason: Reason
    subject: str
    resolved_at: datetime | None

    @property
    def by_hand(self) -> bool:
        """Only an operator ends it; the subject is a coupon's code."""
        return self.reason.code in DISMISSED_BY_HAND


async def raise_alert(connection: AsyncConnection, reason: Reason, subject: str, *, again: bool = True) -> bool:
    """Open an alert in the caller's transaction; false when one of this code and subject is open already.

    With `again` False, an alert with the same facts that was raised and ended before is not raised a second time.
    `subject` names what it is about (a coupon's code, a destination), never a person. The alert is logged at once, even if
    the transaction is rolled back afterwards. Raises ValueError for a code that is no alert (`reasons.ALERTS`).
    """
    if reason.code not in ALERTS:
        raise ValueError(f"{reason.code} is not a code of alerts")
    parameters = {"id": uuid_utils.compat.uuid7(), "subject": subject, "again": again, **columns(reason)}
    if (await connection.execute(_RAISE, parameters)).first() is None:
        return False
    log.warning("alert", code=reason.code, subject=subject, text=reason.text, next_step=reason.next_step)
    return True


async def resolve_alert(connection: AsyncConnection, code: ReasonCode, subject: str) -> None:
    """End the open alert of this code and subject, because its cause is gone."""
    await connection.execute(_RESOLVE, {"code": code, "subject": subject})


async def dismiss_alerts(connection: AsyncConnection, subject: str) -> list[str]:
    """End the alerts of this subject that only an operator ends; their codes."""
    ended = await connection.execute(_DISMISS, {"codes": sorted(DISMISSED_BY_HAND), "subject": subject})
    return sorted(ended.scalars())


async def open_alerts(connection: AsyncConnection, subject: str | None = None) -> list[AlertRecord]:
    """All open alerts, or those of one subject; the oldest first."""
    return [
        AlertRecord(row.id, row.at, reason, row.subject, row.resolved_at)
        for row in await connection.execute(_OPEN, {"subject": subject})
        if (reason := stored(row.code, row.facts)) is not None
    ]


async def count_open(connection: AsyncConnection) -> dict[str, int]:
    """By code."""
    return {row.code: row.alerts for row in await connection.execute(_COUNT)}


class Alerts:
    """The same with a transaction of its own, for handlers and periodic tasks."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def raise_alert(self, reason: Reason, subject: str, *, again: bool = True) -> bool:
        async with self._engine.begin() as connection:
            return await raise_alert(connection, reason, subject, again=again)
