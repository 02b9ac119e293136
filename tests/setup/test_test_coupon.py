"""The test coupon on a real store: created, read back and removed, whatever happens in between."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.reasons import ReasonCode
from platform_relay.setup import records
from platform_relay.setup.facts import CouponTest
from platform_relay.setup.records import begin_test
from platform_relay.setup.test_coupon import AnotherTestError, CouponTests, spec_of_test
from platform_relay.stores import ADAPTERS, adapter_class
from platform_relay.stores.base import CouponKind, CouponSpec, StoreCoupon
from platform_relay.stores.woocommerce.adapter import WooCommerce
from simulators.process import Simulator
from tests.helpers import eventually

CODE = "RELAYTEST0123456789"


def spec(code: str = CODE) -> CouponSpec:
    made = spec_of_test(code, WooCommerce, "EUR", datetime.now(UTC))
    assert made
    return made


async def recorded(engine: AsyncEngine) -> CouponTest:
    async with engine.connect() as connection:
        coupon = (await records.read_records(connection)).test_coupon
    assert coupon
    return coupon


async def sql(engine: AsyncEngine, statement: str) -> list[tuple[object, ...]]:
    async with engine.begin() as connection:
        result = await connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


async def lease_expired(engine: AsyncEngine) -> None:
    await sql(
        engine, "UPDATE setup_record SET leased_until = now() - interval '1 second' WHERE leased_until IS NOT NULL"
    )


async def test_it_is_created_read_back_and_removed_and_counts_nowhere(engine: AsyncEngine, store: WooCommerce) -> None:
    assert await CouponTests(engine, store, "woocommerce").run(spec(), "anna") is None
    coupon = await recorded(engine)
    assert coupon.passed
    assert (coupon.code, coupon.by) == (CODE, "anna")
    assert coupon.read_back["kind"] == "percentage"
    assert coupon.read_back["value"] == "1.00"
    assert await store.find_coupon(CODE) is None
    assert await sql(engine, "SELECT count(*) FROM coupon") == [(0,)]
    assert await sql(engine, "SELECT count(*) FROM job") == [(0,)]
    lines = await sql(engine, "SELECT actor, action, subject FROM audit ORDER BY seq")
    assert lines == [("anna", "setup.test_coupon", CODE), ("relay", "setup.test_coupon_removed", CODE)]


async def test_a_process_that_ends_in_between_leaves_no_coupon(
    engine: AsyncEngine, store: WooCommerce, shop: Simulator
) -> None:
    """The store has made the coupon; the process ends before it knows, and a worker removes it."""
    shop.script(path="/wp-json/wc/v3/coupons", method="POST", mode="apply_then", delay=30)
    running = asyncio.create_task(CouponTests(engine, store, "woocommerce").run(spec(), "anna"))
    await eventually(lambda: shop.state("coupons", CODE.lower()), 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    tests = CouponTests(engine, store, "woocommerce")
    await tests.remove_left_over()  # the lease of the ended process has not expired
    assert isinstance(await store.find_coupon(CODE), StoreCoupon)
    await lease_expired(engine)
    await tests.remove_left_over()
    assert await store.find_coupon(CODE) is None
    assert (await recorded(engine)).open, "the creation may still arrive"

    await sql(engine, "UPDATE setup_record SET at = now() - interval '11 minutes'")
    await tests.remove_left_over()
    coupon = await recorded(engine)
    assert not coupon.open
    assert not coupon.passed


async def test_a_creation_that_arrives_late_is_removed_too(
    engine: AsyncEngine, store: WooCommerce, shop: Simulator
) -> None:
    shop.script(path="/wp-json/wc/v3/coupons", method="POST", delay_before=3, mode="apply_then")
    failure = await CouponTests(engine, store, "woocommerce").run(spec(), "anna")  # its client waits for 2 s
    assert failure is not None
    assert failure.code is ReasonCode.TIMED_OUT
    assert (await recorded(engine)).open

    await eventually(lambda: shop.state("coupons", CODE.lower()), 10)
    await CouponTests(engine, store, "woocommerce").remove_left_over()
    assert await store.find_coupon(CODE) is None


async def test_of_two_operators_at_once_one_gets_the_test(engine: AsyncEngine, store: WooCommerce) -> None:
    async def begun(code: str, by: str) -> bool:
        async with engine.begin() as connection:
            return await begin_test(connection, code, "woocommerce", by)

    assert sorted(await asyncio.gather(begun("RELAYTESTA", "anna"), begun("RELAYTESTB", "ben"))) == [False, True]
    with pytest.raises(AnotherTestError):
        await CouponTests(engine, store, "woocommerce").run(spec("RELAYTESTC"), "carla")


async def test_the_next_test_can_start_at_once(engine: AsyncEngine, store: WooCommerce) -> None:
    tests = CouponTests(engine, store, "woocommerce")
    assert await tests.run(spec("RELAYTESTA"), "anna") is None
    assert await tests.run(spec("RELAYTESTB"), "ben") is None


async def test_a_coupon_that_cannot_be_removed_blocks_the_next_test(
    engine: AsyncEngine, store: WooCommerce, shop: Simulator
) -> None:
    tests = CouponTests(engine, store, "woocommerce")
    shop.script(path="/wp-json/wc/v3/coupons/", method="DELETE", status=503, times=None)
    assert await tests.run(spec(), "anna") is not None
    assert (await recorded(engine)).open
    with pytest.raises(AnotherTestError):
        await tests.run(spec("RELAYTESTB"), "anna")
    shop.control("clear")
    await tests.remove_left_over()
    assert await store.find_coupon(CODE) is None
    assert not (await recorded(engine)).open, "its creation was certain, so it counts as gone at once"


async def test_a_rejected_coupon_is_a_failure_with_its_reason(
    engine: AsyncEngine, store: WooCommerce, shop: Simulator
) -> None:
    rejected = {"code": "rest_invalid_param", "message": "invalid amount", "data": {"status": 400}}
    shop.script(path="/wp-json/wc/v3/coupons", method="POST", status=400, body=rejected)
    failure = await CouponTests(engine, store, "woocommerce").run(spec(), "anna")
    coupon = await recorded(engine)
    assert failure == coupon.failure
    assert not coupon.open


async def test_another_stores_test_coupon_is_left_alone(engine: AsyncEngine, store: WooCommerce) -> None:
    async with engine.begin() as connection:
        assert await records.begin_test(connection, CODE, "shopify", "anna")
    await lease_expired(engine)
    await sql(engine, "UPDATE setup_record SET at = now() - interval '11 minutes'")
    await CouponTests(engine, store, "woocommerce").remove_left_over()
    assert (await recorded(engine)).open


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_store_has_a_test_coupon_that_expires(name: str) -> None:
    now = datetime(2026, 5, 11, tzinfo=UTC)
    made = spec_of_test(CODE, adapter_class(name), None, now)
    assert made
    assert made.kind is CouponKind.PERCENTAGE
    assert made.usage_limit == 1
    assert made.expires_at == now + timedelta(hours=1)
