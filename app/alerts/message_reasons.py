"""Counts the store's messages that have a reason: ignored, unreadable, or with fields left out. Raises the alert that a message
requires: the store sends errors, or bodies that cannot be read, instead of entities."""

import time
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import Alerts
from platform_relay.core.metrics import Metrics
from platform_relay.core.reasons import ALERTS, ReasonCode
from platform_relay.inbox.messages import Incoming

INTERVAL: Final = 60.0
"""Seconds between two alerts of one source with the same code. A store whose webhooks are refused sends only errors."""


class MessageReasons:
    """Called with each accepted message that has a reason. The subject of the alert is the message's source."""

    def __init__(self, engine: AsyncEngine, metrics: Metrics) -> None:
        self._alerts = Alerts(engine)
        self._metrics = metrics
        self._raised_at: dict[tuple[str, ReasonCode], float] = {}

    async def __call__(self, message: Incoming) -> None:
        if message.reason is None:
            return
        self._metrics.message_reason(message.kind, message.reason.code)
        now, alert = time.monotonic(), (message.source, message.reason.code)
        if message.reason.code not in ALERTS or now - self._raised_at.get(alert, -INTERVAL) < INTERVAL:
            return
        self._raised_at[alert] = now
        await self._alerts.raise_if_possible(message.reason, message.source)
