"""The real carts of the live stores, for the cart cases of the conformance kit."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from platform_relay.conformance import CASES, Item, SandboxData, run

if TYPE_CHECKING:
    from platform_relay.conformance import Carts, CaseResult
    from platform_relay.stores.base import StoreAdapterClass
    from tests.live.medusa_shop import MedusaShop
    from tests.live.vendure_shop import VendureShop

POT, MUG, SHIPPING = Decimal("10.00"), Decimal("25.00"), Decimal("4.90")


class MedusaCarts:
    """Medusa refuses an unknown code with 400, and silently leaves out one that does not apply."""

    def __init__(self, shop: MedusaShop) -> None:
        self._shop = shop
        self.items: Sequence[Item] = (Item(shop.pot, shop.pot_variant, POT), Item(shop.mug, shop.mug_variant, MUG))
        self.shipping: Decimal | None = SHIPPING

    async def discount(self, code: str, items: Sequence[Item]) -> Decimal:
        """See `conformance.Carts`."""
        entered = self._shop.entered(code, *(item.variant_id for item in items))
        return Decimal(0) if entered is None else Decimal(str(entered["discount_total"]))


class VendureCarts:
    """Vendure answers to a code that it does not accept with an error result."""

    def __init__(self, shop: VendureShop) -> None:
        self._shop = shop
        self.items: Sequence[Item] = (Item(shop.pot, shop.pot_variant, POT), Item(shop.mug, shop.mug_variant, MUG))
        self.shipping: Decimal | None = SHIPPING

    async def discount(self, code: str, items: Sequence[Item]) -> Decimal:
        """See `conformance.Carts`."""
        cart = self._shop.cart(code, *(item.variant_id for item in items))
        return Decimal(cart.off) / 100 if cart.shown["__typename"] == "Order" else Decimal(0)


async def cart_results(adapter: StoreAdapterClass, carts: Carts) -> dict[str, CaseResult]:
    """The results of the kit's cart cases, by name."""
    cases = [case for case in CASES if case.name.startswith("a cart gets the discount")]
    data = SandboxData(carts=carts)
    results = [result async for result in run(adapter, data, cases, time_limit=30)]
    assert results
    return {result.case.name: result for result in results}
