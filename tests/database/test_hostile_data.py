"""What the fuzz found: data that a database driver or a comparison chokes on must not stop a destination."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.outcomes import Evidence
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.inbox.messages import Incoming, incoming
from platform_relay.queue.loop import Loop, LoopSettings
from platform_relay.queue.queue import Queue, Settlement
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.runner import Runner
from platform_relay.queue.states import Again, Park, dead, done

from .engine_room import accept, claim, order, rows, settle, states

POLICY = RetryPolicy()
RUNNER = Runner({}, POLICY, time_limit=1, longest_wait=1e9, random=lambda: 0.0)
NASTY = "half \ud800 of a pair, and \x00"


def order_of(moment: str) -> Incoming:
    raw = f'{{"id":"1","financialStatus":"paid","currency":"EUR","totalPrice":"1","updatedAt":"{moment}"}}'.encode()
    return incoming(EVENTS[EventKind.ORDER].parse(raw), raw, message_id=moment)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
async def test_the_first_and_the_last_moment_come_back_with_their_zone(engine: AsyncEngine, moment: str) -> None:
    await accept(engine, order_of(moment), order_of("2026-01-01T00:00:00Z"))
    [first] = await claim(engine)
    await settle(engine, [first], done({}, b"digest", ()))
    [second] = await claim(engine)
    if moment.startswith("9999"):  # a version in the future is taken without its time
        assert second.delivered_version is None
    else:
        assert second.delivered_version is not None
        assert second.delivered_version.tzinfo is not None
    settlement, _ = await RUNNER.run(second)
    await Queue(engine, "platform").settle([settlement])
    assert sum((await states(engine)).values()) == 2


async def test_a_job_that_cannot_be_decided_crashes_alone(engine: AsyncEngine) -> None:
    """Rows of earlier releases may hold an infinity, which the driver reads without a zone."""
    await accept(engine, order("1", 1))
    [job] = await claim(engine)
    settlement, _ = await RUNNER.run(replace(job, delivered_version=datetime(9999, 12, 31)))  # noqa: DTZ001  # that is it
    assert settlement.outcome == "crashed"
    await Queue(engine, "platform").settle([settlement])
    assert await rows(engine, "SELECT outcome FROM attempt") == [("crashed",)]


async def test_a_far_sides_unstorable_words_do_not_stop_the_destination(engine: AsyncEngine) -> None:
    await accept(engine, *(order(str(number)) for number in range(4)))
    rejected, again, delivered, parked = sorted(await claim(engine), key=lambda job: job.lane)
    queue = Queue(engine, "platform")
    evidence = Evidence(400, NASTY)
    differences: JsonValue = [{"field": NASTY, "actual": float("nan"), "expected": 5}]
    nasty = because(ReasonCode.REJECTED_BY_DESTINATION, response=NASTY, differences=differences)
    await queue.settle(
        [
            Settlement(rejected, dead("rejected", nasty), "reject", nasty, evidence),
            Settlement(again, Again(60.0, nasty, False, "retry"), "retry", nasty, evidence),
            Settlement(delivered, done({"store_id": NASTY}, b"digest", ()), "done", None, evidence),
            Settlement(parked, Park("reward-rule:1", nasty, False, 60.0), "wait", nasty, evidence),
        ]
    )
    clean = "half ? of a pair, and \ufffd"
    kept = {"response": clean.replace("?", "\ufffd"), "differences": [{"field": clean, "actual": "nan", "expected": 5}]}
    assert await rows(engine, "SELECT DISTINCT facts FROM job WHERE reason_code IS NOT NULL") == [(kept,)]
    assert await rows(engine, "SELECT DISTINCT facts FROM attempt WHERE reason_code IS NOT NULL") == [(kept,)]
    assert (await states(engine))["dead"] == 1


async def test_a_loop_of_which_a_part_died_ends_even_while_it_is_woken(engine: AsyncEngine) -> None:
    """asyncio.wait_for of Python 3.11 loses a cancellation that meets a wake-up, and the claimer continued alone."""

    class NoRoom:
        def allowance(self, _room: int, _in_hand: int) -> int:
            return 0

    guard: Any = NoRoom()  # it has the one method that is called
    observer: Any = None
    settings = LoopSettings(concurrency=1, poll_interval=60.0)
    loop = Loop(Queue(engine, "platform"), guard, RUNNER, settings, observer)
    claimer = asyncio.create_task(loop._claim_all())  # noqa: SLF001  # the part that did not end
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    loop.wake()
    await asyncio.sleep(0)  # the wake-up is delivered, the claimer has not seen it
    claimer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(claimer, 5)


def test_the_bounds_are_the_drivers() -> None:
    first, last = (EVENTS[EventKind.PRODUCT].parse(f'{{"id":1,"updatedAt":"{moment}"}}'.encode()).updatedAt for moment in (
        "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"))  # fmt: skip
    assert first is not None
    assert last is not None
    assert datetime.min.replace(tzinfo=UTC) < first
    assert last < datetime.max.replace(tzinfo=UTC)
