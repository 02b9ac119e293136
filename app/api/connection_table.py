"""Counts the open connections of a process and of each client address, and decides which one is closed for a new one.

A connection is idle until the headers of a request are complete, and again after the response. When a limit is reached, the
connection that has been idle for longest is closed. When none is idle, a new connection gets a place of the reserve, where only
health checks are answered; when that is full, the oldest one of the address with the most is closed.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

RESERVE: Final = 16
"""Connections beyond the limits, for health checks only."""

C = TypeVar("C", bound=Hashable)


class Limit(StrEnum):
    """The limits of connections, as logs and metrics name them."""

    HEADER_BYTES = "header_bytes"
    HEADER_COUNT = "header_count"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    HEADERS_TIMEOUT = "headers_timeout"
    REQUEST_TIMEOUT = "request_timeout"
    """A pause between two parts of a request."""
    RESPONSE_TIMEOUT = "response_timeout"
    """The client did not read the response."""
    PIPELINED = "pipelined"
    """Requests that wait for the responses to earlier ones on their connection."""
    TOTAL = "total"
    IDLE = "idle"
    PER_ADDRESS = "per_address"
    IDLE_PER_ADDRESS = "idle_per_address"
    RESERVE = "reserve"


@dataclass(slots=True)
class Group(Generic[C]):
    """The connections of the process or of one address, with their limits. `idle` has the longest idle first."""

    max_open: int
    max_idle: int
    open_limit: Limit
    idle_limit: Limit
    open: int = 0
    idle: dict[C, None] = field(default_factory=dict)


@dataclass(slots=True)
class Admission(Generic[C]):
    """What a new connection means: those to `close`, the limits that were `reached`, and whether it is in the `reserve`."""

    close: list[C] = field(default_factory=list)
    reached: list[Limit] = field(default_factory=list)
    reserve: bool = False


class ConnectionTable(Generic[C]):
    """The connections of one process. Counts only; the caller closes connections."""

    def __init__(self, total: int, idle: int, per_address: int, idle_per_address: int) -> None:
        self._all: Group[C] = Group(total, idle, Limit.TOTAL, Limit.IDLE)
        self._per_address, self._idle_per_address = per_address, idle_per_address
        self._addresses: dict[str, Group[C]] = {}
        self._groups: dict[C, tuple[Group[C], ...]] = {}
        """The groups of each connection that is not in the reserve."""
        self._reserve: dict[C, str | None] = {}
        """The connections in the reserve with their addresses, the oldest first."""

    def add(self, connection: C, address: str | None) -> Admission[C]:
        """Add a new, idle connection. `address` None: only the limits of the process apply (a trusted proxy)."""
        admission: Admission[C] = Admission()
        for group in self._groups_of(address):
            full = group.open >= group.max_open
            if not full and len(group.idle) < group.max_idle:
                continue
            admission.reached.append(group.open_limit if full else group.idle_limit)
            if group.idle:
                self._close_oldest(group, admission)
            elif full:
                admission.reserve = True
        if admission.reserve:
            if len(self._reserve) >= RESERVE:
                # Of the address with the most, so that one that opens many does not end the health checks of others.
                [(most, _)] = Counter(self._reserve.values()).most_common(1)
                oldest = next(held for held, owner in self._reserve.items() if owner == most)
                del self._reserve[oldest]
                admission.close.append(oldest)
                admission.reached.append(Limit.RESERVE)
            self._reserve[connection] = address
        else:
            groups = self._groups[connection] = self._groups_of(address)
            for group in groups:
                group.open += 1
                group.idle[connection] = None
            if address is not None:
                self._addresses[address] = groups[0]
        return admission

    def set_busy(self, connection: C) -> None:
        """The headers of a request are complete."""
        for group in self._groups.get(connection, ()):
            group.idle.pop(connection, None)

    def set_idle(self, connection: C) -> Admission[C] | None:
        """All requests were answered. Returns which connections to close when too many are idle, else None."""
        admission: Admission[C] | None = None
        for group in self._groups.get(connection, ()):
            group.idle[connection] = None
            if len(group.idle) > group.max_idle:
                admission = admission or Admission()
                admission.reached.append(group.idle_limit)
                self._close_oldest(group, admission)
        return admission

    def remove(self, connection: C, address: str | None) -> None:
        """The connection has ended, or is being closed. It may have been removed before."""
        self._reserve.pop(connection, None)
        for group in self._groups.pop(connection, ()):
            group.open -= 1
            group.idle.pop(connection, None)
        if address is not None and (of_address := self._addresses.get(address)) is not None and not of_address.open:
            del self._addresses[address]

    def _groups_of(self, address: str | None) -> tuple[Group[C], ...]:
        if address is None:
            return (self._all,)
        of_address = self._addresses.get(address) or Group(
            self._per_address, self._idle_per_address, Limit.PER_ADDRESS, Limit.IDLE_PER_ADDRESS
        )
        return of_address, self._all

    def _close_oldest(self, group: Group[C], admission: Admission[C]) -> None:
        oldest = next(iter(group.idle))
        self.remove(oldest, None)  # its address is forgotten when it has ended
        admission.close.append(oldest)
