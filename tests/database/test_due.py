"""The look for due work: it finds what a claim could take, and what may have to be probed."""

import asyncio
from contextlib import suppress

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import create_engine
from platform_relay.queue.due import LONGEST_PAUSE, due_destinations, pause_after, watch_due
from tests.helpers import eventually

from .engine_room import accept, claim, customer, order, rows, run, settle
from .test_queue import DONE

ALL = ["platform", "store"]


async def test_nothing_is_due_without_work(engine: AsyncEngine) -> None:
    assert (await due_destinations(engine, ALL)).destinations == []
    await accept(engine, order("1"))
    await settle(engine, await claim(engine), DONE)
    assert (await due_destinations(engine, ALL)).destinations == []


@pytest.mark.parametrize("backfill", [False, True])
async def test_waiting_work_is_due_for_its_destination(engine: AsyncEngine, backfill: bool) -> None:
    await accept(engine, customer("1", backfill=backfill))
    assert (await due_destinations(engine, ALL)).destinations == ["platform"]
    await claim(engine, priority=int(backfill))
    assert (await due_destinations(engine, ALL)).destinations == [], "another worker has it"


async def test_work_for_later_becomes_due_with_time(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    await run(engine, "UPDATE lane SET run_at = now() + interval '1 hour'")
    assert (await due_destinations(engine, ALL)).destinations == []
    await run(engine, "UPDATE lane SET run_at = now() - interval '1 ms'")
    assert (await due_destinations(engine, ALL)).destinations == ["platform"]


async def test_the_work_of_a_worker_that_was_killed_becomes_due(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    await claim(engine)
    await run(engine, "UPDATE lane SET lease_until = now() - interval '1 ms'")
    assert (await due_destinations(engine, ALL)).destinations == ["platform"]


@pytest.mark.parametrize("state", ["paused", "blocked", "tripped"])
async def test_a_destination_that_is_not_open_may_have_to_be_probed(engine: AsyncEngine, state: str) -> None:
    await run(engine, "UPDATE destination SET state = :state WHERE name = 'store'", state=state)
    assert (await due_destinations(engine, ALL)).destinations == ["store"]


async def test_the_watch_wakes_the_loops_with_due_work(engine: AsyncEngine) -> None:
    woken: list[str] = []
    watching = asyncio.create_task(watch_due(engine, ALL, woken.append, every=0.01))
    try:
        await accept(engine, order("1"))
        await eventually(lambda: "platform" in woken)
        assert set(woken) == {"platform"}
        await run(engine, "ALTER TABLE lane RENAME TO lane_away")
        await eventually(lambda: "store" in woken)
        await run(engine, "ALTER TABLE lane_away RENAME TO lane")
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def test_what_a_look_waits_for_is_no_cost_of_it(engine: AsyncEngine) -> None:
    """On a busy machine a connection takes long. Then work would be found late that no notification announces."""
    crowded = create_engine(engine.url.render_as_string(hide_password=False), application_name="tests", pool_size=1)
    try:
        async with crowded.connect():
            looking = asyncio.create_task(due_destinations(crowded, ALL))
            await rows(engine, "SELECT pg_sleep(1)")
        assert (await looking).seconds < 0.5
    finally:
        await crowded.dispose()


def test_a_look_that_waited_for_its_server_is_soon_followed_by_another() -> None:
    assert pause_after(0.001, 0.5) == 0.5
    assert pause_after(0.1, 0.5) == 2.5
    assert pause_after(8.0, 0.5) == LONGEST_PAUSE
