"""Alerts are problems that an operator has to look at. At most one alert with the same code and subject is open."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import is_unavailable, single_statement
from platform_relay.core.masked_codes import codes_in, without_codes
from platform_relay.core.reasons import ABOUT_COUPONS, ALERTS, DISMISSED_BY_HAND, Reason, ReasonCode, columns, stored

log: Final = structlog.get_logger(__name__)

_RAISE: Final = text("""
INSERT INTO alert (id, at, code, subject, facts)
SELECT :id, now(), :reason_code, :subject, CAST(:facts AS jsonb)
WHERE :again OR NOT EXISTS (
    SELECT FROM alert WHERE code = :reason_code AND subject = :subject AND CAST(:facts AS jsonb) IN (facts, first_facts))
ON CONFLICT (code, subject) WHERE resolved_at IS NULL DO NOTHING
RETURNING id
""")
_UPDATE: Final = text("""
UPDATE alert SET first_facts = coalesce(first_facts, facts), facts = CAST(:facts AS jsonb)
WHERE code = :reason_code AND subject = :subject AND resolved_at IS NULL AND facts <> CAST(:facts AS jsonb)
  AND (:again OR first_facts IS DISTINCT FROM CAST(:facts AS jsonb))
""")
_RESOLVE: Final = text("""
UPDATE alert SET resolved_at = now() WHERE code = :code AND subject = :subject AND resolved_at IS NULL
""")
_RESOLVE_ALL: Final = text("""
UPDATE alert SET resolved_at = now() WHERE code = ANY(:codes) AND subject = ANY(:subjects) AND resolved_at IS NULL
""")
_NOTE: Final = text("""
UPDATE alert SET noted_at = now() WHERE code = :code AND subject = :subject AND resolved_at IS NULL
""")
_END: Final = text("""
UPDATE alert SET resolved_at = now() WHERE id IN (
    SELECT id FROM alert
    WHERE code = ANY(:codes) AND resolved_at IS NULL AND coalesce(noted_at, at) < now() - make_interval(secs => :after)
    FOR UPDATE SKIP LOCKED)
""")
_DISMISS: Final = text("""
UPDATE alert SET resolved_at = now() WHERE code = ANY(:codes) AND subject = :subject AND resolved_at IS NULL
RETURNING code
""")
_OPEN: Final = text("""
SELECT id, at, code, subject, facts, first_facts, resolved_at FROM alert
WHERE resolved_at IS NULL AND (CAST(:subject AS text) IS NULL OR subject = :subject) ORDER BY at, id
""")
_COUNT: Final = text("SELECT code, count(*) AS alerts FROM alert WHERE resolved_at IS NULL GROUP BY code")


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """A stored alert. `first`: what it was when it was raised; None if that has not changed."""

    id: UUID
    at: datetime
    reason: Reason
    subject: str
    resolved_at: datetime | None
    first: Reason | None = None

    @property
    def by_hand(self) -> bool:
        """Whether only an operator can resolve it. Its subject is then a coupon's code."""
        return self.reason.code in DISMISSED_BY_HAND


async def raise_alert(
    connection: AsyncConnection, reason: Reason, subject: str, *, again: bool = True, update: bool = True
) -> bool:
    """Raise an alert in the caller's transaction; False if one with this code and subject is already open.

    An open one then has the new facts, and keeps those with which it was raised, unless `update` is false. With `again=False`,
    an alert that was already raised with the same facts, even if it is resolved, is not raised again.
    `subject` is what the alert is about (a coupon's code, a destination), never a customer. The alert is logged
    immediately, with masked codes, even if the transaction is rolled back afterwards. Raises ValueError if the code is not in
    `reasons.ALERTS`.
    """
    if reason.code not in ALERTS:
        raise ValueError(f"{reason.code} is not a code of alerts")
    parameters = {"id": uuid_utils.compat.uuid7(), "subject": subject, "again": again, **columns(reason)}
    if (await connection.execute(_RAISE, parameters)).first() is None:
        if update:
            await connection.execute(_UPDATE, parameters)
        return False
    _log(reason, subject)
    return True


def _log(reason: Reason, subject: str) -> None:
    codes = [*codes_in(reason.facts), *([subject] if reason.code in ABOUT_COUPONS else ())]
    texts = {"subject": subject, "text": reason.text, "next_step": reason.next_step}
    log.warning("alert", code=reason.code, **{name: without_codes(value, codes) for name, value in texts.items()})


async def resolve_alert(connection: AsyncConnection, code: ReasonCode, subject: str) -> None:
    """Resolve the open alert with this code and subject, because its cause is gone."""
    await connection.execute(_RESOLVE, {"code": code, "subject": subject})


async def note_alert(connection: AsyncConnection, reason: Reason, subject: str) -> None:
    """Raise an alert about something that a process sees now, or note that it still sees it. It does not resolve such an alert:
    another process may see it, and this one may end (`end_unnoted`)."""
    await raise_alert(connection, reason, subject)
    await connection.execute(_NOTE, {"code": reason.code, "subject": subject})


async def end_unnoted(engine: AsyncEngine, codes: Iterable[ReasonCode], after: float) -> None:
    """Resolve the open alerts with these codes that no process has noted for `after` seconds."""
    async with single_statement(engine) as connection:
        await connection.execute(_END, {"codes": list(codes), "after": after})


async def dismiss_alerts(connection: AsyncConnection, subject: str) -> list[str]:
    """Resolve the alerts about this subject that only an operator can resolve. Returns their codes."""
    dismissed = await connection.execute(_DISMISS, {"codes": sorted(DISMISSED_BY_HAND), "subject": subject})
    return sorted(dismissed.scalars())


async def open_alerts(connection: AsyncConnection, subject: str | None = None) -> list[AlertRecord]:
    """All open alerts, or those about one subject, the oldest first."""
    return [
        AlertRecord(
            row.id, row.at, reason, row.subject, row.resolved_at, row.first_facts and stored(row.code, row.first_facts)
        )
        for row in await connection.execute(_OPEN, {"subject": subject})
        if (reason := stored(row.code, row.facts)) is not None
    ]


async def count_open(connection: AsyncConnection) -> dict[str, int]:
    """The number of open alerts by code."""
    return {row.code: row.alerts for row in await connection.execute(_COUNT)}


class Alerts:
    """Raises alerts, each in its own transaction. For handlers, which have no transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def raise_if_possible(self, reason: Reason, subject: str, *, again: bool = True) -> bool:
        """Raise an alert about a message that is stored, or about a call that was made; each is an example, and the first is
        kept. Without the database it is only logged,
        because an error would make the sender send the message again, or the worker repeat the call; then False."""
        try:
            async with self._engine.begin() as connection:
                await raise_alert(connection, reason, subject, again=again, update=False)
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("alert_not_raised", code=reason.code, error=type(error).__name__)
            return False
        return True

    async def raise_alert(self, reason: Reason, subject: str, *, again: bool = True) -> bool:
        async with self._engine.begin() as connection:
            return await raise_alert(connection, reason, subject, again=again)

    async def resolve_if_possible(self, codes: Iterable[ReasonCode], subjects: Iterable[str]) -> None:
        """Resolve the open alerts with these codes and subjects. Without the database they stay open."""
        parameters = {"codes": list(codes), "subjects": list(subjects)}
        try:
            async with self._engine.begin() as connection:
                await connection.execute(_RESOLVE_ALL, parameters)
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("alerts_not_resolved", codes=parameters["codes"], error=type(error).__name__)
