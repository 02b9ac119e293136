"""What the drift check makes of a coupon in the store: by the fields that differ, never by a text."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from platform_relay.coupons.drift_check import find_drift
from platform_relay.stores.base import CouponKind, Difference, StoreCoupon

CODE = "ab12cd34ef56"
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
ISSUED_SPEC: dict[str, Any] = {
    "kind": "fixed_amount",
    "value": "5.00",
    "currency": "EUR",
    "product_ids": [],
    "variant_ids": [],
    "minimum_spend": None,
    "usage_limit": 1,
    "combinable": True,
    "expires_at": LATER.isoformat(),
    "restricted": False,
}
FOUND = StoreCoupon("9", CODE, CouponKind.FIXED_AMOUNT, Decimal("5.00"), "EUR", usage_limit=1, expires_at=LATER, used=0)
EXPIRED = {**ISSUED_SPEC, "expires_at": (datetime.now(UTC) - timedelta(days=1)).isoformat()}


@pytest.mark.parametrize(
    ("changed", "kind", "difference"),
    [
        ({"value": Decimal("50.00")}, "other_value", Difference("value", "50.00", "5.00")),
        ({"currency": "USD"}, "other_value", Difference("currency", "USD", "EUR")),
        ({"expires_at": None}, "expired_early", Difference("expires_at", None, LATER.isoformat())),
        ({"active": False}, "expired_early", Difference("active", "false", "true")),
        ({"usage_limit": None}, "edited", Difference("usage_limit", None, "1")),
        ({"minimum_spend": Decimal(20)}, "edited", Difference("minimum_spend", "20", None)),
        ({"restrictions": ("an excluded product",)}, "edited", Difference("restrictions", "an excluded product", None)),
        ({"used": 2}, "over_used", Difference("number of uses", "2", "at most 1")),
    ],
)
def test_the_kind_of_a_difference(changed: dict[str, Any], kind: str, difference: Difference) -> None:
    [finding] = find_drift(CODE, "active", ISSUED_SPEC, 0, replace(FOUND, **changed))
    assert (finding.code, finding.kind, finding.difference) == (CODE, kind, difference)


@pytest.mark.parametrize("state", ["active", "used"])
def test_a_coupon_as_it_was_created_has_no_findings(state: str) -> None:
    assert find_drift(CODE, state, ISSUED_SPEC, 0, FOUND) == []
    assert find_drift(CODE, state, ISSUED_SPEC, 1, replace(FOUND, used=1)) == []


def test_a_use_without_a_known_order() -> None:
    [finding] = find_drift(CODE, "active", ISSUED_SPEC, 0, replace(FOUND, used=1))
    assert (finding.kind, finding.difference) == ("used_unseen", Difference("number of uses", "1", "0"))


def test_a_deleted_coupon_matters_while_it_is_active() -> None:
    [finding] = find_drift(CODE, "active", ISSUED_SPEC, 0, None)
    assert (finding.kind, finding.difference) == ("deleted", Difference("state", "deleted", "active"))
    assert find_drift(CODE, "used", ISSUED_SPEC, 0, None) == []


@pytest.mark.parametrize("state", ["retired", "points_returned"])
def test_a_retired_coupon_must_not_be_usable(state: str) -> None:
    [finding] = find_drift(CODE, state, ISSUED_SPEC, 0, FOUND)
    assert (finding.kind, finding.difference) == ("still_usable", Difference("state", "usable", state))
    assert find_drift(CODE, state, ISSUED_SPEC, 0, replace(FOUND, active=False)) == []
    assert find_drift(CODE, state, ISSUED_SPEC, 0, None) == []


def test_an_expired_coupon_may_be_inactive() -> None:
    expires_at = datetime.fromisoformat(EXPIRED["expires_at"])
    assert find_drift(CODE, "active", EXPIRED, 0, replace(FOUND, active=False, expires_at=expires_at)) == []


def test_a_coupon_for_one_customer_that_is_open_to_everybody() -> None:
    ordered = {**ISSUED_SPEC, "restricted": True}
    [finding] = find_drift(CODE, "active", ordered, 0, FOUND)
    assert (finding.kind, finding.difference) == ("edited", Difference("restriction to the customer", None, "set"))
    assert find_drift(CODE, "active", ordered, 0, replace(FOUND, email="ada@example.com")) == []
    assert find_drift(CODE, "active", ordered, 0, replace(FOUND, unreadable=frozenset({"email"}))) == []
