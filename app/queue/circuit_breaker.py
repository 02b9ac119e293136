"""One worker's view of a destination: may it be called, how fast, and what the last answers say about it.

The truth is the destination's row; it is read once a second, and written when something was learned.
"""

import asyncio
import math
import time
from collections import deque
from typing import Final, Literal

import structlog

from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Unknown, Wait
from platform_relay.core.reasons import Reason
from platform_relay.queue.decide import Verdict
from platform_relay.queue.destinations import DATABASE_ERRORS, DestinationStates
from platform_relay.queue.jobs import Job
from platform_relay.queue.rate_limiter import SLACK, Breaker, bounded, lower, raised

log: Final = structlog.get_logger(__name__)

REFRESH_SECONDS: Final = 1.0
AHEAD_SECONDS: Final = 0.25
"""How much of the pace is reserved at once: less means more round trips, more means more that a dead worker wastes."""
LONGEST_TURN: Final = 20.0
"""Seconds that a call waits for its place; a job makes several calls, and one attempt has a minute."""
NO_LIMIT: Final = 2000.0
"""Calls per second at which a pace that was lowered by 429s stops limiting."""


class DestinationGuard:
    """`rate`: calls per second that the operator allows; None: as many as there are slots for."""

    def __init__(self, name: str, destinations: DestinationStates, rate: float | None = None) -> None:
        self.name = name
        self._destinations = destinations
        self._rate = rate
        self._pace: float | None = None
        self._closed = False
        self._refreshed = float("-inf")
        self._breaker = Breaker()
        self._probe: tuple[str, int] | None = None
        self._places: deque[float] = deque()
        self._queueing = 0
        self._reserving = asyncio.Lock()
        self._calls: deque[float] = deque(maxlen=256)

    # ------------------------------------------------------------------------------------------- before a call

    @property
    def limit(self) -> float | None:
        """Calls per second now; None: not limited."""
        limits = [limit for limit in (self._rate, self._pace) if limit is not None]
        return min(limits) if limits else None

    async def refresh(self) -> None:
        """Look at the destination's row, at most once a second; raise a lowered pace again."""
        since = time.monotonic() - self._refreshed
        if since < REFRESH_SECONDS:
            return
        self._refreshed = time.monotonic()
        for destination in await self._destinations.read():
            if destination.name == self.name:
                self._closed = destination.state != "open"
                self._pace = destination.pace
                if destination.pace is not None and (destination.slowed_for or 0.0) > REFRESH_SECONDS:
                    pace = raised(destination.pace, min(since, 2.0), self._rate or NO_LIMIT)
                    await self._destinations.speed_up(self.name, destination.pace, pace)
                    self._pace = pace

    def allowance(self, room: int, in_hand: int) -> int:
        """How many more jobs to claim: no more than a second's calls are held, so that live work overtakes the rest."""
        if self._probe is not None:
            return 0
        limit = self.limit
        if limit is None:
            return room
        return max(0, min(room, math.ceil(limit) + (1 if limit > 1 else 0) - in_hand))

    async def turn(self) -> float | None:
        """Wait for this call's place in the pace that all replicas share; seconds instead, and no place, when it is
        further than LONGEST_TURN away. See `http.Pace`."""
        self._calls.append(time.monotonic())
        try:
            await self.refresh()
            limit = self.limit
            ahead = None if limit is None else await self._ahead(limit)
        except DATABASE_ERRORS as error:
            log.warning("pace_unknown", destination=self.name, error=type(error).__name__)
            return REFRESH_SECONDS
        if ahead is None or ahead > LONGEST_TURN:
            return ahead
        await asyncio.sleep(ahead)
        return None

    async def _ahead(self, limit: float) -> float:
        """Seconds until this call's place; longer than LONGEST_TURN: it has none."""
        self._queueing += 1
        try:
            async with self._reserving:
                if not self._places:
                    calls = max(1, min(self._queueing, math.ceil(limit * AHEAD_SECONDS)))
                    spacing = 1 / (limit * SLACK)
                    ahead = await self._destinations.reserve(self.name, calls, spacing, LONGEST_TURN)
                    if ahead > LONGEST_TURN:
                        return ahead
                    first = time.monotonic() + ahead
                    self._places.extend(first + spacing * number for number in range(calls))
                return self._places.popleft() - time.monotonic()
        finally:
            self._queueing -= 1

    async def throttled(self, pause: float) -> None:
        """The destination says that it is called too often: all replicas slow down, and pause. See `http.Pace`."""
        lowered = lower(self._pace, self._observed())
        self._places.clear()
        try:
            self._pace = await self._destinations.slow_down(self.name, lowered, bounded(pause))
        except DATABASE_ERRORS as error:
            log.warning("destination_not_updated", destination=self.name, error=type(error).__name__)

    async def may_probe(self, lease: float) -> bool:
        """Half-open: true when this worker may try one job although the destination is closed."""
        return await self._destinations.may_probe(self.name, lease)

    def probing(self, job: Job) -> None:
        """`job` is the try: what becomes of it opens or closes the destination."""
        self._probe = job.lane, job.claim

    # ------------------------------------------------------------------------------------------- after a call

    async def learned(self, job: Job, verdict: Verdict | None) -> None:
        """What an attempt says about the destination; None: it was decided without a call. Raises the database's errors."""
        probing = self._probe == (job.lane, job.claim)
        if probing:
            self._probe = None
        match verdict:
            case Blocked():
                await self._close("blocked", verdict.reason, probing=probing)
            case Retry() | Unknown():
                await self._failed(job, verdict, probing=probing)
            case Done() | Reject() | Wait() if isinstance(verdict, Done) or verdict.evidence.status is not None:
                await self._answered(job, verdict, probing=probing)
            case _ if probing:
                await self._destinations.probe_again(self.name)
            case _:
                pass

    async def _failed(self, job: Job, outcome: Retry | Unknown, *, probing: bool) -> None:
        if isinstance(outcome, Retry) and outcome.after is not None and outcome.evidence.status is None:
            if probing:  # it found no place in the pace, so no call was made
                await self._destinations.probe_again(self.name)
            return
        if self._breaker.saw(job, outcome) or probing:
            self._breaker.reset()
            await self._close("tripped", outcome.reason, probing=probing)

    async def _answered(self, job: Job, outcome: Done | Reject | Wait, *, probing: bool) -> None:
        if not probing:
            self._breaker.saw(job, outcome)
            return
        await self._destinations.open(self.name)
        self._breaker.reset()
        self._closed = False
        log.info("destination_open", destination=self.name)

    async def _close(self, state: Literal["blocked", "tripped"], reason: Reason, *, probing: bool) -> None:
        if self._closed and not probing:
            return
        self._closed = True
        if await self._destinations.close(self.name, state, reason, probing=probing):
            log.error(
                "destination_closed", destination=self.name, state=state, reason_code=reason.code, text=reason.text
            )

    def _observed(self) -> float:
        """This worker's calls within the last second."""
        now = time.monotonic()
        return float(sum(now - call < 1.0 for call in self._calls))
