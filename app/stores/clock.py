"""The clock of a store is not ours. Two clocks that are some minutes apart are usual.

A start that the store sets itself is compared with our clock only with this tolerance. If a store sets a start when none is
requested, the adapter requests one in the past, so that the coupon is valid at once by either clock.
"""

from datetime import datetime, timedelta
from typing import Final

TOLERANCE: Final = timedelta(minutes=15)
"""How far the clock of a store may be ahead of the relay's."""
EARLIER: Final = timedelta(days=1)


def has_started(starts_at: datetime | None, at: datetime) -> bool:
    """Whether a start in the store's time has been reached at the time `at` by our clock, within the tolerance."""
    return starts_at is None or starts_at <= at + TOLERANCE


def immediate_start(now: datetime) -> datetime:
    """The start of a coupon that is valid immediately: the day before, in whole seconds."""
    return (now - EARLIER).replace(microsecond=0)
