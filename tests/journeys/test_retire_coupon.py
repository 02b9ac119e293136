"""What an operator retires is removed in the store where it is ours, and where it is not it stays."""

from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import HttpUrl, SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Done, Outcome, Retry, Wait
from platform_relay.core.reasons import ReasonCode
from platform_relay.coupons.records import RedemptionClaim
from platform_relay.coupons.retire import RetireCoupon
from platform_relay.coupons.transitions import Coupons
from platform_relay.coupons.valuation_rules import RewardValue
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import RewardKind
from platform_relay.stores.base import CouponKind, CouponSpec, StoreAdapter
from platform_relay.stores.magento.adapter import Magento, MagentoSettings
from platform_relay.stores.magento.rules import rule_name
from platform_relay.stores.woocommerce.adapter import WooCommerce
from simulators.process import Simulator
from tests.contract.doubles import process
from tests.journeys.handler_jobs import job, store_message

REDEMPTION = Redemption("AB12", "p-1", "amountdiscount", "r1", 500, "42", "jane@example.com")
VALUED = RewardValue(
    RewardKind.FIXED_AMOUNT, Decimal("5.00"), "EUR", "rule", "the operator's rule r1, version 3", "r1", 3
)


@pytest.fixture
async def claim(engine: AsyncEngine) -> RedemptionClaim:
    """Its coupon is pending, and the store was not told of it."""
    message: UUID = await store_message(engine, "points/redeemed")
    await Coupons(engine).open(REDEMPTION, message)
    return RedemptionClaim(REDEMPTION, message)


async def retire(store: StoreAdapter | None, engine: AsyncEngine) -> Outcome:
    return await RetireCoupon(store, Coupons(engine))(
        job("retire_coupon", b"", params={"code": "AB12", "by": "ada", "why": "w"})
    )


async def made(store: WooCommerce, reference: str | None) -> None:
    """The store has a coupon of this code, in the letters that it knows no difference of."""
    order = CouponSpec("ab12", CouponKind.FIXED_AMOUNT, Decimal("5.00"), "EUR", reference=reference)
    assert isinstance(await store.issue_coupon(order), Done)


@pytest.mark.parametrize(
    ("priced", "said_made", "reference", "stays", "remark"),
    [
        (False, False, None, True, ReasonCode.COUPON_NOT_ISSUED),
        (False, False, "p-2", True, ReasonCode.COUPON_NOT_ISSUED),
        (True, False, None, True, ReasonCode.COUPON_NOT_OURS),
        (True, False, "p-2", True, ReasonCode.COUPON_NOT_OURS),
        (True, False, "p-1", False, None),
        (True, True, None, False, None),
    ],
)
async def test_only_coupons_of_the_relay_are_retired(
    shop: Simulator,
    store: WooCommerce,
    claim: RedemptionClaim,
    engine: AsyncEngine,
    priced: bool,
    said_made: bool,
    reference: str | None,
    stays: bool,
    remark: ReasonCode | None,
) -> None:
    coupons = Coupons(engine)
    if priced:
        await coupons.admit(claim, VALUED)
    if said_made:
        await coupons.mark_created("AB12", "1")
    await made(store, reference)
    assert await retire(store, engine) == Done({"code": "AB12"})
    row = await coupons.find("AB12")
    assert row is not None
    assert row.state == "retired"
    assert row.reason is not None
    assert row.reason.code is ReasonCode.COUPON_RETIRED
    assert row.reason.facts.items() >= {"by": "ada", "comment": "w"}.items()
    left = row.reason.facts.get("remark")
    assert (left["code"] if isinstance(left, dict) else None) == remark
    assert bool(shop.state("coupons", "ab12")) is stays


async def test_a_store_that_does_not_respond_is_asked_again(
    shop: Simulator, store: WooCommerce, claim: RedemptionClaim, engine: AsyncEngine
) -> None:
    await Coupons(engine).admit(claim, VALUED)
    await made(store, "p-1")
    shop.script(status=503, body="")
    unavailable, waits = await retire(store, engine), await retire(None, engine)
    assert isinstance(unavailable, Retry)
    assert unavailable.reason.facts["status"] == 503
    assert isinstance(waits, Wait)
    assert waits.reason.code is ReasonCode.NO_STORE
    row = await Coupons(engine).find("AB12")
    assert row is not None
    assert row.state == "pending"


async def test_what_a_lost_attempt_left_is_removed_beside_a_coupon_that_is_not_ours(
    claim: RedemptionClaim, engine: AsyncEngine
) -> None:
    """In Magento a rule without a code is not found by the code, which a rule of the merchant has."""
    await Coupons(engine).admit(claim, VALUED)
    merchants = {"name": "Autumn sale", "code": "AB12", "discount_amount": 9, "simple_action": "cart_fixed"}
    with process.run("magento") as magento:
        magento.control("seed", rules=[{"name": rule_name("AB12")}, merchants])
        settings = MagentoSettings(
            url=HttpUrl(magento.url), username="relay-user", password=SecretStr("relay-password")
        )
        store = Magento(settings, HttpClients(5.0))
        assert await retire(store, engine) == Done({"code": "AB12"})
        assert [rule["name"] for rule in magento.state("rules")] == ["Autumn sale"]
        assert len(magento.state("coupons")) == 1
        await store.aclose()
