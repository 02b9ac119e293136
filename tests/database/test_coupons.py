"""The coupon's transitions: idempotent, and only from where they may start."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from unittest.mock import ANY
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.coupons import codes, issuance_limits
from platform_relay.coupons.records import CouponRecord, RedemptionClaim
from platform_relay.coupons.transitions import ALLOWED_FROM, Coupons
from platform_relay.coupons.valuation_rules import RewardValue
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import RewardKind
from platform_relay.setting_groups import IssuanceLimitSettings
from tests.helpers import eventually
from tests.journeys.handler_jobs import store_message
from tests.reasons import NO_VALUE as WHY

FORGED = because(ReasonCode.NOT_GENUINE, explanation="the webhook names no customer")
REDEMPTION = Redemption("ab12", "p-1", "amountdiscount", "r1", 500, "42", "jane@example.com")
VALUED = RewardValue(
    RewardKind.FIXED_AMOUNT, Decimal("5.00"), "EUR", "rule", "the operator's rule r1, version 3", "r1", 3
)


@pytest.fixture
def coupons(engine: AsyncEngine) -> Coupons:
    return Coupons(engine)


@pytest.fixture
async def message(engine: AsyncEngine) -> UUID:
    return await store_message(engine, "points/redeemed")


async def move(coupons: Coupons, message: UUID, state: str) -> object:  # noqa: PLR0911  # one per state
    match state:
        case "pending":
            return await coupons.admit(RedemptionClaim(REDEMPTION, message), VALUED)
        case "held":
            return await coupons.hold("ab12", WHY)
        case "active":
            return await coupons.activate("ab12", "store-1")
        case "used":
            return await coupons.use("ab12", "1001")
        case "retired":
            return await coupons.retire("ab12", WHY)
        case "points_returned":
            return await coupons.mark_points_returned("ab12", 500)
        case _:
            return await coupons.hold_claim(RedemptionClaim(REDEMPTION, message), FORGED, rejected=True)


REASONS: dict[str, Reason | None] = {
    "pending": None,
    "active": None,
    "held": WHY,
    "used": because(ReasonCode.COUPON_USED, order="1001"),
    "retired": WHY,
    "points_returned": because(ReasonCode.POINTS_RETURNED, points=500),
    "refused": FORGED,
}


async def test_a_coupon_without_a_reason_has_no_facts(coupons: Coupons, message: UUID, engine: AsyncEngine) -> None:
    await coupons.open(REDEMPTION, message)
    await coupons.hold("ab12", WHY)
    await coupons.activate("ab12", "store-1")
    async with engine.connect() as connection:
        counted = await connection.execute(
            text("SELECT count(*) FROM coupon WHERE reason_code IS NULL AND facts IS NULL")
        )
    assert counted.scalar_one() == 1


async def test_a_code_is_opened_once(coupons: Coupons, message: UUID, engine: AsyncEngine) -> None:
    first = await coupons.open(REDEMPTION, message)
    assert (first.state, first.redemption_id, first.customer_ref, first.kind) == ("pending", "p-1", "42", None)
    assert first.unchanged_for >= 0
    other = Redemption("ab12", "p-2", "giftcard", "r2", 1, "43")
    again = await coupons.open(other, await store_message(engine, "points/redeemed"))
    assert (again.redemption_id, again.created_at) == ("p-1", first.created_at)


@pytest.mark.parametrize("start", ALLOWED_FROM)
@pytest.mark.parametrize("to", ALLOWED_FROM)
async def test_every_transition_starts_where_it_may_and_can_be_repeated(
    coupons: Coupons, message: UUID, engine: AsyncEngine, start: str, to: str
) -> None:
    await coupons.open(REDEMPTION, message)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE coupon SET state = :state"), {"state": start})
    moved = await move(coupons, message, to)
    allowed = start in ALLOWED_FROM[to]
    assert (moved is not None) is allowed
    found = await coupons.find("ab12")
    assert found is not None
    assert found.state == (to if allowed else start)
    if allowed:
        repeated = await move(coupons, message, to)
        assert isinstance(repeated, CouponRecord)
        assert repeated.state == to
        assert repeated.reason == REASONS[to]
        assert await coupons.find("ab12") == replace(repeated, age=ANY, unchanged_for=ANY)


async def test_a_value_is_kept_with_where_it_comes_from(coupons: Coupons, message: UUID, engine: AsyncEngine) -> None:
    await coupons.open(REDEMPTION, message)
    await coupons.admit(RedemptionClaim(REDEMPTION, message), VALUED)
    issued = await coupons.mark_created("ab12", "store-1")
    assert issued is not None
    assert (issued.state, issued.store_id) == ("pending", "store-1")
    assert await coupons.activate("ab12", "store-1")
    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT * FROM coupon"))).one()
    assert (row.value, row.currency, row.rule_id, row.rule_version) == (Decimal("5.00"), "EUR", "r1", 3)
    assert row.value_source == "the operator's rule r1, version 3"
    assert row.points == 500
    assert row.active_at is not None


async def test_codes_are_found_as_shoppers_type_them(coupons: Coupons, message: UUID) -> None:
    await coupons.open(REDEMPTION, message)
    assert [coupon.code for coupon in await coupons.find_all(["AB12", "other"])] == ["ab12"]
    assert await coupons.find_all([]) == ()
    assert await coupons.find("AB12") is None
    await coupons.open(replace(REDEMPTION, code="Vip-AB12", id="p-2"), message)
    assert [coupon.code for coupon in await coupons.find_all(["vip-ab12"])] == ["Vip-AB12"]


async def test_many_codes_are_one_parameter(coupons: Coupons, message: UUID) -> None:
    """PostgreSQL accepts at most 32,767 parameters."""
    await coupons.open(REDEMPTION, message)
    many = [f"code-{number}" for number in range(40_000)]
    assert [coupon.code for coupon in await coupons.find_all([*many, "AB12"])] == ["ab12"]


async def test_an_order_uses_the_spelling_that_was_given_away(coupons: Coupons, message: UUID) -> None:
    """A forger's claim in other letters is not marked used with it, nor one that was retired for it."""
    for code in ("AB12", "ab12"):
        await coupons.open(replace(REDEMPTION, code=code), message)
    assert {coupon.code for coupon in await coupons.find_all(["Ab12"])} == {"AB12", "ab12"}
    await coupons.admit(RedemptionClaim(replace(REDEMPTION, code="AB12"), message), VALUED)
    assert [coupon.code for coupon in await coupons.find_all(["Ab12"])] == ["AB12"]
    await coupons.retire("AB12", WHY)
    assert [coupon.code for coupon in await coupons.find_all(["Ab12"])] == ["AB12"]
    await coupons.admit(RedemptionClaim(REDEMPTION, message), VALUED)
    assert [coupon.code for coupon in await coupons.find_all(["Ab12"])] == ["ab12"]


async def test_of_two_spellings_of_a_code_one_is_given_away(
    coupons: Coupons, message: UUID, engine: AsyncEngine
) -> None:
    """Also when two replicas are asked at once: each waits for the other, whoever is first."""
    claims = [RedemptionClaim(replace(REDEMPTION, code=code, id=code), message) for code in ("ab12", "AB12")]
    for claim in claims:
        await coupons.open(claim.redemption, message)
    async with engine.begin() as another:
        await another.execute(codes._LOCK, {"code": "aB12"})  # noqa: SLF001  # a third replica, which is slow
        replicas = [asyncio.create_task(Coupons(engine).admit(claim, VALUED)) for claim in claims]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"

        async def both_wait() -> bool:
            async with engine.connect() as connection:
                return (await connection.execute(text(waiting))).scalar() == 2

        await eventually(both_wait)
    priced = await asyncio.gather(*replicas)
    [given] = [result for result in priced if isinstance(result, CouponRecord)]
    [similar] = [result for result in priced if isinstance(result, Reason)]
    other = next(claim for claim in claims if claim.redemption.code != given.code)
    code = other.redemption.code
    assert similar == because(ReasonCode.SIMILAR_CODE, code=code, other=given.code, redemption=given.code)
    assert await coupons.admit(other, VALUED) == similar
    assert await coupons.admit(next(claim for claim in claims if claim is not other), VALUED) is not None
    assert await coupons.retire(given.code, WHY)
    assert isinstance(await coupons.admit(other, VALUED), CouponRecord)


async def test_waiting_for_the_issuance_limits_holds_no_connection(
    coupons: Coupons, message: UUID, engine: AsyncEngine
) -> None:
    """Else a crowd of redemptions takes every connection, and nothing is claimed or settled on either destination."""
    codes = [f"code{number}" for number in range(20)]
    for number, code in enumerate(codes):
        await coupons.open(replace(REDEMPTION, code=code, id=f"p-{number}"), message)
    async with engine.begin() as another:
        await another.execute(issuance_limits._LOCK)  # noqa: SLF001  # another replica, which is slow
        pricing = [
            asyncio.create_task(
                coupons.admit(
                    RedemptionClaim(replace(REDEMPTION, code=code), message), VALUED, limits=IssuanceLimitSettings()
                )
            )
            for code in codes
        ]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"

        async def one_waits() -> bool:
            async with engine.connect() as connection:
                return (await connection.execute(text(waiting))).scalar() == 1

        await eventually(one_waits)
    priced = await asyncio.gather(*pricing)
    assert all(isinstance(record, CouponRecord) for record in priced)


async def test_what_is_being_retired_is_given_to_no_other_claim(
    coupons: Coupons, message: UUID, engine: AsyncEngine
) -> None:
    await coupons.open(REDEMPTION, message)
    async with engine.begin() as connection:
        await connection.execute(text("""UPDATE coupon SET decision = '{"by": "ada", "why": "w", "retire": true}'"""))
    for claim in (
        RedemptionClaim(REDEMPTION, message),
        RedemptionClaim(REDEMPTION, await store_message(engine, "points/redeemed")),
    ):
        assert await coupons.admit(claim, VALUED) is None
