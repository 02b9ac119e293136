"""Entities that always fail, among others: how much later are the others delivered? Measured from the wire.

Two situations: the failing ones come together with the others, and the failing ones come first, on an idle channel, so that
nothing but failures is known of the destination when the others come.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from tests.faults.pace import calls
from tests.faults.rounds import Fault, Stage
from tests.helpers import eventually

HEALTHY: Final = 1000
FAILING: Final = 30
KINDS: Final[Mapping[str, dict[str, Any]]] = {
    "404": {"mode": "answer", "status": 404, "body": {"message": "Not Found"}},
    "403": {"mode": "answer", "status": 403, "body": {"message": "Forbidden"}},
    "500": {"mode": "answer", "status": 500},
    "timeout": {"mode": "answer", "status": 200, "delay": 4.0},
    "reset": {"mode": "reset_before"},
}
"""What the destination answers for them. The relay waits 3 s for a response."""
SLOWER: Final = 1.5
"""Factor for the p99 of the others when the channel had successes."""
NOISE: Final = 0.02
"""Seconds; two measurements without failing ones differ by as much."""
FIRST_WITHIN: Final = 3.0
"""Seconds to the first delivery of another entity when the failing ones came first; also added to the baseline's p99."""
IDLE: Final = 2.0
"""Seconds between the failing ones and the others."""


def failing_entities(kind: str, healthy: int = HEALTHY, failing: int = FAILING) -> Callable[[Stage], Awaitable[None]]:
    async def inflict(on: Stage) -> None:
        before = await _delays(on, await on.shop.crowd(healthy))
        on.rig.platform.script(contains="failing", persistent=True, **KINDS[kind])
        every = (healthy + failing) // failing + 1
        mixed = await _delays(on, await on.shop.crowd(healthy + failing, failing=every))
        on.rig.platform.control("clear")
        await eventually(on.books.idle, 60)
        baseline = max(before, await _delays(on, await on.shop.crowd(healthy)), key=_p99)  # the machine itself varies
        on.rig.platform.script(contains="failing", persistent=True, **KINDS[kind])
        await on.shop.crowd(failing, failing=1)
        await asyncio.sleep(IDLE)  # time: the failing ones fail
        acknowledged = await on.shop.crowd(healthy)
        later = await _delays(on, acknowledged)
        first = await _first_delivery(on, acknowledged)
        on.rig.platform.control("clear")
        on.notes.append(
            f"p99 of {healthy} others {_p99(baseline):.2f} s without failing ones, {_p99(mixed):.2f} s beside {failing} of them;"
            f" after {failing} on an idle channel {_p99(later):.2f} s, the first after {first:.2f} s"
        )
        limit = max(SLOWER * _p99(baseline), _p99(baseline) + NOISE)
        on.promised(
            f"p99 {_p99(mixed):.2f} s beside failing entities, {limit:.2f} s allowed", kept=_p99(mixed) <= limit
        )
        limit = _p99(baseline) + FIRST_WITHIN
        on.promised(f"p99 {_p99(later):.2f} s after failing entities, {limit:.2f} s allowed", kept=_p99(later) <= limit)
        on.promised(f"the first delivery came after {first:.2f} s", kept=first <= FIRST_WITHIN)

    return inflict


async def _delays(on: Stage, acknowledged: Mapping[int, float]) -> list[float]:
    """Seconds from acknowledgement to the first call, of each, in ascending order."""
    first = await _first_calls(on, acknowledged)
    return sorted(max(0.0, first[number] - at) for number, at in acknowledged.items())


async def _first_delivery(on: Stage, acknowledged: Mapping[int, float]) -> float:
    """Seconds from the first acknowledgement to the first call of any of them."""
    first = await _first_calls(on, acknowledged)
    return max(0.0, min(first.values()) - min(acknowledged.values()))


async def _first_calls(on: Stage, acknowledged: Mapping[int, float]) -> dict[int, float]:
    """When the Platform was first called for each; waits until all are."""
    lanes = {f"customer:{number}": number for number in acknowledged}

    async def all_called() -> dict[int, float]:
        first: dict[int, float] = {}
        for entry in await calls(on):
            if entry["entity"] in lanes:
                first.setdefault(lanes[entry["entity"]], entry["at"])
        assert len(first) == len(lanes), f"{len(lanes) - len(first)} not called yet"
        return first

    return await eventually(all_called, 180)


def _p99(delays: list[float]) -> float:
    return delays[int(len(delays) * 0.99)]


def faults() -> list[Fault]:
    return [
        Fault(
            f"{FAILING} of {HEALTHY + FAILING} entities always fail: {kind}",
            failing_entities(kind),
            customers=0,
            before=0,
        )
        for kind in KINDS
    ]


def small_faults() -> list[Fault]:
    """With a tenth of the entities."""
    return [
        Fault(f"some of many entities always fail: {kind}", failing_entities(kind, 100, 10), customers=0, before=0)
        for kind in ("404", "timeout")
    ]
