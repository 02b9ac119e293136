"""SIGKILL of web, worker and Postgres at random under load: nothing acknowledged is lost, doubled or disordered."""

import asyncio
import os
import random
import sys
from pathlib import Path

import pytest

from tests.faults.load import Shop
from tests.faults.oracle import judge
from tests.faults.rig import rig
from tests.helpers import eventually

SEED = int(os.environ.get("FAULT_SEED", random.SystemRandom().randrange(1 << 32)))
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "20"))
PER_ROUND = 12


@pytest.mark.timeout(400)
async def test_twenty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    sys.stderr.write(f"FAULT_SEED={SEED}\n")
    dice = random.Random(SEED)
    async with rig(tmp_path) as stack:
        shop = Shop(stack, dice)
        load: list[asyncio.Task[None]] = []
        for round_ in range(ROUNDS):
            for number in range(round_ * PER_ROUND, (round_ + 1) * PER_ROUND):
                load += [
                    asyncio.create_task(shop.customer(number)),
                    asyncio.create_task(shop.order(number, number)),
                    asyncio.create_task(shop.redeem(f"{number:012x}", number)),
                ]
            await asyncio.sleep(dice.uniform(0.05, 0.8))  # paced: the kill falls at any moment of the round
            victim = stack.kill_something(dice)
            sys.stderr.write(f"round {round_}: killed {victim}\n")
            await stack.ready()
        await asyncio.gather(*load)
        await shop.aclose()
        assert len(shop.acknowledged) == ROUNDS * PER_ROUND * 7

        def delivered() -> bool:
            verdict = judge(shop.acknowledged, stack.platform.ledger(applied=1), stack.shop.ledger(applied=1))
            assert verdict.lost == []
            return True

        await eventually(delivered, within=60)
        verdict = judge(shop.acknowledged, stack.platform.ledger(applied=1), stack.shop.ledger(applied=1))
        assert verdict.clean(), verdict
