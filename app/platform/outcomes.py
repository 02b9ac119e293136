"""The outcome of a job, from the Platform's response or from an unreadable event."""

from typing import Final

from pydantic import ValidationError

from platform_relay.core.outcomes import Done, JobSpec, Outcome, Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.platform.responses import THE_PLATFORM, Accepted, PlatformResponse, Rejected

UNCHANGED: Final = Skip(because(ReasonCode.UNCHANGED, destination=THE_PLATFORM))


def outcome_of(
    response: PlatformResponse, digest: bytes | None = None, follow_ups: tuple[JobSpec, ...] = ()
) -> Outcome:
    """The outcome of the job's last call. `digest`: of the body that was sent."""
    match response:
        case Accepted():
            return Done(digest=digest, evidence=response.evidence, follow_ups=follow_ups)
        case Rejected():
            return response.reject()
        case _:
            return response


def unreadable_event(error: ValidationError) -> Reject:
    """The stored event was valid when it arrived; a newer release is stricter."""
    items = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False))
    return Reject(because(ReasonCode.STORED_EVENT_UNREADABLE, problem="; ".join(items)[:300]))
