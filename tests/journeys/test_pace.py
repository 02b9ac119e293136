"""The pace of the store's destination, kept by two processes together; judged by what the store wrote down."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from simulators.process import Simulator, run
from tests.database.engine_room import rows

ROOT = Path(__file__).parents[2]
EACH = 25


@pytest.fixture
def shop() -> Iterator[Simulator]:
    with run("shop") as simulator:
        yield simulator


async def two_processes(database_url: str, shop: Simulator, **settings: str) -> list[float]:
    """When the store received their calls, in seconds, in order."""
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "STORE__ADAPTER": "woocommerce",
        "WOOCOMMERCE__URL": shop.url,
        "WOOCOMMERCE__CONSUMER_KEY": "ck_simulator_key",
        "WOOCOMMERCE__CONSUMER_SECRET": "cs_simulator_key",
        **settings,
    }
    command = (sys.executable, "-m", "tests.journeys.asking", str(EACH))
    running = [await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment) for _ in range(2)]
    try:
        assert [await process.wait() for process in running] == [0, 0]
    finally:
        for process in running:
            if process.returncode is None:
                process.kill()
    return sorted(float(entry["at"]) for entry in shop.ledger())


async def test_two_processes_keep_one_rate(database_url: str, shop: Simulator) -> None:
    times = await two_processes(database_url, shop, STORE__RATE_LIMIT="10/s")
    assert len(times) == 2 * EACH
    # Each with a pace of its own would take half of this; a busy machine only takes longer.
    assert times[-1] - times[0] >= 0.75 * (len(times) - 1) / 10


async def test_what_the_shop_tells_one_process_stops_both(
    database_url: str, engine: AsyncEngine, shop: Simulator
) -> None:
    shop.script(method="GET", path="^/wp-json/wc/v3/coupons$", status=429, skip=9, headers={"Retry-After": "3"})
    times = await two_processes(database_url, shop, STORE__RATE_LIMIT="20/s")
    assert len(times) == 2 * EACH
    assert max(later - earlier for earlier, later in pairwise(times)) > 1.5
    assert await rows(engine, "SELECT rate_limited_at IS NOT NULL FROM destination WHERE name = 'store'") == [(True,)]
