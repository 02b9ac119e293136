"""Ids are UUIDs of version 7: they sort by the time at which a process created them, by its clock."""

from datetime import UTC, datetime
from uuid import UUID

VERSION = 7


def first_id(moment: datetime) -> UUID:
    """The lower bound of the ids that are created at `moment` (in milliseconds) or later. Before 1970 there are none."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def moment_of(identifier: UUID) -> datetime | None:
    """When a process created the id, in milliseconds; None for an id of another kind."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC) if identifier.version == VERSION else None
