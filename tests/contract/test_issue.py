"""What every adapter promises about a coupon while the shop behaves."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.outcomes import Blocked, Done, Reject, Retry
from app.stores import ADAPTERS, adapter_class
from app.stores.base import CouponFound, CouponKind, Ready, differences
from tests.contract.bench import SHOPS, Bench, order
from tests.helpers import free_port

SOON = datetime.now(UTC).replace(microsecond=123456) + timedelta(days=30)
KINDS: dict[CouponKind, dict[str, Any]] = {
    CouponKind.FIXED_AMOUNT: {"value": Decimal("12.34")},
    CouponKind.PERCENTAGE: {"value": Decimal("7.5"), "currency": None},
    CouponKind.FREE_SHIPPING: {"value": None, "currency": None},
    CouponKind.FREE_PRODUCT: {"value": None, "currency": None, "product_ids": ("7", "12")},
    CouponKind.GIFT_CARD: {"value": Decimal(25)},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "minimum_spend": {"minimum_spend": Decimal("30.00")},
    "unlimited": {"usage_limit": None},
    "per_customer_limit": {"usage_limit": 10, "per_customer_limit": 2},
    "email": {"email": "Jane@Example.com"},
    "customer_id": {"customer_id": "4711"},
    "combinable": {"combinable": False},
    "product_ids": {"product_ids": ("3", "1")},
    "expires_at": {"expires_at": SOON},
    "starts_at": {"starts_at": SOON},
    "started": {"starts_at": SOON - timedelta(days=40)},
    "title and reference": {"title": "Thank you", "reference": "0192-77"},
}


def test_every_adapter_is_in_the_suite() -> None:
    assert set(SHOPS) == set(ADAPTERS)


@pytest.mark.parametrize("first_try", [True, False])
async def test_makes_the_coupon_as_ordered(bench: Bench, first_try: bool) -> None:
    wanted = order(first_try=first_try)
    outcome = await bench.adapter.issue_coupon(wanted)
    assert isinstance(outcome, Done), outcome
    found = await bench.adapter.find_coupon(wanted.code)
    assert isinstance(found, CouponFound), found
    assert (found.code, found.store_id) == (wanted.code, outcome.result["store_id"])
    assert differences(wanted, found) == ()


@pytest.mark.parametrize("kind", list(CouponKind))
async def test_every_kind_is_made_or_rejected_by_name(bench: Bench, kind: CouponKind) -> None:
    wanted = order(kind=kind, **KINDS[kind])
    outcome = await bench.adapter.issue_coupon(wanted)
    if kind in adapter_class(bench.name).KINDS:
        assert isinstance(outcome, Done), outcome
        assert isinstance(await bench.adapter.issue_coupon(wanted), Done)
        assert bench.made() == 1
    else:
        assert isinstance(outcome, Reject)
        assert kind in outcome.why
        assert bench.made() == 0


@pytest.mark.parametrize("option", OPTIONS)
async def test_every_option_is_kept_or_rejected_by_name(bench: Bench, option: str) -> None:
    wanted = order(**OPTIONS[option])
    outcome = await bench.adapter.issue_coupon(wanted)
    if option in adapter_class(bench.name).CANNOT:
        assert isinstance(outcome, Reject), outcome
        assert option in outcome.why
        assert bench.made() == 0
    else:
        assert isinstance(outcome, Done), outcome
        assert isinstance(await bench.adapter.issue_coupon(wanted), Done)
        assert bench.made() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"value": Decimal(0)},
        {"value": Decimal("NaN")},
        {"value": None},
        {"kind": CouponKind.PERCENTAGE, "value": Decimal(150)},
        {"kind": CouponKind.FREE_PRODUCT, "value": None},
        {"usage_limit": 0},
        {"minimum_spend": Decimal(-1)},
        {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"code": " "},
    ],
)
async def test_what_nobody_can_make_never_reaches_the_shop(bench: Bench, fields: dict[str, Any]) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order(**fields)), Reject)
    assert bench.simulator.ledger() == []


@pytest.mark.parametrize("first_try", [True, False])
async def test_the_same_code_twice_is_one_coupon(bench: Bench, first_try: bool) -> None:
    first = await bench.adapter.issue_coupon(order(first_try=True))
    again = await bench.adapter.issue_coupon(order(first_try=first_try))
    assert isinstance(first, Done), first
    assert isinstance(again, Done), again
    assert again.result == first.result
    assert bench.made() == 1


@pytest.mark.parametrize("first_try", [True, False])
async def test_a_code_with_other_values_is_rejected_by_name(bench: Bench, first_try: bool) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    restricts = "email" not in adapter_class(bench.name).CANNOT
    email = "jane@example.com" if restricts else None
    outcome = await bench.adapter.issue_coupon(order(value=Decimal("7.50"), email=email, first_try=first_try))
    assert isinstance(outcome, Reject), outcome
    assert re.search(r"value is 5(\.00?)?, ordered 7\.50", outcome.why)
    assert ("email is not set" in outcome.why) is restricts
    assert "jane" not in repr(outcome)
    assert await bench.usable()
    assert bench.made() == 1


async def test_a_wrong_echo_is_no_success_and_leaves_no_usable_coupon(bench: Bench) -> None:
    bench.simulator.config(distort=bench.shop.distortion)
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Reject), outcome
    assert bench.shop.complaint in outcome.why
    assert not await bench.usable()


async def test_retire(bench: Bench) -> None:
    assert isinstance(await bench.adapter.retire_coupon("never-made"), Done)
    await bench.adapter.issue_coupon(order())
    assert await bench.usable()
    for _ in range(2):
        assert isinstance(await bench.adapter.retire_coupon(order().code), Done)
        assert not await bench.usable()


async def test_find_knows_what_is_not_there(bench: Bench) -> None:
    await bench.adapter.issue_coupon(order())
    for code in ("another", "a b&c=d/e+f%20g", "ü"):
        assert await bench.adapter.find_coupon(code) is None


async def test_check_is_ready_and_changes_nothing(bench: Bench) -> None:
    outcome = await bench.adapter.check()
    assert isinstance(outcome, Ready), outcome
    assert bench.made() == 0


async def test_check_says_that_the_key_is_refused(bench: Bench) -> None:
    bench.simulator.config(**bench.shop.other_key)
    assert isinstance(await bench.adapter.check(), Blocked)


async def test_check_says_that_the_address_is_wrong(bench: Bench) -> None:
    bench.set("URL", f"{bench.simulator.url}/elsewhere")
    outcome = await bench.build().check()
    assert isinstance(outcome, Blocked), outcome
    assert f"{bench.name.upper()}__URL" in outcome.why


async def test_nobody_there_is_retry(bench: Bench) -> None:
    bench.point_at(f"http://127.0.0.1:{free_port()}")
    adapter = bench.build()
    assert isinstance(await adapter.issue_coupon(order()), Retry)
    assert isinstance(await adapter.retire_coupon("any"), Retry)
    assert isinstance(await adapter.check(), Retry)


async def test_times_in_another_zone_are_the_same_time(bench: Bench) -> None:
    wanted = order(expires_at=SOON)
    assert isinstance(await bench.adapter.issue_coupon(wanted), Done)
    elsewhere = replace(wanted, expires_at=SOON.astimezone(tz=None))
    assert isinstance(await bench.adapter.issue_coupon(elsewhere), Done)
