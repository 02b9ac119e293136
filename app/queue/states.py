"""The transitions of a running job, as values. Other transitions cannot be written.

Finish    done | skipped | superseded | dead      the job is over (a dead one can be retried by an operator)
Again     waiting, after `delay` seconds          the attempt counted
GiveBack  waiting, after `delay` seconds          the attempt did not count: shutdown, destination blocked
Park      waiting for an event or another lane    the attempt did not count
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from platform_relay.core.outcomes import JobSpec
from platform_relay.core.reasons import Reason

Ending = Literal["exhausted", "rejected", "crashed", "expired"]
"""The dispositions of dead jobs."""


@dataclass(frozen=True, slots=True)
class Finish:
    state: Literal["done", "skipped", "superseded", "dead"]
    disposition: Ending | None = None
    reason: Reason | None = None
    result: Mapping[str, str] = field(default_factory=dict)
    digest: bytes | None = None
    follow_ups: tuple[JobSpec, ...] = ()
    maybe_delivered: bool = False
    """A dead job's version may have reached the destination, so no older version may follow it."""


@dataclass(frozen=True, slots=True)
class Again:
    delay: float
    reason: Reason
    uncertain: bool
    disposition: Literal["retry", "unknown", "crashed"]


@dataclass(frozen=True, slots=True)
class GiveBack:
    delay: float
    reason: Reason
    uncertain: bool
    disposition: Literal["blocked", "shutdown"]


DOUBT: Final = "doubt:"


def doubt_key(destination: str) -> str:
    """The event that lanes wait for whose last response can concern them alone or the destination."""
    return DOUBT + destination


@dataclass(frozen=True, slots=True)
class Park:
    """See `outcomes.Wait`."""

    key: str
    reason: Reason
    uncertain: bool
    recheck: float
    follow_ups: tuple[JobSpec, ...] = ()
    for_lane: bool = False


Transition = Finish | Again | GiveBack | Park


def done(result: Mapping[str, str], digest: bytes | None, follow_ups: tuple[JobSpec, ...]) -> Finish:
    return Finish("done", None, None, result, digest, follow_ups)


def skipped(reason: Reason) -> Finish:
    return Finish("skipped", None, reason)


def superseded(reason: Reason) -> Finish:
    return Finish("superseded", None, reason)


def dead(disposition: Ending, reason: Reason, *, maybe_delivered: bool = False) -> Finish:
    return Finish("dead", disposition, reason, maybe_delivered=maybe_delivered)
