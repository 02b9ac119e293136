"""Ids are UUIDs of version 7: they sort by the time at which they were made, by the clock of whoever made them."""

from datetime import datetime
from uuid import UUID


def first_id(moment: datetime) -> UUID:
    """What sorts before every id that is made in that millisecond or later, and after all that were made before."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
