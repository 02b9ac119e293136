"""Answers recorded on a real Shopify shop, each classified as a person would.

The recordings are other people's: they are read from ../shared and never copied.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from platform_relay.core.http import HttpResponse
from platform_relay.core.http_messages import Headers
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.base import CouponKind, Difference, differences
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.shopify.adapter import creation_failure, is_taken
from platform_relay.stores.shopify.api import data_of
from platform_relay.stores.shopify.coupons import parse_coupon
from tests.contract.bench import order

FOLDER = Path(__file__).parents[3] / "shared" / "payloads" / "shopify_recorded"
FINE, REJECT, LOOKUP, NONE, FOUND = "fine", "Reject", "look up", "none", "found"
TIDY = (r"^/(setup|cleanup)", FINE)

TABLE: dict[str, tuple[int, tuple[tuple[str, str], ...]]] = {
    "discount-buyer-context-lifecycle": (10, (("", FINE),)),
    "discount-code-basic-lifecycle": (5, (("", FINE),)),
    "discount-code-required-blank-validation": (10, (("", REJECT),)),
    "discount-context-customer-selection-conflict": (15, (TIDY, ("", REJECT))),
    "discount-free-shipping-lifecycle": (13, (("", FINE),)),
    "discount-invalid-date-range-all-types": (5, (("", REJECT),)),
    "discount-numeric-bounds": (17, (TIDY, ("", REJECT))),
    "discount-redeem-code-bulk": (4, (("", FINE),)),
    "discount-starts-at-required-validation": (12, (("", REJECT),)),
    "discount-title-validation": (48, (TIDY, ("", REJECT))),
    "discount-validation-branches": (13, (TIDY, ("/duplicate$", LOOKUP), ("", REJECT))),
    # a value of 0 is accepted by the store; the comparison with what was ordered is what stops it
    "discount-value-bounds": (7, (TIDY, ("/(percentageZero|amountZero)$", FINE), ("", REJECT))),
}
"""File → how many answers it holds, and what each means: the first pattern that its place in the file matches."""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the recorded answers (../shared/payloads) are not here")


def recording(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def answers(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every mutation's result, and every answer with top-level errors, with its place in the file."""
    if isinstance(value, dict):
        if "userErrors" in value or isinstance(value.get("errors"), list):
            yield place, value
        for name, member in value.items():
            yield from answers(member, f"{place}/{name}")
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from answers(member, f"{place}[{number}]")


def meaning(answer: Any) -> str:
    if "errors" in answer:
        with pytest.raises(CallFailed) as failed:
            data_of(HttpResponse(200, Headers(), json.dumps(answer).encode()), "the recorded call", wrote=True)
        return type(failed.value.outcome).__name__
    outcome = creation_failure(answer, order())
    return FINE if outcome is None else LOOKUP if is_taken(answer) else type(outcome).__name__


def test_every_recording_is_in_the_table() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_every_answer_is_classified_as_a_person_would(name: str) -> None:
    count, rules = TABLE[name]
    found = list(answers(recording(name)))
    assert len(found) == count
    result = {place: meaning(answer) for place, answer in found}
    assert result == {
        place: next(expected for pattern, expected in rules if re.search(pattern, place)) for place, _ in found
    }


def test_a_refusals_words_reach_the_operator() -> None:
    found = dict(answers(recording("discount-value-bounds")))
    outcome = creation_failure(found["/cases/bounds/response/data/percentageHigh"], order())
    assert outcome is not None
    assert outcome.reason.code is ReasonCode.REJECTED_BY_DESTINATION
    response = str(outcome.reason.facts["response"])
    assert "customerGets.value.percentage: Value must be between 0.0 and 1.0 (VALUE_OUTSIDE_RANGE)" in response


LOOKED_UP = {
    ("discount-code-basic-lifecycle", "readAfterUpdate"): FOUND,
    ("discount-code-basic-lifecycle", "readAfterDelete"): NONE,
    ("discount-buyer-context-lifecycle", "codeReadAfterUpdate"): FOUND,
    ("discount-free-shipping-lifecycle", "readAfterDelete"): NONE,
}


@pytest.mark.parametrize(("name", "place"), LOOKED_UP)
def test_look_ups(name: str, place: str) -> None:
    shown = recording(name)[place]["payload"]["data"]
    assert (NONE if shown["codeDiscountNodeByCode"] is None else FOUND) == LOOKED_UP[name, place]


NOT_ASKED_FOR = {"codesCount": {"count": 1}, "usageLimit": None, "appliesOncePerCustomer": False}
"""What we select and the recording's query did not."""


def made(name: str, place: str, mutation: str) -> Any:
    node = recording(name)[place]["payload"]["data"][mutation]["codeDiscountNode"]
    return {**node, "codeDiscount": {**NOT_ASKED_FOR, **node["codeDiscount"]}}


def test_a_recorded_percentage_is_understood() -> None:
    found = parse_coupon(made("discount-code-basic-lifecycle", "create", "discountCodeBasicCreate"), "x")
    assert found is not None
    assert (found.kind, found.value, found.minimum_spend) == (CouponKind.PERCENTAGE, Decimal(10), Decimal(1))
    assert (found.active, found.combinable, found.customer_id, found.restrictions) == (True, True, None, ())


def test_a_recorded_free_shipping_is_understood() -> None:
    node = made("discount-free-shipping-lifecycle", "codeCreate", "discountCodeFreeShippingCreate")
    found = parse_coupon(node, "HAR196FREE1785195915210")
    assert found is not None
    assert (found.kind, found.usage_limit, found.per_customer_limit) == (CouponKind.FREE_SHIPPING, 5, 1)
    assert found.restrictions == ("a maximum shipping price",)


def test_a_recorded_deactivation_is_no_usable_coupon() -> None:
    node = made("discount-free-shipping-lifecycle", "codeDeactivate", "discountCodeDeactivate")
    found = parse_coupon(node, "HAR196SHIP1785195915210")
    assert found is not None
    assert not found.active
    assert "countries" in found.restrictions
    wanted = order(code=found.code, kind=CouponKind.FREE_SHIPPING, value=None, currency=None)
    assert Difference("active", "false", "true") in differences(wanted, found)
