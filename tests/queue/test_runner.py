"""One attempt, whatever happens in it."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import asyncpg
import pytest

from platform_relay.core.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry, Skip, Unknown, Wait
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.queue.decide import Crashed, Interrupted
from platform_relay.queue.jobs import Handler, Job
from platform_relay.queue.queue import Settlement
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.runner import Runner
from platform_relay.queue.states import Again, Finish, GiveBack, Park
from tests.reasons import CONNECTION_LOST, HTTP_400, HTTP_401, HTTP_503, NO_VALUE, SHUTDOWN, UNCHANGED
from tests.unit.test_decide import JOB

SAID = Evidence(418, "a teapot")


def runner(handlers: Mapping[str, Handler], *, time_limit: float = 60.0, random: float = 0.0) -> Runner:
    return Runner(handlers, RetryPolicy(first=8.0), time_limit=time_limit, longest_wait=100.0, random=lambda: random)


def answering(outcome: Outcome) -> Mapping[str, Handler]:
    async def handler(_: Job) -> Outcome:
        return outcome

    return {JOB.kind: handler}


@pytest.mark.parametrize(
    ("outcome", "name", "reason", "evidence"),
    [
        (Done({"id": "1"}, b"d", SAID), "done", None, SAID),
        (Skip(UNCHANGED), "skip", UNCHANGED, Evidence()),
        (Retry(HTTP_503, None, SAID), "retry", HTTP_503, SAID),
        (Unknown(CONNECTION_LOST, SAID), "unknown", CONNECTION_LOST, SAID),
        (Reject(HTTP_400, SAID), "reject", HTTP_400, SAID),
        (Blocked(HTTP_401, SAID), "blocked", HTTP_401, SAID),
        (Wait(NO_VALUE, "rule:1", evidence=SAID), "wait", NO_VALUE, SAID),
    ],
)
async def test_every_outcome_is_written_down_by_its_name(
    outcome: Outcome, name: str, reason: Reason | None, evidence: Evidence
) -> None:
    settlement, verdict = await runner(answering(outcome)).run(JOB)
    assert verdict is outcome
    assert (settlement.outcome, settlement.reason, settlement.evidence) == (name, reason, evidence)
    assert settlement.job is JOB
    assert 0 <= settlement.duration_ms < 5_000


def test_an_attempt_is_measured_in_milliseconds() -> None:
    assert runner({}).settlement(JOB, Done(), 1.5004).duration_ms == 1500


async def test_the_dice_lengthen_a_delay() -> None:
    settlement, _ = await runner(answering(Retry(HTTP_503)), random=0.5).run(JOB)
    assert settlement.transition == Again(8.0 * 1.1, HTTP_503, False, "retry")


async def test_a_handler_that_raises_is_our_bug_and_is_tried_again_with_a_probe() -> None:
    async def broken(_: Job) -> Outcome:
        raise KeyError("a name of a person")

    settlement, verdict = await runner({JOB.kind: broken}).run(JOB)
    reason = because(ReasonCode.INTERNAL_ERROR, error="KeyError")
    assert verdict == Crashed(reason)
    assert settlement.transition == Again(8.0, reason, True, "crashed")
    assert (settlement.outcome, settlement.reason, settlement.evidence) == ("crashed", reason, Evidence())


async def test_a_database_that_goes_away_meanwhile_is_called_that() -> None:
    async def cut_off(_: Job) -> Outcome:
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    settlement, _ = await runner({JOB.kind: cut_off}).run(JOB)
    assert settlement.reason == because(ReasonCode.DATABASE_UNAVAILABLE)
    assert settlement.transition == Again(8.0, settlement.reason, True, "crashed")


async def test_a_handler_that_does_not_end_is_of_unknown_outcome() -> None:
    async def endless(_: Job) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    settlement, verdict = await runner({JOB.kind: endless}, time_limit=0.02).run(JOB)
    reason = because(ReasonCode.TIMED_OUT, destination="the Platform", seconds=0.02)
    assert verdict == Unknown(reason)
    assert settlement.transition == Again(8.0, reason, True, "unknown")
    assert settlement.duration_ms >= 20


async def test_a_handler_that_is_interrupted_gives_its_attempt_back() -> None:
    begun = asyncio.Event()

    async def endless(_: Job) -> Outcome:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(runner({JOB.kind: endless}).run(JOB))
    await begun.wait()
    task.cancel()
    settlement, verdict = await task
    assert verdict == Interrupted(sent=True)
    assert settlement.transition == GiveBack(0.0, SHUTDOWN, True, "shutdown")
    assert (settlement.outcome, settlement.reason) == ("interrupted", None)


async def test_what_is_decided_beforehand_calls_nobody() -> None:
    waiting = replace(JOB, must_wait=True, depends_on="customer:1")
    settlement, verdict = await runner({}).run(waiting)
    assert verdict is None
    assert isinstance(settlement.transition, Park)
    assert settlement == Settlement(waiting, settlement.transition, None)
    expired, _ = await runner({}).run(replace(JOB, age=100.5))
    assert isinstance(expired.transition, Finish)
    assert expired.transition.disposition == "expired"


async def test_a_job_of_an_unknown_kind_is_dead_with_a_reason() -> None:
    settlement, verdict = await runner({}).run(JOB)
    assert verdict is None
    reason = because(ReasonCode.NO_HANDLER, kind="forward_order")
    assert settlement == Settlement(JOB, Finish("dead", "rejected", reason), None)
