"""Not faults but crowds: is the pace kept and used, who waits for whom, who waits longest. Measured from the wire.

The figures stand beside the table; what a promise is about fails when it is broken.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from tests.faults.rounds import Fault, Stage
from tests.helpers import eventually

RATE: Final = 20
"""Calls per second that the paced service may make (PLATFORM__RATE_LIMIT)."""
CROWD: Final = 400
IMPORTED: Final = 1500
LIVE_WITHIN: Final = 5.0
"""Seconds that a live event may wait for while a backfill runs, at the allowed pace."""
POISON_WITHIN: Final = 1.0
"""Seconds by which entities that always fail may delay others."""
WOKEN_WITHIN: Final = 0.02
"""Seconds from a customer's delivery to its order's call. Reported, not judged: it depends on the machine."""

Entries = list[dict[str, Any]]


async def pace_shared_by_two(on: Stage) -> None:
    """Two workers and a backlog: never more than RATE calls in any second that slides, and hardly fewer."""
    second = on.rig.another("worker", "second-worker")
    second.start()
    await second.up(0)
    first = (await calls(on))[-1]["seq"] if await calls(on) else 0
    await on.shop.crowd(CROWD)
    await eventually(lambda: _arrived(on, first, CROWD), 3 * CROWD / RATE)
    await asyncio.to_thread(second.stop)
    times = [entry["at"] for entry in await calls(on) if entry["seq"] > first]
    most = max(
        sum(begun <= at < begun + 1.0 for at in times[number : number + 3 * RATE]) for number, begun in enumerate(times)
    )
    used = (len(times) - 1) / (times[-1] - times[0]) / RATE
    on.notes.append(f"at most {most} calls in any second of {RATE} allowed, {used:.1%} of the rate used")
    on.promised(f"{most} calls within a second, {RATE} are allowed", kept=most <= RATE)
    on.promised(f"{used:.1%} of the rate used with a backlog", kept=used >= 0.95)


async def backfill_beside_live(on: Stage) -> None:
    """Thousands of imported customers at a pace that takes minutes for them; live orders come in between."""
    await on.shop.imported(IMPORTED)
    lags: list[float] = []
    for _ in range(20):
        lags.append(await _lag_of_one(on))
        await asyncio.sleep(0.2 * on.rng.random())  # time: a store's own pace
    left = (await on.books.counts())["waiting"]
    on.notes.append(f"{left} imported events waited throughout; live events waited at most {max(lags):.1f} s")
    assert left > 0, "the backfill was over too soon to be in anybody's way"
    on.promised(f"a live event waited {max(lags):.1f} s behind the backfill", kept=max(lags) <= LIVE_WITHIN)


async def _lag_of_one(on: Stage) -> float:
    """Seconds from the acknowledgement of a live customer to its call."""
    number = await on.shop.live_one()
    acknowledged = asyncio.get_running_loop().time()

    async def arrived() -> float:
        found = await asyncio.to_thread(on.rig.platform.ledger, entity=f"customer:{number}", body=0)
        return float(found[0]["at"]) if found else 0.0

    return max(0.0, await eventually(arrived, 60) - acknowledged)


async def failing_entities(on: Stage) -> None:
    """One entity in a hundred always gets a 500: how much longer do the others wait than without?"""
    well = await _slowest(on, await on.shop.crowd(CROWD))
    bad = on.rig.platform.script(contains="failing", mode="answer", status=500, persistent=True)
    ill = await _slowest(on, await on.shop.crowd(CROWD, failing=100))
    on.rig.platform.control("clear")
    on.notes.append(
        f"slowest of {CROWD} without failing entities: {well:.2f} s; slowest healthy one beside them: {ill:.2f} s"
    )
    assert bad, "the rule was not taken"
    on.promised(f"failing entities delayed others by {ill - well:.2f} s", kept=ill - well <= POISON_WITHIN)


async def _slowest(on: Stage, crowd: Mapping[int, float]) -> float:
    """Seconds from acknowledgement to the first call, of the slowest."""
    lanes = {f"customer:{number}": at for number, at in crowd.items()}

    async def all_called() -> dict[str, float]:
        first: dict[str, float] = {}
        for entry in await calls(on):
            if entry["entity"] in lanes:
                first.setdefault(entry["entity"], entry["at"])
        assert lanes.keys() <= first.keys(), f"{len(lanes.keys() - first.keys())} not called yet"
        return first

    first = await eventually(all_called, 120)
    return max(first[lane] - at for lane, at in lanes.items())


async def orders_woken(on: Stage) -> None:
    """Orders that wait for their customers' slow deliveries: how long after those are they called?"""
    latency = 0.3
    on.rig.platform.control("latency", seconds=latency)
    await on.shop.buyers(60, gap=0.05)
    await on.shop.sent()
    await eventually(on.books.idle, 120)
    on.rig.platform.control("latency", seconds=0)
    delivered: dict[str, float] = {}
    woken: list[float] = []
    for entry in await calls(on):
        number = entry["entity"].partition(":")[2]
        if entry["kind"] == "customer.put":
            delivered.setdefault(number, entry["at"] + latency)
        elif entry["kind"] == "order.post" and number in delivered:
            woken.append(entry["at"] - delivered[number])
    woken = sorted(wait for wait in woken if wait > -latency)
    on.notes.append(
        f"{len(woken)} orders called {woken[len(woken) // 2] * 1000:.0f} ms (median) and"
        f" {woken[int(len(woken) * 0.99)] * 1000:.0f} ms (p99) after their customer's delivery was answered"
    )


async def calls(on: Stage) -> Entries:
    """All calls of the Platform so far, in the order of their arrival."""
    return [entry for entry in await asyncio.to_thread(on.rig.platform.ledger, body=0) if entry["kind"]]


async def _arrived(on: Stage, since: int, many: int) -> bool:
    seen = sum(entry["seq"] > since for entry in await calls(on))
    assert seen >= many, f"{seen} of {many} arrived"
    return True


def paced_faults() -> list[Fault]:
    """On a service with PLATFORM__RATE_LIMIT."""
    return [
        Fault("no fault: two workers share a rate limit", pace_shared_by_two, customers=0, before=0),
        Fault(
            "no fault: a backfill beside live events",
            backfill_beside_live,
            customers=0,
            before=0,
            canary=False,
            rest=240,
        ),
    ]


def crowds() -> list[Fault]:
    return [
        Fault("no fault: orders wait for their customers", orders_woken, customers=0, before=0),
        Fault("1 % of all entities always fail", failing_entities, customers=0, before=0),
    ]
