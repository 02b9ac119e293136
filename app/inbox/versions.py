"""Versions with a time in the future. A version supersedes all older ones, so a wrong clock would silence an entity. Pure."""

from datetime import datetime, timedelta
from typing import Final

MAX_AHEAD: Final = timedelta(days=1)
"""How far ahead of the database's clock a version may be. Clocks and time zones differ by less than that."""


def is_too_far_ahead(version: datetime | None, now: datetime) -> bool:
    """Whether a version lies so far ahead of `now`, the database's time, that it must come from a wrong clock."""
    return version is not None and version - now > MAX_AHEAD


def future_version_problem(version: datetime, now: datetime) -> str:
    """What is wrong with a version that is too far ahead, as the predicate of a sentence about the field."""
    limit = (now + MAX_AHEAD).isoformat(timespec="seconds")
    return f"{version.isoformat()} is in the future; the latest time that is accepted now is {limit}"
