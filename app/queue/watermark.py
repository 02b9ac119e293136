"""The due time from which a claim reads the lanes: up to where the last claim took everything. Pure; times are passed in.

Each claim takes lanes from the front of an index by due time, and leaves dead entries there. PostgreSQL cannot remove
them while any session's snapshot is older (a backup, a report, a forgotten transaction), and every claim would read all
of them again: after ten minutes at 200 events per second, that was two thirds of the throughput.

A claim that leaves out the lanes of busy owners (`fairness`) has a watermark of its own: all due lanes before it belong to
these owners. Otherwise each claim would read past the whole backlog of an owner, which can be 100,000 orders.

A lane can be left behind the watermark: its row was locked when a claim passed, or its commit took long. A full scan,
now and then, finds it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
COMMIT_TIME: Final = timedelta(seconds=1)
"""A lane is due from the start of its transaction, and is visible after its commit."""
FULL_SCAN_INTERVAL: Final = 0.5
"""Seconds between two full scans, at least."""
FULL_SCAN_COST: Final = 25
"""A full scan is followed by at least this many times its own duration without one."""
LONGEST_WITHOUT: Final = 10.0
"""Seconds without a full scan at most: one may have waited for a connection, or for a server that failed over. What was
committed meanwhile is behind the watermark."""

MOST_SETS: Final = 16
"""Sets of busy owners whose watermarks are kept."""


@dataclass(slots=True)
class Watermark:
    """Of one destination and priority. Each `start` is followed by an `advance`: one claim at a time."""

    since: datetime = BEGINNING
    """By the database's clock. Before it no lane is due."""
    _without: dict[frozenset[str], datetime] = field(default_factory=dict)
    """Before the time, only lanes of these owners are due."""
    _next_full_scan: float = 0.0
    _full_scan_started: float | None = None

    def start(self, clock: float, busy: Collection[str] = ()) -> datetime:
        """The due time from which the next claim has to read, if it leaves out the lanes of the owners in `busy`. `clock` in
        monotonic seconds."""
        if clock < self._next_full_scan:
            return max([self.since, *(since for owners, since in self._without.items() if owners.issubset(busy))])
        self._full_scan_started = clock
        return BEGINNING

    def advance(
        self,
        clock: float,
        now: datetime,
        claimed: Sequence[datetime],
        limit: int,
        *,
        busy: Collection[str] = (),
        cut: bool = False,
    ) -> None:
        """Use a claim's result: the due times of the claimed lanes, at most `limit`; `now` by the database's clock.

        `cut`: the claim left out lanes above an owner's share. It always takes the first lane of the front, so nothing is due
        before that one."""
        if self._full_scan_started is not None:
            duration = clock - self._full_scan_started
            self._next_full_scan = clock + max(FULL_SCAN_INTERVAL, min(FULL_SCAN_COST * duration, LONGEST_WITHOUT))
            self._full_scan_started = None
        since = now - COMMIT_TIME
        if cut:
            since = min(since, min(claimed, default=BEGINNING))
        elif len(claimed) >= limit:
            since = min(since, max(claimed))
        if not busy:
            self.since = since
        else:
            owners = frozenset(busy)
            if owners not in self._without and len(self._without) >= MOST_SETS:
                self._without.clear()
            self._without[owners] = since
