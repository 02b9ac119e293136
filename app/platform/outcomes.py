"""Default mapping from Platform responses to outcomes."""

from typing import Final

from pydantic import ValidationError

from platform_relay.core.outcomes import Done, JobSpec, Outcome, Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.platform.answers import THE_PLATFORM, Accepted, Refused, Verdict

UNCHANGED: Final = Skip(because(ReasonCode.UNCHANGED, destination=THE_PLATFORM))


def settled(verdict: Verdict, digest: bytes | None = None, owes: tuple[JobSpec, ...] = ()) -> Outcome:
    """The Platform's verdict on the job's last call. `digest`: of the body that was sent."""
    match verdict:
        case Accepted():
            return Done(digest=digest, evidence=verdict.evidence, owes=owes)
        case Refused():
            return verdict.reject()
        case _:
            return verdict


def unreadable(error: ValidationError) -> Reject:
    """The stored body was valid when it arrived: a newer release has become stricter."""
    items = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False))
    return Reject(because(ReasonCode.STORED_EVENT_UNREADABLE, problem="; ".join(items)[:300]))
