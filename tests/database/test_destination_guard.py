"""The rate limiter and the circuit breaker, as several workers share them through the destination's row."""

import asyncio
import time
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import create_engine
from platform_relay.core.outcomes import Blocked, Done, Evidence, Reject, Retry, Skip, Unknown, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.jobs.actions import OperatorActions
from platform_relay.queue.decide import Interrupted, Undecided, Verdict
from platform_relay.queue.destination_guard import DestinationGuard
from platform_relay.queue.destinations import DestinationStates
from platform_relay.queue.jobs import Job
from platform_relay.queue.queue import Probes, Queue
from tests.database.engine_room import accept, claim, order, rows, run
from tests.helpers import free_port
from tests.queue.test_runner import runner
from tests.reasons import HTTP_400, HTTP_401, HTTP_403, HTTP_429, HTTP_503, NO_VALUE, UNCHANGED
from tests.unit.test_decide import JOB


def guard(engine: AsyncEngine, rate: float | None = None) -> DestinationGuard:
    return DestinationGuard("platform", DestinationStates(engine), rate)


STATE = "SELECT state FROM destination WHERE name = 'platform'"
NAMELESS = Blocked(
    because(ReasonCode.KEY_REJECTED, destination="the Platform", status=403), Evidence(403), certain=False
)


async def record(worker: DestinationGuard, job: Job, verdict: Verdict | None) -> Verdict | None:
    """An attempt that starts and ends now, as the loop records it; the verdict with which it is settled."""
    compared = worker.breaker.compare(job, verdict)
    await worker.breaker.record(job, compared, time.monotonic())
    return compared


async def probe(engine: AsyncEngine) -> Probes | None:
    return await Queue(engine, "platform").probe(64, lease=30.0)


async def pauses_are_over(engine: AsyncEngine) -> None:
    await run(engine, "UPDATE destination SET probe_at = now(), retry_at = now() WHERE name = 'platform'")


async def test_a_lost_lease_shows_nothing_about_the_destination(engine: AsyncEngine) -> None:
    worker = guard(engine)
    for number in range(30):
        await record(worker, replace(JOB, lane=f"order:{number}"), Unknown(because(ReasonCode.LEASE_LOST)))
    assert await rows(engine, STATE) == [("open",)]


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
        await record(other, replace(JOB, lane=f"order:{number}"), Retry(HTTP_429, 110.0, called=False))
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
    await record(worker, JOB, Blocked(HTTP_401))
    assert await claim(engine) == []
    assert await probe(engine) is None, "the pause is not over"
    await pauses_are_over(engine)
    probes = await probe(engine)
    assert probes is not None
    assert await probe(engine) is None, "the next round comes later, whichever worker asks"
    other.breaker.start_probes(probes)
    await record(other, replace(JOB, lane="order:99"), Done())
    assert await rows(engine, STATE) == [("blocked",)], "that was no probe"
    await record(other, probes.jobs[0], Done())
    assert await rows(engine, STATE) == [("open",)]


async def test_a_failed_probe_of_a_lane_that_failed_lengthens_the_pause(engine: AsyncEngine) -> None:
    worker = guard(engine)
    await record(worker, JOB, Blocked(HTTP_401))
    pause = "SELECT extract(epoch FROM retry_at - now()) > :least FROM destination WHERE name = 'platform'"
    for least in (0.5, 1.5, 3.5):
        assert await rows(engine, pause, least=least) == [(True,)]
        worker.breaker.start_probes(Probes((JOB,), failed=True))
        await record(worker, JOB, Blocked(HTTP_401))


async def test_a_failed_probe_of_another_lane_lengthens_no_pause(engine: AsyncEngine) -> None:
    worker = guard(engine)
    await record(worker, JOB, Blocked(HTTP_401))
    for _ in range(5):
        worker.breaker.start_probes(Probes((JOB,), failed=False))
        await record(worker, JOB, Retry(HTTP_503, None, Evidence(503)))
    assert await rows(engine, "SELECT state, failures, retry_at < now() + interval '1 second' FROM destination"
                              " WHERE name = 'platform'") == [("tripped", 1, True)]  # fmt: skip


async def test_a_probe_that_fails_after_another_has_succeeded_closes_nothing(engine: AsyncEngine) -> None:
    worker, second = guard(engine), replace(JOB, lane="order:2")
    await record(worker, JOB, Blocked(HTTP_401))
    worker.breaker.start_probes(Probes((JOB, second), failed=False))
    await record(worker, JOB, Done())
    await record(worker, second, Retry(HTTP_503, None, Evidence(503)))
    assert await rows(engine, STATE) == [("open",)]


async def test_probes_are_lanes_that_have_not_failed_and_only_then_one_that_has(engine: AsyncEngine) -> None:
    await accept(engine, *(order(str(number)) for number in range(60)))
    await run(engine, "UPDATE lane SET failed_at = now(), run_at = run_at - interval '1 minute'")
    await accept(engine, *(order(f"new-{number}") for number in range(4)))
    await run(
        engine, "UPDATE destination SET state = 'tripped', probe_at = now(), retry_at = now() WHERE name = 'platform'"
    )
    first = await probe(engine)
    assert first is not None
    assert (len(first.jobs), first.failed) == (3, False)
    assert all(job.lane.startswith("order:new-") for job in first.jobs)
    assert await probe(engine) is None
    await run(engine, "UPDATE destination SET probe_at = now() WHERE name = 'platform'")
    last = await probe(engine)
    assert last is not None
    assert (len(last.jobs), last.failed) == (1, False)
    failed = await probe(engine)
    assert failed is not None
    assert (len(failed.jobs), failed.failed) == (1, True)
    assert await probe(engine) is None


async def test_a_new_lane_is_found_behind_any_number_of_lanes_that_failed(engine: AsyncEngine) -> None:
    await accept(engine, *(order(str(number)) for number in range(300)))
    await run(engine, "UPDATE lane SET failed_at = now(), run_at = run_at - interval '1 minute'")
    await accept(engine, order("new"))
    await run(
        engine, "UPDATE destination SET state = 'tripped', probe_at = now(), retry_at = now() WHERE name = 'platform'"
    )
    probes = await probe(engine)
    assert probes is not None
    assert [job.lane for job in probes.jobs] == ["order:new"]


async def test_a_slow_probe_of_a_lane_that_failed_delays_no_other(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    await run(engine, "UPDATE lane SET failed_at = now()")
    await run(
        engine, "UPDATE destination SET state = 'tripped', probe_at = now(), retry_at = now() WHERE name = 'platform'"
    )
    worker, slow = guard(engine), await probe(engine)
    assert slow is not None
    worker.breaker.start_probes(slow)
    assert worker.allowance(50, 1) == 50
    await accept(engine, order("2"))
    assert await probe(engine) is not None


async def test_what_settles_marks_lanes_that_fail_and_clears_the_mark(engine: AsyncEngine) -> None:
    failed = "SELECT failed_at IS NOT NULL FROM lane"  # without the mark, the lane is removed
    await accept(engine, order("1"))
    for verdict, mark in (
        (Retry(HTTP_503), True), (Wait(NO_VALUE, "rule:1"), True), (Undecided(HTTP_403), True), (Done(), False),
    ):  # fmt: skip
        await run(engine, "UPDATE lane SET run_at = now()")
        [job] = await claim(engine)
        settlement = runner({}).settlement(job, verdict, 0.1)
        await Queue(engine, "platform").settle([settlement])
        assert await rows(engine, failed) == ([(True,)] if mark else []), verdict
    for rejection, mark in (
        (Reject(HTTP_400), True),
        (Reject(HTTP_400, Evidence(400)), False),
    ):  # the first made no call
        await accept(engine, order("1"))
        await run(engine, "UPDATE lane SET run_at = now(), failed_at = now()")
        [job] = await claim(engine)
        await Queue(engine, "platform").settle([runner({}).settlement(job, rejection, 0.1)])
        assert await rows(engine, failed) == ([(True,)] if mark else []), rejection
    await accept(engine, order("1"))
    [job] = await claim(engine)
    await Queue(engine, "platform").settle([runner({}).settlement(job, Retry(HTTP_503, called=False), 0.1)])
    assert await rows(engine, failed) == [(False,)], "no call was made"


async def test_a_paused_destination_stays_paused_whatever_happens(engine: AsyncEngine) -> None:
    await run(engine, "UPDATE destination SET state = 'paused' WHERE name = 'platform'")
    await accept(engine, order("1"))
    worker = guard(engine)
    assert await probe(engine) is None
    await record(worker, JOB, Blocked(HTTP_401))
    worker.breaker.start_probes(Probes((JOB,), failed=True))
    await record(worker, JOB, Done())
    assert await rows(engine, STATE) == [("paused",)]


@pytest.mark.parametrize("verdict", [None, Skip(UNCHANGED), Reject(HTTP_400), Interrupted(sent=False)])
@pytest.mark.parametrize("failed", [False, True])
async def test_after_a_round_of_probes_without_a_call_others_may_probe_at_once(
    engine: AsyncEngine, verdict: Verdict | None, failed: bool
) -> None:
    await accept(engine, order("1"), order("2"))
    await run(engine, "UPDATE lane SET failed_at = now() WHERE :failed", failed=failed)
    worker = guard(engine)
    await record(worker, JOB, Blocked(HTTP_401))
    await pauses_are_over(engine)
    probes = await probe(engine)
    assert probes is not None
    worker.breaker.start_probes(probes)
    await accept(engine, order("3"))
    await run(engine, "UPDATE lane SET failed_at = now() WHERE :failed", failed=failed)
    for job in probes.jobs:
        assert await probe(engine) is None
        await record(worker, job, verdict)
    assert await rows(engine, STATE) == [("blocked",)]
    assert await probe(engine) is not None


async def test_an_outage_trips_the_destination_and_its_end_opens_it(engine: AsyncEngine) -> None:
    worker = guard(engine)
    for number in range(8):
        await record(worker, replace(JOB, lane=f"order:{number}"), Retry(HTTP_503, None, Evidence(503)))
    assert (await rows(engine, "SELECT state, reason_code, facts FROM destination WHERE name = 'platform'")) == [
        ("tripped", "server_error", dict(HTTP_503.facts))
    ]
    worker.breaker.start_probes(Probes((JOB,), failed=True))
    await record(worker, JOB, Done())
    assert await rows(engine, STATE) == [("open",)]


async def test_what_failed_without_a_call_closes_nothing(engine: AsyncEngine) -> None:
    """A hundred webhooks for one code: all but one lose the race for it, before the store is called."""
    worker = guard(engine)
    for number in range(100):
        await record(worker, replace(JOB, lane=f"order:{number}"), Retry(HTTP_503, called=False))
    assert await rows(engine, STATE) == [("open",)]


async def test_lanes_that_failed_before_others_succeeded_trip_nothing_when_they_fail_again(engine: AsyncEngine) -> None:
    worker, lanes = guard(engine), [replace(JOB, lane=f"order:{number}") for number in range(30)]
    for lane in lanes:
        await record(worker, lane, Retry(HTTP_503, None, Evidence(503)))
        await record(worker, replace(JOB, lane="customer:1"), Done())
    for lane in lanes:
        await record(worker, replace(lane, attempt=2), Retry(HTTP_503, None, Evidence(503)))
    assert await rows(engine, STATE) == [("open",)]


async def test_a_refusal_without_a_cause_is_the_lanes_own_when_others_succeed(engine: AsyncEngine) -> None:
    worker = guard(engine)
    first = await record(worker, JOB, NAMELESS)
    assert isinstance(first, Undecided)
    assert first.reason.code is ReasonCode.REFUSAL_UNDECIDED
    await record(worker, replace(JOB, lane="order:2"), Done())
    second = await record(worker, JOB, NAMELESS)
    assert isinstance(second, Retry)
    assert second.reason.code is ReasonCode.ENTITY_REFUSED
    assert await rows(engine, STATE) == [("open",)]


async def test_three_lanes_refused_without_a_cause_block_the_destination_and_no_attempt_counts(
    engine: AsyncEngine,
) -> None:
    worker, lanes = guard(engine), [replace(JOB, lane=f"order:{number}") for number in range(6)]
    verdicts = [await record(worker, lane, NAMELESS) for lane in lanes]
    assert [type(verdict) for verdict in verdicts] == [Undecided, Undecided, Blocked, Blocked, Blocked, Blocked]
    assert await rows(engine, "SELECT state, reason_code FROM destination WHERE name = 'platform'") == [
        ("blocked", "key_rejected")
    ]
    worker.breaker.start_probes(Probes((JOB,), failed=False))
    assert isinstance(await record(worker, JOB, NAMELESS), Blocked), "a probe's refusal does not count either"


async def test_lanes_in_doubt_are_woken_by_a_success_and_by_the_end_of_a_closure(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    waits = "SELECT waits_for, run_at > now() + interval '50 seconds' FROM lane"
    worker = guard(engine)
    job = JOB
    for wake in ("success", "opened", "resumed"):
        for _ in range(2):  # the first park lasts a second, in case the event has just happened
            await run(engine, "UPDATE lane SET run_at = now()")
            [job] = await claim(engine)
            await Queue(engine, "platform").settle([runner({}).settlement(job, Undecided(HTTP_403), 0.1)])
        assert await rows(engine, waits) == [("doubt:platform", True)]
        if wake == "success":
            await record(worker, job, NAMELESS)
            await record(worker, replace(JOB, lane="order:2"), Done())
        elif wake == "opened":
            await DestinationStates(engine).close("platform", "tripped", HTTP_503)
            assert [await DestinationStates(engine).open("platform") for _ in range(2)] == [True, False]
        else:
            await OperatorActions(engine).resume("platform", "anna")
        assert await rows(engine, waits) == [(None, False)], wake


async def test_a_certain_refusal_closes_at_once_even_while_others_succeed(engine: AsyncEngine) -> None:
    worker = guard(engine)
    await record(worker, replace(JOB, lane="order:2"), Done())
    assert await record(worker, JOB, Blocked(HTTP_401)) == Blocked(HTTP_401)
    assert await rows(engine, STATE) == [("blocked",)]


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
        await record(worker, replace(JOB, lane=f"order:{number}"), Reject(HTTP_400, Evidence(400)))
    assert await rows(engine, "SELECT state FROM destination WHERE name = 'platform'") == [("open",)]


async def test_a_probe_whose_data_is_rejected_opens_the_destination(engine: AsyncEngine) -> None:
    """The destination is available and understood the request."""
    worker = guard(engine)
    await record(worker, JOB, Blocked(HTTP_401))
    worker.breaker.start_probes(Probes((JOB,), failed=True))
    await record(worker, JOB, Reject(HTTP_400, Evidence(400)))
    assert await rows(engine, "SELECT state, failures FROM destination WHERE name = 'platform'") == [("open", 0)]


async def test_a_destination_closed_by_one_worker_is_closed_for_the_other_at_once(engine: AsyncEngine) -> None:
    """A claim reads the destination's row in the same statement."""
    await accept(engine, order("1"))
    await record(guard(engine), JOB, Blocked(HTTP_401))
    assert await claim(engine) == []


async def test_a_worker_does_not_close_a_destination_that_it_knows_to_be_closed(engine: AsyncEngine) -> None:
    worker = guard(engine)
    for _ in range(5):
        await record(worker, JOB, Blocked(HTTP_401))
    assert await rows(engine, "SELECT state, failures FROM destination WHERE name = 'platform'") == [("blocked", 1)]


async def test_after_a_successful_probe_this_worker_can_close_again(engine: AsyncEngine) -> None:
    worker = guard(engine)
    await record(worker, JOB, Blocked(HTTP_401))
    worker.breaker.start_probes(Probes((JOB,), failed=True))
    await record(worker, JOB, Done())
    await record(worker, JOB, Blocked(HTTP_403))
    assert await rows(engine, "SELECT state, reason_code, facts FROM destination WHERE name = 'platform'") == [
        ("blocked", "permission_missing", dict(HTTP_403.facts))
    ]
