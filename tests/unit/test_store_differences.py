"""Whether a shop's coupon is what was ordered: every field, in words."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.outcomes import Done, Reject
from app.stores.base import CouponFound, CouponKind, CouponOrder, differences, judge

WHEN = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
ORDER = CouponOrder(
    code="ab12", kind=CouponKind.FIXED_AMOUNT, value=Decimal("5.00"), currency="EUR", title="Thanks",
    product_ids=("1", "2"), minimum_spend=Decimal(30), usage_limit=1, per_customer_limit=1, customer_id="c-1",
    email="jane@example.com", combinable=False, starts_at=WHEN, expires_at=WHEN, reference="r-1",
)  # fmt: skip
FOUND = CouponFound(
    store_id="77", code="ab12", kind=CouponKind.FIXED_AMOUNT, value=Decimal("5.00"), currency="EUR",
    product_ids=("1", "2"), minimum_spend=Decimal(30), usage_limit=1, per_customer_limit=1, customer_id="c-1",
    email="jane@example.com", combinable=False, starts_at=WHEN, expires_at=WHEN,
)  # fmt: skip
OTHERS: dict[str, tuple[Any, str]] = {
    "code": ("ab13", "code is ab13, ordered ab12"),
    "kind": (None, "kind is not set, ordered fixed_amount"),
    "value": (Decimal("0.00"), "value is 0.00, ordered 5.00"),
    "currency": ("USD", "currency is USD, ordered EUR"),
    "product_ids": ((), "product_ids is not set, ordered"),
    "variant_ids": (("11",), "variant_ids is ('11',), ordered not set"),
    "minimum_spend": (None, "minimum_spend is not set, ordered 30"),
    "usage_limit": (None, "usage_limit is not set, ordered 1"),
    "per_customer_limit": (2, "per_customer_limit is 2, ordered 1"),
    "customer_id": ("c-2", "customer_id is another than ordered"),
    "email": (None, "email is not set, and was ordered"),
    "combinable": (True, "combinable is True, ordered False"),
    "starts_at": (WHEN - timedelta(days=1), "starts_at is 2031-01-01T03:04:05+00:00, ordered 2031-01-02"),
    "expires_at": (None, "expires_at is not set, ordered 2031-01-02T03:04:05+00:00"),
    "active": (False, "active is False, ordered True"),
    "restrictions": (("exclude_sale_items",), "it has exclude_sale_items, which was not ordered"),
}
NOT_COMPARED = {"store_id", "used", "unreadable", "reference", "one_list"}


def test_every_field_of_a_found_coupon_is_compared_or_known_not_to_be() -> None:
    assert {field.name for field in fields(CouponFound)} == set(OTHERS) | NOT_COMPARED


def test_the_same() -> None:
    assert differences(ORDER, FOUND) == ()
    assert judge(ORDER, FOUND) == Done({"store_id": "77"})


@pytest.mark.parametrize("name", OTHERS)
def test_one_field_differs(name: str) -> None:
    value, words = OTHERS[name]
    changed: dict[str, Any] = {name: value}
    told = differences(ORDER, replace(FOUND, **changed))
    assert len(told) == 1
    assert words in told[0]
    outcome = judge(ORDER, replace(FOUND, **changed))
    assert isinstance(outcome, Reject)
    assert words in outcome.why


@pytest.mark.parametrize("name", sorted(set(OTHERS) - {"restrictions"}))
def test_what_the_shop_cannot_tell_is_passed_over(name: str) -> None:
    changed: dict[str, Any] = {name: OTHERS[name][0]}
    assert differences(ORDER, replace(FOUND, unreadable=frozenset({name}), **changed)) == ()


@pytest.mark.parametrize(
    "same",
    [
        {"code": "AB12"},
        {"email": "Jane@EXAMPLE.com"},
        {"value": Decimal(5)},
        {"product_ids": ("2", "1")},
        {"expires_at": WHEN.astimezone(timezone(timedelta(hours=9)))},
        {"expires_at": WHEN + timedelta(microseconds=999_999)},
        {"used": 1},
    ],
)
def test_other_spellings_of_the_same(same: dict[str, Any]) -> None:
    assert differences(ORDER, replace(FOUND, **same)) == ()


@pytest.mark.parametrize(
    ("ordered", "products", "variants", "words"),
    [
        ({"product_ids": ("7",)}, ("7",), ("71", "72"), ()),
        ({"product_ids": ("7",)}, ("variant 71",), ("71",), ("product_ids is ('variant 71',), ordered ('7',)",)),
        ({"variant_ids": ("71",)}, ("7",), ("71",), ()),
        ({"variant_ids": ("71",)}, ("7",), ("71", "72"), ("variant_ids is ('71', '72'), ordered ('71',)",)),
        ({"variant_ids": ("71",)}, (), (), ("variant_ids is not set, ordered ('71',)",)),
        ({}, ("7",), ("71", "72"), ("product_ids is ('7',), ordered not set",)),
    ],
)
def test_of_a_shops_one_list_the_reading_counts_that_was_ordered(
    ordered: dict[str, Any], products: tuple[str, ...], variants: tuple[str, ...], words: tuple[str, ...]
) -> None:
    order = CouponOrder(code="x", kind=CouponKind.FREE_SHIPPING, **ordered)
    found = CouponFound("1", "x", order.kind, product_ids=products, variant_ids=variants, one_list=True, usage_limit=1)
    assert differences(order, found) == words


def test_what_an_order_leaves_open() -> None:
    order = CouponOrder(code="x", kind=CouponKind.FREE_SHIPPING)
    found = CouponFound(
        store_id="1", code="x", kind=CouponKind.FREE_SHIPPING, value=Decimal(0), currency="EUR", usage_limit=1,
        minimum_spend=Decimal(0), email="", starts_at=WHEN,
    )  # fmt: skip
    assert differences(order, found) == ()


@given(st.text(), st.text())
def test_personal_data_is_never_told(ordered: str, found: str) -> None:
    marked = replace(FOUND, email=f"{found}@here.example", customer_id=f"{found}@here.example")
    told = " ".join(differences(replace(ORDER, email=f"{ordered}@there.example", customer_id="@there.example"), marked))
    assert "email is another than ordered" in told
    assert "@" not in told
