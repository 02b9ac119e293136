"""One loop per channel: claim lanes, run their jobs side by side, settle in batches.

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
from sqlalchemy.exc import SQLAlchemyError

from app.engine.channels import Channels
from app.engine.decide import Interrupted, Verdict
from app.engine.jobs import Job
from app.engine.queue import Queue, Settlement
from app.engine.runner import Runner
from app.outcomes import Blocked, Done, Reject, Skip, Wait

log: Final = structlog.get_logger(__name__)

DATABASE_ERRORS: Final = (SQLAlchemyError, OSError, TimeoutError)
LIVE, BACKFILL = 0, 1


class Observer(Protocol):
    """Is told of every settled attempt; must not raise and not wait."""

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
        self, queue: Queue, channels: Channels, runner: Runner, settings: LoopSettings, observer: Observer
    ) -> None:
        self.channel = queue.channel
        self._queue = queue
        self._channels = channels
        self._runner = runner
        self._settings = settings
        self._observer = observer
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()
        self._in_hand: dict[tuple[str, int], float] = {}
        self._finished: list[Settlement] = []
        self._settle_now = asyncio.Event()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._probing = False
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
        return time.monotonic() - self._beat < 30

    async def run(self) -> None:
        """Until `stop`. Raises only what is a bug of this module; the process must end then."""
        runners = [asyncio.create_task(self._run_jobs()) for _ in range(self._settings.slots)]
        settler = asyncio.create_task(self._settle_all())
        keeper = asyncio.create_task(self._keep_leases())
        claimer = asyncio.create_task(self._claim_all())
        tasks = [*runners, settler, keeper, claimer]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not claimer.done() or claimer.exception():
                for task in tasks:
                    if task.done() and not task.cancelled() and (error := task.exception()):
                        raise error
            await self._drain(runners)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------------------------------------- claim

    async def _claim_all(self) -> None:
        room_enough = max(1, self._settings.slots // 2)
        while not self._stopping.is_set():
            self._beat = time.monotonic()
            room = 2 * self._settings.slots - len(self._in_hand)
            if room < room_enough:
                await self._sleep()
                continue
            self._wake.clear()
            try:
                jobs = await self._claim(room)
            except DATABASE_ERRORS as error:
                log.warning("claim_failed", channel=self.channel, error=type(error).__name__)
                jobs = []
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._settings.poll)
            for job in jobs:
                self._in_hand[job.lane, job.claim] = time.monotonic()
                self._jobs.put_nowait(job)
            if len(jobs) < room:
                await self._sleep()

    async def _claim(self, room: int) -> list[Job]:
        if self._probing:
            return []
        lease = self._settings.lease
        jobs = await self._queue.claim(room, lease=lease, priority=LIVE)
        if len(jobs) < room:
            jobs += await self._queue.claim(room - len(jobs), lease=lease, priority=BACKFILL)
        if not jobs and await self._channels.may_probe(self.channel, lease):
            jobs = await self._queue.claim(1, lease=lease, priority=LIVE, probing=True)
            jobs = jobs or await self._queue.claim(1, lease=lease, priority=BACKFILL, probing=True)
            self._probing = bool(jobs)
        return jobs

    async def _sleep(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), self._settings.poll)
        self._wake.clear()

    # ------------------------------------------------------------------------------------------- run

    async def _run_jobs(self) -> None:
        while True:
            job = await self._jobs.get()
            if (job.lane, job.claim) not in self._in_hand:
                continue
            settlement, verdict = await self._runner.run(job)
            if verdict is not None and not isinstance(verdict, Interrupted):
                await self._mind_channel(verdict)
            self._finish(settlement)
            if isinstance(verdict, Interrupted):
                return

    async def _mind_channel(self, verdict: Verdict) -> None:
        probing = self._probing
        try:
            if isinstance(verdict, Blocked):
                if await self._channels.close(self.channel, "blocked", verdict.why, probing=probing):
                    log.error("channel_blocked", channel=self.channel, reason=verdict.why)
            elif probing and isinstance(verdict, Done | Skip | Reject | Wait):
                await self._channels.open(self.channel)
                log.info("channel_open", channel=self.channel)
        except DATABASE_ERRORS as error:
            log.warning("channel_not_updated", channel=self.channel, error=type(error).__name__)
        if probing:
            self._probing = False

    def _finish(self, settlement: Settlement) -> None:
        self._in_hand.pop((settlement.job.lane, settlement.job.claim), None)
        self._finished.append(settlement)
        self._settle_now.set()
        if len(self._in_hand) <= self._settings.slots:
            self._wake.set()

    # ------------------------------------------------------------------------------------------- settle

    async def _settle_all(self) -> None:
        while True:
            await self._settle_now.wait()
            self._settle_now.clear()
            await self._settle_finished()

    async def _settle_finished(self) -> None:
        batch, self._finished = self._finished, []
        while batch:
            try:
                settled = await asyncio.shield(self._queue.settle(batch))
            except DATABASE_ERRORS as error:
                log.warning("settle_failed", channel=self.channel, jobs=len(batch), error=type(error).__name__)
                await asyncio.sleep(self._settings.poll)
                continue
            for settlement in settled.lost:
                self._observer.lost(settlement)
            for settlement in batch:
                self._observer.settled(settlement)
            if settled.more:
                self._wake.set()
            return

    # ------------------------------------------------------------------------------------------- leases, end

    async def _keep_leases(self) -> None:
        """Renew what has been in hand for a third of its lease; most calls are long over by then."""
        every = self._settings.lease / 3
        while True:
            await asyncio.sleep(every)
            old = [key for key, since in self._in_hand.items() if time.monotonic() - since > every / 2]
            if old:
                try:
                    await self._queue.renew(old, lease=self._settings.lease)
                except DATABASE_ERRORS as error:
                    log.warning("lease_not_renewed", channel=self.channel, error=type(error).__name__)

    async def _drain(self, runners: list["asyncio.Task[None]"]) -> None:
        """Give back what has not started, let what runs finish, then interrupt it; write all of it down."""
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            self._finish(self._runner.settlement(job, Interrupted(sent=False), 0.0))
        deadline = time.monotonic() + self._settings.grace
        while self._in_hand and time.monotonic() < deadline:
            self._settle_now.set()
            await asyncio.sleep(0.02)  # paced, bounded by the deadline
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await self._settle_finished()
