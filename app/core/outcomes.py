"""What a destination's answer means. Adapters and handlers say it, the engine decides what happens (`engine.decide`).

    Done     the destination has it
    Skip     nothing needed doing (the same version is there already)
    Retry    not done, could work later
    Unknown  the request left and no trustworthy answer came back: ask the destination before acting again
    Reject   will never work as it is: a person has to look
    Blocked  a fact about the destination, not about this job (key refused, wrong address): pause the destination
    Wait     cannot be done before something else has happened; costs no attempt

Imports only reason codes, so that every layer can use it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from platform_relay.core.reasons import Reason, ReasonCode, because


@dataclass(frozen=True, slots=True)
class Evidence:
    """What came back, kept with the attempt. `status` is an HTTP status, `excerpt` at most 500 characters."""

    status: int | None = None
    excerpt: str | None = None


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One more job that the same message owes: `kind` at `destination` in `lane`, with small text `params`.

    `after` names a lane whose first delivery this job needs. With `collapse`, a newer job of the lane replaces this one
    while it waits. `backfill`: after everything live.
    """

    kind: str
    destination: str
    lane: str
    params: Mapping[str, str] = field(default_factory=dict)
    after: str | None = None
    collapse: bool = False
    backfill: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The destination has it. `digest` fingerprints what was delivered, so that an equal version can be skipped."""

    result: Mapping[str, str] = field(default_factory=dict)
    digest: bytes | None = None
    evidence: Evidence = Evidence()
    owes: tuple[JobSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class _WithReason:
    """Every outcome other than plain success has a reason."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Skip(_WithReason):
    """Nothing needed doing."""


@dataclass(frozen=True, slots=True)
class Retry(_WithReason):
    """`after` is the destination's own wish in seconds (Retry-After); the policy bounds it."""

    after: float | None = None
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True)
class Unknown(_WithReason):
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True)
class Reject(_WithReason):
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True)
class Blocked(_WithReason):
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True)
class Wait(_WithReason):
    """`key` is what wakes it (`engine.queue.wake`); `recheck` seconds later it looks again all the same.

    With `owes`, the jobs that bring the awaited thing about are taken on in the same transaction.
    """

    key: str
    recheck: float = 3600.0
    owes: tuple[JobSpec, ...] = ()
    evidence: Evidence = Evidence()


Outcome = Done | Skip | Retry | Unknown | Reject | Blocked | Wait


def reason_of(outcome: Outcome) -> Reason:
    """The reason of a call that returned no result."""
    if isinstance(outcome, Done):
        return because(ReasonCode.INTERNAL_ERROR, error="the adapter returned Done instead of a result")
    return outcome.reason
