"""What a handler says where nothing finer is to be said."""

from pydantic import ValidationError

from app.outcomes import Done, Outcome, Owed, Reject
from app.platform.answers import Accepted, Refused, Verdict


def settled(verdict: Verdict, digest: bytes | None = None, owes: tuple[Owed, ...] = ()) -> Outcome:
    """The Platform's verdict on the call that was meant to settle the job. `digest`: of what it was given."""
    match verdict:
        case Accepted():
            return Done(digest=digest, evidence=verdict.evidence, owes=owes)
        case Refused():
            return verdict.reject()
        case _:
            return verdict


def unreadable(error: ValidationError) -> Reject:
    """The stored body is not what the door had checked: a newer version of us has become stricter."""
    told = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False))
    return Reject(f"the stored event cannot be read: {told}"[:500])
