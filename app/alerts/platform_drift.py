"""Raises an alert when the Platform ignores or changes a field of customers consistently, or answers in a new shape.

What is compared is in memory and starts again with the process. The alerts are in the database: one that was raised before with
the same facts is not raised again.
"""

import math
import time
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import Alerts
from platform_relay.core import exact_json
from platform_relay.core.reasons import ReasonCode
from platform_relay.platform.drift import Drift
from platform_relay.platform.fields import Fields
from platform_relay.platform.responses import Accepted

INTERVAL: Final = 0.5
"""Seconds between two comparisons in one process, so that they cost nothing under load."""
LARGEST: Final = 32 * 1024
"""Bytes of the largest request that is compared."""
CODES: Final = (ReasonCode.PLATFORM_FIELD_DIFFERS, ReasonCode.PLATFORM_RESPONSE_CHANGED)
log: Final = structlog.get_logger(__name__)


class PlatformDrift:
    """Called with each accepted PUT of a customer: the request body, and the response."""

    def __init__(self, engine: AsyncEngine, fields: Fields, clock: Callable[[], float] = time.monotonic) -> None:
        self._alerts = Alerts(engine)
        self._drift = Drift(fields)
        self._clock = clock
        self._next = -math.inf

    async def __call__(self, sent: bytes, response: Accepted) -> None:
        """Compare, at most every INTERVAL seconds. Never raises: the customer is delivered already."""
        now = self._clock()
        if now < self._next or len(sent) > LARGEST:
            return
        self._next = now + INTERVAL
        try:
            await self._compare(sent, response)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is no failure of the delivery
            log.warning("drift_not_compared", error=type(error).__name__)

    async def _compare(self, sent: bytes, response: Accepted) -> None:
        changes = self._drift.compare(exact_json.loads(sent), dict(response.body))
        for subject, reason in changes.raised.items():
            if not await self._alerts.raise_if_possible(reason, subject, again=False):
                self._drift.not_raised(subject)
        if changes.resolved:
            await self._alerts.resolve_if_possible(CODES, changes.resolved)
