"""The ledger adds up at any time: after each of many transitions drawn from a seed, and for every currency."""

import os
import random
from collections import defaultdict
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.coupons.ledger import read_ledger
from platform_relay.coupons.transitions import Claim, Coupons
from platform_relay.platform.rewards import Redemption, Valued
from platform_relay.platform.rules import AMOUNTS, RewardKind
from tests.journeys.handler_jobs import store_message
from tests.reasons import NO_VALUE as WHY

SEED = int(os.environ.get("LEDGER_SEED", random.SystemRandom().randrange(1 << 32)))
STEPS = 250
PLACES = {"EUR": 2, "JPY": 0, "KWD": 3}


async def step(coupons: Coupons, claim: Claim, dice: random.Random) -> None:
    """One transition, whether the coupon's state allows it or not."""
    code = claim.redemption.code
    currency = dice.choice(list(PLACES))
    kind = dice.choice(list(RewardKind))
    value = Decimal(dice.randint(1, 99_999)).scaleb(-PLACES[currency]) if kind in AMOUNTS else None
    valued = Valued(kind, value, currency if kind in AMOUNTS else None, "rule", "a rule", "r1", 1)
    match dice.randrange(9):
        case 0 | 1:
            await coupons.price(claim, valued)
        case 2:
            refused = dice.random() < 0.5
            known = None if refused or dice.random() < 0.5 else valued
            await coupons.hold_claim(claim, WHY, refused=refused, valued=known)
        case 3 | 4:
            await coupons.activate(code, "store-1")
        case 5:
            await coupons.use(code, "1001")
        case 6:
            await coupons.retire(code, WHY)
        case 7:
            await coupons.give_back(code, 500)
        case _:
            await coupons.refuse(code, WHY)


async def test_redeemed_is_what_became_of_it_at_every_moment(engine: AsyncEngine) -> None:
    dice, coupons = random.Random(SEED), Coupons(engine)
    claims = [
        Claim(Redemption(f"code{code}", f"p-{code}-{by}", None, "r1", 500, str(by)), await store_message(engine, "x"))
        for code in range(12)
        for by in range(2)
    ]
    for number in range(STEPS):
        claim = dice.choice(claims)
        await coupons.open(claim.redemption, claim.message_id)
        await step(coupons, claim, dice)
        async with engine.connect() as connection:
            ledger = await read_ledger(connection)
            rows = (await connection.execute(text("SELECT kind, currency, value, state FROM coupon"))).all()
        told = f"LEDGER_SEED={SEED}, step {number}"
        assert ledger.balanced, told
        expected: dict[str, Decimal] = defaultdict(Decimal)
        for row in rows:
            if row.kind in AMOUNTS and row.state != "refused":
                expected[row.currency] += row.value
        assert {line.currency: line.redeemed for line in ledger.currencies} == expected, told
        for line in ledger.currencies:
            parts = line.active + line.used + line.held + line.retired + line.given_back
            assert parts == line.redeemed == round(parts, PLACES[line.currency]), told
        counted = sum(line.coupons for line in ledger.currencies) + sum(line.coupons for line in ledger.kinds)
        assert counted == sum(row.state != "refused" for row in rows), told
