"""A little of every grammar against the whole service. `make fuzz` plays hundreds of thousands."""

import os
import random
import sys

import pytest

from tests.fuzz.run import run

SEED = int(os.environ.get("FUZZ_SEED", random.SystemRandom().randrange(1 << 32)))


@pytest.mark.timeout(180)
async def test_nothing_is_unhandled_hangs_or_is_lost(capfd: pytest.CaptureFixture[str]) -> None:
    sys.stderr.write(f"replay with FUZZ_SEED={SEED}\n")
    line, well = await run(SEED, requests=1000, examples=2, processes=1)
    result = capfd.readouterr().out
    sys.stderr.write(f"{result}{line}\n")
    assert well, result
