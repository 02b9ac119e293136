"""What a handler is given, and what a handler is."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from platform_relay.core.outcomes import Outcome
from platform_relay.core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job.

    `body` is its message as received. `attempt` counts from 1. `uncertain`: an earlier attempt may have reached
    the destination. `known`: the destination was seen to hold this lane's entity, `delivered` is the digest of what it
    was last given. `age` is in seconds, by the database's clock. `claim` is the fence.
    `unreadable`: why `body` could not be decrypted, and is empty.
    """

    id: UUID
    message_id: UUID
    kind: str
    destination: str
    lane: str
    seq: int
    claim: int
    attempt: int
    uncertain: bool
    collapse: bool
    body: bytes
    params: Mapping[str, str]
    version: datetime | None
    after: str | None
    known: bool
    delivered: bytes | None
    delivered_version: datetime | None
    must_wait: bool
    age: float
    unreadable: Reason | None = None


Handler = Callable[[Job], Awaitable[Outcome]]
"""One try of one job. It does not raise for anything that a destination can do; what it raises all the same is our bug."""
