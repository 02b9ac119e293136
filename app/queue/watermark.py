"""Where a claim begins to look among the lanes that are due: where the last one ended. Pure; the time is passed in.

Each claim takes lanes from the front of an index by due time, and leaves dead entries there. Postgres cannot clean them
away while any session's snapshot is older than they are (a backup, a report, a forgotten transaction), and every claim
would walk over all of them again: after ten minutes at 200 events per second that was two thirds of the throughput.

What lies behind the mark all the same (its row was locked when a claim passed, or its commit took long) is found by a
look from the very beginning, now and then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
COMMITS: Final = timedelta(seconds=1)
"""A lane is due from the time when its transaction began, and is seen when that has committed."""
EVERY: Final = 0.5
"""Seconds between two looks from the beginning."""
SHARE: Final = 25
"""So many times as long as such a look took there is none; the more it has to walk over, the rarer it is."""


@dataclass(slots=True)
class Watermark:
    """Of one destination and priority. `start` and `looked` belong together: one claim at a time."""

    since: datetime = BEGINNING
    """By the database's clock."""
    _whole_at: float = 0.0
    _begun: float | None = None

    def start(self, clock: float) -> datetime:
        """From when on the next claim has to look. `clock` in monotonic seconds."""
        if clock < self._whole_at:
            return self.since
        self._begun = clock
        return BEGINNING

    def looked(self, clock: float, now: datetime, taken: Sequence[datetime], limit: int) -> None:
        """What the claim found: the due times of what it took, of `limit` at most; `now` by the database's clock."""
        if self._begun is not None:
            self._whole_at = clock + max(EVERY, SHARE * (clock - self._begun))
            self._begun = None
        settled = now - COMMITS
        self.since = settled if len(taken) < limit else min(settled, max(taken))
