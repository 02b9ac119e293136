"""Another session holds a snapshot open for minutes, so that nothing dead can be cleaned away: the last minute's
throughput beside the one before, and beside that of a database without such a session in the same minute.

A snapshot holds back its own database only. Minutes of load leave a machine slower than it was, whatever is measured: the
second database, measured in turns with the first, tells that apart."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Final

import asyncpg

from benchmarks.drain import Relay
from benchmarks.figures import interleaved, rates, ratio
from benchmarks.load import Load
from benchmarks.results import Detail, Result, lowest
from benchmarks.stage import Stage, StageError

CONNECTIONS: Final = 4


def run(stage: Stage) -> list[Result]:
    scale = stage.scale
    relay, free = Relay(stage.database()), Relay(stage.database())
    drained = {
        name: partial(each.drain, stage, scale.jobs, scale.sizes[0]) for name, each in (("held", relay), ("free", free))
    }
    for drain in drained.values():
        drain()
    before = [drained["held"]() for _ in range(scale.rounds)]
    with _snapshot(relay.database_url):
        _work_for(stage, relay.database_url, 60 * (scale.snapshot_minutes - min(1.0, scale.snapshot_minutes / 10)))
        after = interleaved(scale.rounds, drained)
    shown = {"before /s": round(median(before)), **rates(after)}
    variant = f"{scale.snapshot_minutes:g} minutes at {scale.load_rate:g} events per second"
    details = [
        Detail(f"{variant}, beside the minute before", median(after["held"]) / median(before), shown),
        Detail(f"{variant}, beside a database free of it", ratio(after["held"], after["free"]), shown),
    ]
    return [lowest("relay_held_snapshot", details)]


def _work_for(stage: Stage, database_url: str, seconds: float) -> None:
    """Web, worker and a steady load for so long."""
    with stage.web(["platform_relay.cli", "web"], database_url) as (url, _), stage.relay("worker", database_url):
        size = stage.scale.sizes[0]
        Load(url, next(stage.series), CONNECTIONS, seconds, size, rate=stage.scale.load_rate).run()


@contextmanager
def _snapshot(database_url: str) -> Iterator[None]:
    """A session with an open transaction that has seen something. Raises StageError when it was lost."""
    taken, release = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    async def hold() -> None:
        connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("SELECT count(*) FROM destination")
            taken.set()
            await asyncio.to_thread(release.wait)
            await connection.fetchval("SELECT 1")
        await connection.close()

    def session() -> None:
        try:
            asyncio.run(hold())
        except (asyncpg.PostgresError, OSError) as error:
            failed.append(error)
            taken.set()

    thread = threading.Thread(target=session)
    thread.start()
    taken.wait()
    try:
        yield
    finally:
        release.set()
        thread.join()
    if failed:
        raise StageError(f"the snapshot was lost: {failed[0]!r}")
