"""Giving up is visible and reversible; every act is in the audit."""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.engine.operator import DeadJobs, Operator
from app.engine.states import DeadReason, Park, dead, done
from app.messages import Incoming

from .engine_room import accept, broken_counts, claim, customer, order, rows, settle, states


async def kill(engine: AsyncEngine, *messages: Incoming, reason: DeadReason = "rejected") -> list[UUID]:
    await accept(engine, *messages)
    jobs = await claim(engine)
    await settle(engine, jobs, dead(reason, "HTTP 400"), "reject")
    return [job.id for job in jobs]


async def test_a_dead_job_can_be_retried_and_starts_anew(engine: AsyncEngine) -> None:
    ids = await kill(engine, order("1"))
    assert await Operator(engine).retry(ids, "ada") == 1
    assert await Operator(engine).retry(ids, "ada") == 0
    [job] = await claim(engine)
    assert (job.attempt, job.uncertain) == (1, True)
    assert await broken_counts(engine) == []
    assert await rows(engine, "SELECT actor, action FROM audit") == [("ada", "job.retry")]


async def test_a_retried_job_takes_its_place_behind_what_waits(engine: AsyncEngine) -> None:
    ids = await kill(engine, order("1", 1))
    await accept(engine, order("1", 2))
    await Operator(engine).retry(ids, "ada")
    [first] = await claim(engine)
    await settle(engine, [first], done({}, b"d", ()))
    [second] = await claim(engine)
    assert (first.id, second.id) == (first.id, ids[0])


async def test_bulk_retry_has_a_preview_and_a_filter(engine: AsyncEngine) -> None:
    await kill(engine, order("1"), order("2"))
    await kill(engine, customer("1"), reason="exhausted")
    operator = Operator(engine)
    assert await operator.count_matching(DeadJobs()) == 3
    assert await operator.count_matching(DeadJobs(kind="relay_order")) == 2
    assert await operator.retry_matching(DeadJobs(reason="exhausted"), "ada") == 1
    assert await states(engine) == {"dead": 2, "waiting": 1}


async def test_dropping_says_who_and_why_and_frees_the_lane(engine: AsyncEngine) -> None:
    dead_ids = await kill(engine, order("1"))
    await accept(engine, order("2", 1), order("2", 2))
    waiting: list[Any] = await rows(engine, "SELECT id FROM job WHERE lane = 'order:2' ORDER BY seq")
    operator = Operator(engine)
    assert await operator.drop([dead_ids[0], waiting[0][0]], "ada", "test order") == 2
    assert await rows(engine, "SELECT DISTINCT state, reason, detail FROM job WHERE state = 'dropped'") == [
        ("dropped", "dropped", "dropped by ada: test order")
    ]
    assert await broken_counts(engine) == []
    [job] = await claim(engine)
    assert job.id == waiting[1][0]


async def test_what_runs_right_now_is_not_dropped(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    [job] = await claim(engine)
    assert await Operator(engine).drop([job.id], "ada", "too late") == 0


async def test_waking_and_pausing(engine: AsyncEngine) -> None:
    told: list[frozenset[str]] = []
    operator = Operator(engine, told.append)
    await accept(engine, order("1"), order("2"))
    [job, _] = await claim(engine)
    await settle(engine, [job], Park("reward-rule:7", "no rule", False, 600.0), "wait")
    assert await operator.wake(["reward-rule:7"]) == 1
    assert told == [frozenset({"platform"})]
    assert await operator.pause("platform", "maintenance", "ada")
    assert await claim(engine) == []
    assert await operator.resume("platform", "ada")
    assert len(await claim(engine)) == 1
    assert not await operator.pause("nowhere", "x", "ada")
