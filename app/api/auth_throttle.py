"""Limits the guessing of API keys: counts wrong keys by IP address.

Each process counts separately. A right key always passes: keys cannot be guessed, and the throttle limits only the load of
guessing. A shared count would need a database write for every wrong key.
"""

from collections import OrderedDict, deque
from typing import Final

WINDOW_SECONDS: Final = 60.0
"""How long a wrong key counts, and how long a lock lasts."""
MAX_ADDRESSES: Final = 1000
"""Only the IP addresses with the most recent wrong keys are kept."""


class AuthThrottle:
    """Locks an IP address for wrong keys after `tries` of them within `WINDOW_SECONDS`.

    `now` is in seconds of a monotonic clock.
    """

    def __init__(self, tries: int) -> None:
        self._tries = tries
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()

    def is_locked(self, address: str, now: float) -> bool:
        tries = self._by_address.get(address)
        return tries is not None and len(tries) == self._tries and now - tries[0] < WINDOW_SECONDS

    def record_failure(self, address: str, now: float) -> None:
        self._by_address.setdefault(address, deque(maxlen=self._tries)).append(now)
        self._by_address.move_to_end(address)
        if len(self._by_address) > MAX_ADDRESSES:
            self._by_address.popitem(last=False)
