"""Hints between processes: they arrive, they come back after a cut, and nothing breaks without them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import PUBLIC, create_engine, parse_url
from platform_relay.queue.notifications import Notifier, listen
from tests.database.engine_room import rows
from tests.helpers import eventually, free_port

TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'relay listen' AND datname = :name"
)


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[list[str]]:
    heard: list[str] = []
    task = asyncio.create_task(listen(parse_url(url), PUBLIC, heard.append, pause=0.02))
    try:
        yield heard
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_hint_arrives_and_a_new_connection_is_one_for_all_channels(
    engine: AsyncEngine, database_url: str
) -> None:
    notifier = Notifier(engine)
    async with listening(database_url) as heard:
        await eventually(lambda: heard == [""])
        notifier.notify(["platform"])
        await eventually(lambda: heard == ["", "platform"])
        notifier.notify(["store"])
        notifier.notify(["platform", "store"])
        await eventually(lambda: heard == ["", "platform", "platform", "store"])
    await notifier.aclose()


async def test_what_is_said_during_a_hint_shares_the_next(engine: AsyncEngine, database_url: str) -> None:
    notifier = Notifier(engine)
    async with listening(database_url) as heard:
        await eventually(lambda: heard == [""])
        for _ in range(50):
            notifier.notify(["platform"])
            await asyncio.sleep(0)
        await notifier.aclose()
        await eventually(lambda: heard.count("platform") >= 1)
        assert heard.count("platform") < 10


async def test_after_a_cut_it_listens_again_and_counts_that_as_a_hint(engine: AsyncEngine, database_url: str) -> None:
    notifier = Notifier(engine)
    async with listening(database_url) as heard:
        await eventually(lambda: heard == [""])
        await rows(engine, TERMINATE, name=parse_url(database_url).database)
        await eventually(lambda: heard == ["", ""])
        notifier.notify(["platform"])
        await eventually(lambda: heard == ["", "", "platform"])
    await notifier.aclose()


async def test_without_a_database_nobody_is_told_and_nothing_breaks() -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    engine = create_engine(url, application_name="tests")
    notifier = Notifier(engine)
    async with listening(url) as heard:
        notifier.notify(["platform"])
        await notifier.aclose()
        notifier.notify(["platform"])
        await notifier.aclose()
        assert heard == []
    await engine.dispose()


async def test_nobody_waits_for_a_hint_that_does_not_get_through(engine: AsyncEngine) -> None:
    notifier = Notifier(engine)
    await notifier.aclose()  # never used
    pool = [await engine.connect() for _ in range(10)]
    try:
        notifier.notify(["platform"])
        await asyncio.wait_for(notifier.aclose(), 4)
    finally:
        for connection in pool:
            await connection.close()


@pytest.mark.parametrize("failure", [OSError("gone"), TimeoutError()])
async def test_a_step_that_fails_is_tried_again_next_time(failure: Exception) -> None:
    from platform_relay.queue.maintenance import run_periodically  # noqa: PLC0415

    tries: list[int] = []

    async def step() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise failure

    task = asyncio.create_task(run_periodically("a step", 0.01, step))
    await eventually(lambda: len(tries) > 4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
