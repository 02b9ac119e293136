"""What happens to a job: before its attempt (`before`), and after it (`decide`). Pure."""

from dataclasses import dataclass
from typing import assert_never

from app.engine.jobs import Job
from app.engine.retry import RetryPolicy
from app.engine.states import Again, GiveBack, Park, Transition, dead, done, skipped, superseded
from app.outcomes import Blocked, Done, Outcome, Reject, Retry, Skip, Unknown, Wait

PARKED_RECHECK = 3600.0
"""Seconds after which a lane that waits for another looks again by itself; the wake-up normally comes long before."""
UNREADABLE_RECHECK = 60.0
"""Seconds after which a job whose body does not open is looked at again: the key comes back with a restart."""
BLOCKED_DELAY = 1.0
"""Seconds; what really holds a blocked job back is its channel."""


@dataclass(frozen=True, slots=True)
class Crashed:
    """A handler raised: our bug, in words for people. Tried again like a Retry, and ends as dead(crashed)."""

    why: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker is shutting down. `sent`: the call was under way and may have reached the far side."""

    sent: bool


Verdict = Outcome | Crashed | Interrupted


def before(job: Job, policy: RetryPolicy, longest_wait: float) -> Transition | None:
    """What decides a job without a call; None when it is to be tried.

    `longest_wait` (seconds) is how old a job may get before it ends as expired: its body is pruned then.
    """
    if job.version is not None and job.delivered_version is not None and job.version < job.delivered_version:
        return superseded(
            f"a newer version ({job.delivered_version.isoformat()}) was seen before this one ({job.version.isoformat()})"
        )
    if job.age > longest_wait:
        return dead("expired", f"not delivered within {longest_wait / 86400:g} days")
    if job.attempt > policy.attempts:
        return dead("crashed", f"the worker died or lost its lease during the last of {policy.attempts} attempts")
    if job.unreadable is not None:
        return Park("settings", job.unreadable, job.uncertain, UNREADABLE_RECHECK)
    if job.must_wait and job.after:
        return Park(
            job.after, f"waits for the first delivery of {job.after}, which is owed", job.uncertain, PARKED_RECHECK
        )
    return None


def decide(  # noqa: C901, PLR0911, PLR0912  # one flat table, a row per meaning
    verdict: Verdict, job: Job, policy: RetryPolicy, dice: float
) -> Transition:
    """The one place that maps what a far side's answer means to what happens."""
    match verdict:
        case Done():
            return done(verdict.result, verdict.digest, verdict.owes)
        case Skip():
            return skipped(verdict.why)
        case Retry():
            delay = policy.delay(job.attempt, dice, verdict.after)
            if delay is None:
                return dead("exhausted", f"gave up after {job.attempt} attempts; last: {verdict.why}")
            return Again(delay, verdict.why, job.uncertain, "retry")
        case Unknown():
            delay = policy.delay(job.attempt, dice)
            if delay is None:
                return dead("exhausted", f"gave up after {job.attempt} attempts, outcome unknown; last: {verdict.why}")
            return Again(delay, verdict.why, True, "unknown")
        case Crashed():
            delay = policy.delay(job.attempt, dice)
            if delay is None:
                return dead("crashed", f"gave up after {job.attempt} attempts; last: {verdict.why}")
            return Again(delay, verdict.why, True, "crashed")
        case Reject():
            return dead("rejected", verdict.why)
        case Blocked():
            return GiveBack(BLOCKED_DELAY, verdict.why, job.uncertain, "blocked")
        case Interrupted():
            return GiveBack(0.0, "given back at shutdown", job.uncertain or verdict.sent, "shutdown")
        case Wait():
            return Park(verdict.key, verdict.why, job.uncertain, verdict.recheck, verdict.owes)
        case _:
            assert_never(verdict)
