"""One worker's view of a destination: its circuit breaker and its rate limiter, kept up to date from its row."""

import time
from typing import Final

import structlog

from platform_relay.queue.circuit_breaker import CircuitBreaker
from platform_relay.queue.destinations import DATABASE_ERRORS, DestinationStates
from platform_relay.queue.rate_limiter import RateLimiter

log: Final = structlog.get_logger(__name__)

REFRESH_SECONDS: Final = 1.0
"""The destination's row is read at most this often."""


class DestinationGuard:
    """`rate`: calls per second that the operator allows; None: not limited. It is an `http.RateLimit`."""

    def __init__(self, name: str, destinations: DestinationStates, rate: float | None = None) -> None:
        self.breaker = CircuitBreaker(name, destinations)
        self.limiter = RateLimiter(name, destinations, rate)
        self._name = name
        self._destinations = destinations
        self._refreshed = float("-inf")

    async def refresh(self) -> None:
        """Read the destination's row, at most every REFRESH_SECONDS."""
        seconds = time.monotonic() - self._refreshed
        if seconds < REFRESH_SECONDS:
            return
        self._refreshed = time.monotonic()
        destination = await self._destinations.read(self._name)
        if destination is not None:
            self.breaker.update(destination)
            await self.limiter.update(destination, seconds)

    def allowance(self, room: int, in_hand: int) -> int:
        """How many more jobs to claim, at most `room`."""
        return self.limiter.allowance(room, in_hand)

    async def acquire(self) -> float | None:
        """Wait until a call may be made. Returns seconds if that takes too long or the database is away."""
        try:
            await self.refresh()
            return await self.limiter.acquire()
        except DATABASE_ERRORS as error:
            log.warning("rate_limit_unknown", destination=self._name, error=type(error).__name__)
            return REFRESH_SECONDS

    async def back_off(self, pause: float) -> None:
        """The destination asked for fewer calls, and for none within the next `pause` seconds."""
        await self.limiter.back_off(pause)


class SideLimit:
    """The rate limit of a side feature that calls the same system as `main`. It is an `http.RateLimit`.

    Its calls count for both, so that they keep `main`'s rate limit. A request for fewer calls slows down only the side
    feature: if it concerns the whole system, `main`'s own calls get the same response.
    """

    def __init__(self, own: DestinationGuard, main: DestinationGuard) -> None:
        self._own = own
        self._main = main

    async def acquire(self) -> float | None:
        """See `DestinationGuard.acquire`."""
        wait = await self._own.acquire()
        return await self._main.acquire() if wait is None else wait

    async def back_off(self, pause: float) -> None:
        """See `DestinationGuard.back_off`."""
        await self._own.back_off(pause)
