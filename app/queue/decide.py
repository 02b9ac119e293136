"""What happens to a job: before its attempt (`before`), and after it (`decide`). Pure."""

from dataclasses import dataclass
from typing import assert_never

from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Retry, Skip, Unknown, Wait
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.queue.jobs import Job
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.states import Again, GiveBack, Park, Transition, dead, done, skipped, superseded

PARKED_RECHECK = 3600.0
"""Seconds after which a lane that waits for another looks again by itself; the wake-up normally comes long before."""
UNREADABLE_RECHECK = 60.0
"""Seconds after which a job whose body does not open is looked at again: the key comes back with a restart."""
BLOCKED_DELAY = 1.0
"""Seconds; what really holds a blocked job back is its destination."""


@dataclass(frozen=True, slots=True)
class Crashed:
    """A handler raised, or the database was unavailable. Tried again like a Retry, and ends as dead(crashed)."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker is shutting down. `sent`: the call was under way and may have reached the destination."""

    sent: bool


Verdict = Outcome | Crashed | Interrupted


def before(job: Job, policy: RetryPolicy, longest_wait: float) -> Transition | None:
    """What decides a job without a call; None when it is to be tried.

    `longest_wait` (seconds) is how old a job may get before it ends as expired: its body is pruned then.
    """
    if job.version is not None and job.delivered_version is not None and job.version < job.delivered_version:
        return superseded(because(ReasonCode.NEWER_VERSION, newer=job.delivered_version.isoformat()))
    if job.age > longest_wait:
        return dead("expired", because(ReasonCode.EXPIRED, days=_number(longest_wait / 86400)))
    if job.attempt > policy.attempts:
        return dead("crashed", because(ReasonCode.LEASE_LOST, attempts=policy.attempts))
    if job.unreadable is not None:
        return Park("settings", job.unreadable, job.uncertain, UNREADABLE_RECHECK)
    if job.must_wait and job.after:
        lane = None if "@" in job.after else job.after  # facts hold no e-mail address
        return Park(job.after, because(ReasonCode.WAITING_FOR_LANE, lane=lane), job.uncertain, PARKED_RECHECK)
    return None


def _number(value: float) -> float | int:
    """Without a fraction where there is none."""
    return int(value) if value.is_integer() else value


def decide(  # noqa: C901, PLR0911, PLR0912  # one flat table, a row per meaning
    verdict: Verdict, job: Job, policy: RetryPolicy, dice: float
) -> Transition:
    """The one place that maps what a destination's answer means to what happens."""
    match verdict:
        case Done():
            return done(verdict.result, verdict.digest, verdict.owes)
        case Skip():
            return skipped(verdict.reason)
        case Retry():
            delay = policy.delay(job.attempt, dice, verdict.after)
            if delay is None:
                return dead("exhausted", verdict.reason.also(attempts=job.attempt))
            return Again(delay, verdict.reason, job.uncertain, "retry")
        case Unknown():
            delay = policy.delay(job.attempt, dice)
            if delay is None:
                return dead("exhausted", verdict.reason.also(attempts=job.attempt))
            return Again(delay, verdict.reason, True, "unknown")
        case Crashed():
            delay = policy.delay(job.attempt, dice)
            if delay is None:
                return dead("crashed", verdict.reason.also(attempts=job.attempt))
            return Again(delay, verdict.reason, True, "crashed")
        case Reject():
            return dead("rejected", verdict.reason)
        case Blocked():
            return GiveBack(BLOCKED_DELAY, verdict.reason, job.uncertain, "blocked")
        case Interrupted():
            return GiveBack(0.0, because(ReasonCode.SHUTDOWN), job.uncertain or verdict.sent, "shutdown")
        case Wait():
            return Park(verdict.key, verdict.reason, job.uncertain, verdict.recheck, verdict.owes)
        case _:
            assert_never(verdict)
