"""The worker loop of one destination: claims lanes, runs their jobs concurrently, settles them in batches.

    claimer ──jobs──▶ `concurrency` runners ──settlements──▶ settler
       ▲                                                  │
       └──────── wake: new work, room, next of a lane ────┘

The claimer continues when there is room. The settler writes, in one batch, everything that finished during its last write;
while many jobs are in hand it collects a batch for at most `gather` seconds, because a statement costs more than its rows.
Without work the claimer sleeps until it is woken or `idle_interval` seconds have passed. While the database is unavailable,
the loop cannot claim or settle. It tries again, and the process continues.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from platform_relay.core.database import is_unavailable
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.core.work import Operation, Work
from platform_relay.queue.decide import Crashed, Interrupted, Verdict
from platform_relay.queue.destination_guard import DestinationGuard
from platform_relay.queue.destinations import DATABASE_ERRORS
from platform_relay.queue.fairness import ClaimedJobs
from platform_relay.queue.jobs import Job
from platform_relay.queue.queue import Queue, Settlement
from platform_relay.queue.runner import Runner

log: Final = structlog.get_logger(__name__)

LIVE, BACKFILL = 0, 1
UNSETTLED: Final = 4
"""At most this many times `concurrency` attempts are finished and not yet settled; then no more are claimed. Otherwise a slow
database would collect work that is repeated when the process dies."""
BUSY_SHARE: Final = 4
"""A loop is busy while more than one in this many of its `concurrency` jobs is in hand."""
REFUSED_PAUSE: Final = 5.0
"""Seconds between two claims while no attempt can be settled: each job would be called, and called again after its lease."""
ALIVE_SECONDS: Final = 30.0
BACKFILL_INTERVAL: Final = 10
"""One in this many claims takes backfill jobs first, so that live traffic cannot starve them."""


class Observer(Protocol):
    """Is notified of every job that was settled, or whose lease was lost. Must not raise or block."""

    def settled(self, settlement: Settlement) -> None: ...

    def lost(self, settlement: Settlement) -> None: ...


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """`concurrency` calls run at once; the rest is in seconds.

    `lease`: how long a claim holds a lane without a renewal. `poll_interval`: between two claims when the loop is not woken.
    `idle_interval`: the same after a claim that took everything that was due; longer if something else (`due.watch_due`)
    looks for due lanes meanwhile.
    `grace`: how long running calls may take to finish after `stop`. `gather`: how long a finished attempt waits at most, while
    the loop is busy, to be settled together with others.
    """

    concurrency: int = 64
    lease: float = 12.0
    poll_interval: float = 0.5
    idle_interval: float | None = None
    grace: float = 7.0
    gather: float = 0.02


class Loop:
    def __init__(
        self,
        queue: Queue,
        guard: DestinationGuard,
        runner: Runner,
        settings: LoopSettings,
        observer: Observer,
        work: Work | None = None,
    ) -> None:
        """`work` records the results of claims and settles."""
        work = work or Work()
        self._claim_work = work.record(Operation.CLAIM, queue.destination)
        self._settle_work = work.record(Operation.SETTLE, queue.destination)
        self.destination = queue.destination
        self._queue = queue
        self._guard = guard
        self._runner = runner
        self._settings = settings
        self._observer = observer
        self._jobs = ClaimedJobs()
        self._leases: dict[tuple[str, int], float] = {}
        """When the lease of a claim ends. Its key is the lane and the fencing token."""
        self._finished: list[Settlement] = []
        """Finished and not yet settled: their leases are renewed like the others."""
        self._writing: set[tuple[str, int]] = set()
        """Those that are being settled now: their lanes are locked, so no other worker can claim them."""
        self._settle_now = asyncio.Event()
        self._gathering: asyncio.TimerHandle | None = None
        """Ends the collection of a batch."""
        self._settling = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._claims = 0
        self._heartbeat = time.monotonic()

    def wake(self) -> None:
        """There may be new work. Cheap; call it from the event loop's thread."""
        self._wake.set()

    def stop(self) -> None:
        """Claim no more; `run` returns when the claimed jobs are finished or given back."""
        self._stopping.set()
        self._wake.set()

    def alive(self) -> bool:
        """The claimer has run within the last ALIVE_SECONDS."""
        return time.monotonic() - self._heartbeat < ALIVE_SECONDS

    async def run(self) -> None:
        """Run until `stop`. Raises only for a bug in this module; the process must end then."""
        runners = [asyncio.create_task(self._run_jobs()) for _ in range(self._settings.concurrency)]
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
        concurrency = self._settings.concurrency
        while not self._stopping.is_set():
            self._heartbeat = time.monotonic()
            in_hand = self._in_hand()
            room = self._guard.allowance(2 * concurrency - in_hand, in_hand)
            if self._unsettled() >= UNSETTLED * concurrency:
                room = 0
            if self._settle_work.failing():
                room = 0 if self._settle_work.retry_in(REFUSED_PAUSE) else min(room, 1)
            if room == 0 or (in_hand > concurrency and room < concurrency // 2):
                await self._sleep()
                continue
            self._wake.clear()
            claimed = await self._claim(room)
            if claimed is not None and claimed < room:
                await self._sleep(self._settings.idle_interval)

    async def _claim(self, room: int) -> int | None:
        """Claim up to `room` jobs; returns how many. None, after a pause, if that failed: the next claim shows whether it
        still does, and whether something was due."""
        try:
            with self._claim_work.attempt():
                await self._guard.refresh()
                jobs = await self._due(room)
        except DATABASE_ERRORS:
            log.warning("claim_failed", destination=self.destination, **self._claim_work.log_fields())
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.poll_interval):
                    await self._stopping.wait()
            return None
        return len(jobs)

    async def _due(self, room: int) -> list[Job]:
        lease = self._settings.lease
        self._claims = (self._claims + 1) % BACKFILL_INTERVAL
        first, second = (BACKFILL, LIVE) if self._claims == 0 else (LIVE, BACKFILL)
        jobs = await self._share(room, first)
        if len(jobs) < room:
            jobs += await self._share(room - len(jobs), second)
        if not jobs:
            until = time.monotonic() + lease
            if probes := await self._queue.probe(room, lease=lease):
                self._guard.breaker.start_probes(probes)
                self._hold(list(probes.jobs), until)
                jobs += probes.jobs
        return jobs

    async def _share(self, room: int, priority: int) -> list[Job]:
        """Claim up to `room` jobs, so that no owner takes the calls of others; each owner has more only when no other lanes
        are due. One statement is enough while no owner has its share."""
        jobs: list[Job] = []
        concurrency = min(self._settings.concurrency, self._in_hand() + room)
        limits = self._jobs.fair_limits
        while len(jobs) < room:
            within, until = limits(concurrency, room - len(jobs)), time.monotonic() + self._settings.lease
            claim = await self._queue.claim_within(within, lease=self._settings.lease, priority=priority)
            self._hold(claim.jobs, until)
            jobs += claim.jobs
            if claim.cut:
                continue
            if not within.busy or limits == self._jobs.remaining_limits:
                break
            limits = self._jobs.remaining_limits
        return jobs

    def _hold(self, jobs: list[Job], until: float) -> None:
        """Pass claimed jobs to the runners. Their leases end at `until`."""
        for job in jobs:
            self._leases[job.lane, job.fencing_token] = until
            self._jobs.add(job)

    async def _sleep(self, seconds: float | None = None) -> None:
        """Until the loop is woken, at most `seconds` (None: the poll interval)."""
        self._heartbeat = time.monotonic()
        with suppress(TimeoutError):  # not `wait_for`, which loses a cancellation that comes with the wake-up (3.11)
            async with asyncio.timeout(self._settings.poll_interval if seconds is None else seconds):
                await self._wake.wait()
        self._wake.clear()

    # ------------------------------------------------------------------------------------------- run

    async def _run_jobs(self) -> None:
        while True:
            job = await self._jobs.get()
            until = self._leases.get((job.lane, job.fencing_token))
            if until is None:
                self._jobs.remove(job)
                continue
            verdict: Verdict | None
            started = time.monotonic()
            if until - time.monotonic() < self._settings.lease / 4:
                settlement, verdict = self._runner.settlement(job, Interrupted(sent=False), 0.0), None
            else:
                settlement, verdict = await self._runner.run(job)
                compared = self._guard.breaker.compare(job, verdict)
                if compared is not None and compared is not verdict:
                    settlement = self._runner.settlement(job, compared, settlement.duration_ms / 1000)
                    verdict = compared
            try:
                await self._guard.breaker.record(job, verdict, started)
            except DATABASE_ERRORS as error:
                log.warning("destination_not_updated", destination=self.destination, error=type(error).__name__)
            self._finish(settlement)
            if isinstance(verdict, Interrupted):
                return

    def _in_hand(self) -> int:
        """The number of jobs that are claimed and not finished."""
        return len(self._leases) - self._unsettled()

    def _unsettled(self) -> int:
        """The number of attempts that are finished and not settled."""
        return len(self._finished) + len(self._writing)

    def _finish(self, settlement: Settlement) -> None:
        self._jobs.remove(settlement.job)
        self._finished.append(settlement)
        concurrency, in_hand = self._settings.concurrency, self._in_hand()
        if in_hand * BUSY_SHARE <= concurrency or len(self._finished) >= concurrency:
            self._settle_now.set()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(self._settings.gather, self._settle_now.set)
        if in_hand <= concurrency:
            self._wake.set()

    # ------------------------------------------------------------------------------------------- settle

    async def _settle_all(self) -> None:
        while True:
            await self._settle_now.wait()
            self._settle_now.clear()
            await self._settle_finished()

    async def _settle_finished(self) -> None:
        """Settle all finished attempts. Returns after a settle that was running when it was called."""
        async with self._settling:
            if self._gathering is not None:
                self._gathering.cancel()
                self._gathering = None
            batch, self._finished = self._finished, []
            if batch:
                self._writing = {_key(settlement) for settlement in batch}
                await self._write(batch)
                if self._unsettled() >= UNSETTLED * self._settings.concurrency:
                    self._wake.set()
                for key in self._writing:
                    self._leases.pop(key, None)
                self._writing = set()

    async def _write(self, batch: list[Settlement], *, instead: bool = False) -> None:
        """Settle a batch, again and again while the database is unavailable. If it rejects the batch, the cause is isolated.
        `instead`: of a settlement that it rejected, so a success does not show that others can be settled."""
        while True:
            try:
                with self._settle_work.attempt(proves=not instead):
                    settled = await asyncio.shield(self._queue.settle(batch))
            except DATABASE_ERRORS as error:
                if not is_unavailable(error):
                    await self._write_in_halves(batch)
                    return
                log.warning(
                    "settle_failed", destination=self.destination, jobs=len(batch), **self._settle_work.log_fields()
                )
                await asyncio.sleep(self._settings.poll_interval)
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

    async def _write_in_halves(self, batch: list[Settlement]) -> None:
        """Find the settlement that cannot be stored, and settle it as crashed: it must not stop its destination."""
        if len(batch) > 1:
            half = len(batch) // 2
            await self._write(batch[:half])
            await self._write(batch[half:])
            return
        [rejected] = batch
        job = rejected.job
        log.error("settlement_refused", destination=self.destination, job=str(job.id), **self._settle_work.log_fields())
        if rejected.outcome == "crashed":  # that is rejected too: its lease ends, and it counts as lost
            return
        reason = because(
            ReasonCode.INTERNAL_ERROR, error="the database refused the result; the log has settlement_refused"
        )
        crashed = self._runner.settlement(job, Crashed(reason), rejected.duration_ms / 1000)
        await self._write([crashed], instead=True)

    # ------------------------------------------------------------------------------------------- leases, shutdown

    async def _keep_leases(self) -> None:
        """Renew leases after a third of their time; most calls have ended long before.

        The attempt of a claim that is lost, or cannot be renewed in time, is ended before another worker can begin its own: its
        next call could do something that the other one has done meanwhile.
        """
        pause = self._settings.lease / 6
        while True:
            await asyncio.sleep(pause)
            await self._renew_old(pause)
            end = time.monotonic() + 2 * pause  # the next look is over by then
            for (_, token), lease_end in self._leases.items():
                if lease_end <= end:
                    self._runner.end(token)

    async def _renew_old(self, reserve: float) -> None:
        """Renew old leases, at the latest `reserve` seconds before the first one ends. The leases of claims that another worker
        has taken are over."""
        lease, now = self._settings.lease, time.monotonic()
        until = now + lease
        old = {
            key: lease_end
            for key, lease_end in self._leases.items()
            if until - lease_end > lease / 4 and key not in self._writing
        }
        if not old:
            return
        try:
            async with asyncio.timeout(max(reserve, min(old.values()) - now - reserve)):
                kept = await self._queue.renew(list(old), lease=lease)
        except DATABASE_ERRORS as error:
            log.warning("lease_not_renewed", destination=self.destination, error=type(error).__name__)
            return
        for key in self._leases.keys() & old.keys():
            self._leases[key] = until if key in kept else 0.0

    async def _drain(self, runners: list["asyncio.Task[None]"]) -> None:
        """Give back jobs that have not started, let running ones finish, then interrupt them; settle all of them."""
        while (job := self._jobs.get_nowait()) is not None:
            self._finish(self._runner.settlement(job, Interrupted(sent=False), 0.0))
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
    return settlement.job.lane, settlement.job.fencing_token
