"""Claim, settle, park, wake: what the engine's SQL promises, on a real Postgres."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.outcomes import Evidence, JobSpec
from platform_relay.queue import queue
from platform_relay.queue.decide import before
from platform_relay.queue.maintenance import prune_lanes
from platform_relay.queue.queue import Settlement
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.states import Again, Finish, GiveBack, Park, dead, done, skipped, superseded
from tests.helpers import eventually
from tests.reasons import HTTP_400, HTTP_503, NEWER, NO_VALUE, SHUTDOWN, UNCHANGED, WAITING_FOR_LANE

from .engine_room import accept, at, attempts, broken_counts, claim, customer, job_row, order, rows, run, settle, states

DONE = done({}, b"digest", ())
WAITING_FOR_LOCK = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def test_a_claimed_lane_is_nobody_elses(engine: AsyncEngine) -> None:
    await accept(engine, order("1"), order("2"))
    first, second = await asyncio.gather(claim(engine), claim(engine))
    assert {job.lane for job in first + second} == {"order:1", "order:2"}
    assert len(first) + len(second) == 2
    assert await claim(engine) == []


async def test_jobs_of_a_lane_run_one_after_another_in_the_order_of_their_commits(engine: AsyncEngine) -> None:
    for version in range(5):
        await accept(engine, order("1", version))
    seen = []
    while jobs := await claim(engine):
        assert len(jobs) == 1
        seen.append(jobs[0].version)
        await settle(engine, jobs, DONE)
    assert seen == [at(version) for version in range(5)]
    assert await broken_counts(engine) == []


async def test_waiting_versions_collapse_into_the_newest_whatever_their_order_of_arrival(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 1), customer("1", 3), customer("1", 2))
    [job] = await claim(engine)
    assert job.version == at(3)
    await settle(engine, [job], DONE)
    assert await states(engine) == {"done": 1, "superseded": 2}
    assert await claim(engine) == []
    assert await broken_counts(engine) == []


async def test_a_version_that_arrives_while_another_is_sent_is_not_lost(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 1))
    [job] = await claim(engine)
    await accept(engine, customer("1", 2))
    settled = await settle(engine, [job], DONE)
    assert settled.more
    [job] = await claim(engine)
    assert job.version == at(2)
    assert job.exists_remotely
    assert job.delivered_digest == b"digest"


async def test_what_is_replaced_says_why(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 1), customer("1", 2))
    await settle(engine, await claim(engine), DONE)
    [row] = await rows(
        engine, "SELECT disposition, reason_code, facts, finished_at IS NOT NULL FROM job WHERE state = 'superseded'"
    )
    assert row == (None, "newer_version", {}, True)


async def test_the_last_version_seen_never_goes_backwards(engine: AsyncEngine) -> None:
    for version in (5, 4):
        await accept(engine, customer("1", version))
        await settle(engine, await claim(engine), DONE)
    assert await rows(engine, "SELECT version FROM entity") == [(at(5),)]


async def test_a_version_that_changed_nothing_is_seen_and_an_older_one_does_not_follow_it(engine: AsyncEngine) -> None:
    for version, ended in ((1, DONE), (3, skipped(UNCHANGED))):
        await accept(engine, customer("1", version))
        await settle(engine, await claim(engine), ended)
    assert await rows(engine, "SELECT version, exists_remotely, digest FROM entity") == [(at(3), True, b"digest")]
    await accept(engine, customer("1", 2))
    [late] = await claim(engine)
    decided = before(late, RetryPolicy(), 3600.0)
    assert isinstance(decided, Finish)
    assert decided.state == "superseded"
    await settle(engine, [late], dead("rejected", HTTP_400))
    assert await rows(engine, "SELECT version, exists_remotely, digest FROM entity") == [(at(3), True, None)]


async def test_what_was_skipped_without_ever_being_there_is_not_known(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 1))
    await settle(engine, await claim(engine), skipped(UNCHANGED))
    assert await rows(engine, "SELECT count(*) FROM entity") == [(0,)]


async def test_a_failed_version_gives_way_to_a_newer_one(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 1))
    [job] = await claim(engine)
    await accept(engine, customer("1", 2))
    await settle(engine, [job], Again(0.0, HTTP_503, False, "retry"), "retry")
    [job] = await claim(engine)
    assert job.version == at(2)
    await settle(engine, [job], DONE)
    assert await states(engine) == {"done": 1, "superseded": 1}


async def test_orders_never_collapse(engine: AsyncEngine) -> None:
    await accept(engine, order("1", 1), order("1", 2))
    [job] = await claim(engine)
    await settle(engine, [job], DONE)
    assert await states(engine) == {"done": 1, "waiting": 1}


async def test_settling_names_the_fencing_token(engine: AsyncEngine) -> None:
    """A worker that slept through its lease changes nothing."""
    await accept(engine, order("1"))
    [stale] = await claim(engine, lease=0.0)
    [fresh] = await claim(engine)
    assert fresh.fencing_token > stale.fencing_token
    assert fresh.uncertain
    settled = await settle(engine, [stale], dead("rejected", HTTP_400))
    assert [lost.job for lost in settled.lost] == [stale]
    assert (await job_row(engine, fresh.id))["state"] == "running"
    assert (await settle(engine, [fresh], DONE)).lost == ()
    assert await attempts(engine) == [("lost",), ("done",)]


async def test_a_stale_park_changes_nothing(engine: AsyncEngine) -> None:
    await accept(engine, customer("1"), order("7", depends_on="customer:1"))
    [stale] = [job for job in await claim(engine, lease=0.0) if job.lane == "order:7"]
    [fresh] = [job for job in await claim(engine) if job.lane == "order:7"]
    settled = await settle(engine, [stale], Park("customer:1", WAITING_FOR_LANE, False, 3600.0, for_lane=True), None)
    assert [lost.job for lost in settled.lost] == [stale]
    assert (await job_row(engine, fresh.id))["state"] == "running"
    assert (await settle(engine, [fresh], DONE)).lost == ()


async def test_settling_twice_changes_nothing(engine: AsyncEngine) -> None:
    await accept(engine, order("1"), order("1"))
    [job] = await claim(engine)
    assert (await settle(engine, [job], DONE)).lost == ()
    assert len((await settle(engine, [job], DONE)).lost) == 1
    assert await broken_counts(engine) == []
    assert len(await claim(engine)) == 1


async def test_an_attempt_counts_before_the_wire_and_can_be_given_back(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    [job] = await claim(engine)
    assert (await job_row(engine, job.id))["attempts"] == job.attempt == 1
    await settle(engine, [job], GiveBack(0.0, SHUTDOWN, False, "shutdown"), None)
    [job] = await claim(engine)
    assert job.attempt == 1
    await settle(engine, [job], Again(0.0, HTTP_503, True, "unknown"), "unknown")
    [job] = await claim(engine)
    assert job.attempt == 2
    assert job.uncertain


async def test_a_new_job_does_not_cut_a_back_off_short(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    [job] = await claim(engine)
    await settle(engine, [job], Again(60.0, HTTP_503, False, "retry"), "retry")
    await accept(engine, order("1"))
    assert await claim(engine) == []


async def test_a_dead_job_does_not_block_its_lane(engine: AsyncEngine) -> None:
    await accept(engine, order("1", 1), order("1", 2))
    [job] = await claim(engine)
    await settle(engine, [job], dead("rejected", HTTP_400), "reject")
    [job] = await claim(engine)
    assert job.version == at(2)
    assert await broken_counts(engine) == []


async def test_a_version_that_died_and_may_have_arrived_still_counts_as_seen(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 5))
    [job] = await claim(engine)
    await settle(engine, [job], dead("exhausted", HTTP_503, maybe_delivered=True), "retry")
    await accept(engine, customer("1", 4))
    [job] = await claim(engine)
    assert job.delivered_version == at(5)
    assert not job.exists_remotely
    await settle(engine, [job], superseded(NEWER), None)
    assert await states(engine) == {"dead": 1, "superseded": 1}


async def test_a_job_committed_while_its_lane_empties_is_not_stranded(engine: AsyncEngine) -> None:
    """The inbox and the settle race for the lane's row, many times; nothing may be left behind."""
    await accept(engine, order("1"))
    done_jobs = 0
    for _ in range(40):
        jobs = await claim(engine)
        _, settled = await asyncio.gather(accept(engine, order("1")), settle(engine, jobs, DONE))
        done_jobs += len(jobs) - len(settled.lost)
    while jobs := await claim(engine):
        await settle(engine, jobs, DONE)
        done_jobs += len(jobs)
    assert done_jobs == 41
    assert await states(engine) == {"done": 41}
    assert await broken_counts(engine) == []


async def test_an_order_waits_for_its_customer_and_is_woken_by_the_delivery(engine: AsyncEngine) -> None:
    await accept(engine, customer("1"), order("7", depends_on="customer:1"))
    jobs = {job.lane: job for job in await claim(engine)}
    waiting = jobs["order:7"]
    assert waiting.must_wait
    await settle(engine, [waiting], Park("customer:1", WAITING_FOR_LANE, False, 3600.0, for_lane=True), None)
    assert await claim(engine) == []
    row = await job_row(engine, waiting.id)
    assert (row["state"], row["attempts"], row["disposition"]) == ("waiting", 0, "parked")
    assert (row["reason_code"], row["facts"]) == ("waiting_for_lane", {"lane": "customer:1"})
    settled = await settle(engine, [jobs["customer:1"]], DONE)
    assert settled.woken == 1
    [job] = await claim(engine)
    assert (job.lane, job.must_wait, job.attempt) == ("order:7", False, 1)


async def test_a_customer_that_dies_wakes_its_orders_too(engine: AsyncEngine) -> None:
    await accept(engine, customer("1"), order("7", depends_on="customer:1"))
    jobs = {job.lane: job for job in await claim(engine)}
    await settle(engine, [jobs["order:7"]], Park("customer:1", WAITING_FOR_LANE, False, 3600.0, for_lane=True), None)
    await settle(engine, [jobs["customer:1"]], dead("rejected", HTTP_400), "reject")
    [job] = await claim(engine)
    assert job.lane == "order:7"
    assert not job.must_wait


async def test_parking_and_delivering_at_once_never_loses_the_wake_up(engine: AsyncEngine) -> None:
    for number in range(25):
        await accept(engine, customer(f"{number}"), order(f"{number}", depends_on=f"customer:{number}"))
        jobs = {job.lane: job for job in await claim(engine)}
        park = Park(f"customer:{number}", WAITING_FOR_LANE, False, 3600.0, for_lane=True)
        await asyncio.gather(
            settle(engine, [jobs[f"order:{number}"]], park, None),
            settle(engine, [jobs[f"customer:{number}"]], DONE),
        )
        [job] = await claim(engine)
        assert job.lane == f"order:{number}"
        await settle(engine, [job], DONE)


async def test_an_order_does_not_wait_for_a_customer_that_is_not_owed(engine: AsyncEngine) -> None:
    await accept(engine, order("7", depends_on="customer:1"))
    [job] = await claim(engine)
    assert not job.must_wait


async def test_an_unknown_customer_is_owed_once_and_waited_for(engine: AsyncEngine) -> None:
    await accept(engine, order("7", depends_on="customer:1"), order("8", depends_on="customer:1"))
    follow_ups = (JobSpec("forward_customer", "platform", "customer:1", {"from": "order"}, collapse=True),)
    await settle(
        engine,
        await claim(engine),
        Park("customer:1", WAITING_FOR_LANE, False, 3600.0, follow_ups, for_lane=True),
        "wait",
    )
    [job] = await claim(engine)
    assert (job.lane, job.kind, dict(job.params)) == ("customer:1", "forward_customer", {"from": "order"})
    await settle(engine, [job], DONE)
    assert {job.lane for job in await claim(engine)} == {"order:7", "order:8"}
    assert await broken_counts(engine) == []


async def test_a_redemption_without_a_rule_waits_for_it(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    await settle(engine, await claim(engine), Park("reward-rule:7", NO_VALUE, False, 600.0), "wait")
    assert await claim(engine) == []
    assert await queue.wake(engine, ["reward-rule:8"]) == []
    assert await queue.wake(engine, ["reward-rule:7"]) == ["platform"]
    assert len(await claim(engine)) == 1


async def test_what_comes_while_an_attempt_runs_is_not_waited_for_in_vain(engine: AsyncEngine) -> None:
    """The operator may put the rule after the job has looked for it and before it is parked: nobody wakes it then."""
    park = Park("reward-rule:7", NO_VALUE, False, 600.0)
    asleep = "SELECT extract(epoch FROM run_at - now()) > 500 FROM lane"
    await accept(engine, order("1"))
    looked = await claim(engine)
    assert await queue.wake(engine, ["reward-rule:7"]) == []
    await settle(engine, looked, park, "wait")
    assert await rows(engine, asleep) == [(False,)]

    await run(engine, "UPDATE lane SET run_at = now()")
    looked = await claim(engine)
    assert await queue.wake(engine, ["reward-rule:7"]) == ["platform"]
    assert await claim(engine) == [], "its lease is not cut short"
    await settle(engine, looked, park, "wait")
    assert await rows(engine, asleep) == [(False,)]

    await run(engine, "UPDATE lane SET run_at = now()")
    await settle(engine, await claim(engine), park, "wait")
    assert await rows(engine, asleep) == [(True,)], "nothing came: it sleeps"
    assert await queue.wake(engine, ["reward-rule:7"]) == ["platform"]
    await settle(engine, await claim(engine), DONE)
    assert await rows(engine, "SELECT key FROM lane") == []


async def test_stranded_waiters_are_found(engine: AsyncEngine) -> None:
    await accept(engine, customer("1"), order("7", depends_on="customer:1"))
    jobs = {job.lane: job for job in await claim(engine)}
    await settle(engine, [jobs["order:7"]], Park("customer:1", WAITING_FOR_LANE, False, 3600.0, for_lane=True), None)
    await run(engine, "UPDATE lane SET has_dependents = false")
    await settle(engine, [jobs["customer:1"]], DONE)
    assert await claim(engine) == []
    assert await queue.wake_stranded(engine) == ["platform"]
    assert len(await claim(engine)) == 1


async def test_what_a_job_owes_is_taken_on_with_its_settling(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    follow_up = JobSpec("use_reward", "platform", "coupon:AB12", {"code": "AB12"})
    settled = await settle(engine, await claim(engine), done({}, b"d", (follow_up,)))
    assert settled.more
    [job] = await claim(engine)
    assert (job.kind, dict(job.params)) == ("use_reward", {"code": "AB12"})


async def test_what_a_stale_settle_owes_is_not_taken_on(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    [stale] = await claim(engine, lease=0.0)
    [fresh] = await claim(engine)
    follow_up = JobSpec("use_reward", "platform", "coupon:AB12")
    await settle(engine, [stale], done({}, b"d", (follow_up,)))
    assert await states(engine) == {"running": 1}
    await settle(engine, [fresh], DONE)


async def test_of_two_attempts_settled_together_only_the_one_with_the_lease_counts(engine: AsyncEngine) -> None:
    """A worker lost its lease, claimed the lane again, and both its attempts end at the same time."""
    await accept(engine, order("1"))
    [stale] = await claim(engine, lease=0.0)
    [fresh] = await claim(engine)
    follow_up = JobSpec("use_reward", "platform", "coupon:AB12")
    settled = await settle(engine, [stale, fresh], done({}, b"d", (follow_up,)))
    assert [lost.job for lost in settled.lost] == [stale]
    assert await states(engine) == {"done": 1, "waiting": 1}


async def test_live_work_is_claimed_before_backfill(engine: AsyncEngine) -> None:
    await accept(engine, customer("old", backfill=True), customer("new"))
    assert [job.lane for job in await claim(engine)] == ["customer:new"]
    assert [job.lane for job in await claim(engine, priority=1)] == ["customer:old"]


async def test_a_live_event_lifts_its_lane_out_of_the_backfill(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", backfill=True), customer("1"))
    assert len(await claim(engine)) == 1


async def test_a_renewed_lease_holds_and_a_lost_one_stays_lost(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    [job] = await claim(engine, lease=0.0)
    await queue.Queue(engine, "platform").renew([(job.lane, job.fencing_token)], lease=60.0)
    assert await claim(engine) == []
    await run(engine, "UPDATE lane SET lease_until = now()")
    [other] = await claim(engine, lease=0.0)
    await queue.Queue(engine, "platform").renew([(job.lane, job.fencing_token)], lease=60.0)
    assert len(await claim(engine)) == 1
    assert other.fencing_token > job.fencing_token


async def test_a_lane_without_jobs_is_removed_unless_it_failed_or_is_waited_for(engine: AsyncEngine) -> None:
    waiting = order("w", depends_on="customer:1")
    await accept(engine, order("done"), order("failed"), order("next"), order("next"), customer("1"), waiting)
    jobs = {job.lane: job for job in await claim(engine)}
    waits = Park("customer:1", WAITING_FOR_LANE, False, 3600.0, for_lane=True)
    await settle(engine, [jobs.pop("order:w")], waits, None)
    failed = Settlement(jobs.pop("order:failed"), dead("exhausted", HTTP_400), "retry", failed=True)
    worker = queue.Queue(engine, "platform")
    settled = await worker.settle([failed, *(Settlement(job, DONE, "done", failed=False) for job in jobs.values())])
    assert (settled.lost, settled.more, settled.woken) == ((), True, 1)
    kept = await rows(engine, "SELECT key, open_jobs, failed_at IS NOT NULL FROM lane ORDER BY key")
    assert kept == [
        ("customer:1", 0, False),
        ("order:failed", 0, True),
        ("order:next", 1, False),
        ("order:w", 1, False),
    ]
    await accept(engine, customer("1"), order("failed"))
    again = await claim(engine)
    assert len(again) == 4
    await worker.settle([Settlement(job, DONE, "done", failed=False) for job in again])
    assert await rows(engine, "SELECT key FROM lane") == []
    assert await states(engine) == {"done": 7, "dead": 1}


async def test_a_token_from_before_its_lane_was_removed_settles_nothing(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    [stale] = await claim(engine, lease=0.0)
    [fresh] = await claim(engine)
    await settle(engine, [fresh], DONE)
    await accept(engine, order("1"))
    [later] = await claim(engine)
    assert later.seq > fresh.seq, "its jobs are numbered behind the earlier ones"
    assert [lost.job for lost in (await settle(engine, [stale], DONE)).lost] == [stale]
    assert await rows(engine, "SELECT leased FROM lane") == [(True,)]
    assert (await settle(engine, [later], DONE)).lost == ()


@pytest.mark.parametrize("accepted_first", [True, False])
async def test_a_job_that_comes_while_its_lane_is_settled_is_not_lost(
    engine: AsyncEngine, accepted_first: bool
) -> None:
    """Both wait for the lane's lock. The statement that settles begins before the job is there."""
    await accept(engine, *(order(str(number)) for number in range(20)))
    jobs = await claim(engine, 20)
    async with engine.begin() as blocker:
        await blocker.execute(text("SELECT FROM lane FOR UPDATE"))
        both: list[Callable[[], Awaitable[object]]] = [
            partial(accept, engine, *(order(str(number)) for number in range(20))),
            partial(settle, engine, jobs, DONE),
        ]
        tasks = []
        for one in both if accepted_first else both[::-1]:
            tasks.append(asyncio.ensure_future(one()))
            await eventually(lambda: count_is(engine, WAITING_FOR_LOCK, len(tasks)))
    await asyncio.gather(*tasks)
    assert await broken_counts(engine) == []
    await accept(engine, *(order(str(number)) for number in range(20)))
    next_jobs = await claim(engine, 20)
    assert len(next_jobs) == 20
    await settle(engine, next_jobs, DONE)
    await settle(engine, await claim(engine, 20), DONE)
    assert (await states(engine), await rows(engine, "SELECT key FROM lane")) == ({"done": 60}, [])


async def test_a_version_that_is_dropped_while_it_is_replaced_counts_once(engine: AsyncEngine) -> None:
    """The statement that settles begins before the job is dropped, and waits for the lane's lock."""
    await accept(engine, customer("1", 1), customer("1", 2))
    [older] = [job_id for job_id, _ in await rows(engine, "SELECT id, seq FROM job ORDER BY seq LIMIT 1")]
    jobs = await claim(engine)
    await accept(engine, customer("1", 3))
    async with engine.begin() as operator:
        await operator.execute(text("SELECT FROM lane FOR UPDATE"))
        settling = asyncio.ensure_future(settle(engine, jobs, DONE))
        await eventually(lambda: count_is(engine, WAITING_FOR_LOCK, 1))
        await operator.execute(text("UPDATE job SET state = 'dropped' WHERE id = :id"), {"id": older})
        await operator.execute(text("UPDATE lane SET open_jobs = open_jobs - 1"))
    await settling
    assert await broken_counts(engine) == []
    assert await states(engine) == {"done": 1, "dropped": 1, "waiting": 1}
    assert len(await claim(engine)) == 1


async def count_is(engine: AsyncEngine, query: str, number: int) -> bool:
    return await rows(engine, query) == [(number,)]


async def test_a_watched_lane_shows_every_job_that_came(engine: AsyncEngine) -> None:
    """Also one that came and was settled in between, so that the lane was removed."""
    watch = partial(queue.watch_lane, engine, "platform", "order:1")
    before = await watch()
    assert await watch() == before
    await accept(engine, order("1"))
    assert await watch() == before + 1
    await settle(engine, await claim(engine), DONE)
    assert await watch() == before + 1, "it was kept, because it is watched"
    for _ in range(2):
        await accept(engine, order("1"))
        await settle(engine, await claim(engine), DONE)
    assert await rows(engine, "SELECT key FROM lane") == []
    assert await watch() > before + 3


async def test_a_lane_can_be_locked_before_it_has_jobs(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await queue.lock_lanes(connection, [("platform", "order:2"), ("platform", "order:1"), ("platform", "order:1")])
        accepting = asyncio.create_task(accept(engine, order("1")))
        await eventually(lambda: count_is(engine, WAITING_FOR_LOCK, 1))
    await accepting
    assert await rows(engine, "SELECT key, open_jobs FROM lane ORDER BY key") == [("order:1", 1), ("order:2", 0)]


async def test_a_success_is_an_attempt_in_its_jobs_row(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    await settle(engine, await claim(engine), Again(0.0, NO_VALUE, False, "retry"), "retry")
    [job] = await claim(engine)
    done = Settlement(job, DONE, "done", evidence=Evidence(201, "{}"), duration_ms=2500)
    await queue.Queue(engine, "platform").settle([done])
    assert await attempts(engine, "number, outcome, status, duration_ms") == [
        (1, "retry", None, 0),
        (2, "done", 201, 2500),
    ]
    assert await rows(engine, "SELECT outcome FROM attempt") == [("retry",)]
    [_, (began,)] = await attempts(engine, "started_at")
    assert isinstance(began, datetime)
    assert (await job_row(engine, job.id))["finished_at"] == began + timedelta(seconds=2.5)


async def test_idle_lanes_are_pruned_and_busy_ones_kept(engine: AsyncEngine) -> None:
    await accept(engine, order("1"), order("2"))
    jobs = [job for job in await claim(engine) if job.lane == "order:1"]
    await run(engine, "UPDATE lane SET has_dependents = true WHERE key = 'order:1'")
    await settle(engine, jobs, DONE)
    assert await prune_lanes(engine, idle=3600.0) == 0
    assert await prune_lanes(engine, idle=-1.0) == 1
    assert await rows(engine, "SELECT key FROM lane") == [("order:2",)]


async def test_many_workers_settle_many_lanes_without_deadlock(engine: AsyncEngine) -> None:
    await accept(engine, *(order(str(number)) for number in range(200)), *(order(str(n)) for n in range(200)))

    async def work() -> int:
        count = 0
        while jobs := await claim(engine, 17):
            await settle(engine, list(reversed(jobs)), DONE)
            count += len(jobs)
        return count

    assert sum(await asyncio.gather(*(work() for _ in range(5)))) == 400
    assert await broken_counts(engine) == []


async def test_only_a_failure_keeps_the_start_of_the_response(engine: AsyncEngine) -> None:
    """A response that was understood repeats the customer's data and helps nobody; its status is kept."""
    await accept(engine, order("1"), order("2"))
    done, failed = await claim(engine)
    retried = Again(0.0, NO_VALUE, False, "retry")
    evidence = Evidence(200, '{"email": "jane@example.com"}'), Evidence(503, "try later")
    await queue.Queue(engine, "platform").settle(
        [
            Settlement(done, DONE, "done", evidence=evidence[0]),
            Settlement(failed, retried, "retry", NO_VALUE, evidence=evidence[1]),
        ]
    )
    kept = await attempts(engine, "outcome, status, excerpt")
    assert kept == [("retry", 503, "try later"), ("done", 200, None)]
