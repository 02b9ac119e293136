"""`make money` in small."""

import os
import random
import sys

import pytest

from tests.money.suite import Suite

GENUINE, FORGED = 40, 80
SEED = int(os.environ.get("MONEY_SEED", random.SystemRandom().randrange(1 << 32)))


@pytest.mark.timeout(170)
async def test_every_redemption_is_one_right_coupon_and_no_forgery_is_any() -> None:
    sys.stderr.write(f"MONEY_SEED={SEED}\n")
    tally = await Suite(GENUINE, FORGED, SEED, confirm_within=5).run()
    assert tally.words == []
    assert tally.clean
    assert tally.forged >= FORGED
