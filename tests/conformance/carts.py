"""The carts of the corner shop: the hook of its author for the conformance kit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from decimal import Decimal

import httpx

from platform_relay.conformance import Item


class CornerCarts:
    """An amount is taken off once, off the items for which the voucher is; a voucher needs its exact code."""

    items: Sequence[Item] = (Item("7", "71", Decimal("7.00")), Item("12", "121", Decimal("25.00")))
    shipping: Decimal | None = Decimal("4.90")

    async def discount(self, code: str, items: Sequence[Item]) -> Decimal:
        """See `conformance.Carts`."""
        async with httpx.AsyncClient(base_url=os.environ["CORNER__URL"]) as client:
            vouchers = (await client.get("/_sim/state", params={"kind": "vouchers"})).json()
        voucher = next((row for row in vouchers if row["code"] == code and row["published"]), None)
        if voucher is None or Decimal(voucher["minimum"] or 0) > sum(item.price for item in items):
            return Decimal(0)
        if voucher["type"] == "shipping":
            return Decimal("4.90")
        ids = {*voucher["products"], *voucher["variants"]}
        price = sum((item.price for item in items if not ids or {item.product_id, item.variant_id} & ids), Decimal(0))
        amount = Decimal(voucher["amount"])
        return price * amount / 100 if voucher["type"] == "percent" else min(amount, price)
