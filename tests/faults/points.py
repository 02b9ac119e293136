"""Every step: the service dies by SIGKILL before and after each of its commits and calls, one after another.

The list is made by the service itself: `launcher.py` writes down what it passes, first undisturbed, then also while it
recovers, so that the steps of recovery are in the list too.
"""

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from tests.faults.rig import STARTS_WITHIN, Process
from tests.faults.rounds import Fault, Stage
from tests.helpers import eventually

LAUNCHER: Final = "tests.faults.launcher"
MOST_PASSES: Final = 3
"""A point that one customer passes several times is tried at each of its first passes."""
SHOPPERS_PATIENCE: Final = 600.0
"""Seconds for which a customer waits: where one point after another is passed at a worker's start, no worker lives for
minutes."""
PATIENCE: Final = 6.0
"""Seconds until a customer must have led the process to the point; then another one comes, and then it counts as not
reached."""


class Point(NamedTuple):
    role: str
    name: str
    nth: int


def every_point(limit: int | None = None) -> Fault:
    """All of them, or `limit` taken by the rng."""

    async def inflict(on: Stage) -> None:
        await _Sweep(on, limit).run()

    return Fault("killed before and after every commit and call", inflict, customers=0, before=0)


class _Sweep:
    def __init__(self, on: Stage, limit: int | None) -> None:
        self._on = on
        self._limit = limit
        self._logs = {role: on.rig.folder / f"points-{role}.log" for role in ("web", "worker")}
        self._seen: set[Point] = set()
        self._todo: list[Point] = []
        self._reached = 0
        self._missed: list[Point] = []
        self._ordinary: set[Point] = set()
        self._first = True

    async def run(self) -> None:
        rig = self._on.rig
        self._on.shop.patience = SHOPPERS_PATIENCE
        for process in (rig.web, rig.worker):
            await self._start(process)
        self._on.shop.full_shopper()
        await self._on.shop.sent()
        await eventually(self._on.books.idle, STARTS_WITHIN)
        self._discover()
        self._ordinary = set(self._todo)
        if self._limit is not None:
            self._todo = self._on.rng.sample(sorted(self._todo), min(self._limit, len(self._todo)))
        while self._todo:
            self._todo.sort(key=lambda point: point.role)  # so that the dead one is the one to start anew
            point = self._todo.pop()
            process, other = (rig.web, rig.worker) if point.role == "web" else (rig.worker, rig.web)
            if not other.running:
                await self._start(other)
            await self._die_at(point, process)
            if self._limit is None:
                self._discover()
        for process in (rig.web, rig.worker):
            if process.running:
                process.kill()
            process.start()
        await rig.ready()
        await self._on.shop.sent()
        pending = [str(point) for point in self._missed if point in self._ordinary]
        self._on.notes.append(
            f"{len(self._seen)} points, {len(self._ordinary)} of them passed without a fault; died at {self._reached}"
        )
        if chances := [f"{point.name} ({point.nth})" for point in self._missed if point not in self._ordinary]:
            self._on.notes.append(f"passed once in a recovery and not again: {', '.join(chances)}")
        assert not pending, f"points that were never reached: {', '.join(pending)}"

    async def _die_at(self, point: Point, process: Process) -> None:
        await self._start(process, point)
        child = process.child
        assert child is not None
        for _ in range(5):
            self._on.shop.full_shopper()
            with suppress(AssertionError):
                await eventually(lambda: child.poll() is not None, PATIENCE)
                break
        if child.poll() is None:
            self._missed.append(point)
        elif child.returncode == -9:
            self._reached += 1
        else:
            raise AssertionError(f"the {point.role} ended by itself with {child.returncode} on its way to {point.name}")

    async def _start(self, process: Process, point: Point | None = None) -> None:
        if process.running:
            process.kill()
        since = process.log.stat().st_size if process.log.exists() else 0
        more = {"POINTS_LOG": str(self._logs[process.role])}
        if point is not None:
            more |= {"POINTS_DIE": point.name, "POINTS_NTH": str(point.nth)}
        process.start(more, LAUNCHER)
        if process.role == "worker":
            child = process.child
            assert child is not None

            def up_or_dead() -> bool:
                return b"worker_started" in _behind(process.log, since) or child.poll() is not None

            await eventually(up_or_dead, STARTS_WITHIN)
        else:
            await self._on.rig.ready_or_dead()

    def _discover(self) -> None:
        for role, log in self._logs.items():
            passed = Counter(line.partition("\t")[0] for line in log.read_text().splitlines()) if log.exists() else {}
            for name, times in passed.items():
                if "NOTIFY" in name:  # a hint: nothing depends on it
                    continue
                for nth in range(1, 1 + min(times if self._first else 1, MOST_PASSES)):
                    if (point := Point(role, name, nth)) not in self._seen:
                        self._seen.add(point)
                        self._todo.append(point)
        self._first = False


def _behind(log: Path, since: int) -> bytes:
    with log.open("rb") as lines:
        lines.seek(since)
        return lines.read()
