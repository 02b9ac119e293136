"""What one event costs: processor time of the worker beside a bare call's, of PostgreSQL, and WAL.

The worker starts while its destination is paused, so that its start is not part of the figures.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Final

from benchmarks.contenders.task import Task
from benchmarks.drain import OPEN, PATIENCE, prepare
from benchmarks.results import Detail, Result, highest_of
from benchmarks.stage import Stage, until
from benchmarks.usage import postgres_pid, processor_seconds, wal_bytes

CONNECTED: Final = (
    "SELECT count(*) AS sessions FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
IDLE_SECONDS: Final = 1.0
"""A worker that uses less than IDLE_SHARE of a core for so long has started."""
IDLE_SHARE: Final = 0.1


def run(stage: Stage) -> list[Result]:
    ratios, postgres, wal = [], [], []
    url = stage.database()
    for size in stage.scale.sizes:
        rounds = []
        measures = [partial(_relayed, stage, url, size), partial(_bare, stage, size)]
        for _ in range(stage.scale.few_rounds):
            rounds.append({name: value for measure in measures for name, value in measure().items()})
            measures.reverse()
        middle = {name: median(figures[name] for figures in rounds) for name in rounds[0]}
        shown = {name: round(value) for name, value in middle.items()}
        name = f"{size / 1000:g} KB"
        ratios.append(Detail(name, median(f["worker µs"] / f["aiohttp µs"] for f in rounds), shown))
        postgres.append(Detail(name, middle["PostgreSQL µs"], {"accepting it µs": shown["accepting µs"]}))
        parts = {"accepting": shown["accepting WAL"], "relaying": shown["relaying WAL"]}
        wal.append(Detail(name, middle["accepting WAL"] + middle["relaying WAL"], parts))
    return [
        highest_of("relay_cpu_ratio", ratios),
        highest_of("postgres_cpu_us", postgres, "to relay an event; to accept it comes on top"),
        highest_of("wal_bytes", wal, "to accept and relay an event; no checkpoint in between"),
    ]


def _relayed(stage: Stage, url: str, size: int) -> dict[str, float]:
    """Per event: of the worker and of PostgreSQL in microseconds, of WAL in bytes."""
    jobs = stage.scale.jobs
    stage.sql(url, "UPDATE destination SET state = 'paused' WHERE name = 'platform'")
    server = postgres_pid(stage)
    task = Task(url, stage.platform.url, "", jobs, size, next(stage.series))
    before = processor_seconds(server), wal_bytes(stage)
    prepare(stage, "relay", task)
    accepted = processor_seconds(server), wal_bytes(stage)
    stage.platform.reset()
    stage.delay(0.0)
    with stage.relay("worker", url) as worker:
        until(lambda: stage.sql(url, CONNECTED)[0]["sessions"] > 0, PATIENCE, "the worker does not connect")
        until(_idle(worker.pid), PATIENCE, "the worker's start does not end", 0.1)
        began = (
            processor_seconds(worker.pid),
            processor_seconds(server),
            wal_bytes(stage),
            processor_seconds(stage.platform.pid),
        )
        stage.sql(url, "UPDATE destination SET state = 'open' WHERE name = 'platform'")
        until(lambda: not stage.sql(url, OPEN), PATIENCE, "not all events are delivered and settled", 0.05)
        ended = (
            processor_seconds(worker.pid),
            processor_seconds(server),
            wal_bytes(stage),
            processor_seconds(stage.platform.pid),
        )
    used = [(after - before) / jobs for before, after in zip(began, ended, strict=True)]
    return {
        "worker µs": 1e6 * used[0],
        "PostgreSQL µs": 1e6 * used[1],
        "simulator µs": 1e6 * used[3],
        "accepting µs": 1e6 * (accepted[0] - before[0]) / jobs,
        "accepting WAL": (accepted[1] - before[1]) / jobs,
        "relaying WAL": used[2],
    }


def _idle(pid: int) -> Callable[[], bool]:
    """Whether the process has used next to nothing for IDLE_SECONDS."""
    readings = [(time.monotonic(), processor_seconds(pid))]

    def idle() -> bool:
        now, used = time.monotonic(), processor_seconds(pid)
        since, before = readings[0]
        if used - before > IDLE_SHARE * IDLE_SECONDS:
            readings[0] = now, used
            return False
        return now - since >= IDLE_SECONDS

    return idle


def _bare(stage: Stage, size: int) -> dict[str, float]:
    """The processor time of one call of aiohttp alone, in microseconds."""
    stage.platform.reset()
    task = Task("", stage.platform.url, "", stage.scale.jobs, size, next(stage.series))
    with stage.python("bare_aiohttp", ["benchmarks.contenders.bare_aiohttp", "work"], task.environment()) as process:
        process.finish(PATIENCE)
        used = json.loads(process.said().splitlines()[-1])
    return {"aiohttp µs": 1e6 * used["processor_seconds"] / task.jobs}
