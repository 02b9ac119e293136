"""Who guesses keys: wrong ones are counted by address, and bounded in number and in memory.

Each process counts for itself. Keys have at least 8 characters, those that the relay makes 256 bits of chance: what is
to be prevented is the load of guessing, and a shared count would write to the database at every guess.
"""

from collections import OrderedDict, deque
from typing import Final

WITHIN: Final = 60.0
"""Seconds that wrong keys are remembered for, and that a lock lasts."""
ADDRESSES: Final = 1000
"""So many addresses are remembered, those of the last wrong keys."""


class AuthThrottle:
    """Locks an address after `tries` wrong keys within `WITHIN`, everybody after `tries_of_all` (None: never).

    `now` in seconds of a clock that never goes back.
    """

    def __init__(self, tries: int, tries_of_all: int | None = None) -> None:
        self._tries = tries
        self._all: deque[float] | None = deque(maxlen=tries_of_all) if tries_of_all else None
        self._from: OrderedDict[str, deque[float]] = OrderedDict()

    def locked(self, address: str, now: float) -> bool:
        return any(
            tries is not None and len(tries) == tries.maxlen and now - tries[0] < WITHIN
            for tries in (self._all, self._from.get(address))
        )

    def note(self, address: str, now: float) -> None:
        if self._all is not None:
            self._all.append(now)
        self._from.setdefault(address, deque(maxlen=self._tries)).append(now)
        self._from.move_to_end(address)
        if len(self._from) > ADDRESSES:
            self._from.popitem(last=False)
