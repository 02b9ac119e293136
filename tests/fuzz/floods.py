"""Attacks with headers and connections on the running service: the memory they cost, and how soon others are served."""

import time
from collections.abc import Callable
from typing import Final

from tests.security.attacked import Relay
from tests.security.test_floods import FLOODS, MEBIBYTE, START, flood, idle_connections

IDLE: Final = 600
MOST_MEMORY: Final = 32 * MEBIBYTE
MOST_SECONDS: Final = 5.0
"""Until health checks and a webhook are answered during an attack."""


async def play(relay: Relay, say: Callable[[str], None]) -> list[str]:
    """Play each attack once; says what it cost, and returns what was above a limit."""
    await relay.serves_others()
    before, findings = relay.rss(), []

    async def measure(name: str) -> None:
        begun = time.monotonic()
        try:
            await relay.serves_others()
        except Exception as error:  # noqa: BLE001  # whatever it is, others were not served
            findings.append(f"flood: {name}: others are not served: {error!r}")
        seconds, memory = time.monotonic() - begun, relay.rss() - before
        say(f"flood: {name}: {memory / MEBIBYTE:.1f} MiB, others served after {seconds:.2f} s")
        if memory > MOST_MEMORY or seconds > MOST_SECONDS:
            findings.append(f"flood: {name}: {memory:,} bytes of memory, others served after {seconds:.2f} s")

    for name, (start, repeated) in FLOODS.items():
        await flood(await relay.connect(), start, repeated)
        await measure(name)
    for name, start in (("silent connections", b""), ("connections within headers", START)):
        async with idle_connections(relay, IDLE, start):
            await measure(name)
    return findings
