"""The pace and the breaker, as several workers share them through the destination's row."""

import asyncio
import time
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import create_engine
from platform_relay.core.outcomes import Blocked, Done, Evidence, Reject, Retry, Skip
from platform_relay.queue.circuit_breaker import DestinationGuard
from platform_relay.queue.decide import Interrupted, Verdict
from platform_relay.queue.destinations import DestinationStates
from tests.database.engine_room import accept, claim, order, rows, run
from tests.helpers import free_port
from tests.reasons import HTTP_400, HTTP_401, HTTP_403, HTTP_429, HTTP_503, UNCHANGED
from tests.unit.test_decide import JOB


def gate(engine: AsyncEngine, rate: float | None = None) -> DestinationGuard:
    return DestinationGuard("platform", DestinationStates(engine), rate)


@pytest.mark.parametrize("rate", [20.0, 100.0])
async def test_replicas_keep_the_rate_over_any_sliding_second_and_use_it(engine: AsyncEngine, rate: float) -> None:
    calls: list[float] = []

    async def caller(worker: DestinationGuard) -> None:
        while time.monotonic() < until:
            await worker.turn()
            calls.append(time.monotonic())

    workers = [gate(engine, rate) for _ in range(3)]
    began, seconds = time.monotonic(), 3.0
    until = began + seconds
    await asyncio.gather(*(caller(worker) for worker in workers for _ in range(4)))
    calls.sort()
    # Judged by the places that were given out, which is what the workers decide; a busy machine may be late for some.
    assert len(calls) <= rate * (calls[-1] - calls[0]) + 2
    assert len(calls) >= 0.8 * rate * seconds


async def test_without_a_limit_nobody_waits_or_asks(engine: AsyncEngine) -> None:
    worker = gate(engine)
    began = time.monotonic()
    for _ in range(1000):
        await worker.turn()
    assert time.monotonic() - began < 1
    assert worker.allowance(50, 10) == 50


async def test_a_pace_bounds_what_is_held_so_that_live_work_overtakes(engine: AsyncEngine) -> None:
    worker = gate(engine, 10.0)
    assert worker.allowance(100, 0) == 11
    assert worker.allowance(100, 11) == 0


async def test_a_429_slows_all_replicas_and_the_pace_returns(engine: AsyncEngine) -> None:
    one, other = gate(engine, 100.0), gate(engine, 100.0)
    await one.throttled(0.5)
    await other.refresh()
    assert (other.limit or 0) < 100
    assert (await DestinationStates(engine).reserve("platform", 1, 0.01, 20.0)) > 0.3
    await run(
        engine, "UPDATE destination SET slowed_at = now() - interval '5 seconds', pace = 99 WHERE name = 'platform'"
    )
    await gate(engine, 100.0).refresh()
    assert await rows(engine, "SELECT pace FROM destination WHERE name = 'platform'") == [(None,)]


async def test_a_place_too_far_away_is_not_taken_and_says_nothing_of_the_far_side(engine: AsyncEngine) -> None:
    worker, other = gate(engine, 10.0), gate(engine, 10.0)
    await worker.throttled(120.0)
    aheads = [await other.turn() for _ in range(20)]
    # whoever comes in vain does not push the others further away
    assert all(ahead is not None and 100 < ahead <= 120 for ahead in aheads)
    for number in range(30):
        await other.learned(replace(JOB, lane=f"order:{number}"), Retry(HTTP_429, 110.0))
    assert await rows(engine, "SELECT state FROM destination WHERE name = 'platform'") == [("open",)]


async def test_a_slow_pace_holds_one_job_at_a_time(engine: AsyncEngine) -> None:
    assert gate(engine, 0.5).allowance(100, 0) == 1


async def test_without_its_database_nothing_is_called(engine: AsyncEngine) -> None:
    nowhere = create_engine(f"postgresql://nobody@127.0.0.1:{free_port()}/none", application_name="test", pool_size=1)
    assert await gate(nowhere, 10.0).turn() is not None
    await nowhere.dispose()


async def test_a_refused_key_closes_the_channel_for_everyone_and_one_try_opens_it(engine: AsyncEngine) -> None:
    await accept(engine, order("1"), order("2"))
    worker, other = gate(engine), gate(engine)
    await worker.learned(JOB, Blocked(HTTP_401))
    assert await claim(engine) == []
    assert not await other.may_probe(30.0)
    await run(engine, "UPDATE destination SET retry_at = now() WHERE name = 'platform'")
    assert [await other.may_probe(30.0), await worker.may_probe(30.0)] == [True, False]
    other.probing(JOB)
    assert other.allowance(50, 1) == 0
    await other.learned(replace(JOB, lane="order:99"), Done())
    assert (await rows(engine, "SELECT state FROM destination WHERE name = 'platform'")) == [("blocked",)]
    await other.learned(JOB, Done())
    assert (await rows(engine, "SELECT state FROM destination WHERE name = 'platform'")) == [("open",)]


async def test_a_try_that_fails_lengthens_the_pause(engine: AsyncEngine) -> None:
    worker = gate(engine)
    await worker.learned(JOB, Blocked(HTTP_401))
    pause = "SELECT extract(epoch FROM retry_at - now()) > :least FROM destination WHERE name = 'platform'"
    for least in (0.5, 1.5, 3.5):
        assert await rows(engine, pause, least=least) == [(True,)]
        worker.probing(JOB)
        await worker.learned(JOB, Blocked(HTTP_401))


async def test_a_paused_channel_stays_paused_whatever_happens(engine: AsyncEngine) -> None:
    await run(engine, "UPDATE destination SET state = 'paused' WHERE name = 'platform'")
    worker = gate(engine)
    await worker.learned(JOB, Blocked(HTTP_401))
    worker.probing(JOB)
    await worker.learned(JOB, Done())
    assert (await rows(engine, "SELECT state FROM destination WHERE name = 'platform'")) == [("paused",)]


@pytest.mark.parametrize("verdict", [None, Skip(UNCHANGED), Reject(HTTP_400), Interrupted(sent=False)])
async def test_a_try_that_made_no_call_lets_the_next_one_try(engine: AsyncEngine, verdict: Verdict | None) -> None:
    await accept(engine, order("1"))
    worker = gate(engine)
    await worker.learned(JOB, Blocked(HTTP_401))
    await run(engine, "UPDATE destination SET retry_at = now() WHERE name = 'platform'")
    assert await worker.may_probe(30.0)
    worker.probing(JOB)
    await worker.learned(JOB, verdict)
    assert worker.allowance(50, 0) == 50
    assert (await rows(engine, "SELECT state FROM destination WHERE name = 'platform'")) == [("blocked",)]
    assert await worker.may_probe(30.0)


async def test_an_outage_trips_the_channel_and_its_end_opens_it(engine: AsyncEngine) -> None:
    worker = gate(engine)
    for number in range(8):
        await worker.learned(replace(JOB, lane=f"order:{number}"), Retry(HTTP_503, None, Evidence(503)))
    assert (await rows(engine, "SELECT state, reason_code, facts FROM destination WHERE name = 'platform'")) == [
        ("tripped", "server_error", dict(HTTP_503.facts))
    ]
    worker.probing(JOB)
    await worker.learned(JOB, Done())
    assert (await rows(engine, "SELECT state FROM destination WHERE name = 'platform'")) == [("open",)]


async def test_a_lowered_pace_grows_by_a_tenth_a_second_until_the_rate_is_reached(engine: AsyncEngine) -> None:
    pace = "SELECT pace FROM destination WHERE name = 'platform'"
    await run(
        engine, "UPDATE destination SET slowed_at = now() - interval '9 seconds', pace = 10 WHERE name = 'platform'"
    )
    worker = gate(engine, 100.0)
    await worker.refresh()
    assert worker.limit == pytest.approx(12.1), "two seconds' growth, however long nobody looked"
    assert await rows(engine, pace) == [(pytest.approx(12.1),)]
    await worker.refresh()
    assert await rows(engine, pace) == [(pytest.approx(12.1),)], "looked at once a second only"


async def test_a_pace_does_not_grow_in_the_second_after_a_429(engine: AsyncEngine) -> None:
    await run(engine, "UPDATE destination SET slowed_at = now(), pace = 10 WHERE name = 'platform'")
    worker = gate(engine, 100.0)
    await worker.refresh()
    assert worker.limit == 10


async def test_many_429s_at_once_lower_the_pace_once(engine: AsyncEngine) -> None:
    await gate(engine, 100.0).throttled(0.0)
    await run(engine, "UPDATE destination SET slowed_at = now() + interval '1 hour'")  # still less than a second ago
    for _ in range(4):
        await gate(engine, 100.0).throttled(0.0)
    assert await rows(engine, "SELECT pace FROM destination WHERE name = 'platform'") == [(0.5,)]


async def test_many_429s_of_one_worker_lower_its_pace_once(engine: AsyncEngine) -> None:
    worker = gate(engine)
    await run(engine, "UPDATE destination SET pace = 40 WHERE name = 'platform'")
    await worker.refresh()
    await worker.throttled(0.0)
    await run(engine, "UPDATE destination SET slowed_at = now() + interval '1 hour'")  # still less than a second ago
    await asyncio.gather(*(worker.throttled(0.0) for _ in range(10)))
    assert worker.limit == 20
    assert await rows(engine, "SELECT pace FROM destination WHERE name = 'platform'") == [(20,)]


async def test_a_429_raises_no_pace_that_another_worker_lowered(engine: AsyncEngine) -> None:
    worker = gate(engine)
    await run(engine, "UPDATE destination SET pace = 40 WHERE name = 'platform'")
    await worker.refresh()
    await run(engine, "UPDATE destination SET pace = 5 WHERE name = 'platform'")
    await worker.throttled(0.0)
    assert worker.limit == 5


async def test_the_first_429_halves_what_was_called_within_the_last_second(engine: AsyncEngine) -> None:
    worker = gate(engine)
    await worker.turn()  # looks at the destination, which may take its time
    for _ in range(39):
        await worker.turn()
    await worker.throttled(0.0)
    assert worker.limit in (19.5, 20.0)


@pytest.mark.parametrize(("wish", "pause"), [(7.0, 7.0), (1e9, 300.0), (-5.0, 0.0)])
async def test_retry_after_pauses_all_calls_within_bounds(engine: AsyncEngine, wish: float, pause: float) -> None:
    await gate(engine, 10.0).throttled(wish)
    paused = "SELECT CAST(extract(epoch FROM next_at - slowed_at) AS float8) FROM destination WHERE name = 'platform'"
    assert await rows(engine, paused) == [(pytest.approx(pause),)]


async def test_refusals_of_data_close_nothing(engine: AsyncEngine) -> None:
    worker = gate(engine)
    for number in range(50):
        await worker.learned(replace(JOB, lane=f"order:{number}"), Reject(HTTP_400, Evidence(400)))
    assert await rows(engine, "SELECT state FROM destination WHERE name = 'platform'") == [("open",)]


async def test_a_refusal_of_data_as_the_try_opens_the_destination(engine: AsyncEngine) -> None:
    """The destination is there and understands us."""
    worker = gate(engine)
    await worker.learned(JOB, Blocked(HTTP_401))
    worker.probing(JOB)
    await worker.learned(JOB, Reject(HTTP_400, Evidence(400)))
    assert await rows(engine, "SELECT state, failures FROM destination WHERE name = 'platform'") == [("open", 0)]


async def test_a_channel_closed_by_one_is_closed_for_the_other_at_once(engine: AsyncEngine) -> None:
    """Whoever claims looks at the destination's row in the same statement."""
    await accept(engine, order("1"))
    await gate(engine).learned(JOB, Blocked(HTTP_401))
    assert await claim(engine) == []


async def test_a_worker_does_not_close_again_what_it_knows_to_be_closed(engine: AsyncEngine) -> None:
    worker = gate(engine)
    for _ in range(5):
        await worker.learned(JOB, Blocked(HTTP_401))
    assert await rows(engine, "SELECT state, failures FROM destination WHERE name = 'platform'") == [("blocked", 1)]


async def test_a_try_that_goes_well_lets_this_worker_close_again(engine: AsyncEngine) -> None:
    worker = gate(engine)
    await worker.learned(JOB, Blocked(HTTP_401))
    worker.probing(JOB)
    await worker.learned(JOB, Done())
    await worker.learned(JOB, Blocked(HTTP_403))
    assert await rows(engine, "SELECT state, reason_code, facts FROM destination WHERE name = 'platform'") == [
        ("blocked", "permission_missing", dict(HTTP_403.facts))
    ]
