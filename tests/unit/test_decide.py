from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from platform_relay.core.outcomes import Blocked, Done, JobSpec, Reject, Retry, Skip, Unknown, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.queue.decide import Crashed, Interrupted, Verdict, before, decide
from platform_relay.queue.jobs import AS_NEWEST, Job
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.states import Again, Finish, GiveBack, Park, Transition
from tests.reasons import (
    CONNECTION_LOST,
    HTTP_400,
    HTTP_401,
    HTTP_429,
    HTTP_503,
    INTERNAL,
    NO_VALUE,
    SHUTDOWN,
    UNCHANGED,
    WAITING_FOR_LANE,
)

POLICY = RetryPolicy(first=1, window=timedelta(seconds=3))
JOB = Job(
    id=UUID(int=1),
    message_id=UUID(int=2),
    kind="forward_order",
    destination="platform",
    lane="order:1",
    seq=1,
    fencing_token=7,
    attempt=1,
    uncertain=False,
    collapse=False,
    body=b"{}",
    params={},
    version=None,
    depends_on=None,
    exists_remotely=False,
    delivered_digest=None,
    delivered_version=None,
    must_wait=False,
    age=0.0,
)
UNCERTAIN = replace(JOB, uncertain=True)
LAST = replace(JOB, attempt=POLICY.attempts)
FOLLOW_UPS = (JobSpec("forward_customer", "platform", "customer:1"),)


@pytest.mark.parametrize(
    ("verdict", "job", "expected"),
    [
        (Done({"a": "b"}, b"d", follow_ups=FOLLOW_UPS), JOB, Finish("done", None, None, {"a": "b"}, b"d", FOLLOW_UPS)),
        (Skip(UNCHANGED), JOB, Finish("skipped", None, UNCHANGED)),
        (Retry(HTTP_503), JOB, Again(1.0, HTTP_503, False, "retry")),
        (Retry(HTTP_429, after=30), JOB, Again(30.0, HTTP_429, False, "retry")),
        (Retry(HTTP_503), replace(JOB, uncertain=True), Again(1.0, HTTP_503, True, "retry")),
        (Retry(HTTP_503), LAST, Finish("dead", "exhausted", HTTP_503.also(attempts=3), maybe_delivered=True)),
        (Unknown(CONNECTION_LOST), JOB, Again(1.0, CONNECTION_LOST, True, "unknown")),
        (
            Unknown(CONNECTION_LOST),
            LAST,
            Finish("dead", "exhausted", CONNECTION_LOST.also(attempts=3), maybe_delivered=True),
        ),
        (Crashed(INTERNAL), JOB, Again(1.0, INTERNAL, True, "crashed")),
        (Crashed(INTERNAL), LAST, Finish("dead", "crashed", INTERNAL.also(attempts=3), maybe_delivered=True)),
        (Reject(HTTP_400), JOB, Finish("dead", "rejected", HTTP_400)),
        (Reject(HTTP_400), UNCERTAIN, Finish("dead", "rejected", HTTP_400, maybe_delivered=True)),
        (
            Reject(HTTP_400, partly_delivered=True),
            JOB,
            Finish("dead", "rejected", HTTP_400, maybe_delivered=True),
        ),
        (Blocked(HTTP_401), JOB, GiveBack(1.0, HTTP_401, False, "blocked")),
        (Interrupted(sent=False), JOB, GiveBack(0.0, SHUTDOWN, False, "shutdown")),
        (Interrupted(sent=True), JOB, GiveBack(0.0, SHUTDOWN, True, "shutdown")),
        (Wait(NO_VALUE, "reward-rule:7", 60.0), JOB, Park("reward-rule:7", NO_VALUE, False, 60.0)),
        (
            Wait(WAITING_FOR_LANE, "customer:1", 60.0, FOLLOW_UPS, for_lane=True),
            UNCERTAIN,
            Park("customer:1", WAITING_FOR_LANE, True, 60.0, FOLLOW_UPS, for_lane=True),
        ),
        (Blocked(HTTP_401), UNCERTAIN, GiveBack(1.0, HTTP_401, True, "blocked")),
        (Interrupted(sent=False), UNCERTAIN, GiveBack(0.0, SHUTDOWN, True, "shutdown")),
    ],
)
def test_what_an_answer_means_decides_what_happens(verdict: Verdict, job: Job, expected: Transition) -> None:
    assert decide(verdict, job, POLICY, 0.0) == expected


def test_a_job_that_nothing_speaks_against_is_tried() -> None:
    assert before(JOB, POLICY, 1e6) is None


def test_an_older_version_than_the_last_seen_is_superseded() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    job = replace(JOB, version=now - timedelta(seconds=1), delivered_version=now)
    reason = because(ReasonCode.NEWER_VERSION, newer="2026-01-02T00:00:00+00:00")
    assert before(job, POLICY, 1e6) == Finish("superseded", None, reason)
    assert before(replace(job, version=now), POLICY, 1e6) is None
    assert before(replace(job, version=None), POLICY, 1e6) is None


def test_a_job_that_kills_its_worker_again_and_again_ends_as_crashed() -> None:
    job = replace(JOB, attempt=POLICY.attempts + 1, uncertain=True)
    assert before(job, POLICY, 1e6) == Finish(
        "dead", "crashed", because(ReasonCode.ATTEMPTS_LOST, attempts=3), maybe_delivered=True
    )
    assert before(replace(job, attempt=POLICY.attempts), POLICY, 1e6) is None


def test_a_job_older_than_its_body_expires() -> None:
    day = 86400.0
    expired = Finish("dead", "expired", because(ReasonCode.EXPIRED, days=2.5))
    assert before(replace(JOB, age=2.5 * day + 1), POLICY, 2.5 * day) == expired
    assert before(replace(JOB, age=2.5 * day), POLICY, 2.5 * day) is None
    assert before(replace(JOB, age=31 * day), POLICY, 30 * day) == Finish(
        "dead", "expired", because(ReasonCode.EXPIRED, days=30)
    )


def test_a_body_that_cannot_be_decrypted_waits_for_its_key() -> None:
    reason = because(ReasonCode.BODY_KEY_MISSING, key="old")
    assert before(replace(JOB, unreadable=reason), POLICY, 1e6) == Park("settings", reason, False, 60.0)


def test_an_order_waits_for_its_customers_first_delivery_at_no_cost() -> None:
    why = because(ReasonCode.WAITING_FOR_LANE, lane="customer:1")
    waiting = replace(JOB, depends_on="customer:1", must_wait=True)
    assert before(waiting, POLICY, 1e6) == Park("customer:1", why, False, 3600.0, for_lane=True)
    assert before(replace(waiting, uncertain=True), POLICY, 1e6) == Park("customer:1", why, True, 3600.0, for_lane=True)
    assert before(replace(waiting, must_wait=False), POLICY, 1e6) is None
    guest = before(replace(waiting, depends_on="customer:ada@example.com"), POLICY, 1e6)
    assert guest == Park("customer:ada@example.com", because(ReasonCode.WAITING_FOR_LANE), False, 3600.0, for_lane=True)


def test_a_version_of_the_future_that_was_delivered_is_named() -> None:
    delivered = datetime(2062, 1, 1, tzinfo=UTC)
    job = replace(JOB, version=datetime(2026, 1, 1, tzinfo=UTC), delivered_version=delivered, delivered_ahead=True)
    transition = before(job, POLICY, 1e6)
    assert isinstance(transition, Finish)
    assert transition.reason == because(ReasonCode.NEWER_VERSION_AHEAD, newer=delivered.isoformat())


def test_an_operator_and_a_repair_send_an_older_version() -> None:
    """A repair only if the delivered version lies in the future: a real change can overtake it, and is newer."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    job = replace(JOB, version=now - timedelta(seconds=1), delivered_version=now)
    assert before(replace(job, params={AS_NEWEST: "operator"}), POLICY, 1e6) is None
    repair = replace(job, params={AS_NEWEST: "repair"})
    assert isinstance(before(repair, POLICY, 1e6), Finish)
    assert before(replace(repair, delivered_ahead=True), POLICY, 1e6) is None
