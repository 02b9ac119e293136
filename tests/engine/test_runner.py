"""One attempt, whatever happens in it."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import asyncpg
import pytest

from app.engine.decide import Crashed, Interrupted
from app.engine.jobs import Handler, Job
from app.engine.queue import Settlement
from app.engine.retry import RetryPolicy
from app.engine.runner import Runner
from app.engine.states import Again, Finish, GiveBack, Park
from app.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry, Skip, Unknown, Wait
from tests.unit.test_decide import JOB

SAID = Evidence(418, "a teapot")


def runner(handlers: Mapping[str, Handler], *, time_limit: float = 60.0, dice: float = 0.0) -> Runner:
    return Runner(handlers, RetryPolicy(first=8.0), time_limit=time_limit, longest_wait=100.0, dice=lambda: dice)


def answering(outcome: Outcome) -> Mapping[str, Handler]:
    async def handler(_: Job) -> Outcome:
        return outcome

    return {JOB.kind: handler}


@pytest.mark.parametrize(
    ("outcome", "name", "words", "evidence"),
    [
        (Done({"id": "1"}, b"d", SAID), "done", None, SAID),
        (Skip("the same"), "skip", "the same", Evidence()),
        (Retry("HTTP 503", None, SAID), "retry", "HTTP 503", SAID),
        (Unknown("reset", SAID), "unknown", "reset", SAID),
        (Reject("HTTP 400", SAID), "reject", "HTTP 400", SAID),
        (Blocked("HTTP 401", SAID), "blocked", "HTTP 401", SAID),
        (Wait("no rule", "rule:1", evidence=SAID), "wait", "no rule", SAID),
    ],
)
async def test_every_outcome_is_written_down_by_its_name(
    outcome: Outcome, name: str, words: str | None, evidence: Evidence
) -> None:
    settlement, verdict = await runner(answering(outcome)).run(JOB)
    assert verdict is outcome
    assert (settlement.outcome, settlement.words, settlement.evidence) == (name, words, evidence)
    assert settlement.job is JOB
    assert 0 <= settlement.duration_ms < 5_000


def test_an_attempt_is_measured_in_milliseconds() -> None:
    assert runner({}).settlement(JOB, Done(), 1.5004).duration_ms == 1500


async def test_the_dice_lengthen_a_delay() -> None:
    settlement, _ = await runner(answering(Retry("HTTP 503")), dice=0.5).run(JOB)
    assert settlement.transition == Again(8.0 * 1.1, "HTTP 503", False, "retry")


async def test_a_handler_that_raises_is_our_bug_and_is_tried_again_with_a_probe() -> None:
    async def broken(_: Job) -> Outcome:
        raise KeyError("a name of a person")

    settlement, verdict = await runner({JOB.kind: broken}).run(JOB)
    words = "an error of the relay itself: KeyError"
    assert verdict == Crashed(words)
    assert settlement.transition == Again(8.0, words, True, "crashed")
    assert (settlement.outcome, settlement.words, settlement.evidence) == ("crashed", words, Evidence())


async def test_a_database_that_goes_away_meanwhile_is_called_that() -> None:
    async def cut_off(_: Job) -> Outcome:
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    settlement, _ = await runner({JOB.kind: cut_off}).run(JOB)
    assert settlement.words == "the relay's own database went away or was too slow during the attempt"
    assert settlement.transition == Again(8.0, settlement.words, True, "crashed")


async def test_a_handler_that_does_not_end_is_of_unknown_outcome() -> None:
    async def endless(_: Job) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    settlement, verdict = await runner({JOB.kind: endless}, time_limit=0.02).run(JOB)
    assert verdict == Unknown("not finished within 0.02 s")
    assert settlement.transition == Again(8.0, "not finished within 0.02 s", True, "unknown")
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
    assert settlement.transition == GiveBack(0.0, "given back at shutdown", True, "shutdown")
    assert (settlement.outcome, settlement.words) == (None, None)


async def test_what_is_decided_beforehand_calls_nobody() -> None:
    waiting = replace(JOB, must_wait=True, after="customer:1")
    settlement, verdict = await runner({}).run(waiting)
    assert verdict is None
    assert isinstance(settlement.transition, Park)
    assert settlement == Settlement(waiting, settlement.transition, None)
    expired, _ = await runner({}).run(replace(JOB, age=100.5))
    assert isinstance(expired.transition, Finish)
    assert expired.transition.reason == "expired"


async def test_a_job_that_nobody_knows_is_given_up_in_words() -> None:
    settlement, verdict = await runner({}).run(JOB)
    assert verdict is None
    assert settlement == Settlement(
        JOB, Finish("dead", "rejected", "no handler for jobs of the kind 'relay_order'"), None
    )
