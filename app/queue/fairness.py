"""Shares a worker's calls between owners of lanes: the many orders of one customer do not delay those of others. Pure.

    claimed jobs ──add──▶ waiting ──get──▶ running ──remove──▶ finished
                             └─ of the owner with the fewest running jobs first

A lane without an owner is its own owner, and is never limited: it has one job at a time.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from platform_relay.queue.jobs import Job

RECENT: Final = 3
"""Claims after which an owner has its next turn, where only a few jobs may be in hand (a low rate limit)."""
FEW: Final = 8
"""Jobs in hand."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one claim: no lanes of the owners in `busy`, at most `share` lanes of any other owner, and at most
    `lanes` lanes in all."""

    busy: tuple[str, ...]
    share: int
    lanes: int


class ClaimedJobs:
    """The jobs that a worker has claimed and not finished, by owner."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._signals: asyncio.Queue[None] = asyncio.Queue()
        """One for each waiting job."""
        self._in_hand = Counter[str]()
        self._running = Counter[str]()
        self._recent = deque[str](maxlen=RECENT)

    def add(self, job: Job) -> None:
        """A claimed job, which waits for a runner."""
        if job.owner is not None:
            self._in_hand[job.owner] += 1
            self._recent.append(job.owner)
        self._waiting.append(job)
        self._signals.put_nowait(None)

    async def get(self) -> Job:
        """The next job to run, when there is one: of the owner with the fewest running jobs the first."""
        await self._signals.get()
        return self._take()

    def get_nowait(self) -> Job | None:
        """As `get`; None when no job waits."""
        if self._signals.empty():
            return None
        self._signals.get_nowait()
        return self._take()

    def remove(self, job: Job) -> None:
        """A job from `get` is finished."""
        if job.owner is not None:
            for counter in (self._in_hand, self._running):
                counter[job.owner] -= 1
                if counter[job.owner] <= 0:
                    del counter[job.owner]

    def fair_limits(self, concurrency: int, room: int) -> Limits:
        """The limits of a claim while others may wait: an owner has at most a quarter of the concurrency."""
        quarter = max(1, concurrency // 4)
        busy = {owner for owner, jobs in self._in_hand.items() if jobs >= quarter}
        if concurrency < FEW:
            busy.update(self._recent)
        return Limits(tuple(busy), quarter, room)

    def remaining_limits(self, concurrency: int, room: int) -> Limits:
        """The limits of a claim when no other lanes are due: an owner has at most three quarters of the concurrency, so that
        the next newcomer is served at once."""
        most = max(1, concurrency * 3 // 4)
        busy = tuple(owner for owner, jobs in self._in_hand.items() if jobs >= most)
        others = [jobs for jobs in self._in_hand.values() if jobs < most]
        free = sum(most - jobs for jobs in others) + (most if concurrency < FEW else 0)
        return Limits(busy, most - max(others, default=0), min(room, max(free, 1)))

    def _take(self) -> Job:
        first = self._waiting[0]
        if first.owner is None or first.owner not in self._running:  # nearly always
            self._waiting.popleft()
            if first.owner is not None:
                self._running[first.owner] = 1
            return first
        running = [0 if job.owner is None else self._running[job.owner] for job in self._waiting]
        position = running.index(min(running))
        job = self._waiting[position]
        del self._waiting[position]
        if job.owner is not None:
            self._running[job.owner] += 1
        return job
