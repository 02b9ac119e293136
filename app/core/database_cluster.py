"""When a process may continue in another cluster. Pure; times are monotonic seconds that are passed in.

Servers of two clusters (with other system identifiers) may accept writes at the same time: the old and the new one of an
upgrade by logical replication, or a clone that was restored behind one of the names. Nothing shows which of the two is right, and
events that are acknowledged in both are split. So a process stays with the cluster that it uses until that one is away.
"""

from collections.abc import Collection
from typing import Final

from platform_relay.core.database_dial import Place

AWAY_SECONDS: Final = 30.0
"""For how long no server of the used cluster accepts writes before another cluster is used. A restart, and mostly a failover
within the cluster, takes less, and processes that look at different moments come to the same result."""


class UsedCluster:
    """The addresses that lead to the cluster that a process uses, and whether each accepted writes when it was asked last."""

    def __init__(self) -> None:
        self._accepting: dict[Place, bool] = {}
        self._away_since = 0.0

    @property
    def place(self) -> Place | None:
        """The address to name in a message: one that accepts writes, if there is one."""
        return max(self._accepting, key=lambda place: self._accepting[place], default=None)

    def leave(self) -> None:
        """The process uses another cluster from now on."""
        self._accepting.clear()

    def accepts(self, place: Place) -> None:
        """A server of the used cluster accepts writes at this address."""
        self._accepting[place] = True

    def fails(self, place: Place, now: float) -> None:
        """At this address no server of the used cluster accepts writes: it is away or read-only, or belongs to another cluster."""
        if self._accepting.get(place):
            self._accepting[place] = False
            self._away_since = now

    def keep(self, places: Collection[Place], now: float) -> None:
        """`places` are the addresses of the URL now; others do not count any more."""
        if any(self._accepting[place] for place in self._accepting.keys() - places):
            self._away_since = now
        self._accepting = {place: accepting for place, accepting in self._accepting.items() if place in places}

    def may_be_left_for(self, place: Place, now: float) -> bool:
        """Whether a server of another cluster at this address may be used: no other address leads to the used cluster, as when a
        name or a proxy was moved, or the used cluster is away for AWAY_SECONDS."""
        others = [accepting for other, accepting in self._accepting.items() if other != place]
        return not others or (not any(others) and now - self._away_since >= AWAY_SECONDS)
