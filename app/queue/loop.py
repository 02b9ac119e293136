"""One loop per destination: claim lanes, run their jobs side by side, settle in batches.

    claimer ──jobs──▶ `slots` runners ──settlements──▶ settler
       ▲                                                  │
       └──────── wake: new work, room, next of a lane ────┘

Nothing here waits on a timer while there is work: the claimer goes on when there is room, the settler writes what has
gathered while it wrote. Without work it sleeps until it is woken or `poll` seconds have passed.
A database that is away stops the loop from claiming and settling, never the process: both try again.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from platform_relay.core.database import is_unavailable
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.queue.circuit_breaker import DestinationGuard
from platform_relay.queue.decide import Crashed, Interrupted, Verdict
from platform_relay.queue.destinations import DATABASE_ERRORS
from platform_relay.queue.jobs import Job
from platform_relay.queue.queue import Queue, Settlement
from platform_relay.queue.runner import Runner

log: Final = structlog.get_logger(__name__)

LIVE, BACKFILL = 0, 1
UNSETTLED: Final = 4
"""So many times `slots` attempts may have finished without being written down; then no more are claimed. A database that
writes slowly must not gather work that is done again when the process dies."""
BACKFILL_TURN: Final = 10
"""Every so many claims the backfill goes first, so that live traffic never starves it."""


class Observer(Protocol):
    """Is told of every attempt: settled, or of no account because its lease was lost. Must not raise and not wait."""

    def settled(self, settlement: Settlement) -> None: ...

    def lost(self, settlement: Settlement) -> None: ...


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """`slots` calls in flight; the rest in seconds.

    `lease`: how long a lane stays ours without a sign of life. `poll`: between two looks when nothing woke us.
    `grace`: how long running calls may take to finish after `stop`.
    """

    slots: int = 64
    lease: float = 12.0
    poll: float = 0.5
    grace: float = 7.0


class Loop:
    def __init__(
        self, queue: Queue, gate: DestinationGuard, runner: Runner, settings: LoopSettings, observer: Observer
    ) -> None:
        self.destination = queue.destination
        self._queue = queue
        self._gate = gate
        self._runner = runner
        self._settings = settings
        self._observer = observer
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()
        self._ours_until: dict[tuple[str, int], float] = {}
        self._finished: list[Settlement] = []
        """Still ours until they are written down: their leases are renewed like the others'."""
        self._writing: set[tuple[str, int]] = set()
        """Those that are being written now: their lanes are locked, so that nobody can claim them."""
        self._settle_now = asyncio.Event()
        self._settling = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._turn = 0
        self._beat = time.monotonic()

    def wake(self) -> None:
        """There may be new work. Cheap; call it from the loop's own thread."""
        self._wake.set()

    def stop(self) -> None:
        """Claim no more; `run` returns when what is in hand has been finished or given back."""
        self._stopping.set()
        self._wake.set()

    def alive(self) -> bool:
        """The claimer has gone round within the last 30 s."""
        return time.monotonic() - self._beat < 30  # as it says

    async def run(self) -> None:
        """Until `stop`. Raises only what is a bug of this module; the process must end then."""
        runners = [asyncio.create_task(self._run_jobs()) for _ in range(self._settings.slots)]
        claimer = asyncio.create_task(self._claim_all())
        tasks = [claimer, asyncio.create_task(self._settle_all()), asyncio.create_task(self._keep_leases()), *runners]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await self._drain(runners)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------------------------------------- claim

    async def _claim_all(self) -> None:
        slots = self._settings.slots
        while not self._stopping.is_set():
            self._beat = time.monotonic()
            in_hand = self._in_hand()
            room = self._gate.allowance(2 * slots - in_hand, in_hand)
            if self._unsettled() >= UNSETTLED * slots:
                room = 0
            if room == 0 or (in_hand > slots and room < slots // 2):
                await self._sleep()
                continue
            self._wake.clear()
            claimed = await self._claim(room)
            if claimed < room:
                await self._sleep()

    async def _claim(self, room: int) -> int:
        """Take on up to `room` jobs; how many."""
        until = time.monotonic() + self._settings.lease
        try:
            await self._gate.refresh()
            jobs = await self._due(room)
        except DATABASE_ERRORS as error:
            log.warning("claim_failed", destination=self.destination, error=type(error).__name__)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.poll):
                    await self._stopping.wait()
            return 0
        for job in jobs:
            self._ours_until[job.lane, job.claim] = until
            self._jobs.put_nowait(job)
        return len(jobs)

    async def _due(self, room: int) -> list[Job]:
        lease = self._settings.lease
        self._turn = (self._turn + 1) % BACKFILL_TURN
        first, second = (BACKFILL, LIVE) if self._turn == 0 else (LIVE, BACKFILL)
        jobs = await self._queue.claim(room, lease=lease, priority=first)
        if len(jobs) < room:
            jobs += await self._queue.claim(room - len(jobs), lease=lease, priority=second)
        if not jobs and await self._gate.may_probe(lease):
            for priority in (LIVE, BACKFILL):
                jobs = jobs or await self._queue.claim(1, lease=lease, priority=priority, probing=True)
            if jobs:
                self._gate.probing(jobs[0])
        return jobs

    async def _sleep(self) -> None:
        with suppress(TimeoutError):  # not `wait_for`, which loses a cancellation that comes with the wake-up (3.11)
            async with asyncio.timeout(self._settings.poll):
                await self._wake.wait()
        self._wake.clear()

    # ------------------------------------------------------------------------------------------- run

    async def _run_jobs(self) -> None:
        while True:
            job = await self._jobs.get()
            until = self._ours_until.get((job.lane, job.claim))
            if until is None:
                continue
            verdict: Verdict | None
            if until - time.monotonic() < self._settings.lease / 4:
                settlement, verdict = self._runner.settlement(job, Interrupted(sent=False), 0.0), None
            else:
                settlement, verdict = await self._runner.run(job)
            try:
                await self._gate.learned(job, verdict)
            except DATABASE_ERRORS as error:
                log.warning("destination_not_updated", destination=self.destination, error=type(error).__name__)
            self._finish(settlement)
            if isinstance(verdict, Interrupted):
                return

    def _in_hand(self) -> int:
        """Claimed and not finished."""
        return len(self._ours_until) - self._unsettled()

    def _unsettled(self) -> int:
        """Finished and not written down."""
        return len(self._finished) + len(self._writing)

    def _finish(self, settlement: Settlement) -> None:
        self._finished.append(settlement)
        self._settle_now.set()
        if self._in_hand() <= self._settings.slots:
            self._wake.set()

    # ------------------------------------------------------------------------------------------- settle

    async def _settle_all(self) -> None:
        while True:
            await self._settle_now.wait()
            self._settle_now.clear()
            await self._settle_finished()

    async def _settle_finished(self) -> None:
        """Write down what has finished; returns when what was being written when it was called is written too."""
        async with self._settling:
            batch, self._finished = self._finished, []
            if batch:
                self._writing = {_key(settlement) for settlement in batch}
                await self._write(batch)
                if self._unsettled() >= UNSETTLED * self._settings.slots:
                    self._wake.set()
                for key in self._writing:
                    del self._ours_until[key]
                self._writing = set()

    async def _write(self, batch: list[Settlement]) -> None:
        """Tries again as long as the database is away. What it refuses to hold is found by halves and counts as crashed."""
        while True:
            try:
                settled = await asyncio.shield(self._queue.settle(batch))
            except DATABASE_ERRORS as error:
                if not is_unavailable(error):
                    await self._write_apart(batch, error)
                    return
                log.warning("settle_failed", destination=self.destination, jobs=len(batch), error=type(error).__name__)
                await asyncio.sleep(self._settings.poll)
                continue
            lost = {_key(settlement) for settlement in settled.lost}
            for settlement in batch:
                if _key(settlement) in lost:
                    self._observer.lost(settlement)
                else:
                    self._observer.settled(settlement)
            if settled.more:
                self._wake.set()
            return

    async def _write_apart(self, batch: list[Settlement], error: Exception) -> None:
        """One settlement that cannot be stored must not stop its destination, nor be forgotten."""
        if len(batch) > 1:
            half = len(batch) // 2
            await self._write(batch[:half])
            await self._write(batch[half:])
            return
        [refused] = batch
        job = refused.job
        log.error("settlement_refused", destination=self.destination, job=str(job.id), error=type(error).__name__)
        if refused.outcome == "crashed":  # even that is refused: its lease runs out, and it counts as lost
            return
        why = because(
            ReasonCode.INTERNAL_ERROR, error="the database refused the result; the log has settlement_refused"
        )
        await self._write([self._runner.settlement(job, Crashed(why), refused.duration_ms / 1000)])

    # ------------------------------------------------------------------------------------------- leases, end

    async def _keep_leases(self) -> None:
        """Renew what has been in hand for a third of its lease; most calls are long over by then."""
        lease = self._settings.lease
        while True:
            await asyncio.sleep(lease / 3)
            until = time.monotonic() + lease
            old = [
                key
                for key, ours_until in self._ours_until.items()
                if until - ours_until > lease / 4 and key not in self._writing
            ]
            if not old:
                continue
            try:
                kept = await self._queue.renew(old, lease=lease)
            except DATABASE_ERRORS as error:
                log.warning("lease_not_renewed", destination=self.destination, error=type(error).__name__)
                continue
            for key in kept & self._ours_until.keys():
                self._ours_until[key] = until

    async def _drain(self, runners: list["asyncio.Task[None]"]) -> None:
        """Give back what has not started, let what runs finish, then interrupt it; write all of it down."""
        while not self._jobs.empty():
            self._finish(self._runner.settlement(self._jobs.get_nowait(), Interrupted(sent=False), 0.0))
        deadline = time.monotonic() + self._settings.grace
        while self._in_hand() and time.monotonic() < deadline:  # noqa: ASYNC110  # bounded by the deadline
            await asyncio.sleep(0.02)
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await self._settle_finished()


def _key(settlement: Settlement) -> tuple[str, int]:
    return settlement.job.lane, settlement.job.claim
