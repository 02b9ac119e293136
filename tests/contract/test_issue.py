"""The requirements for coupons while the store works, checked with the ledgers of the simulated stores.

The conformance kit (test_conformance.py) tests the same requirements without a ledger.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from platform_relay.conformance.sandbox import in_30_days
from platform_relay.core.outcomes import Blocked, Done, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores import ADAPTERS, adapter_class
from platform_relay.stores.base import Ready, StoreCoupon, differences
from tests.contract.bench import SHOPS, Bench, differences_of, order


def test_every_adapter_is_in_the_suite() -> None:
    assert set(SHOPS) == set(ADAPTERS)


@pytest.mark.parametrize("first_try", [True, False])
async def test_makes_the_coupon_as_ordered(bench: Bench, first_try: bool) -> None:
    wanted = order(first_try=first_try)
    outcome = await bench.adapter.issue_coupon(wanted)
    assert isinstance(outcome, Done), outcome
    found = await bench.adapter.find_coupon(wanted.code)
    assert isinstance(found, StoreCoupon), found
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
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    different = {each["field"]: (each["actual"], each["expected"]) for each in differences_of(outcome)}
    actual, expected = different["value"]
    assert Decimal(actual) == 5
    assert expected == "7.50"
    assert different.get("email") == ((None, "set") if restricts else None)
    assert "jane" not in repr(outcome)
    assert await bench.usable()
    assert bench.made() == 1


async def test_a_wrong_echo_is_no_success_and_leaves_no_usable_coupon(bench: Bench) -> None:
    bench.simulator.config(distort=bench.shop.distortion)
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.COUPON_DIFFERS
    assert outcome.reason.facts["removed"] is True
    assert bench.shop.complaint in [each["field"] for each in differences_of(outcome)]
    assert not await bench.usable()


@pytest.mark.parametrize("fields", [{}, {"title": "Thank (you) [all]", "expires_at": in_30_days()}])
async def test_the_shop_tells_whose_a_coupon_is(bench: Bench, fields: dict[str, Any]) -> None:
    """Of a redemption of ours or of none: a coupon made otherwise by a try whose answer was lost is known by it."""
    for code, reference in (("A1", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"), ("B2", None)):
        assert isinstance(await bench.adapter.issue_coupon(order(code=code, reference=reference, **fields)), Done)
        found = await bench.adapter.find_coupon(code)
        assert isinstance(found, StoreCoupon), found
        assert found.reference == reference


async def test_a_coupon_made_otherwise_is_known_as_ours_when_its_answer_was_lost(bench: Bench) -> None:
    bench.simulator.config(distort=bench.shop.distortion)
    bench.misbehave(bench.shop.create, mode="apply_then", status=500, body="")
    wanted = order(reference="6f9619ff-8b86-d011-b42d-00cf4fc964ff")
    await bench.adapter.issue_coupon(replace(wanted, first_try=True))
    outcome = await bench.adapter.issue_coupon(wanted)
    assert isinstance(outcome, Reject), outcome
    found = await bench.adapter.find_coupon(wanted.code)
    assert found is None or (isinstance(found, StoreCoupon) and found.reference == wanted.reference)


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


async def test_check_reports_a_key_that_the_shop_rejects(bench: Bench) -> None:
    bench.simulator.config(**bench.shop.other_key)
    outcome = await bench.adapter.check()
    assert isinstance(outcome, Blocked)
    assert outcome.reason.code is ReasonCode.KEY_REJECTED


async def test_check_reports_a_wrong_address(bench: Bench) -> None:
    bench.set("URL", f"{bench.simulator.url}/elsewhere")
    outcome = await bench.build().check()
    assert isinstance(outcome, Blocked), outcome
    assert outcome.reason.code is ReasonCode.WRONG_ADDRESS
    assert outcome.reason.facts["setting"] == f"{bench.name.upper()}__URL"
