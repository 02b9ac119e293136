"""What a destination can do to us. Rules that spoil a share of all calls, at the Platform and at the store."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx

from simulators.process import Simulator
from tests.faults.rig import OPERATOR_KEY, PLATFORM_KEY
from tests.faults.rounds import Fault, Stage
from tests.helpers import eventually

SPOILT: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("reset after the body was sent", {"mode": "reset_after"}),
    ("reset before it was applied", {"mode": "reset_before"}),
    ("applied, then 500", {"mode": "apply_then", "status": 500, "body": {"message": "oops"}}),
    ("200 with an HTML page", {"mode": "garbage"}),
    ("200 with an empty body", {"mode": "empty"}),
    ("200 with a truncated body", {"mode": "truncated"}),
    ("a response that is not HTTP", {"mode": "not_http"}),
    ("a gzip bomb", {"mode": "gzip_bomb"}),
    ("a response that arrives byte by byte", {"mode": "slow_drip", "delay": 0.2}),
    ("a response after the time limit", {"mode": "apply_then", "delay": 4.0}),
)


def _sides(on: Stage) -> tuple[Simulator, Simulator]:
    return on.rig.platform, on.rig.shop


def _spoil(rule: dict[str, Any], seconds: float) -> Callable[[Stage], Awaitable[None]]:
    async def inflict(on: Stage) -> None:
        for side in _sides(on):
            side.script(**rule, rate=0.35, persistent=True)
        await asyncio.sleep(seconds)  # time: the length of the fault
        for side in _sides(on):
            on.notes.append(f"{sum(rule['hits'] for rule in side.inspect('script')['rules'])} calls damaged")
            side.control("clear")

    return inflict


async def everything_spoilt(on: Stage) -> None:
    """All of them together."""
    for side in _sides(on):
        for _, rule in SPOILT:
            side.script(**rule, rate=0.06, persistent=True)
    await asyncio.sleep(4)  # time: the length of the fault
    for side in _sides(on):
        side.control("clear")


async def redirect(on: Stage) -> None:
    """Is never followed: it says that the address is wrong, and so stops the destination until a try goes well."""
    for side in _sides(on):
        side.script(mode="redirect", rate=0.5, persistent=True)
    await asyncio.sleep(2)  # time: the length of the fault
    for side in _sides(on):
        side.control("clear")
        followed = side.ledger(kind="unknown", body=0)
        assert not followed, f"a redirect was followed: {followed[0]}"


async def throttled(on: Stage) -> None:
    for side in _sides(on):
        side.control("rate-limit", per_second=5, retry_after=1)
    await asyncio.sleep(4)  # time: the length of the fault
    for side in _sides(on):
        side.control("rate-limit", per_second=0)


async def key_revoked(on: Stage) -> None:
    """The destination blocks, nothing dies, and all goes on when the key is right again."""
    on.rig.platform.config(api_key="another-key-than-ours")
    async with httpx.AsyncClient(
        base_url=on.rig.url, headers={"authorization": f"Bearer {OPERATOR_KEY}"}, trust_env=False
    ) as client:

        async def blocked() -> bool:
            rows = (await client.get("/v1/destinations")).json()["items"]
            return any(row["name"] == "platform" and row["state"] == "blocked" for row in rows)

        await eventually(blocked, 15)
    await asyncio.sleep(1)  # time: more work arrives meanwhile
    total = await on.books.counts()
    assert total["dead"] == on.dead, f"a revoked key killed jobs: {total}"
    on.rig.platform.config(api_key=PLATFORM_KEY)


def outage(seconds: float, mode: str = "503") -> Callable[[Stage], Awaitable[None]]:
    async def inflict(on: Stage) -> None:
        for side in _sides(on):
            side.outage(seconds=seconds, mode=mode)
        await asyncio.sleep(seconds)  # time: the length of the fault

    return inflict


def faults() -> list[Fault]:
    return [
        *(Fault(name, _spoil(rule, 3.0)) for name, rule in SPOILT),
        Fault("a redirect", redirect),
        Fault("a storm of 429", throttled),
        Fault("the key is revoked, then restored", key_revoked),
        Fault("an outage by resets", outage(5, "reset")),
    ]


def long_outage(seconds: float) -> Fault:
    """With a load that lasts as long as it."""
    gap = 0.25
    return Fault(f"an outage of {seconds:g} s under load", outage(seconds), customers=round(seconds / gap), gap=gap)
