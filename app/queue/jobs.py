"""A claimed job, and the type of its handlers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from platform_relay.core.outcomes import Outcome
from platform_relay.core.reasons import Reason

AS_NEWEST: Final = "as_newest"
"""The param of jobs that are sent as the newest version. It is named in `statements.claim` too."""


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job, as its handler sees it."""

    id: UUID
    message_id: UUID
    kind: str
    destination: str
    lane: str
    seq: int
    """The job's place in its lane."""
    fencing_token: int
    """The lane's token of this claim: a settle that names another one changes nothing."""
    attempt: int
    """The number of this attempt, from 1."""
    uncertain: bool
    """An earlier attempt may have reached the destination."""
    collapse: bool
    """A newer job of the lane replaces this one while it waits."""
    body: bytes
    """The message's body as received, or the typed event that it was translated into."""
    params: Mapping[str, str]
    version: datetime | None
    """The sender's own time of this version of the entity."""
    depends_on: str | None
    """The lane whose first delivery this job needs."""
    exists_remotely: bool
    """The destination was seen to hold this lane's entity."""
    delivered_digest: bytes | None
    """The digest of what was last delivered of the entity."""
    delivered_version: datetime | None
    """The newest version that was delivered, or may have been."""
    must_wait: bool
    """The lane that it depends on has open jobs and was never delivered."""
    age: float
    """Seconds since the job was created, by the database's clock."""
    unreadable: Reason | None = None
    """Why the body could not be decrypted; `body` is empty then."""
    owner: str | None = None
    """Whom the lane belongs to: its customer, for instance. None: the lane is its own owner."""
    delivered_ahead: bool = False
    """The delivered version has a time in the future, by the database's clock."""

    @property
    def as_newest(self) -> str | None:
        """Who sends this job as the newest version of its entity, whatever was delivered: `operator`, `repair`, or None."""
        return self.params.get(AS_NEWEST)


Handler = Callable[[Job], Awaitable[Outcome]]
"""Makes one attempt of one job. Returns an outcome for anything that a destination can do; an exception is a bug."""
