"""What a demo's shop is made of: bodies captured from running shops, multiplied under new ids, as the relay's events.

The `.json` files are bodies as WooCommerce 9.9.5 (webhooks customer.created, order.updated, order.created,
product.updated) and Medusa 2.21.2 (customer.updated, order.placed, product.updated) gave them, cut down to the members
that matter and with another host. A `Person`, `Product` or `Order` is stamped into a copy of one (`woocommerce.py`,
`medusa.py`), and the copy is translated to the body of `POST /v1/events/…` as a merchant's integration would do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

from ..call import Json  # noqa: TID252  # installed, the package has another name

CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Person:
    """A customer. `number` makes the id; `since` is when the account was made, `changed` this version's time."""

    number: int
    first: str
    last: str
    email: str
    phone: str
    since: datetime
    changed: datetime


@dataclass(frozen=True, slots=True)
class Product:
    """A product with `variants` variants (0: a simple one). `price` in EUR, the same for all variants."""

    number: int
    title: str
    price: Decimal
    variants: int
    changed: datetime


@dataclass(frozen=True, slots=True)
class Order:
    """One version of an order. `buyer` None: a guest, known by `email`. `status` is the shop's own word.

    `discount` is (code, amount in EUR); the code may be empty when it is not known yet.
    """

    number: int
    buyer: Person | None
    email: str
    lines: tuple[tuple[Product, int], ...]
    status: str
    placed: datetime
    changed: datetime
    discount: tuple[str, Decimal] | None = None

    @property
    def subtotal(self) -> Decimal:
        """The lines' sum, before the discount, in EUR."""
        return sum((product.price * quantity for product, quantity in self.lines), Decimal(0)).quantize(CENT)

    @property
    def total(self) -> Decimal:
        """What is to be paid, in EUR."""
        return self.subtotal - (self.discount[1] if self.discount else 0)

    def becomes(self, status: str, changed: datetime) -> Order:
        """The next version."""
        return replace(self, status=status, changed=changed)


@cache
def _text(name: str) -> str:
    return (Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8")


def captured(name: str) -> Json:
    """A copy of a captured body, by its file's name without the ending."""
    body: Json = json.loads(_text(name))
    return body


def event(**members: Any) -> Json:
    """An event's body without the members that are not known."""
    return {name: value for name, value in members.items() if value not in (None, "")}


def cents(amount: Decimal | str) -> str:
    """An amount as a decimal string with two places."""
    return str(Decimal(amount).quantize(CENT))


def instant(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
