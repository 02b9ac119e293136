"""The rate limiter and the circuit breaker, as several workers share them through the destination's row."""

import asyncio
import time
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import create_engine
from platform_relay.core.outcomes import Blocked, Done, Evidence, Reject, Retry, Skip
from platform_relay.queue.decide import Interrupted, Verdict
from platform_relay.queue.destination_guard import DestinationGuard
from platform_relay.queue.destinations import DestinationStates
from tests.database.engine_room import accept, claim, order, rows, run
from tests.helpers import free_port
from tests.reasons import HTTP_400, HTTP_401, HTTP_403, HTTP_429, HTTP_503, UNCHANGED
from tests.unit.test_decide import JOB


def guard(engine: AsyncEngine, rate: float | None = None) -> DestinationGuard:
    return DestinationGuard("platform", DestinationStates(engine), rate)


@pytest.mark.parametrize("rate", [20.0, 100.0])
async def test_replicas_keep_the_rate_over_any_sliding_second_and_use_it(engine: AsyncEngine, rate: float) -> None:
    calls: list[float] = []

    async def caller(worker: DestinationGuard) -> None:
        while time.monotonic() < until:
            await worker.acquire()
            calls.append(time.monotonic())

    workers = [guard(engine, rate) for _ in range(3)]
    began, seconds = time.monotonic(), 3.0
    until = began + seconds
    await asyncio.gather(*(caller(worker) for worker in workers for _ in range(4)))
    calls.sort()
    # Counted by the reservations, which the workers decide; on a busy machine some calls are late.
    assert len(calls) <= rate * (calls[-1] - calls[0]) + 2
    assert len(calls) >= 0.8 * rate * seconds


async def test_without_a_limit_no_call_waits(engine: AsyncEngine) -> None:
    worker = guard(engine)
    began = time.monotonic()
    for _ in range(1000):
        await worker.acquire()
    assert time.monotonic() - began < 1
    assert worker.allowance(50, 10) == 50


async def test_a_rate_bounds_what_is_held_so_that_live_work_overtakes(engine: AsyncEngine) -> None:
    worker = guard(engine, 10.0)
    assert worker.allowance(100, 0) == 11
    assert worker.allowance(100, 11) == 0


async def test_a_429_slows_all_replicas_and_the_rate_is_restored(engine: AsyncEngine) -> None:
    one, other = guard(engine, 100.0), guard(engine, 100.0)
    await one.back_off(0.5)
    await other.refresh()
    assert (other.limiter.limit or 0) < 100
    assert (await DestinationStates(engine).reserve("platform", 1, 0.01, 20.0)) > 0.3
    await run(
        engine,
        "UPDATE destination SET rate_limited_at = now() - interval '5 seconds', rate_limit = 99 WHERE name = 'platform'",
    )
    await guard(engine, 100.0).refresh()
    assert await rows(engine, "SELECT rate_limit FROM destination WHERE name = 'platform'") == [(None,)]


async def test_a_call_too_far_away_is_not_reserved_and_does_not_count_as_a_failure(engine: AsyncEngine) -> None:
    worker, other = guard(engine, 10.0), guard(engine, 10.0)
    await worker.back_off(120.0)
    waits = [await other.acquire() for _ in range(20)]
    # a call that asks in vain does not delay the others further
    assert all(wait is not None and 100 < wait <= 120 for wait in waits)
    for number in range(30):
        await other.breaker.record(replace(JOB, lane=f"order:{number}"), Retry(HTTP_429, 110.0))
    assert await rows(engine, "SELECT state FROM destination WHERE name = 'platform'") == [("open",)]


async def test_a_slow_rate_holds_one_job_at_a_time(engine: AsyncEngine) -> None:
    assert guard(engine, 0.5).allowance(100, 0) == 1


async def test_without_its_database_nothing_is_called(engine: AsyncEngine) -> None:
    nowhere = create_engine(f"postgresql://nobody@127.0.0.1:{free_port()}/none", application_name="test", pool_size=1)
    assert await guard(nowhere, 10.0).acquire() is not None
    await nowhere.dispose()


async def test_a_refused_key_closes_the_destination_for_all_and_one_probe_opens_it(engine: AsyncEngine) -> None:
    await accept(engine, order("1"), order("2"))
    worker, other = guard(engine), guard(engine)
    await worker.breaker.record(JOB, Blocked(HTTP_401))
    assert await claim(engine) == []
    assert not await other.breaker.may_probe(30.0)
    await run(engine, "UPDATE destination SET retry_at = now() WHERE name = 'platform'")
    assert [await other.breaker.may_probe(30.0), await worker.breaker.may_probe(30.0)] == [True, False]
    other.breaker.start_probe(JOB)
    assert other.allowance(50, 1) == 0
    await other.breaker.record(replace(JOB, lane="order:99"), Done())
    assert (await rows(engine, "SELECT state FROM destination WHERE name = 'platform'")) == [("blocked",)]
    await other.breaker.record(JOB, Done())
    assert (await rows(engine, "SELECT state FROM destination WHERE name = 'platform'")) == [("open",)]


async def test_a_failed_probe_lengthens_the_pause(engine: AsyncEngine) -> None:
    worker = guard(engine)
    await worker.breaker.record(JOB, Blocked(HTTP_401))
    pause = "SELECT extract(epoch FROM retry_at - now()) > :least FROM destination WHERE name = 'platform'"
    for least in (0.5, 1.5, 3.5):
        assert await rows(engine, pause, least=least) == [(True,)]
        worker.breaker.start_probe(JOB)
        await worker.breaker.record(JOB, Blocked(HTTP_401))


async def test_a_paused_destination_stays_paused_whatever_happens(engine: AsyncEngine) -> None:
    await run(engine, "UPDATE destination SET state = 'paused' WHERE name = 'platform'")
    worker = guard(engine)
    await worker.breaker.record(JOB, Blocked(HTTP_401))
    worker.breaker.start_probe(JOB)
    await worker.breaker.record(JOB, Done())
    assert (await rows(engine, "SELECT state FROM destination WHERE name = 'platform'")) == [("paused",)]


@pytest.mark.parametrize("verdict", [None, Skip(UNCHANGED), Reject(HTTP_400), Interrupted(sent=False)])
async def test_after_a_probe_without_a_call_another_job_may_probe(engine: AsyncEngine, verdict: Verdict | None) -> None:
    await accept(engine, order("1"))
    worker = guard(engine)
    await worker.breaker.record(JOB, Blocked(HTTP_401))
    await run(engine, "UPDATE destination SET retry_at = now() WHERE name = 'platform'")
    assert await worker.breaker.may_probe(30.0)
    worker.breaker.start_probe(JOB)
    await worker.breaker.record(JOB, verdict)
    assert worker.allowance(50, 0) == 50
    assert (await rows(engine, "SELECT state FROM destination WHERE name = 'platform'")) == [("blocked",)]
    assert await worker.breaker.may_probe(30.0)


async def test_an_outage_trips_the_destination_and_its_end_opens_it(engine: AsyncEngine) -> None:
    worker = guard(engine)
    for number in range(8):
        await worker.breaker.record(replace(JOB, lane=f"order:{number}"), Retry(HTTP_503, None, Evidence(503)))
    assert (await rows(engine, "SELECT state, reason_code, facts FROM destination WHERE name = 'platform'")) == [
        ("tripped", "server_error", dict(HTTP_503.facts))
    ]
    worker.breaker.start_probe(JOB)
    await worker.breaker.record(JOB, Done())
    assert (await rows(engine, "SELECT state FROM destination WHERE name = 'platform'")) == [("open",)]


async def test_a_lowered_rate_grows_by_a_tenth_a_second_until_the_rate_is_reached(engine: AsyncEngine) -> None:
    rate_limit = "SELECT rate_limit FROM destination WHERE name = 'platform'"
    await run(
        engine,
        "UPDATE destination SET rate_limited_at = now() - interval '9 seconds', rate_limit = 10 WHERE name = 'platform'",
    )
    worker = guard(engine, 100.0)
    await worker.refresh()
    assert worker.limiter.limit == pytest.approx(12.1), "two seconds' growth, however long ago the last look was"
    assert await rows(engine, rate_limit) == [(pytest.approx(12.1),)]
    await worker.refresh()
    assert await rows(engine, rate_limit) == [(pytest.approx(12.1),)], "the row is read once a second only"


async def test_a_rate_does_not_grow_in_the_second_after_a_429(engine: AsyncEngine) -> None:
    await run(engine, "UPDATE destination SET rate_limited_at = now(), rate_limit = 10 WHERE name = 'platform'")
    worker = guard(engine, 100.0)
    await worker.refresh()
    assert worker.limiter.limit == 10


async def test_many_429s_at_once_lower_the_rate_once(engine: AsyncEngine) -> None:
    await guard(engine, 100.0).back_off(0.0)
    await run(
        engine, "UPDATE destination SET rate_limited_at = now() + interval '1 hour'"
    )  # still less than a second ago
    for _ in range(4):
        await guard(engine, 100.0).back_off(0.0)
    assert await rows(engine, "SELECT rate_limit FROM destination WHERE name = 'platform'") == [(0.5,)]


async def test_many_429s_of_one_worker_lower_its_rate_once(engine: AsyncEngine) -> None:
    worker = guard(engine)
    await run(engine, "UPDATE destination SET rate_limit = 40 WHERE name = 'platform'")
    await worker.refresh()
    await worker.back_off(0.0)
    await run(
        engine, "UPDATE destination SET rate_limited_at = now() + interval '1 hour'"
    )  # still less than a second ago
    await asyncio.gather(*(worker.back_off(0.0) for _ in range(10)))
    assert worker.limiter.limit == 20
    assert await rows(engine, "SELECT rate_limit FROM destination WHERE name = 'platform'") == [(20,)]


async def test_a_429_does_not_raise_a_rate_that_another_worker_lowered(engine: AsyncEngine) -> None:
    worker = guard(engine)
    await run(engine, "UPDATE destination SET rate_limit = 40 WHERE name = 'platform'")
    await worker.refresh()
    await run(engine, "UPDATE destination SET rate_limit = 5 WHERE name = 'platform'")
    await worker.back_off(0.0)
    assert worker.limiter.limit == 5


async def test_the_first_429_halves_what_was_called_within_the_last_second(engine: AsyncEngine) -> None:
    worker = guard(engine)
    await worker.acquire()  # reads the destination's row, which may take long
    for _ in range(39):
        await worker.acquire()
    await worker.back_off(0.0)
    assert worker.limiter.limit in (19.5, 20.0)


@pytest.mark.parametrize(("asked", "pause"), [(7.0, 7.0), (1e9, 300.0), (-5.0, 0.0)])
async def test_retry_after_pauses_all_calls_within_bounds(engine: AsyncEngine, asked: float, pause: float) -> None:
    await guard(engine, 10.0).back_off(asked)
    paused = "SELECT CAST(extract(epoch FROM next_call_at - rate_limited_at) AS float8) FROM destination WHERE name = 'platform'"
    assert await rows(engine, paused) == [(pytest.approx(pause),)]


async def test_rejected_data_closes_nothing(engine: AsyncEngine) -> None:
    worker = guard(engine)
    for number in range(50):
        await worker.breaker.record(replace(JOB, lane=f"order:{number}"), Reject(HTTP_400, Evidence(400)))
    assert await rows(engine, "SELECT state FROM destination WHERE name = 'platform'") == [("open",)]


async def test_a_probe_whose_data_is_rejected_opens_the_destination(engine: AsyncEngine) -> None:
    """The destination is available and understood the request."""
    worker = guard(engine)
    await worker.breaker.record(JOB, Blocked(HTTP_401))
    worker.breaker.start_probe(JOB)
    await worker.breaker.record(JOB, Reject(HTTP_400, Evidence(400)))
    assert await rows(engine, "SELECT state, failures FROM destination WHERE name = 'platform'") == [("open", 0)]


async def test_a_destination_closed_by_one_worker_is_closed_for_the_other_at_once(engine: AsyncEngine) -> None:
    """A claim reads the destination's row in the same statement."""
    await accept(engine, order("1"))
    await guard(engine).breaker.record(JOB, Blocked(HTTP_401))
    assert await claim(engine) == []


async def test_a_worker_does_not_close_a_destination_that_it_knows_to_be_closed(engine: AsyncEngine) -> None:
    worker = guard(engine)
    for _ in range(5):
        await worker.breaker.record(JOB, Blocked(HTTP_401))
    assert await rows(engine, "SELECT state, failures FROM destination WHERE name = 'platform'") == [("blocked", 1)]


async def test_after_a_successful_probe_this_worker_can_close_again(engine: AsyncEngine) -> None:
    worker = guard(engine)
    await worker.breaker.record(JOB, Blocked(HTTP_401))
    worker.breaker.start_probe(JOB)
    await worker.breaker.record(JOB, Done())
    await worker.breaker.record(JOB, Blocked(HTTP_403))
    assert await rows(engine, "SELECT state, reason_code, facts FROM destination WHERE name = 'platform'") == [
        ("blocked", "permission_missing", dict(HTTP_403.facts))
    ]
