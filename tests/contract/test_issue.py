"""What every adapter promises about a coupon while the shop behaves, by the ledgers of the shops' doubles.

The promises themselves are tried by the conformance kit (test_conformance.py), which knows no ledger.
"""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from app.outcomes import Blocked, Done, Reject
from app.stores import ADAPTERS, adapter_class
from app.stores.base import CouponFound, Ready, differences
from tests.contract.bench import SHOPS, Bench, order


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
