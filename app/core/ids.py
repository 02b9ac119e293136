"""Ids are UUIDs of version 7: they sort by the time at which a process created them, by its clock."""

from datetime import datetime
from uuid import UUID


def first_id(moment: datetime) -> UUID:
    """The lower bound of the ids that are created at `moment` (in milliseconds) or later."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
