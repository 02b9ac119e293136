"""Whether a store's coupon is what was ordered, field by field, and which orders are refused at once."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.core.outcomes import Done, Outcome, Reject, Retry
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.stores.base import (
    CouponKind,
    CouponSpec,
    Difference,
    StoreCoupon,
    check_currency,
    check_spec,
    compare_existing,
    confirm_created,
    created_differently,
    differences,
    with_cleanup,
)
from platform_relay.stores.failures import CallFailed, returns_failures

WHEN = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
ORDER = CouponSpec(
    code="ab12", kind=CouponKind.FIXED_AMOUNT, value=Decimal("5.00"), currency="EUR", title="Thanks",
    product_ids=("1", "2"), minimum_spend=Decimal(30), usage_limit=1, per_customer_limit=1, customer_id="c-1",
    email="jane@example.com", combinable=False, starts_at=WHEN, expires_at=WHEN, reference="r-1",
)  # fmt: skip
FOUND = StoreCoupon(
    store_id="77", code="ab12", kind=CouponKind.FIXED_AMOUNT, value=Decimal("5.00"), currency="EUR",
    product_ids=("1", "2"), minimum_spend=Decimal(30), usage_limit=1, per_customer_limit=1, customer_id="c-1",
    email="jane@example.com", combinable=False, starts_at=WHEN, expires_at=WHEN,
)  # fmt: skip
MOMENT = "2031-01-02T03:04:05+00:00"
OTHERS: dict[str, tuple[Any, str | None, str | None]] = {
    "code": ("ab13", "ab13", "ab12"),
    "kind": (None, None, "fixed_amount"),
    "value": (Decimal("0.00"), "0.00", "5.00"),
    "currency": ("USD", "USD", "EUR"),
    "product_ids": ((), None, "1, 2"),
    "variant_ids": (("11",), "11", None),
    "minimum_spend": (None, None, "30"),
    "usage_limit": (None, None, "1"),
    "per_customer_limit": (2, "2", "1"),
    "customer_id": ("c-2", "another value", "set"),
    "email": (None, None, "set"),
    "combinable": (True, "true", "false"),
    "starts_at": (WHEN - timedelta(days=1), "2031-01-01T03:04:05+00:00", MOMENT),
    "expires_at": (None, None, MOMENT),
    "active": (False, "false", "true"),
    "restrictions": (("exclude_sale_items",), "exclude_sale_items", None),
}
"""A value of each field, and what it and the ordered one are called."""
NOT_COMPARED = {"store_id", "used", "unreadable", "reference", "shared_item_list", "any_case"}


def test_every_field_of_a_found_coupon_is_compared_or_known_not_to_be() -> None:
    assert {field.name for field in fields(StoreCoupon)} == set(OTHERS) | NOT_COMPARED


def test_the_same() -> None:
    assert differences(ORDER, FOUND) == ()
    assert compare_existing(ORDER, FOUND) == Done({"store_id": "77"})


@pytest.mark.parametrize("name", OTHERS)
def test_one_field_differs(name: str) -> None:
    value, actual, expected = OTHERS[name]
    changed: dict[str, Any] = {name: value}
    assert differences(ORDER, replace(FOUND, **changed)) == (Difference(name, actual, expected),)
    outcome = compare_existing(ORDER, replace(FOUND, **changed))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    assert outcome.reason.facts["differences"] == [{"field": name, "actual": actual, "expected": expected}]
    assert outcome.reason.facts["code"] == ORDER.code


@pytest.mark.parametrize("name", sorted(set(OTHERS) - {"restrictions"}))
def test_what_the_shop_cannot_tell_is_passed_over(name: str) -> None:
    changed: dict[str, Any] = {name: OTHERS[name][0]}
    assert differences(ORDER, replace(FOUND, unreadable=frozenset({name}), **changed)) == ()


@pytest.mark.parametrize(
    "same",
    [
        {"code": "AB12", "any_case": True},
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


def test_the_case_of_a_code_counts_unless_customers_may_enter_either() -> None:
    assert differences(ORDER, replace(FOUND, code="AB12")) == (Difference("code", "AB12", "ab12"),)
    assert differences(ORDER, replace(FOUND, code="AB13", any_case=True)) == (Difference("code", "AB13", "ab12"),)


@pytest.mark.parametrize("currency", ["PLN", None])
@pytest.mark.parametrize("kind", [CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE, CouponKind.FREE_SHIPPING])
def test_the_currency_of_a_minimum_spend_counts_like_that_of_a_value(kind: CouponKind, currency: str | None) -> None:
    wanted, found = replace(ORDER, kind=kind), replace(FOUND, kind=kind)
    assert differences(wanted, found) == ()
    assert differences(wanted, replace(found, currency=currency)) == (Difference("currency", currency, "EUR"),)


@pytest.mark.parametrize(
    ("ordered", "products", "variants", "expected"),
    [
        ({"product_ids": ("7",)}, ("7",), ("71", "72"), ()),
        ({"product_ids": ("7",)}, ("variant 71",), ("71",), (Difference("product_ids", "variant 71", "7"),)),
        ({"variant_ids": ("71",)}, ("7",), ("71",), ()),
        ({"variant_ids": ("71",)}, ("7",), ("71", "72"), (Difference("variant_ids", "71, 72", "71"),)),
        ({"variant_ids": ("71",)}, (), (), (Difference("variant_ids", None, "71"),)),
        ({}, ("7",), ("71", "72"), (Difference("product_ids", "7", None),)),
    ],
)
def test_of_a_shops_one_list_the_reading_counts_that_was_ordered(
    ordered: dict[str, Any], products: tuple[str, ...], variants: tuple[str, ...], expected: tuple[Difference, ...]
) -> None:
    order = CouponSpec(code="x", kind=CouponKind.FREE_SHIPPING, **ordered)
    found = StoreCoupon(
        "1", "x", order.kind, product_ids=products, variant_ids=variants, shared_item_list=True, usage_limit=1
    )
    assert differences(order, found) == expected


def test_what_an_order_leaves_open() -> None:
    order = CouponSpec(code="x", kind=CouponKind.FREE_SHIPPING)
    found = StoreCoupon(
        store_id="1", code="x", kind=CouponKind.FREE_SHIPPING, value=Decimal(0), currency="EUR", usage_limit=1,
        minimum_spend=Decimal(0), email="", starts_at=WHEN,
    )  # fmt: skip
    assert differences(order, found) == ()


@given(st.text(), st.text())
def test_personal_data_is_never_told(ordered: str, found: str) -> None:
    marked = replace(FOUND, email=f"{found}@here.example", customer_id=f"{found}@here.example")
    wanted = replace(ORDER, email=f"{ordered}@there.example", customer_id="@there.example")
    different = differences(wanted, marked)
    assert Difference("email", "another value", "set") in different
    assert "@" not in repr(different)
    refused = compare_existing(wanted, marked)
    assert isinstance(refused, Reject)
    assert "@" not in repr(refused)
    assert "@" not in refused.reason.text


@pytest.mark.parametrize("removed", [Done(), Retry(because(ReasonCode.DESTINATION_UNAVAILABLE))])
def test_a_coupon_made_otherwise_is_removed_or_named(removed: Outcome) -> None:
    different = differences(ORDER, replace(FOUND, value=Decimal(0)))
    outcome = with_cleanup(created_differently(ORDER, different), removed, "77")
    gone = isinstance(removed, Done)
    assert outcome.reason.code is ReasonCode.COUPON_DIFFERS
    assert outcome.reason.facts["removed"] is gone
    assert outcome.reason.facts["differences"] == [{"field": "value", "actual": "0", "expected": "5.00"}]
    assert ("delete coupon 77" in outcome.reason.text) is not gone


@pytest.mark.parametrize("removed", [True, False])
async def test_a_coupon_just_made_counts_only_as_ordered(removed: bool) -> None:
    """A removal whose call fails ends nothing: the coupon is named, so that a person removes it."""
    deleted = []

    async def remove(store_id: str) -> Outcome:
        deleted.append(store_id)
        if not removed:
            raise CallFailed(Retry(because(ReasonCode.DESTINATION_UNAVAILABLE)))
        return Done()

    assert await confirm_created(ORDER, FOUND, remove) == Done({"store_id": "77"})
    assert deleted == []
    outcome = await confirm_created(ORDER, replace(FOUND, value=Decimal(0)), remove)
    assert deleted == ["77"]
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.COUPON_DIFFERS
    assert outcome.reason.facts["removed"] is removed
    assert outcome.reason.facts["store_id"] == "77"


@pytest.mark.parametrize(
    ("changed", "currency", "refused"),
    [
        ({}, "EUR", False),
        ({}, "USD", True),
        ({"currency": None}, "USD", False),
        ({"kind": CouponKind.PERCENTAGE}, "USD", True),  # the minimum spend is an amount, too
        ({"kind": CouponKind.PERCENTAGE, "minimum_spend": None}, "USD", False),
    ],
)
def test_amounts_in_a_currency_that_the_shop_does_not_sell_in(
    changed: dict[str, Any], currency: str, refused: bool
) -> None:
    outcome = check_currency(replace(ORDER, **changed), {currency})
    assert (outcome is not None) is refused
    if outcome is not None:
        assert outcome.reason.code is ReasonCode.CURRENCY_MISMATCH
        assert (outcome.reason.facts["ordered"], outcome.reason.facts["currency"]) == ("EUR", currency)


async def test_no_failed_call_leaves_an_adapter() -> None:
    failed = Retry(because(ReasonCode.DESTINATION_UNAVAILABLE, response="jane@example.com"))

    @returns_failures
    async def method(number: int) -> int:
        if number:
            raise CallFailed(failed)
        return number

    assert await method(0) == 0
    assert await method(1) is failed
    assert "jane" not in str(CallFailed(failed))


class _Shop:
    KINDS = frozenset({CouponKind.FIXED_AMOUNT, CouponKind.FREE_PRODUCT, CouponKind.PERCENTAGE})
    CANNOT: ClassVar = {"email": "it has no customers", "customer_id": "it has no customers", "starts_at": "at once"}


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"code": " "}, ReasonCode.COUPON_INVALID, "code"),
        ({"value": Decimal(0)}, ReasonCode.COUPON_INVALID, "value"),
        ({"kind": CouponKind.PERCENTAGE, "value": Decimal(101)}, ReasonCode.COUPON_INVALID, "value"),
        ({"kind": CouponKind.FREE_PRODUCT, "product_ids": ()}, ReasonCode.COUPON_INVALID, "product_ids"),
        ({"variant_ids": ("11",)}, ReasonCode.COUPON_INVALID, "variant_ids"),
        ({"minimum_spend": Decimal("NaN")}, ReasonCode.COUPON_INVALID, "minimum_spend"),
        ({"usage_limit": 0}, ReasonCode.COUPON_INVALID, "usage_limit"),
        ({"per_customer_limit": 0}, ReasonCode.COUPON_INVALID, "per_customer_limit"),
        ({"expires_at": WHEN - timedelta(days=2)}, ReasonCode.COUPON_INVALID, "expires_at"),
        ({"kind": CouponKind.GIFT_CARD}, ReasonCode.NOT_SUPPORTED_BY_STORE, "kind"),
        ({}, ReasonCode.NOT_SUPPORTED_BY_STORE, "email, customer_id"),
        ({"email": None, "customer_id": None}, ReasonCode.NOT_SUPPORTED_BY_STORE, "starts_at"),
    ],
)
def test_why_an_order_is_refused(changed: dict[str, Any], code: ReasonCode, field: str) -> None:
    shop: Any = _Shop
    outcome = check_spec(replace(ORDER, **changed), shop, WHEN - timedelta(days=1))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is code
    assert outcome.reason.facts["field"] == field
    assert outcome.reason.facts["problem"]
    assert "@" not in repr(outcome)
