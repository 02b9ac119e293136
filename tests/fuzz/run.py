"""A whole run: the service started, every grammar played, every receipt found again, the verdict."""

import asyncio
import json
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

import psutil

from tests.fuzz import floods, schema
from tests.fuzz.cases import Target, make, shown
from tests.fuzz.client import Tally, find_again, play
from tests.fuzz.scene import scene
from tests.security.attacked import Relay

CONNECTIONS: Final = 12
"""Per process that sends."""


async def run(seed: int, requests: int, examples: int, processes: int, only: int | None = None) -> tuple[str, bool]:
    """Play it all; the last line, and whether all was well."""
    async with scene() as on:
        own: list[str] = []
        if only is not None:
            say(shown(make(on.target, seed, only)))
            tallies = [await play(on.target, seed, range(only, only + 1), 1)]
        else:
            tallies = await _spread(on.target, seed, requests, processes)
            tallies.append(await asyncio.to_thread(schema.play, on, seed, examples))
            target = Relay(on.target.port, psutil.Process(on.pid), on.log, on.target.webhook_secret)
            own += await floods.play(target, say)
        for tally in tallies:
            await find_again(on.database_url, tally)
        own += await on.findings()
    total = Tally()
    for tally in tallies:
        total.requests += tally.requests
        total.statuses += tally.statuses
        total.unhandled += tally.unhandled
        total.hangs += tally.hangs
        total.lost += tally.lost
        for finding in tally.findings:
            say(finding)
    for finding in own:
        say(finding)
    total.unhandled += len(own)
    receipts = Counter("exact" if due else "present" for tally in tallies for due in tally.receipts.values())
    say(f"answers {dict(sorted(total.statuses.items()))}, receipts found again {dict(receipts)}")
    figures = {name: getattr(total, name) for name in ("requests", "unhandled", "hangs", "lost")}
    return json.dumps(figures), not (total.unhandled or total.hangs or total.lost)


async def _spread(target: Target, seed: int, requests: int, processes: int) -> list[Tally]:
    begun, loop = time.monotonic(), asyncio.get_running_loop()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        tallies = await asyncio.gather(
            *(loop.run_in_executor(pool, _play, target, seed, range(n, requests, processes)) for n in range(processes))
        )
    seconds = time.monotonic() - begun
    say(f"{requests} requests in {seconds:.0f} s, {requests / seconds:.0f}/s")
    return tallies


def _play(target: Target, seed: int, numbers: range) -> Tally:
    return asyncio.run(play(target, seed, numbers, CONNECTIONS))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
