"""Decides what happens to a job, before its attempt (`before`) and after it (`decide`). Pure."""

from dataclasses import dataclass
from typing import assert_never

from platform_relay.core.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry, Skip, Unknown, Wait
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.queue.jobs import Job
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.states import (
    Again,
    GiveBack,
    Park,
    Transition,
    dead,
    done,
    doubt_key,
    skipped,
    superseded,
)

PARKED_RECHECK = 3600.0
"""Seconds after which a lane that waits for another is due again automatically; normally it is woken long before."""
UNREADABLE_RECHECK = 60.0
"""Seconds after which a job whose body cannot be decrypted is due again: the key can be back after a restart."""
DOUBT_RECHECK = 60.0
"""Seconds after which a lane that waits for another lane's call tries again automatically."""
BLOCKED_DELAY = 1.0
"""Seconds. Short, because the state of the destination delays the job."""


@dataclass(frozen=True, slots=True)
class Crashed:
    """A handler raised, or the database was unavailable. Retried like a Retry; after the last attempt the job is dead."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker is shutting down. `sent`: the call had started and may have reached the destination."""

    sent: bool


@dataclass(frozen=True, slots=True)
class Undecided:
    """The response can concern this entity alone, or the destination. Another lane's call decides (`lane_failures`)."""

    reason: Reason
    evidence: Evidence = Evidence()


Verdict = Outcome | Crashed | Interrupted | Undecided


def lane_failed(verdict: Verdict) -> bool | None:
    """Whether an attempt's call failed; None when it shows neither (no call was made, or the response was a wait)."""
    match verdict:
        case Retry():
            return True if verdict.called else None
        case Unknown() | Blocked() | Crashed() | Undecided():
            return True
        case Reject() if verdict.evidence.status is None:
            return None
        case Done() | Reject():
            return False
        case _:
            return None


def before(job: Job, policy: RetryPolicy, longest_wait: float) -> Transition | None:
    """The transition of a job that needs no call; None when it is to be tried.

    A job older than `longest_wait` (seconds) expires: its body is deleted at that age.
    """
    if (
        job.version is not None
        and job.delivered_version is not None
        and job.version < job.delivered_version
        and not _is_sent_as_newest(job)
    ):
        code = ReasonCode.NEWER_VERSION_AHEAD if job.delivered_ahead else ReasonCode.NEWER_VERSION
        return superseded(because(code, newer=job.delivered_version.isoformat()))
    if job.age > longest_wait:
        reason = because(ReasonCode.EXPIRED, days=_number(longest_wait / 86400))
        return dead("expired", reason, maybe_delivered=job.uncertain)
    if job.attempt > policy.attempts:
        return dead("crashed", because(ReasonCode.ATTEMPTS_LOST, attempts=policy.attempts), maybe_delivered=True)
    if job.unreadable is not None:
        return Park("settings", job.unreadable, job.uncertain, UNREADABLE_RECHECK)
    if job.must_wait and job.depends_on:
        lane = None if "@" in job.depends_on else job.depends_on  # facts hold no e-mail address
        return Park(
            job.depends_on,
            because(ReasonCode.WAITING_FOR_LANE, lane=lane),
            job.uncertain,
            PARKED_RECHECK,
            for_lane=True,
        )
    return None


def _is_sent_as_newest(job: Job) -> bool:
    """Whether the job is sent although a newer version was delivered: always when an operator wants it, and as a repair
    when that newer version has a time in the future. A real change can overtake a repair, and is newer than it."""
    return job.as_newest == "operator" or (job.as_newest == "repair" and job.delivered_ahead)


def _number(value: float) -> float | int:
    """An int if `value` is a whole number."""
    return int(value) if value.is_integer() else value


def decide(  # noqa: C901, PLR0911, PLR0912  # one flat table, a row per meaning
    verdict: Verdict, job: Job, policy: RetryPolicy, random: float
) -> Transition:
    """Map the meaning of a response to the job's transition. Nothing else does."""
    match verdict:
        case Done():
            return done(verdict.result, verdict.digest, verdict.follow_ups)
        case Skip():
            return skipped(verdict.reason)
        case Retry():
            delay = policy.delay(job.attempt, random, verdict.after)
            if delay is None:  # a server that failed can have applied the request before
                return dead("exhausted", verdict.reason.also(attempts=job.attempt), maybe_delivered=True)
            return Again(delay, verdict.reason, job.uncertain, "retry")
        case Unknown():
            delay = policy.delay(job.attempt, random)
            if delay is None:
                return dead("exhausted", verdict.reason.also(attempts=job.attempt), maybe_delivered=True)
            return Again(delay, verdict.reason, True, "unknown")
        case Crashed():
            delay = policy.delay(job.attempt, random)
            if delay is None:
                return dead("crashed", verdict.reason.also(attempts=job.attempt), maybe_delivered=True)
            return Again(delay, verdict.reason, True, "crashed")
        case Reject():
            return dead("rejected", verdict.reason, maybe_delivered=job.uncertain or verdict.partly_delivered)
        case Blocked():
            return GiveBack(BLOCKED_DELAY, verdict.reason, job.uncertain, "blocked")
        case Undecided():
            return Park(doubt_key(job.destination), verdict.reason, job.uncertain, DOUBT_RECHECK)
        case Interrupted():
            return GiveBack(0.0, because(ReasonCode.SHUTDOWN), job.uncertain or verdict.sent, "shutdown")
        case Wait():
            return Park(
                verdict.key, verdict.reason, job.uncertain, verdict.recheck, verdict.follow_ups, verdict.for_lane
            )
        case _:
            assert_never(verdict)
