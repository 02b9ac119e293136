"""Counts the versions that a store sent with a time in the future, and raises an alert about its clock."""

import time
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import Alerts
from platform_relay.core.metrics import Metrics
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.messages import Incoming

INTERVAL: Final = 60.0
"""Seconds between two alerts about one source. A store with a wrong clock sends every event with a wrong time."""


class FutureVersions:
    """Called with each message whose version the inbox did not take. The subject of the alert is the message's source."""

    def __init__(self, engine: AsyncEngine, metrics: Metrics) -> None:
        self._alerts = Alerts(engine)
        self._metrics = metrics
        self._raised_at: dict[str, float] = {}

    async def __call__(self, message: Incoming) -> None:
        self._metrics.future_version(message.kind)
        now = time.monotonic()
        if message.version is None or now - self._raised_at.get(message.source, -INTERVAL) < INTERVAL:
            return
        self._raised_at[message.source] = now
        entity, version = message.kind.removesuffix("s"), message.version.isoformat()
        reason = because(ReasonCode.FUTURE_VERSION, entity=entity, version=version)
        await self._alerts.raise_if_possible(reason, message.source)
