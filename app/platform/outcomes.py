"""The outcome of a job, from the Platform's response or from an unreadable event."""

from typing import Final

from pydantic import JsonValue, ValidationError

from platform_relay.core.outcomes import Done, JobSpec, Outcome, Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import TooManyElementsError
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


def unreadable_event(error: ValueError) -> Reject:
    """The outcome for a stored event that `Event.parse` refuses: a newer release is stricter, or the store's own event is
    too large."""
    match error:
        case TooManyElementsError():
            facts: dict[str, JsonValue] = {"field": error.field, "count": error.count, "maximum": error.maximum}
            return Reject(because(ReasonCode.EVENT_TOO_LARGE, **facts))
        case ValidationError():
            items = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False))
            problem = "; ".join(items)
        case _:
            problem = str(error)
    return Reject(because(ReasonCode.STORED_EVENT_UNREADABLE, problem=problem[:300]))
