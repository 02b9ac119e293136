from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.engine.decide import Crashed, Interrupted, Verdict, before, decide
from app.engine.jobs import Job
from app.engine.retry import RetryPolicy
from app.engine.states import Again, Finish, GiveBack, Park, Transition
from app.outcomes import Blocked, Done, Owed, Reject, Retry, Skip, Unknown, Wait

POLICY = RetryPolicy(first=1, window=timedelta(seconds=3))
JOB = Job(
    id=UUID(int=1),
    message_id=UUID(int=2),
    kind="relay_order",
    channel="platform",
    lane="order:1",
    seq=1,
    claim=7,
    attempt=1,
    uncertain=False,
    collapse=False,
    body=b"{}",
    params={},
    version=None,
    after=None,
    known=False,
    delivered=None,
    delivered_version=None,
    must_wait=False,
    age=0.0,
)
UNCERTAIN = replace(JOB, uncertain=True)
LAST = replace(JOB, attempt=POLICY.attempts)
OWED = (Owed("relay_customer", "platform", "customer:1"),)


@pytest.mark.parametrize(
    ("verdict", "job", "expected"),
    [
        (Done({"a": "b"}, b"d", owes=OWED), JOB, Finish("done", None, None, {"a": "b"}, b"d", OWED)),
        (Skip("same"), JOB, Finish("skipped", "unchanged", "same")),
        (Retry("503"), JOB, Again(1.0, "503", False, "retry")),
        (Retry("429", after=30), JOB, Again(30.0, "429", False, "retry")),
        (Retry("503"), replace(JOB, uncertain=True), Again(1.0, "503", True, "retry")),
        (Retry("503"), LAST, Finish("dead", "exhausted", "gave up after 3 attempts; last: 503")),
        (Unknown("reset"), JOB, Again(1.0, "reset", True, "unknown")),
        (Unknown("reset"), LAST, Finish("dead", "exhausted", "gave up after 3 attempts, outcome unknown; last: reset")),
        (Crashed("bug"), JOB, Again(1.0, "bug", True, "crashed")),
        (Crashed("bug"), LAST, Finish("dead", "crashed", "gave up after 3 attempts; last: bug")),
        (Reject("400"), JOB, Finish("dead", "rejected", "400")),
        (Blocked("401"), JOB, GiveBack(1.0, "401", False, "blocked")),
        (Interrupted(sent=False), JOB, GiveBack(0.0, "given back at shutdown", False, "shutdown")),
        (Interrupted(sent=True), JOB, GiveBack(0.0, "given back at shutdown", True, "shutdown")),
        (Wait("no rule", "reward-rule:7", 60.0), JOB, Park("reward-rule:7", "no rule", False, 60.0)),
        (Wait("owed", "customer:1", 60.0, OWED), UNCERTAIN, Park("customer:1", "owed", True, 60.0, OWED)),
        (Blocked("401"), UNCERTAIN, GiveBack(1.0, "401", True, "blocked")),
        (Interrupted(sent=False), UNCERTAIN, GiveBack(0.0, "given back at shutdown", True, "shutdown")),
    ],
)
def test_what_an_answer_means_decides_what_happens(verdict: Verdict, job: Job, expected: Transition) -> None:
    assert decide(verdict, job, POLICY, 0.0) == expected


def test_a_job_that_nothing_speaks_against_is_tried() -> None:
    assert before(JOB, POLICY, 1e6) is None


def test_an_older_version_than_the_last_seen_is_superseded() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    job = replace(JOB, version=now - timedelta(seconds=1), delivered_version=now)
    assert before(job, POLICY, 1e6) == Finish(
        "superseded",
        "newer_version",
        "a newer version (2026-01-02T00:00:00+00:00) was seen before this one (2026-01-01T23:59:59+00:00)",
    )
    assert before(replace(job, version=now), POLICY, 1e6) is None
    assert before(replace(job, version=None), POLICY, 1e6) is None


def test_a_job_that_kills_its_worker_again_and_again_ends_as_crashed() -> None:
    job = replace(JOB, attempt=POLICY.attempts + 1, uncertain=True)
    words = "the worker died or lost its lease during the last of 3 attempts"
    assert before(job, POLICY, 1e6) == Finish("dead", "crashed", words)
    assert before(replace(job, attempt=POLICY.attempts), POLICY, 1e6) is None


def test_a_job_older_than_its_body_expires() -> None:
    day = 86400.0
    expired = Finish("dead", "expired", "not delivered within 2.5 days")
    assert before(replace(JOB, age=2.5 * day + 1), POLICY, 2.5 * day) == expired
    assert before(replace(JOB, age=2.5 * day), POLICY, 2.5 * day) is None


def test_an_order_waits_for_its_customers_first_delivery_at_no_cost() -> None:
    why = "waits for the first delivery of customer:1, which is owed"
    waiting = replace(JOB, after="customer:1", must_wait=True)
    assert before(waiting, POLICY, 1e6) == Park("customer:1", why, False, 3600.0)
    assert before(replace(waiting, uncertain=True), POLICY, 1e6) == Park("customer:1", why, True, 3600.0)
    assert before(replace(waiting, must_wait=False), POLICY, 1e6) is None
