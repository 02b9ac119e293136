"""Raises an alert when old messages cannot be exported, so that they do not leave and the database grows."""

from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.history.export import ExportError
from platform_relay.history.leave import History

SUBJECT: Final = "history"


async def end_history(engine: AsyncEngine, history: History, now: datetime) -> int:
    """Let everything leave that is old at `now`; returns how many messages left. Raises ExportError after the alert is stored. The
    next run that comes to its end resolves the alert."""
    try:
        left = await history.run(now)
    except ExportError as error:
        reason = because(ReasonCode.HISTORY_NOT_EXPORTED, folder=error.filename, error=error.strerror)
        async with engine.begin() as connection:
            await raise_alert(connection, reason, SUBJECT)
        raise
    if history.complete:
        async with engine.begin() as connection:
            await resolve_alert(connection, ReasonCode.HISTORY_NOT_EXPORTED, SUBJECT)
    return left
