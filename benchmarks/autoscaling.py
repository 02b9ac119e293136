"""`python -m benchmarks.autoscaling [--events 50000] [--live] [--write-docs]`: a burst of events, and a fleet of `relay worker`
that a test scaler drives as the HorizontalPodAutoscaler would, by the metric that a web process exposes.

The times of the scaler (sync period, stabilization window, policies, scrape interval) are RATIO times shorter than in the
manifest; the metric and its target are not. The concurrency is small, so that calls, not the cores, are the limit. Beside the
burst, a new customer arrives twice a second: its latency is from the receipt to the PUT at the Platform.
With `--live` the burst has the priority of live events, otherwise that of a backfill.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import bodies
from benchmarks.autoscaler import SYNC_PERIOD, Autoscaler, turns
from benchmarks.drain import OPEN
from benchmarks.load import EVENT
from benchmarks.record import machine
from benchmarks.scale import NORMAL
from benchmarks.stage import STORE_KEY, Process, Stage, StageError, stage, until

PAGE: Final = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = (
    "<!-- autoscaling: written by `python -m benchmarks.autoscaling --write-docs` -->",
    "<!-- end of autoscaling -->",
)
RATIO: Final = 10.0
DELAY: Final = 0.05
"""Seconds that the Platform takes."""
CONCURRENCY: Final = "8"
POOL: Final = "4"
TRICKLE: Final = 0.5
"""Seconds between two new customers."""
CALM: Final = 10.0
"""Seconds of trickle before the burst, and after it at least."""
LONGEST: Final = 780.0
PAGE_SIZE: Final = 5000
LIMIT: Final = 5.0
"""Seconds that a live event may take."""


@dataclass
class Fleet:
    """The workers. Each has a folder's file that shows whether it is ready, as its probe in Kubernetes sees it."""

    place: Stage
    database_url: str
    workers: list[tuple[Process, Path]] = field(default_factory=list)
    started: int = 0

    def scale(self, replicas: int) -> None:
        while len(self.workers) < replicas:
            self.started += 1
            beat = self.place.folder / f"worker-{self.started}"
            settings = {"CONCURRENCY": CONCURRENCY, "DATABASE_POOL_SIZE": POOL, "HEARTBEAT_FILE": str(beat)}
            self.workers.append((self.place.relay("worker", self.database_url, **settings), beat))
        while len(self.workers) > replicas:
            process, _ = self.workers.pop()
            process.stop()

    def ready(self) -> int:
        for process, _ in self.workers:
            process.must_run()
        return sum(beat.with_name(f"{beat.name}.ready").exists() for _, beat in self.workers)


@dataclass
class Result:
    """`replicas`: their number at each decision, from the burst on. `latencies`: seconds of the live events, by the time of their
    receipt. Times in seconds."""

    events: int
    priority: str
    replicas: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    stored: float = 0.0
    drained: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        ordered = sorted(self.latencies)
        return {
            "events": self.events,
            "priority": self.priority,
            "stored_s": round(self.stored, 1),
            "drained_s": round(self.drained, 1),
            "most_workers": max(self.replicas),
            "last_workers": self.replicas[-1],
            "direction_changes": turns(self.replicas),
            "largest_metric_s": round(max(self.values), 1),
            "live_events": len(ordered),
            "live_p50_s": round(median(ordered), 3),
            "live_p99_s": round(ordered[int(len(ordered) * 0.99)], 3),
            "live_max_s": round(ordered[-1], 3),
        }


def metric(exposition: str) -> float | None:
    """The value of the manifest's query: the oldest due lane of the destinations that are open. None without such a series."""
    due: dict[str, float] = {}
    is_open: dict[str, float] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == "relay_oldest_due_seconds":
                due[sample.labels["destination"]] = sample.value
            elif sample.name == "relay_destination_open":
                is_open[sample.labels["destination"]] = sample.value
    return max((value * is_open[name] for name, value in due.items() if name in is_open), default=None)


async def run(
    place: Stage, events: int, *, backfill: bool, least: int = 1, most: int = 8, calm: float = CALM
) -> Result:
    """One burst, until the fleet is as small as before, or LONGEST seconds have passed. Raises StageError."""
    result = Result(events, "backfill" if backfill else "live")
    database_url = await asyncio.to_thread(place.database)
    scaler = Autoscaler.from_manifest(least=least, most=most)
    place.platform.reset()
    place.delay(DELAY)
    with ExitStack() as stack:
        address, _ = stack.enter_context(place.web(["platform_relay.cli", "web"], database_url))
        fleet = Fleet(place, database_url)
        stack.callback(fleet.scale, 0)
        fleet.scale(least)
        await asyncio.to_thread(until, lambda: fleet.ready() == least, 120, "the first workers are not ready", 0.1)
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as client:
            sent: dict[str, float] = {}
            trickle = asyncio.create_task(_trickle(client, next(place.series), sent))
            try:
                await asyncio.sleep(calm)
                await _drive(place, client, fleet, scaler, result, database_url)
                await asyncio.sleep(calm)
            finally:
                trickle.cancel()
                await asyncio.gather(trickle, return_exceptions=True)
        result.latencies = _latencies(place, sent)
    return result


async def _drive(
    place: Stage, client: httpx.AsyncClient, fleet: Fleet, scaler: Autoscaler, result: Result, database_url: str
) -> None:
    """Store the burst, and decide about the fleet until it is delivered and the fleet is as small as before. `drained` stays 0
    if it is not delivered within LONGEST seconds."""
    started = time.monotonic()
    arguments = [database_url, str(result.events), str(next(place.series)), result.priority]
    with place.python("burst", ["benchmarks.burst", *arguments], {}) as burst:
        least = len(fleet.workers)
        while time.monotonic() - started < LONGEST:
            await asyncio.sleep(SYNC_PERIOD / RATIO)
            value = metric((await client.get("/metrics")).text)
            now = time.monotonic()
            current = len(fleet.workers)
            replicas = scaler.desired((now - started) * RATIO, current, fleet.ready(), value)
            await asyncio.to_thread(fleet.scale, replicas)
            result.replicas.append(replicas)
            result.values.append(value or 0.0)
            print(f"{now - started:6.1f} s  {value or 0:6.1f} s due  {replicas} workers", file=sys.stderr, flush=True)
            if not result.stored and burst.ended():
                burst.finish(1)
                result.stored = now - started
            if result.stored and not result.drained and not await asyncio.to_thread(_open, place, database_url):
                result.drained = now - started
            if result.drained and replicas <= least:
                return


def _open(place: Stage, database_url: str) -> bool:
    """Whether more is open than a live event that is on its way."""
    query = OPEN.replace("SELECT 1", "SELECT count(*) AS open").replace(" LIMIT 1", "")
    return int(place.sql(database_url, query)[0]["open"]) > 2  # two arrive each second


async def _trickle(client: httpx.AsyncClient, series: int, sent: dict[str, float]) -> None:
    """A new customer every TRICKLE seconds. `sent`: when each was acknowledged, in monotonic seconds."""
    number = 0
    while True:
        identifier = bodies.entity_id(series, number)
        number += 1
        response = await client.post(
            EVENT,
            content=bodies.customer(400, identifier),
            headers={"authorization": f"Bearer {STORE_KEY}", "content-type": "application/json"},
        )
        if response.is_success:
            sent[identifier] = time.monotonic()
        await asyncio.sleep(TRICKLE)


def _latencies(place: Stage, sent: dict[str, float]) -> list[float]:
    """From the receipt to the first PUT at the Platform. Raises StageError for an event that did not come, unless it is the
    last."""
    arrived: dict[str, float] = {}
    since = 0
    while entries := place.platform.ledger(since=since, limit=PAGE_SIZE, body=0):
        since += len(entries)
        for entry in entries:
            arrived.setdefault(str(entry["entity"]).rpartition(":")[2], float(entry["at"]))
    missing = sorted(sent.keys() - arrived.keys())
    if missing and missing != [max(sent)]:
        raise StageError(f"the live event {missing[0]} did not arrive at the Platform")
    return [max(0.0, arrived[identifier] - at) for identifier, at in sent.items() if identifier in arrived]


def lines(summary: dict[str, object], on: str) -> str:
    """The paragraph of docs/scaling.md."""
    return (
        f"Last run: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {on}. {summary['events']:,} events ({summary['priority']}) in a"
        f" burst of {summary['stored_s']} s, a Platform that takes 50 ms, a concurrency of {CONCURRENCY}: 1 to"
        f" {summary['most_workers']} workers, delivered after {summary['drained_s']} s, {summary['direction_changes']} change of"
        f" direction. {summary['live_events']} live events meanwhile: median {summary['live_p50_s']} s, 99th percentile"
        f" {summary['live_p99_s']} s, longest {summary['live_max_s']} s. The scaler's periods were {RATIO:g} times shorter than in"
        " Kubernetes."
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.autoscaling", description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--live", action="store_true", help="the burst has the priority of live events")
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/scaling.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with stage(NORMAL) as place:
        result = asyncio.run(run(place, options.events, backfill=not options.live))
    summary = result.summary()
    if options.write_docs:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{lines(summary, machine())}\n{END}{rest.split(END)[1]}")
    print(json.dumps(summary))
    steady = result.drained > 0 and turns(result.replicas) <= 1
    return 0 if steady and (options.live or max(result.latencies) < LIMIT) else 1


if __name__ == "__main__":
    sys.exit(main())
