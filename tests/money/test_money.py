"""`make money` in small, within a minute."""

import os
import random
import sys

import pytest

from tests.money.suite import Suite

SEED = int(os.environ.get("MONEY_SEED", random.SystemRandom().randrange(1 << 32)))


@pytest.mark.money
@pytest.mark.timeout(170)
async def test_every_redemption_is_one_right_coupon_and_no_forgery_is_any() -> None:
    sys.stderr.write(f"MONEY_SEED={SEED}\n")
    tally = await Suite(60, 120, SEED, confirm_within=6).run()
    assert tally.words == []
    assert tally.clean
    assert tally.active + tally.held == tally.redemptions
    assert tally.forged >= 120
