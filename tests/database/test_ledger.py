"""The ledger adds up at any time: after each of many transitions drawn from a seed, and for every currency."""

import os
import random
from collections import defaultdict
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.ledger import read_ledger
from platform_relay.coupons.records import RedemptionClaim
from platform_relay.coupons.transitions import Coupons
from platform_relay.coupons.valuation_rules import RewardValue
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import AMOUNTS, RewardKind
from tests.journeys.handler_jobs import store_message
from tests.reasons import NO_VALUE as WHY

FORGED = because(ReasonCode.NOT_GENUINE, explanation="the webhook names no customer")
SEED = int(os.environ.get("LEDGER_SEED", random.SystemRandom().randrange(1 << 32)))
STEPS = 250
PLACES = {"EUR": 2, "JPY": 0, "KWD": 3}


async def step(coupons: Coupons, claim: RedemptionClaim, rng: random.Random) -> None:
    """One transition, whether the coupon's state allows it or not."""
    code = claim.redemption.code
    currency = rng.choice(list(PLACES))
    kind = rng.choice(list(RewardKind))
    amount = Decimal(rng.randint(1, 99_999)).scaleb(-PLACES[currency]) if kind in AMOUNTS else None
    value = RewardValue(kind, amount, currency if kind in AMOUNTS else None, "rule", "a rule", "r1", 1)
    match rng.randrange(9):
        case 0 | 1:
            await coupons.admit(claim, value)
        case 2:
            rejected = rng.random() < 0.5
            known = None if rejected or rng.random() < 0.5 else value
            await coupons.hold_claim(claim, WHY, rejected=rejected, value=known)
        case 3 | 4:
            await coupons.activate(code, "store-1")
        case 5:
            await coupons.use(code, "1001")
        case 6:
            await coupons.retire(code, WHY)
        case 7:
            await coupons.mark_points_returned(code, 500)
        case _:
            await coupons.hold_claim(claim, FORGED, rejected=True)


async def test_redeemed_is_what_became_of_it_at_every_moment(engine: AsyncEngine) -> None:
    rng, coupons = random.Random(SEED), Coupons(engine)
    claims = [
        RedemptionClaim(
            Redemption(f"code{code}", f"p-{code}-{by}", None, "r1", 500, str(by)), await store_message(engine, "x")
        )
        for code in range(12)
        for by in range(2)
    ]
    for number in range(STEPS):
        claim = rng.choice(claims)
        await coupons.open(claim.redemption, claim.message_id)
        await step(coupons, claim, rng)
        async with engine.connect() as connection:
            ledger = await read_ledger(connection)
            rows = (await connection.execute(text("SELECT kind, currency, value, state FROM coupon"))).all()
        result = f"LEDGER_SEED={SEED}, step {number}"
        assert ledger.balanced, result
        expected: dict[str, Decimal] = defaultdict(Decimal)
        for row in rows:
            if row.kind in AMOUNTS and row.state != "refused":
                expected[row.currency] += row.value
        assert {line.currency: line.redeemed for line in ledger.currencies} == expected, result
        for line in ledger.currencies:
            parts = line.active + line.used + line.held + line.retired + line.points_returned
            assert parts == line.redeemed == round(parts, PLACES[line.currency]), result
        counted = sum(line.coupons for line in ledger.currencies) + sum(line.coupons for line in ledger.kinds)
        assert counted == sum(row.state != "refused" for row in rows), result
        assert ledger.refused == sum(row.state == "refused" for row in rows), result
