"""The retry policy: the delay before the next attempt, from the attempt's number, a random number and Retry-After. Pure.

SQL adds the delay to the database's clock, so the hosts' clocks do not matter.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property


@dataclass(frozen=True)
class RetryPolicy:
    """Delays grow from `first` seconds by `factor` up to `longest`; together they last `window`.

    `jitter` is the largest share that is randomly added to a delay; it never shortens one.
    """

    first: float = 1.0
    factor: float = 2.0
    longest: float = 3600.0
    jitter: float = 0.2
    window: timedelta = timedelta(days=3)

    def base(self, attempt: int) -> float:
        """Seconds after attempt number `attempt` (from 1), without jitter."""
        try:
            return min(self.first * self.factor ** (attempt - 1), self.longest)
        except OverflowError:
            return self.longest

    @cached_property
    def attempts(self) -> int:
        """How many attempts fit into the window; at least one."""
        window = self.window.total_seconds()
        most = int(window / self.base(1)) + 2
        return bisect_right(range(most), window, key=self._total)

    def _total(self, delays: int) -> float:
        """Seconds of the first `delays` delays, without jitter: a geometric series, then `longest` each."""
        rate = math.log1p(self.factor - 1)
        growing = delays
        if self.longest <= self.first:
            growing = 0
        elif rate > 0:
            growing = min(delays, math.ceil(math.log(self.longest / self.first) / rate))
        grown = math.expm1(growing * rate) / (self.factor - 1) if rate > 0 else growing
        return self.first * grown + self.longest * (delays - growing)

    def delay(self, attempt: int, random: float, retry_after: float | None = None) -> float | None:
        """Seconds until the next attempt after the failed one, or None when it was the last.

        `random` lies in [0, 1). `retry_after` (seconds) may lengthen the delay up to `longest`, never shorten it.
        """
        if attempt >= self.attempts:
            return None
        requested = min(max(retry_after or 0.0, 0.0), self.longest)
        return max(self.base(attempt), requested) * (1 + self.jitter * random)

    def describe(self) -> str:
        """The worst case as text, for the log at start."""
        return f"{self.attempts} attempts over {_duration(self.window)}, delays from {self.first:g} s to {self.longest:g} s"


def _duration(window: timedelta) -> str:
    """`3 days`, `1 day 12 hours`."""
    minutes, seconds = divmod(window.total_seconds(), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "day"), (hours, "hour"), (minutes, "minute"), (seconds, "second"))
    return " ".join(f"{count:g} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count) or "0 seconds"
