"""The hook with which the author of an adapter lets the kit check discounts in real carts.

    class Carts:
        items = (Item("41", "41-blue", Decimal("7.00")), Item("33", "33-large", Decimal("25.00")))
        shipping = Decimal("4.90")

        async def discount(self, code: str, items: Sequence[Item]) -> Decimal: ...

`relay conformance … --cart my_package.my_carts:Carts` calls `Carts()`. Without a hook the cases of `cart_cases.py` are skipped:
then the kit sees only what the adapter reads back, not what the coupon is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Protocol, cast


@dataclass(frozen=True, slots=True)
class Item:
    """One variant of a product, with the store's ids, and its price in the currency of the sandbox."""

    product_id: str
    variant_id: str
    price: Decimal


class Carts(Protocol):
    """The carts of a sandbox store."""

    @property
    def items(self) -> Sequence[Item]:
        """At least two, of different products."""

    @property
    def shipping(self) -> Decimal | None:
        """What each cart pays for its shipping. None: nothing."""

    async def discount(self, code: str, items: Sequence[Item]) -> Decimal:
        """Put one unit of each of the items into a new cart (an item may occur several times), enter the code, and return by how
        much the cart is cheaper, shipping included. 0 if the store does not accept the code."""


def load_carts(name: str) -> Carts:
    """Create the hook `package.module:Class`. Raises ValueError if it cannot be loaded or is not one."""
    module_name, _, class_name = name.partition(":")
    try:
        carts = getattr(import_module(module_name), class_name)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"the carts {name!r} cannot be loaded: {error}") from error
    if missing := [member for member in ("items", "shipping", "discount") if not hasattr(carts, member)]:
        raise ValueError(f"{name!r} does not have {', '.join(missing)} (docs/adapters.md)")
    return cast(Carts, carts)
