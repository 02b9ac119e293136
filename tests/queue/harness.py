"""A running loop with handlers made for one test."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.outcomes import Done, Outcome
from platform_relay.core.work import Work
from platform_relay.inbox.messages import Incoming
from platform_relay.queue.destination_guard import DestinationGuard
from platform_relay.queue.destinations import DestinationStates
from platform_relay.queue.jobs import Handler, Job
from platform_relay.queue.loop import Loop, LoopSettings
from platform_relay.queue.queue import Queue, Settlement
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.runner import Runner
from tests.database.engine_room import accept

NEVER = 600.0
"""Seconds: longer than any test. What happens all the same was not brought about by polling."""
POLICY = RetryPolicy(first=NEVER, longest=NEVER)


@dataclass
class Seen:
    """What the loop told its observer."""

    settlements: list[Settlement] = field(default_factory=list)
    losses: list[Settlement] = field(default_factory=list)

    def settled(self, settlement: Settlement) -> None:
        self.settlements.append(settlement)

    def lost(self, settlement: Settlement) -> None:
        self.losses.append(settlement)


@dataclass
class Running:
    loop: Loop
    seen: Seen
    task: "asyncio.Task[None]"
    engine: AsyncEngine

    async def accept(self, *messages: Incoming) -> None:
        """Take them in as the web does, the loop being told after the commit."""
        await accept(self.engine, *messages)
        self.loop.wake()

    async def stopped(self) -> None:
        self.loop.stop()
        await asyncio.wait_for(self.task, 15)


class QueueHarness:
    """A handler that notes what it is given and answers when it is let: at once, unless `hold` is called."""

    def __init__(self, outcome: Outcome | None = None) -> None:
        self.outcome: Outcome = outcome or Done(digest=b"digest")
        self.calls: list[Job] = []
        self.most = 0
        self._now = 0
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    @property
    def lanes(self) -> list[str]:
        return [job.lane for job in self.calls]

    async def __call__(self, job: Job) -> Outcome:
        self.calls.append(job)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await self._open.wait()
        finally:
            self._now -= 1
        return self.outcome


@asynccontextmanager
async def running(
    engine: AsyncEngine,
    handlers: Mapping[str, Handler],
    *,
    policy: RetryPolicy = POLICY,
    rate: float | None = None,
    seen: Seen | None = None,
    work: Work | None = None,
    **settings: float,
) -> AsyncIterator[Running]:
    """A loop on the destination `platform`, which looks for work only when it is woken unless `poll_interval` is set."""
    guard = DestinationGuard("platform", DestinationStates(engine), rate)
    runner = Runner(handlers, policy, time_limit=NEVER, longest_wait=1e6, random=lambda: 0.0)
    chosen = LoopSettings(**{"concurrency": 4, "poll_interval": NEVER, "lease": 30.0, **settings})  # type: ignore[arg-type]  # floats serve for concurrency
    seen = seen or Seen()
    loop = Loop(Queue(engine, "platform"), guard, runner, chosen, seen, work)
    task = asyncio.create_task(loop.run())
    try:
        yield Running(loop, seen, task, engine)
    finally:
        loop.stop()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 15)
