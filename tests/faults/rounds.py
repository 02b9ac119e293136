"""One fault, played: load before, during and after it, then rest, then the verdict."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from simulators.process import Simulator, SimulatorError
from tests.faults.identity import JobCounts
from tests.faults.load import Shop
from tests.faults.oracle import Verdict, judge, unreported
from tests.faults.rig import Rig
from tests.helpers import eventually

FLOWING_WITHIN: Final = 60.0
"""Seconds after the end of a fault until new work must have gone through."""
SETTLED_WITHIN: Final = 45.0
"""Seconds after the end of a fault until everything acknowledged must have arrived; a lease and some retries long."""


@dataclass
class Stage:
    """A running service with its load and its books."""

    rig: Rig
    shop: Shop
    books: JobCounts
    rng: random.Random
    notes: list[str] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)
    """Seconds; filled by faults that measure it themselves."""
    dead: int = 0
    """Dead jobs that were reported already."""
    cleanup: list[Callable[[], object]] = field(default_factory=list)
    """What has to be undone at the end, however it ends."""
    ended_at: float | None = None
    """By `time.monotonic`; for a fault that ends before `inflict` does."""
    missing_between: tuple[datetime, datetime] | None = None
    """The time span of the alert about missing commits."""
    timed: bool = True
    """Whether what is promised in seconds is judged: only where nothing else keeps the machine busy."""

    def forget(self) -> None:
        """What an earlier fault left."""
        self.notes, self.recovery = [], []
        self.ended_at, self.missing_between = None, None

    def promised(self, what: str, *, kept: bool) -> None:
        """Raises AssertionError when times are judged and this one was too long."""
        assert kept or not self.timed, what


@dataclass(frozen=True)
class Fault:
    """`inflict` makes it and mends it. Raises AssertionError when the service breaks a promise of its own there.

    `customers` come while it is played, one every `gap` seconds.
    """

    name: str
    inflict: Callable[[Stage], Awaitable[None]]
    customers: int = 20
    gap: float = 0.15
    before: float = 0.5
    """Seconds of load before it."""
    canary: bool = True
    """Whether recovery is the time until something new has gone through both journeys."""
    flowing_within: float = FLOWING_WITHIN
    """Seconds after it until that must have happened."""
    loses: bool = False
    """Whether commits may be missing afterwards, because replication is asynchronous. Nothing may be doubled even so."""
    rest: float = SETTLED_WITHIN
    """Seconds after it until everything acknowledged must have arrived."""


@dataclass
class Report:
    fault: str
    rounds: int = 1
    verdict: Verdict = field(default_factory=Verdict)
    stale: int = 0
    identity: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    samples: int = 0
    skipped: str = ""

    def clean(self) -> bool:
        return self.verdict.clean() and not (self.stale or self.identity or self.broken)

    def findings(self) -> list[str]:
        """Everything wrong, in words."""
        verdict = self.verdict
        named = {"lost": verdict.lost, "doubled": verdict.doubled, "disordered": verdict.disordered}
        named |= {"wrong": verdict.wrong, "identity": self.identity, "broken": self.broken}
        result = [f"{what}: {each}" for what, items in named.items() for each in items[:20]]
        return result + ([f"stale settles: {self.stale}"] if self.stale else [])


@asynccontextmanager
async def stage(rig: Rig, rng: random.Random) -> AsyncIterator[Stage]:
    shop, books = Shop(rig, rng), JobCounts(rig)
    watching = asyncio.create_task(books.watch())
    try:
        yield Stage(rig, shop, books, rng)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await shop.aclose()


async def play(on: Stage, fault: Fault) -> Report:
    """Never raises for what the service does; the report says it."""
    report = Report(fault.name)
    for simulator in (on.rig.platform, on.rig.shop):
        simulator.reset()  # the script too
    on.shop.forget()
    on.forget()
    on.books.violations, on.books.samples = [], 0
    load = asyncio.create_task(on.shop.shoppers(fault.customers, fault.gap))
    await asyncio.wait([load], timeout=fault.before)
    late = ""
    try:
        await fault.inflict(on)
        report.broken += on.rig.revived()
        if fault.canary:
            seconds = await gone_through(on, again=fault.loses)
            on.recovery.append(seconds)
            if on.timed and seconds > fault.flowing_within:
                late = f"flowing again after {seconds:.1f} s"
        await load
        await on.shop.sent()
    except AssertionError as error:
        report.broken.append(str(error).partition("\n")[0] or repr(error))
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
    await _rest(on, report, fault.rest, delivers_all=not fault.loses)
    if late:  # it came late, and still has as long as any other to come to rest
        report.broken.append(late)
    report.verdict = judge(on.shop.acknowledged, *await asyncio.gather(effects(on.rig.platform), effects(on.rig.shop)))
    if fault.loses:
        verdict = report.verdict
        if on.missing_between is not None:
            report.broken += unreported(verdict, on.shop.acknowledged, *on.missing_between)
        on.notes.append(
            f"{len(verdict.lost)} lost and {len(verdict.disordered)} disordered, all within the time of the alert"
        )
        verdict.lost, verdict.disordered = [], []
    report.stale = await on.books.stale_settles()
    report.identity, report.samples = on.books.violations, on.books.samples
    report.notes, report.recovery = on.notes, on.recovery
    return report


async def effects(simulator: Simulator) -> list[dict[str, object]]:
    """What took effect there, in that order."""
    return await asyncio.to_thread(simulator.ledger, applied=1)


async def gone_through(on: Stage, *, again: bool) -> float:
    """Seconds from the end of the fault until a new customer is at the Platform and a new redemption's coupon in the store.

    Raises AssertionError when that takes longer than FLOWING_WITHIN. `again`: whether new ones are sent until one arrives,
    because some may be lost.
    """
    started = time.monotonic()
    canaries = [await on.shop.canary()]

    def arrived(lane: str, code: str) -> bool:
        person = lane.removeprefix("customer:")
        with suppress(SimulatorError):  # it answers 404 until it is there
            return bool(on.rig.platform.state("customers", person)) and bool(on.rig.shop.state("coupons", code))
        return False

    async def one_arrived() -> bool:
        # In a thread: the way to the database may lead through this process (`proxy.py`).
        if any([await asyncio.to_thread(arrived, *canary) for canary in canaries]):
            return True
        if again and time.monotonic() - started > len(canaries):  # one a second
            canaries.append(await on.shop.canary())
        return False

    await eventually(one_arrived, FLOWING_WITHIN)
    return time.monotonic() - (on.ended_at or started)


async def _rest(on: Stage, report: Report, within: float, *, delivers_all: bool) -> None:
    """Wait until all that was acknowledged has arrived and no job is open."""

    async def delivered() -> bool:
        verdict = judge(on.shop.acknowledged, await effects(on.rig.platform), await effects(on.rig.shop))
        assert verdict.lost == []
        return True

    async def idle() -> bool:
        report.broken += on.rig.revived()
        return await on.books.idle()

    for reached in (idle, delivered) if delivers_all else (idle,):
        with suppress(AssertionError):
            await eventually(reached, 5.0 if report.broken else within)
    try:
        if dead := (await on.books.counts())["dead"] - on.dead:
            report.broken.append(f"{dead} jobs were given up as dead")
            on.dead += dead
        await idle()
    except AssertionError as error:
        report.broken.append(f"not at rest: {error}")
