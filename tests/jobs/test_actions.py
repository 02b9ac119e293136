"""Giving up is visible and reversible; every act is in the audit."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.reasons import Reason, ReasonCode
from platform_relay.inbox.messages import Incoming
from platform_relay.jobs.actions import DeadJobs, OperatorActions
from platform_relay.queue.states import Ending, Park, dead, done
from tests.database.engine_room import accept, broken_counts, claim, customer, order, rows, settle, states
from tests.reasons import HTTP_400, HTTP_503, NO_VALUE


async def kill(
    engine: AsyncEngine, *messages: Incoming, disposition: Ending = "rejected", reason: Reason = HTTP_400
) -> list[UUID]:
    await accept(engine, *messages)
    jobs = await claim(engine)
    await settle(engine, jobs, dead(disposition, reason), "reject")
    return [job.id for job in jobs]


async def test_a_dead_job_can_be_retried_and_starts_anew(engine: AsyncEngine) -> None:
    ids = await kill(engine, order("1"))
    assert await OperatorActions(engine).retry(ids, "ada") == 1
    assert await OperatorActions(engine).retry(ids, "ada") == 0
    [job] = await claim(engine)
    assert (job.attempt, job.uncertain) == (1, True)
    assert await broken_counts(engine) == []
    assert await rows(engine, "SELECT actor, action FROM audit") == [("ada", "job.retry")]


async def test_a_retried_job_takes_its_place_behind_what_waits(engine: AsyncEngine) -> None:
    ids = await kill(engine, order("1", 1))
    await accept(engine, order("1", 2))
    await OperatorActions(engine).retry(ids, "ada")
    [first] = await claim(engine)
    await settle(engine, [first], done({}, b"d", ()))
    [second] = await claim(engine)
    assert (first.id, second.id) == (first.id, ids[0])


async def test_bulk_retry_has_a_preview_and_a_filter(engine: AsyncEngine) -> None:
    await kill(engine, order("1"), order("2"))
    await kill(engine, customer("1"), disposition="exhausted", reason=HTTP_503)
    actions = OperatorActions(engine)
    assert (await actions.count_matching(DeadJobs()))[0] == 3
    assert (await actions.count_matching(DeadJobs(kind="forward_order")))[0] == 2
    assert (await actions.count_matching(DeadJobs(reason_code=ReasonCode.SERVER_ERROR)))[0] == 1
    assert (await actions.count_matching(DeadJobs(reason_code=ReasonCode.KEY_REJECTED)))[0] == 0
    assert (await actions.count_matching(DeadJobs(reason_code=ReasonCode.SERVER_ERROR, disposition="rejected")))[0] == 0
    assert await actions.retry_matching(DeadJobs(disposition="exhausted"), "ada") == 1
    assert await rows(engine, "SELECT disposition, reason_code, facts FROM job WHERE state = 'waiting'") == [
        ("operator_retry", "operator_retry", {"by": "ada"})
    ]
    assert await states(engine) == {"dead": 2, "waiting": 1}


async def test_dropping_says_who_and_why_and_frees_the_lane(engine: AsyncEngine) -> None:
    dead_ids = await kill(engine, order("1"))
    await accept(engine, order("2", 1), order("2", 2))
    waiting: list[Any] = await rows(engine, "SELECT id FROM job WHERE lane = 'order:2' ORDER BY seq")
    actions = OperatorActions(engine)
    assert await actions.drop([dead_ids[0], waiting[0][0]], "ada", "test order") == 2
    assert await rows(engine, "SELECT DISTINCT disposition, reason_code, facts FROM job WHERE state = 'dropped'") == [
        (None, "operator_dropped", {"by": "ada", "comment": "test order"})
    ]
    assert await broken_counts(engine) == []
    [job] = await claim(engine)
    assert job.id == waiting[1][0]


async def test_what_runs_right_now_is_not_dropped(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    [job] = await claim(engine)
    assert await OperatorActions(engine).drop([job.id], "ada", "too late") == 0


async def test_waking_and_pausing(engine: AsyncEngine) -> None:
    result: list[frozenset[str]] = []
    actions = OperatorActions(engine, result.append)
    await accept(engine, order("1"), order("2"))
    [job, _] = await claim(engine)
    await settle(engine, [job], Park("reward-rule:7", NO_VALUE, False, 600.0), "wait")
    assert await actions.wake(["reward-rule:7"]) == 1
    assert result == [frozenset({"platform"})]
    assert await actions.pause("platform", "maintenance", "ada")
    assert await claim(engine) == []
    assert await actions.resume("platform", "ada")
    assert len(await claim(engine)) == 1
    assert not await actions.pause("nowhere", "x", "ada")


AUDIT = "SELECT actor, action, subject, detail FROM audit ORDER BY seq"


async def test_every_act_is_in_the_audit_with_who_what_and_why(engine: AsyncEngine) -> None:
    actions = OperatorActions(engine)
    [one] = await kill(engine, order("1"))
    more = await kill(engine, order("2"), order("3"))
    await actions.retry([one], "ada")
    await actions.retry(more, "ada")
    await actions.drop([one], "bob", "a test")
    await actions.drop(more, "bob", "tests")
    await actions.pause("platform", "maintenance", "eve")
    [(code, facts)] = await rows(engine, "SELECT reason_code, facts FROM destination WHERE name = 'platform'")
    assert (code, facts) == (
        "operator_paused",
        {"destination": "the Platform", "by": "eve", "comment": "maintenance"},
    )
    await actions.resume("platform", "eve")
    assert await rows(engine, AUDIT) == [
        ("ada", "job.retry", str(one), {"jobs": 1}),
        ("ada", "job.retry", "jobs", {"jobs": 2}),
        ("bob", "job.drop", str(one), {"jobs": 1, "why": "a test"}),
        ("bob", "job.drop", "jobs", {"jobs": 2, "why": "tests"}),
        ("eve", "destination.pause", "platform", {"why": "maintenance"}),
        ("eve", "destination.resume", "platform", {}),
    ]


async def test_what_changes_nothing_is_not_in_the_audit(engine: AsyncEngine) -> None:
    actions = OperatorActions(engine)
    await accept(engine, order("1"))
    [job] = await claim(engine)
    assert await actions.retry([job.id], "ada") == 0
    assert await actions.drop([job.id], "ada", "too late") == 0
    assert not await actions.pause("nowhere", "x", "ada")
    assert not await actions.resume("platform", "ada"), "it is open"
    assert not await actions.resume("nowhere", "ada")
    assert await rows(engine, AUDIT) == []


async def test_the_channels_that_got_work_are_told(engine: AsyncEngine) -> None:
    result: list[frozenset[str]] = []
    actions = OperatorActions(engine, result.append)
    await actions.retry(await kill(engine, order("1"), order("2")), "ada")
    await actions.pause("store", "maintenance", "ada")
    await actions.resume("store", "ada")
    assert result == [frozenset({"platform"}), frozenset({"store"})]


async def test_a_bulk_retry_goes_on_chunk_by_chunk_and_counts_them_all(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform_relay.jobs.actions.CHUNK", 2)
    await kill(engine, *(order(str(number)) for number in range(5)))
    assert await OperatorActions(engine).retry_matching(DeadJobs(), "ada") == 5
    assert await states(engine) == {"waiting": 5}
    assert [detail for *_, detail in await rows(engine, AUDIT)] == [{"jobs": 2}, {"jobs": 2}, {"jobs": 1}]


async def test_a_bulk_retry_can_be_bounded_by_when_they_died(engine: AsyncEngine) -> None:
    await kill(engine, order("1"))
    [(moment,)] = await rows(engine, "SELECT finished_at FROM job")
    assert isinstance(moment, datetime)
    actions = OperatorActions(engine)
    assert (await actions.count_matching(DeadJobs(before=moment)))[0] == 0
    assert (await actions.count_matching(DeadJobs(before=moment + timedelta(seconds=1))))[0] == 1
    assert await actions.retry_matching(DeadJobs(before=moment), "ada") == 0
