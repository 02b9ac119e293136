"""Another session holds a snapshot open for minutes, so that nothing dead can be cleaned away: the last minute's
throughput beside the one before."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final

import asyncpg

from benchmarks.drain import Relay
from benchmarks.load import Load
from benchmarks.results import Detail, Result, lowest
from benchmarks.stage import Stage, StageError

CONNECTIONS: Final = 4


def run(stage: Stage) -> list[Result]:
    scale = stage.scale
    relay = Relay(stage.database())
    size = scale.sizes[0]
    relay.drain(stage, scale.jobs, size)
    before = [relay.drain(stage, scale.jobs, size) for _ in range(scale.rounds)]
    with _snapshot(relay.database_url):
        _work_for(stage, relay.database_url, 60 * (scale.snapshot_minutes - min(1.0, scale.snapshot_minutes / 10)))
        after = [relay.drain(stage, scale.jobs, size) for _ in range(scale.rounds)]
    shown = {"before /s": round(median(before)), "held /s": round(median(after))}
    variant = f"{scale.snapshot_minutes:g} minutes at {scale.load_rate:g} events per second"
    return [lowest("relay_held_snapshot", [Detail(variant, median(after) / median(before), shown)])]


def _work_for(stage: Stage, database_url: str, seconds: float) -> None:
    """Web, worker and a steady load for so long."""
    with stage.web(["app.cli", "web"], database_url) as (url, _), stage.relay("worker", database_url):
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
            await connection.fetchval("SELECT count(*) FROM channel")
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
