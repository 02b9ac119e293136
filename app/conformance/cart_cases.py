"""The requirements for the discount in a real cart, if the author gives the kit a hook (`carts.py`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Any, Final  # Any: fields of a spec, by name

from platform_relay.conformance.carts import Carts, Item
from platform_relay.conformance.sandbox import Sandbox, Skipped, Violation, describe, rejected_fields
from platform_relay.core.outcomes import Done, Reject
from platform_relay.stores.base import CouponKind, CouponSpec

CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class _Basket:
    """An item, another one of another product, and the carts."""

    carts: Carts
    item: Item
    other: Item

    @property
    def total(self) -> Decimal:
        return self.item.price + self.other.price


@dataclass(frozen=True, slots=True)
class _CartCase:
    """The fields of a coupon, and what it must take off each of several carts. `field` may be rejected by name."""

    fields: Mapping[str, Any]  # Any: as above
    field: str
    expected: Sequence[tuple[Sequence[Item], Decimal]]


def _whole_order(basket: _Basket) -> _CartCase:
    both, value = (basket.item, basket.other), _part(basket.total)
    return _CartCase({"value": value}, "value", [(both, value)])


def _percentage(basket: _Basket) -> _CartCase:
    both = (basket.item, basket.other)
    return _CartCase(
        {"kind": CouponKind.PERCENTAGE, "value": Decimal(50), "currency": None}, "kind", [(both, basket.total / 2)]
    )


def _amount_off_a_product(basket: _Basket) -> _CartCase:
    """More than the item costs: only the item becomes free."""
    both = (basket.item, basket.other)
    fields = {"value": basket.item.price + _part(basket.other.price), "product_ids": (basket.item.product_id,)}
    return _CartCase(fields, "product_ids", [(both, basket.item.price), ((basket.other,), Decimal(0))])


def _amount_off_a_variant(basket: _Basket) -> _CartCase:
    both = (basket.item, basket.other)
    fields = {"value": basket.item.price + _part(basket.other.price), "variant_ids": (basket.item.variant_id,)}
    return _CartCase(fields, "variant_ids", [(both, basket.item.price), ((basket.other,), Decimal(0))])


def _amount_off_several_units(basket: _Basket) -> _CartCase:
    """Less than one unit costs, with three units in the cart: taken off once."""
    value = _part(basket.item.price)
    units = (basket.item, basket.item, basket.item, basket.other)
    return _CartCase({"value": value, "product_ids": (basket.item.product_id,)}, "product_ids", [(units, value)])


def _percentage_off_a_product(basket: _Basket) -> _CartCase:
    fields = {
        "kind": CouponKind.PERCENTAGE, "value": Decimal(50), "currency": None, "product_ids": (basket.item.product_id,),
    }  # fmt: skip
    both = (basket.item, basket.other)
    return _CartCase(fields, "product_ids", [(both, basket.item.price / 2), ((basket.other,), Decimal(0))])


def _free_product(basket: _Basket) -> _CartCase:
    """One unit, however many are in the cart."""
    fields = {
        "kind": CouponKind.FREE_PRODUCT, "value": None, "currency": None, "product_ids": (basket.item.product_id,),
    }  # fmt: skip
    units = (basket.item, basket.item, basket.other)
    return _CartCase(fields, "kind", [(units, basket.item.price), ((basket.other,), Decimal(0))])


def _free_shipping(basket: _Basket) -> _CartCase:
    if basket.carts.shipping is None:
        raise Skipped("the carts have no shipping")
    fields = {"kind": CouponKind.FREE_SHIPPING, "value": None, "currency": None}
    return _CartCase(fields, "kind", [((basket.item, basket.other), basket.carts.shipping)])


def _minimum_spend(basket: _Basket) -> _CartCase:
    """Not reached by the item alone, and reached by both. With a percentage too, and not as a number of items."""
    dearer = max(basket.item, basket.other, key=lambda item: item.price)
    fields = {"value": _part(basket.item.price), "minimum_spend": dearer.price + CENT}
    both = (basket.item, basket.other)
    return _CartCase(fields, "minimum_spend", [((dearer,), Decimal(0)), (both, _part(basket.item.price))])


CASES: Final[Mapping[str, Callable[[_Basket], _CartCase]]] = {
    "an amount off the whole order": _whole_order,
    "a percentage off the whole order": _percentage,
    "an amount off a product": _amount_off_a_product,
    "an amount off a variant": _amount_off_a_variant,
    "an amount off several units": _amount_off_several_units,
    "a percentage off a product": _percentage_off_a_product,
    "a free product": _free_product,
    "free shipping": _free_shipping,
    "a minimum spend": _minimum_spend,
}


async def a_cart_gets_the_discount(name: str, sandbox: Sandbox) -> None:
    """In a real cart, the code takes off what was requested, and nothing off other items; or the field is rejected by name."""
    case = CASES[name](_basket(sandbox))
    spec = sandbox.spec(**case.fields)
    outcome = await sandbox.adapter.issue_coupon(spec)
    if isinstance(outcome, Reject):
        if {case.field, "kind"} & rejected_fields(outcome):
            return
        raise Violation(f"the rejection does not name {case.field}: {describe(outcome)}")
    if not isinstance(outcome, Done):
        raise Violation(f"issue_coupon returned {describe(outcome)}")
    for items, expected in case.expected:
        await _expect(sandbox, spec, items, expected)
    await sandbox.adapter.retire_coupon(spec.code)
    if discount := await _discount(sandbox, spec, max(case.expected, key=lambda row: row[1])[0]):
        raise Violation(f"after the retirement, the code still takes {discount} off")


async def _expect(sandbox: Sandbox, spec: CouponSpec, items: Sequence[Item], expected: Decimal) -> None:
    discount = await _discount(sandbox, spec, items)
    if abs(discount - expected) > CENT:
        contents = " + ".join(f"{item.price}" for item in items)
        raise Violation(f"in a cart with {contents}, the code takes {discount} off, expected {expected}")


async def _discount(sandbox: Sandbox, spec: CouponSpec, items: Sequence[Item]) -> Decimal:
    carts = sandbox.data.carts
    return Decimal(0) if carts is None else await carts.discount(spec.code, items)


def _basket(sandbox: Sandbox) -> _Basket:
    carts = sandbox.data.carts
    if carts is None:
        raise Skipped("needs carts of the store (--cart)")
    item = carts.items[0]
    other = next((one for one in carts.items if one.product_id != item.product_id), None)
    if other is None:
        raise Skipped("needs items of two products in the carts")
    return _Basket(carts, item, other)


def _part(price: Decimal) -> Decimal:
    """About a quarter of a price, in whole units of the currency if the price is."""
    return (price / 4).quantize(Decimal(1) if price == price.to_integral_value() else CENT, ROUND_UP)
