"""Whether a destination is failing, and how fast it may be called. Pure: outcomes and seconds in, decisions out."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from platform_relay.core.outcomes import Outcome, Retry, Unknown
from platform_relay.queue.jobs import Job

SLACK: Final = 0.97
"""The share of the rate that calls are spaced at: what is lost keeps a sliding second strict when calls jitter."""
LEAST_PACE: Final = 0.2
"""Calls per second, however often the destination says 429."""
LONGEST_WISH: Final = 300.0
"""Seconds; a longer Retry-After is cut to this."""
RECOVERY: Final = 1.1
"""By how much the pace grows with each second without a 429."""


@dataclass
class Breaker:
    """Trips when most of the last calls to different lanes failed in a way that speaks of the destination.

    Only the first two attempts of a job count: what fails again and again by itself (one order that always gets a
    500) says nothing about the others. Refusals of data never count as failures.
    """

    size: int = 20
    least: int = 8
    share: float = 0.8
    _last: deque[tuple[str, bool]] = field(default_factory=deque)

    def saw(self, job: Job, outcome: Outcome) -> bool:
        """Take note; true when the destination should be closed."""
        failed = isinstance(outcome, Retry | Unknown)
        if failed and job.attempt > 2:  # see above
            return False
        self._last.append((job.lane, failed))
        if len(self._last) > self.size:
            self._last.popleft()
        if not failed:
            return False
        lanes = {lane for lane, lane_failed in self._last if lane_failed}
        failures = sum(lane_failed for _, lane_failed in self._last)
        return len(lanes) >= self.least and failures >= self.share * len(self._last)

    def reset(self) -> None:
        self._last.clear()


def bounded(pause: float) -> float:
    """A destination's wish for a pause, in seconds, as far as it is granted."""
    return min(pause, LONGEST_WISH) if pause > 0 else 0.0


def lower(pace: float | None, observed: float) -> float:
    """Calls per second after a 429: half of what was allowed, or of what was `observed` while nothing was."""
    return max(LEAST_PACE, (pace if pace is not None else max(observed, 1.0)) / 2)


def raised(pace: float, seconds: float, ceiling: float) -> float | None:
    """The pace after `seconds` without a 429; None when it has reached `ceiling` and no longer limits."""
    grown = pace * RECOVERY ** min(seconds, 600.0)
    return None if grown >= ceiling else grown
