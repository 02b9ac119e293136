"""The due time from which a claim reads the lanes: up to where the last claim took everything. Pure; times are passed in.

Each claim takes lanes from the front of an index by due time, and leaves dead entries there. PostgreSQL cannot remove
them while any session's snapshot is older (a backup, a report, a forgotten transaction), and every claim would read all
of them again: after ten minutes at 200 events per second, that was two thirds of the throughput.

A lane can be left behind the watermark: its row was locked when a claim passed, or its commit took long. A full scan,
now and then, finds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
COMMIT_TIME: Final = timedelta(seconds=1)
"""A lane is due from the start of its transaction, and is visible after its commit."""
FULL_SCAN_INTERVAL: Final = 0.5
"""Seconds between two full scans, at least."""
FULL_SCAN_COST: Final = 25
"""A full scan is followed by at least this many times its own duration without one."""


@dataclass(slots=True)
class Watermark:
    """Of one destination and priority. Each `start` is followed by an `advance`: one claim at a time."""

    since: datetime = BEGINNING
    """By the database's clock."""
    _next_full_scan: float = 0.0
    _full_scan_started: float | None = None

    def start(self, clock: float) -> datetime:
        """The due time from which the next claim has to read. `clock` in monotonic seconds."""
        if clock < self._next_full_scan:
            return self.since
        self._full_scan_started = clock
        return BEGINNING

    def advance(
        self, clock: float, now: datetime, claimed: Sequence[datetime], limit: int, *, passed: bool = False
    ) -> None:
        """Use a claim's result: the due times of the claimed lanes, at most `limit`; `now` by the database's clock.
        `passed`: it may have left out due lanes between them, because of their owner. Later claims must find these."""
        if self._full_scan_started is not None:
            duration = clock - self._full_scan_started
            self._next_full_scan = clock + max(FULL_SCAN_INTERVAL, FULL_SCAN_COST * duration)
            self._full_scan_started = None
        if passed:
            return
        settled = now - COMMIT_TIME
        self.since = settled if len(claimed) < limit else min(settled, max(claimed))
