"""Which versions supersede others: only those that the destination has, or may have. On a real PostgreSQL."""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import uuid_utils.compat
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database_clock import DatabaseClock
from platform_relay.core.work import Operation, WorkRecord
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import Incoming
from platform_relay.inbox.versions import MAX_AHEAD, is_too_far_ahead
from platform_relay.jobs.actions import OperatorActions
from platform_relay.queue.decide import before
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.states import Again, Transition, dead, done
from tests.reasons import CONNECTION_LOST, HTTP_400, HTTP_503

from .engine_room import NOON, accept, at, broken_counts, claim, customer, order, rows, run, settle, states

DONE = done({}, b"digest", ())
REJECTED = dead("rejected", HTTP_400)
DAYS_AHEAD = 20 * 365 * 24 * 3600
"""A version of the wrong clock, in seconds after NOON."""


async def decided(engine: AsyncEngine) -> tuple[datetime | None, Transition | None]:
    """Claim the next job, and return its version and what is decided before its attempt."""
    [job] = await claim(engine)
    transition = before(job, RetryPolicy(), 3600.0)
    await settle(engine, [job], transition or DONE, None if transition else "done")
    return job.version, transition


async def test_a_rejected_version_leaves_the_older_ones_waiting_and_they_are_sent(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 1), customer("1", 2), customer("1", 3))
    sent = []
    for transition in (REJECTED, DONE):
        [job] = await claim(engine)
        assert before(job, RetryPolicy(), 3600.0) is None
        sent.append(job.version)
        assert (await settle(engine, [job], transition, "reject")).more == (transition is REJECTED)
    assert sent == [at(3), at(2)]
    assert await states(engine) == {"dead": 1, "done": 1, "superseded": 1}
    assert await rows(engine, "SELECT version FROM entity") == [(at(2),)]
    assert await broken_counts(engine) == []


async def test_a_rejected_version_does_not_supersede_a_later_arrival(engine: AsyncEngine) -> None:
    for message in (customer("1", 5), order("1", 5)):
        await accept(engine, message)
        await settle(engine, await claim(engine), REJECTED, "reject")
    await accept(engine, customer("1", 4), order("1", 4))
    jobs = await claim(engine)
    assert [before(job, RetryPolicy(), 3600.0) for job in jobs] == [None, None]


@pytest.mark.parametrize(
    ("earlier", "ending"),
    [
        (Again(0.0, CONNECTION_LOST, True, "unknown"), REJECTED),
        (None, dead("exhausted", CONNECTION_LOST, maybe_delivered=True)),
    ],
)
async def test_a_version_that_may_have_arrived_supersedes_older_ones(
    engine: AsyncEngine, earlier: Again | None, ending: Transition
) -> None:
    await accept(engine, customer("1", 2), customer("1", 1))
    if earlier is not None:
        await settle(engine, await claim(engine), earlier, "unknown")
    [job] = await claim(engine)
    assert job.version == at(2)
    ended = dead("rejected", HTTP_400, maybe_delivered=job.uncertain) if ending is REJECTED else ending
    await settle(engine, [job], ended, "reject")
    assert await states(engine) == {"dead": 1, "superseded": 1}
    await accept(engine, customer("1", 1))
    _, transition = await decided(engine)
    assert transition is not None


async def test_a_version_that_fails_for_now_replaces_nothing(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 1), customer("1", 2))
    await settle(engine, await claim(engine), Again(0.0, HTTP_503, False, "retry"), "retry")
    assert await states(engine) == {"waiting": 2}
    [job] = await claim(engine)
    assert job.version == at(2)


async def test_a_rejected_version_that_is_retried_and_rejected_again_supersedes_nothing(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 9))
    [job] = await claim(engine)
    await settle(engine, [job], REJECTED, "reject")
    assert await OperatorActions(engine).retry([job.id], "operator") == 1
    [job] = await claim(engine)
    assert not job.uncertain


async def test_a_dropped_version_that_may_have_arrived_supersedes_older_ones(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 1), customer("1", 2))
    [job] = await claim(engine)
    await settle(engine, [job], Again(60.0, CONNECTION_LOST, True, "unknown"), "unknown")
    assert await OperatorActions(engine).drop([job.id], "operator", "not needed") == 1
    _, transition = await decided(engine)
    assert transition is not None
    assert await states(engine) == {"dropped": 1, "superseded": 1}


@pytest.mark.parametrize("end", ["dropped", "dead"])
async def test_what_may_have_arrived_without_a_version_makes_the_content_unknown(engine: AsyncEngine, end: str) -> None:
    """Otherwise a later event with the content that was delivered before would be skipped as unchanged."""
    await accept(engine, customer("1", 1))
    await settle(engine, await claim(engine), DONE)
    await accept(engine, customer("1"))
    [job] = await claim(engine)
    assert job.delivered_digest == b"digest"
    if end == "dropped":
        await settle(engine, [job], Again(60.0, CONNECTION_LOST, True, "unknown"), "unknown")
        assert await OperatorActions(engine).drop([job.id], "operator", "not needed") == 1
    else:
        await settle(engine, [job], dead("exhausted", HTTP_503, maybe_delivered=True), "retry")
    assert await rows(engine, "SELECT exists_remotely, version, digest FROM entity") == [(True, at(1), None)]


async def test_a_dropped_job_without_a_version_leaves_no_trace_of_an_unknown_entity(engine: AsyncEngine) -> None:
    await accept(engine, customer("1"))
    [job] = await claim(engine)
    await settle(engine, [job], Again(60.0, CONNECTION_LOST, True, "unknown"), "unknown")
    assert await OperatorActions(engine).drop([job.id], "operator", "not needed") == 1
    assert await rows(engine, "SELECT key FROM entity") == []


async def test_an_operator_sends_a_superseded_version_as_the_newest(engine: AsyncEngine) -> None:
    """Afterwards the entity is no longer silent: later versions are compared with the one that was sent."""
    await accept(engine, customer("1", 1))
    await settle(engine, await claim(engine), DONE)
    await run(engine, "UPDATE entity SET version = '2062-11-20T10:00:00Z'")
    await accept(engine, customer("1", 2))
    [job] = await claim(engine)
    transition = before(job, RetryPolicy(), 3600.0)
    assert transition is not None
    assert transition.reason is not None
    assert transition.reason.code == "newer_version_ahead"
    await settle(engine, [job], transition, None)

    await accept(engine, customer("1", 3))  # it waits; the operator's choice goes first
    assert await OperatorActions(engine).send_as_newest(job.id, "operator", "the store's clock was wrong")
    [again] = await claim(engine)
    assert again.id == job.id
    assert before(again, RetryPolicy(), 3600.0) is None
    await settle(engine, [again], DONE)
    assert await rows(engine, "SELECT version FROM entity") == [(at(2),)]
    assert await decided(engine) == (at(3), None)
    assert await rows(engine, "SELECT action, detail->>'why' FROM audit WHERE action LIKE 'job.%'") == [
        ("job.send_as_newest", "the store's clock was wrong")
    ]
    assert not await OperatorActions(engine).send_as_newest(job.id, "operator", "again")
    assert await broken_counts(engine) == []


async def test_a_waiting_version_that_a_future_one_replaces_names_the_cause(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 1), customer("1", 2))
    await run(engine, "UPDATE job SET version = now() + interval '20 hours' WHERE seq = (SELECT max(seq) FROM job)")
    await settle(engine, await claim(engine), DONE)
    assert await rows(engine, "SELECT reason_code FROM job WHERE state = 'superseded'") == [("newer_version_ahead",)]


async def test_the_inbox_takes_no_version_of_the_future_and_reports_it(engine: AsyncEngine) -> None:
    reported: list[Incoming] = []

    async def report(message: Incoming) -> None:
        reported.append(message)

    inbox = Inbox(engine, on_commit=lambda _: None, on_future_version=report)
    messages = [customer("1", DAYS_AHEAD * 2), customer("2", 1)]
    await inbox.accept_many([(uuid_utils.compat.uuid7(), message) for message in messages])
    assert reported == messages[:1]
    assert await rows(engine, "SELECT lane, version FROM job ORDER BY lane") == [
        ("customer:1", None),
        ("customer:2", at(1)),
    ]


async def test_the_clock_is_the_databases_and_is_read_once_a_minute(engine: AsyncEngine) -> None:
    clock = DatabaseClock(engine, WorkRecord(Operation.ACCEPT))
    first = await clock.now()
    [(moment,)] = await rows(engine, "SELECT now()")
    assert isinstance(moment, datetime)
    assert abs(moment - first) < timedelta(seconds=30)
    started = time.perf_counter()
    for _ in range(1000):
        await clock.now()
    assert time.perf_counter() - started < 1


async def test_an_equal_version_is_not_skipped_while_another_one_may_have_arrived(engine: AsyncEngine) -> None:
    """Delivered: A. B may have arrived. A comes again: it must be sent, although A was delivered last."""
    for earlier in (Again(0.0, CONNECTION_LOST, True, "unknown"), Again(0.0, HTTP_503, False, "retry")):
        name = earlier.disposition
        await accept(engine, customer(name, 1))
        await settle(engine, await claim(engine), DONE)
        await accept(engine, customer(name, 2))
        [job] = await claim(engine)
        assert job.delivered_digest == b"digest"
        await settle(engine, [job], earlier, name)
        await accept(engine, customer(name, 3))
        [job] = await claim(engine)
        assert (job.version, job.delivered_digest) == (at(3), None)
        await settle(engine, [job], DONE)


async def test_a_dead_job_without_a_version_that_may_have_arrived_clears_the_digest(engine: AsyncEngine) -> None:
    await accept(engine, customer("1"))
    await settle(engine, await claim(engine), DONE)
    await accept(engine, customer("1"))
    await settle(engine, await claim(engine), dead("exhausted", CONNECTION_LOST, maybe_delivered=True), "unknown")
    assert await rows(engine, "SELECT exists_remotely, digest FROM entity") == [(True, None)]


async def test_a_version_sent_as_newest_during_an_attempt_is_not_superseded_by_it(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 1), customer("1", 2))
    [first] = await claim(engine)
    await settle(engine, [first], DONE)
    await accept(engine, customer("1", 3))
    [running] = await claim(engine)
    [(job_id,)] = await rows(engine, "SELECT id FROM job WHERE state = 'superseded'")
    superseded = UUID(str(job_id))
    await OperatorActions(engine).send_as_newest(superseded, "an operator", "the later ones are wrong")
    await settle(engine, [running], DONE)
    [job] = await claim(engine)
    assert (job.id, job.version) == (superseded, at(1))


async def test_a_repair_does_not_run_before_a_newer_version(engine: AsyncEngine) -> None:
    await accept(engine, customer("1", 1))
    await run(engine, """UPDATE job SET params = '{"as_newest": "repair"}'""")
    await accept(engine, customer("1", 2))
    [job] = await claim(engine)
    assert job.version == at(2)


def test_a_day_ahead_is_the_limit() -> None:
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert not is_too_far_ahead(None, now)
    assert not is_too_far_ahead(NOON, now)
    assert not is_too_far_ahead(now + MAX_AHEAD, now)
    assert is_too_far_ahead(now + MAX_AHEAD + timedelta(microseconds=1), now)
    assert is_too_far_ahead(datetime(9999, 12, 31, tzinfo=UTC), now)
