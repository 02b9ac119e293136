"""How often a destination may be called. All replicas share one limit, which is kept in the destination's row."""

import asyncio
import math
import time
from collections import deque
from typing import Final

import structlog

from platform_relay.queue.destinations import DATABASE_ERRORS, DestinationState, DestinationStates

log: Final = structlog.get_logger(__name__)

RATE_MARGIN: Final = 0.97
"""Calls are spaced for this share of the rate, so that late calls do not exceed it in any second."""
MINIMUM_RATE: Final = 0.2
"""Calls per second, however often the destination answers 429."""
UNLIMITED_RATE: Final = 2000.0
"""Calls per second at which a lowered limit ends, where no rate is configured."""
RATE_GROWTH: Final = 1.1
"""Factor by which a lowered limit grows with each second without a 429."""
GROWTH_DELAY: Final = 1.0
"""Seconds after a 429 before a lowered limit grows again."""
LONGEST_PAUSE: Final = 300.0
"""Seconds; a longer Retry-After is cut to this."""
RESERVED_SECONDS: Final = 0.25
"""Calls are reserved for this time at once: less needs more round trips, more is lost when a worker dies."""
LONGEST_WAIT: Final = 20.0
"""Seconds that a call waits for its turn; a job makes several calls, and one attempt has a minute."""


class RateLimiter:
    """One worker's share of a destination's rate limit.

    `rate`: calls per second that the operator allows; None: not limited.
    """

    def __init__(self, name: str, destinations: DestinationStates, rate: float | None) -> None:
        self._name = name
        self._destinations = destinations
        self._rate = rate
        self._lowered: float | None = None
        """Calls per second, as lowered by 429 responses."""
        self._reserved: deque[float] = deque()
        """The times at which this worker's reserved calls may be made."""
        self._waiting = 0
        self._reserving = asyncio.Lock()
        self._calls: deque[float] = deque(maxlen=256)

    @property
    def limit(self) -> float | None:
        """Calls per second now; None: not limited."""
        limits = [limit for limit in (self._rate, self._lowered) if limit is not None]
        return min(limits) if limits else None

    async def update(self, destination: DestinationState, seconds: float) -> None:
        """Take the limit from the destination's row, `seconds` after the last time. Raise a lowered limit."""
        self._lowered = destination.rate_limit
        if destination.rate_limit is not None and (destination.rate_limited_for or 0.0) > GROWTH_DELAY:
            raised = raised_rate(destination.rate_limit, min(seconds, 2.0), self._rate or UNLIMITED_RATE)
            await self._destinations.raise_rate_limit(self._name, destination.rate_limit, raised)
            self._lowered = raised

    def allowance(self, room: int, in_hand: int) -> int:
        """How many more jobs to claim. Only a second's calls are held, so that live work overtakes the rest."""
        limit = self.limit
        if limit is None:
            return room
        return max(0, min(room, math.ceil(limit) + (1 if limit > 1 else 0) - in_hand))

    async def acquire(self) -> float | None:
        """Wait until this call may be made. Returns seconds if that is more than LONGEST_WAIT: no call is reserved."""
        self._calls.append(time.monotonic())
        limit = self.limit
        if limit is None:
            return None
        wait = await self._reserve(limit)
        if wait > LONGEST_WAIT:
            return wait
        await asyncio.sleep(wait)
        return None

    async def _reserve(self, limit: float) -> float:
        """Seconds until this call may be made; if that is more than LONGEST_WAIT, no call is reserved."""
        self._waiting += 1
        try:
            async with self._reserving:
                if not self._reserved:
                    calls = max(1, min(self._waiting, math.ceil(limit * RESERVED_SECONDS)))
                    spacing = 1 / (limit * RATE_MARGIN)
                    wait = await self._destinations.reserve(self._name, calls, spacing, LONGEST_WAIT)
                    if wait > LONGEST_WAIT:
                        return wait
                    first = time.monotonic() + wait
                    self._reserved.extend(first + spacing * number for number in range(calls))
                return self._reserved.popleft() - time.monotonic()
        finally:
            self._waiting -= 1

    async def back_off(self, pause: float) -> None:
        """The destination asked for fewer calls: all replicas lower their rate, and make no call for `pause` seconds."""
        lowered = lowered_rate(self._lowered, self._calls_within_last_second())
        self._reserved.clear()
        try:
            self._lowered = await self._destinations.lower_rate_limit(self._name, lowered, bounded_pause(pause))
        except DATABASE_ERRORS as error:
            log.warning("destination_not_updated", destination=self._name, error=type(error).__name__)

    def _calls_within_last_second(self) -> float:
        now = time.monotonic()
        return float(sum(now - call < 1.0 for call in self._calls))


def bounded_pause(pause: float) -> float:
    """The pause that a destination asked for, in seconds, from 0 to LONGEST_PAUSE."""
    return min(pause, LONGEST_PAUSE) if pause > 0 else 0.0


def lowered_rate(rate: float | None, observed: float) -> float:
    """Calls per second after a 429: half of the lowered `rate`, or half of the `observed` one if there is none yet."""
    return max(MINIMUM_RATE, (rate if rate is not None else max(observed, 1.0)) / 2)


def raised_rate(rate: float, seconds: float, ceiling: float) -> float | None:
    """Calls per second after `seconds` without a 429; None when `ceiling` is reached and the limit ends."""
    raised = rate * RATE_GROWTH ** min(seconds, 600.0)
    return None if raised >= ceiling else raised
