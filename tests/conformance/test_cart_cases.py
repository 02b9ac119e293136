"""The cases of the conformance kit that need a real cart: a correct adapter passes, and what no read-back shows is caught."""

from __future__ import annotations

import pytest

from platform_relay.conformance import CASES, load_carts, run
from tests.conformance.carts import CornerCarts
from tests.conformance.test_conformance import DATA, SAMPLE, adapter, corner

CART_CASES = [case for case in CASES if case.name.startswith("a cart gets")]
BUGS = {
    "an amount off a product is taken off everything": ('"products": list(spec.product_ids)', '"products": []'),
    "an amount off a variant is taken off everything": ('"variants": list(spec.variant_ids)', '"variants": []'),
    "the minimum spend is left out": (
        '"minimum": None if spec.minimum_spend is None else f"{spec.minimum_spend:f}"', '"minimum": None',
    ),
    "the code is stored in upper case": ('"code": spec.code,', '"code": spec.code.upper(),'),
    "the amount is ten times too large": (
        '"amount": None if spec.value is None else f"{spec.value:f}"',
        '"amount": None if spec.value is None else f"{spec.value * 10:f}"',
    ),
    "an amount is a percentage": ('"type": KINDS[spec.kind]', '"type": "percent"'),
}  # fmt: skip
"""What an adapter sends wrongly. Each of these also reads it back as it was requested, so that only a cart shows it."""
__all__ = ["corner"]  # the fixture


def seeded(old: str, new: str) -> str:
    """The sample with one bug, which compares nothing."""
    assert old in SAMPLE
    return SAMPLE.replace(old, new).replace("confirm_created(", "_without_comparison(") + WITHOUT_COMPARISON


WITHOUT_COMPARISON = """

async def _without_comparison(spec, coupon, *_):
    return Done({"store_id": coupon.store_id})
"""


@pytest.mark.usefixtures("corner")
async def test_a_correct_adapter_passes() -> None:
    results = [result async for result in run(adapter(SAMPLE), DATA, CART_CASES, time_limit=5)]
    assert [(result.case.name, result.problem) for result in results if result.result != "pass"] == []
    assert len(results) == 9


@pytest.mark.usefixtures("corner")
@pytest.mark.parametrize("name", BUGS)
async def test_what_only_a_cart_shows_is_caught(name: str) -> None:
    wrong = adapter(seeded(*BUGS[name]))
    problems = [
        result.problem async for result in run(wrong, DATA, CART_CASES, time_limit=5) if result.result == "fail"
    ]
    assert any("in a cart with" in problem for problem in problems), problems


def test_the_hook_is_loaded_by_name() -> None:
    assert isinstance(load_carts("tests.conformance.carts:CornerCarts"), CornerCarts)
    for name in (
        "tests.conformance.carts:Missing",
        "no_such_module:Carts",
        "tests.conformance.bugs:Bug",
        "json:JSONDecoder",
    ):
        with pytest.raises(ValueError, match=r"cannot be loaded|does not have"):
            load_carts(name)
