"""Limits the guessing of API keys: counts wrong keys by IP address.

Each process counts separately. Keys have at least 8 characters, and generated keys have 256 bits of entropy, so the throttle limits
the load of guessing. A shared count would need a database write for every wrong key.
"""

from collections import OrderedDict, deque
from typing import Final

WINDOW_SECONDS: Final = 60.0
"""How long a wrong key counts, and how long a lock lasts."""
MAX_ADDRESSES: Final = 1000
"""Only the IP addresses with the most recent wrong keys are kept."""


class AuthThrottle:
    """Locks an IP address after `tries` wrong keys within `WINDOW_SECONDS`, and all addresses after `total_tries` (None: never).

    `now` is in seconds of a monotonic clock.
    """

    def __init__(self, tries: int, total_tries: int | None = None) -> None:
        self._tries = tries
        self._total: deque[float] | None = deque(maxlen=total_tries) if total_tries else None
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()

    def is_locked(self, address: str, now: float) -> bool:
        return any(
            tries is not None and len(tries) == tries.maxlen and now - tries[0] < WINDOW_SECONDS
            for tries in (self._total, self._by_address.get(address))
        )

    def record_failure(self, address: str, now: float) -> None:
        if self._total is not None:
            self._total.append(now)
        self._by_address.setdefault(address, deque(maxlen=self._tries)).append(now)
        self._by_address.move_to_end(address)
        if len(self._by_address) > MAX_ADDRESSES:
            self._by_address.popitem(last=False)
