"""Whether a failure concerns one lane alone or the destination: which lanes failed, and when calls succeeded. Pure.

A response that names no cause (a 403 or a 404 for one entity) can mean either. Another lane decides: a call that succeeded,
and that started after this response had come, shows that the destination accepts the relay. So the lane's next such response
is its own failure. The same response on several lanes, without a success, concerns the destination.

The start of a job is taken as the start of its call, and its end as the time of its response. A job may wait for
the rate limiter before it calls. Then its call started later, which delays a decision and never makes it wrong.
"""

import math
from dataclasses import dataclass, field
from typing import Final, Literal

LANES: Final = 3
"""As many lanes with the same response, and no success, mean that the destination rejects the relay."""
RECENT: Final = 2.0
"""Seconds after a success during which that is not concluded: calls that started before it are still on their way."""
LONGEST_DOUBT: Final = 300.0
"""Seconds for which a lane is refused without a success of another before that concerns the destination: a store with little
traffic has no other lane that could decide."""
MOST: Final = 10_000
"""Lanes that are remembered."""

Concern = Literal["lane", "destination", "undecided"]


@dataclass(slots=True)
class _Failure:
    status: int | None
    first: float
    """When the first of the responses came that no success has explained."""
    last: float
    nameless: bool
    """The response names no cause."""
    parked: bool
    """The lane waits until another one decides."""


@dataclass(slots=True)
class LaneFailures:
    """What one worker knows of one destination since it was last closed. All times are monotonic seconds."""

    _lanes: dict[str, _Failure] = field(default_factory=dict)
    _success_started: float = -math.inf
    """The latest start of a job that succeeded."""
    _success_ended: float = -math.inf

    def is_own(self, lane: str) -> bool:
        """Whether a new failure of the lane is its own: another call started after its last failure, and succeeded."""
        failure = self._lanes.get(lane)
        return failure is not None and failure.last < self._success_started

    def compare(self, lane: str, status: int | None, now: float) -> Concern:
        """What a response that names no cause concerns. `status` is its HTTP status. Changes nothing."""
        failure = self._lanes.get(lane)
        if failure is not None and failure.status == status and failure.last < self._success_started:
            return "lane"
        if now - self._success_ended < RECENT:
            return "undecided"
        undecided = {
            key
            for key, other in self._lanes.items()
            if other.nameless and other.status == status and other.last >= self._success_started
        }
        if len(undecided | {lane}) >= LANES:
            return "destination"
        alone = failure is not None and failure.nameless and now - failure.first > LONGEST_DOUBT
        return "destination" if alone else "undecided"

    def failed(
        self, lane: str, status: int | None, now: float, *, nameless: bool = False, parked: bool = False
    ) -> None:
        """The lane's call failed at `now`. `nameless`: the response names no cause; `parked`: the lane waits for another one."""
        known = self._lanes.pop(lane, None)
        same = known is not None and known.status == status and known.last >= self._success_started
        self._lanes[lane] = _Failure(status, known.first if known is not None and same else now, now, nameless, parked)
        if len(self._lanes) > MOST:
            del self._lanes[next(iter(self._lanes))]

    def succeeded(self, lane: str, started: float, now: float) -> bool:
        """The lane's call succeeded at `now`; its job started at `started`. True when this decides about parked lanes."""
        self._lanes.pop(lane, None)
        self._success_started = max(self._success_started, started)
        self._success_ended = now
        decided = [failure for failure in self._lanes.values() if failure.parked and failure.last < started]
        for failure in decided:
            failure.parked = False
        return bool(decided)

    def closed(self) -> None:
        """The destination was closed: earlier successes show nothing any more."""
        self._success_started = self._success_ended = -math.inf

    def opened(self, now: float) -> None:
        """The destination was opened: the closure explains the failures so far, except responses that named no cause."""
        self._success_ended = now
        self._lanes = {lane: failure for lane, failure in self._lanes.items() if failure.nameless}
