"""Outcomes: what a destination's response means. Adapters and handlers return them; `queue.decide` decides what happens.

    Done     the destination accepted the call
    Skip     there was nothing to do (the destination has this version)
    Retry    the call failed and can succeed later
    Unknown  the request was sent and no trustworthy response came: repeat only what cannot create anything twice
    Reject   the call can never succeed as it is: an operator has to look
    Blocked  the destination rejects the relay, whatever the job (API key, wrong address): stop calling it
    Wait     something else has to happen first; the attempt does not count

Imports only reason codes, so that every layer can use it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from platform_relay.core.reasons import Reason, ReasonCode, because


@dataclass(frozen=True, slots=True)
class Evidence:
    """The response, kept with the attempt. `status` is an HTTP status, `excerpt` at most 500 characters."""

    status: int | None = None
    excerpt: str | None = None


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job to enqueue for a message: `kind` at `destination` in `lane`, with small text `params`.

    `depends_on` names a lane whose first delivery this job needs. With `collapse`, a newer job of the lane replaces this
    one while it waits. `backfill`: it runs after all live jobs. `owner`: lanes of one owner share the concurrency with other
    owners as one; None: `depends_on`, or else the lane itself.
    """

    kind: str
    destination: str
    lane: str
    params: Mapping[str, str] = field(default_factory=dict)
    depends_on: str | None = None
    collapse: bool = False
    backfill: bool = False
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The destination accepted the call. `digest` is of what was delivered, so that an equal version can be skipped."""

    result: Mapping[str, str] = field(default_factory=dict)
    digest: bytes | None = None
    evidence: Evidence = Evidence()
    follow_ups: tuple[JobSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class _WithReason:
    """Every outcome except Done has a reason."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Skip(_WithReason):
    """There was nothing to do."""


@dataclass(frozen=True, slots=True)
class Retry(_WithReason):
    """`after`: the seconds that the destination asked for (Retry-After); the retry policy bounds them.

    `called` False: no call was made, so the outcome shows nothing about the destination.
    """

    after: float | None = None
    evidence: Evidence = Evidence()
    called: bool = True


@dataclass(frozen=True, slots=True)
class Unknown(_WithReason):
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True)
class Reject(_WithReason):
    """`partly_delivered`: the destination accepted an earlier call of the same attempt."""

    evidence: Evidence = Evidence()
    partly_delivered: bool = False


@dataclass(frozen=True, slots=True)
class Blocked(_WithReason):
    """`certain` False: the response names no cause, so it can also concern this entity alone (a firewall's 403 for one body).

    The queue compares it with other entities' calls (`queue.lane_failures`); other callers treat it as certain.
    """

    evidence: Evidence = Evidence()
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Wait(_WithReason):
    """`key` names what the job waits for: an event (`queue.wake` ends the wait) or, `for_lane`, another lane of its destination.

    The next finished job of that lane ends the wait. After `recheck` seconds the job is tried again in any case. `follow_ups`
    are jobs that make it happen; they are enqueued in the same transaction, only with `for_lane`.
    """

    key: str
    recheck: float = 3600.0
    follow_ups: tuple[JobSpec, ...] = ()
    evidence: Evidence = Evidence()
    for_lane: bool = False


Outcome = Done | Skip | Retry | Unknown | Reject | Blocked | Wait


def reason_of(outcome: Outcome) -> Reason:
    """The reason of a call that returned no result."""
    if isinstance(outcome, Done):
        return because(ReasonCode.INTERNAL_ERROR, error="the adapter returned Done instead of a result")
    return outcome.reason
