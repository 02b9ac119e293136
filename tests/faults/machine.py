"""What a machine and its keeper do to processes: killed, frozen, asked to end, their clock moved."""

import asyncio
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import Final

import httpx

from simulators.process import Simulator
from tests.faults.rig import LEASE, Process
from tests.faults.rounds import Fault, Stage, effects
from tests.helpers import eventually

STEP: Final = 300.0
TAKEN_UP_WITHIN: Final = 15.0
ENDED_WITHIN: Final = 10.0

_CLOCK: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static volatile double *step(void) {
    static volatile double *shared;
    if (!shared) shared = mmap(0, 4096, PROT_READ, MAP_SHARED, open(getenv("CLOCK_STEP"), O_RDONLY), 0);
    return shared;
}
int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, at);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) at->tv_sec += (long)*step();
    return failed;
}
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""

SEVERAL: Final = 5
"""Calls in flight when the worker is killed."""


async def web_killed(on: Stage) -> None:
    on.rig.web.kill()
    on.rig.web.start()
    await on.rig.ready()


async def worker_killed(on: Stage) -> None:
    """With calls in flight. Each must be taken up again within the time promised."""
    on.rig.platform.control("latency", seconds=0.4)
    on.rig.shop.control("latency", seconds=0.4)
    slowed = time.monotonic()
    await _calls_in_flight(on.rig.platform, since=slowed)
    on.rig.worker.kill()
    killed = time.monotonic()
    for side in (on.rig.platform, on.rig.shop):
        side.control("latency", seconds=0)
    pending = await _cut_off(on, slowed, killed)
    on.rig.worker.start()
    taken_up: list[float] = []

    async def all_taken_up() -> bool:
        again: dict[str, float] = {}
        for side in (on.rig.platform, on.rig.shop):
            for entry in await asyncio.to_thread(side.ledger, body=0):
                entity = entry["entity"] or entry["query"]
                if entry["at"] > killed and entity in pending:
                    again.setdefault(entity, entry["at"] - killed)
        taken_up[:] = again.values()
        return pending <= set(again)

    await eventually(all_taken_up, TAKEN_UP_WITHIN + 60)
    on.recovery += taken_up
    on.notes.append(f"{len(pending)} calls cut off")
    slowest = max(taken_up, default=0.0)
    on.promised(f"taken up again after {slowest:.1f} s", kept=slowest <= TAKEN_UP_WITHIN)


async def _calls_in_flight(side: Simulator, *, since: float = 0.0) -> None:
    """Returns when the simulator has received calls, later than `since`, that it has not answered: several of them with
    `since`."""

    async def enough() -> bool:
        return len(await asyncio.to_thread(_unanswered, side, since)) >= (SEVERAL if since else 1)

    await eventually(enough, 60)


async def _all_answered(side: Simulator) -> bool:
    return not await asyncio.to_thread(_unanswered, side)


def _unanswered(side: Simulator, since: float = 0.0) -> list[object]:
    unanswered = (entry for entry in side.ledger(body=0) if entry["status"] is None and not entry["fault"])
    return [entry for entry in unanswered if entry["at"] > since]


async def _cut_off(on: Stage, slowed: float, killed: float) -> set[str]:
    """Entities of the Platform whose last call had not been answered when the worker died. Calls take 0.4 s since `slowed`."""
    await eventually(lambda: _all_answered(on.rig.platform), 10)
    last: dict[str, float] = {}
    for entry in await effects(on.rig.platform):
        if entry["kind"] in ("customer.put", "order.post", "order.patch"):
            last[str(entry["entity"])] = float(str(entry["at"]))
    return {entity for entity, at in last.items() if max(slowed, killed - 0.39) < at < killed}


async def asked_to_end(on: Stage) -> None:
    """SIGTERM under load: gone within 10 s, exit code 0, nothing sent twice."""
    on.rig.platform.control("latency", seconds=0.3, jitter=1.0)
    await _calls_in_flight(on.rig.platform)
    for process in (on.rig.worker, on.rig.web):
        started = time.monotonic()
        try:
            code = await asyncio.to_thread(process.stop, 60.0)
        except subprocess.TimeoutExpired:
            process.kill()
            code = -9
        seconds = time.monotonic() - started
        process.start()
        on.notes.append(f"{process.role} ended after {seconds:.1f} s")
        assert code == 0, f"{process.role} ended with {code} after {seconds:.1f} s"
        on.promised(f"{process.role} needed {seconds:.1f} s to end", kept=seconds <= ENDED_WITHIN)
    on.rig.platform.control("latency", seconds=0)
    await on.rig.ready()


async def frozen_beyond_its_lease(on: Stage) -> None:
    """SIGSTOP with calls in flight and claimed jobs at hand; another worker takes over; then SIGCONT."""
    on.rig.worker.kill()  # so that the sleeper has all the work
    sleeper = on.rig.another("serve", "sleeper", CONCURRENCY="4")
    sleeper.start()
    await sleeper.up(0)
    on.rig.platform.control("latency", seconds=1.0)
    await on.shop.crowd(20)

    async def some_called() -> bool:
        return len(await asyncio.to_thread(on.rig.platform.ledger, kind="customer.put", body=0)) >= 4

    await eventually(some_called, 60)
    sleeper.signal(signal.SIGSTOP)
    on.rig.platform.control("latency", seconds=0)
    on.rig.worker.start()
    await asyncio.sleep(LEASE + 3)  # time: beyond the lease
    sleeper.signal(signal.SIGCONT)
    refused = await eventually(lambda: _lost_leases(sleeper), 20)
    on.notes.append(f"{refused:.0f} settles refused")
    await asyncio.to_thread(sleeper.stop)


async def _lost_leases(process: Process) -> float:
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"http://127.0.0.1:{process.environment['PORT']}/metrics")).text
    lines = [line for line in text.splitlines() if "_count" in line and 'outcome="lease_lost"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def anything_killed(on: Stage) -> None:
    """Web, worker or Postgres, whichever the rng say, and back at once."""
    on.notes.append(await on.rig.kill_something(on.rng))
    await on.rig.ready()


async def clock_steps(on: Stage) -> None:
    """The hosts' clocks jump by 5 minutes, there and back, under web and worker; the database's does not."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        on.notes.append("skipped: no C compiler to make the clock with")
        return
    source, library, step = (on.rig.folder / name for name in ("clock.c", "clock.so", "clock.step"))
    source.write_text(_CLOCK)
    step.write_bytes(bytes(4096))
    command = [compiler, "-shared", "-fPIC", "-O1", "-w", "-o", str(library), str(source), "-ldl"]
    await asyncio.to_thread(subprocess.run, command, check=True)
    clock = {"LD_PRELOAD": str(library), "CLOCK_STEP": str(step)}
    for process in (on.rig.web, on.rig.worker):
        process.kill()
        process.start(clock)
    await on.rig.ready()
    for seconds in (STEP, -STEP, STEP, 0.0):
        _move(step, seconds)
        await asyncio.sleep(1.5)  # time: some load at that time of the clock


def _move(step: Path, seconds: float) -> None:
    with step.open("r+b") as shared:
        shared.write(struct.pack("d", seconds))


def faults() -> list[Fault]:
    return [
        Fault("web killed (SIGKILL)", web_killed),
        Fault("worker killed (SIGKILL), calls in flight", worker_killed, customers=40, gap=0.05, canary=False),
        Fault("any process killed at random", anything_killed, customers=12, gap=0.05),
        Fault("SIGTERM under full load", asked_to_end, customers=60, gap=0.03),
        Fault("worker frozen beyond its lease (SIGSTOP)", frozen_beyond_its_lease, before=0),
        Fault("clocks step by ±5 min", clock_steps, customers=40),
    ]
