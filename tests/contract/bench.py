"""An adapter and its shop, which runs in a process of its own. A new shop is one more entry of SHOPS."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from app.stores import adapter_class
from app.stores.base import CouponFound, CouponKind, CouponOrder, StoreAdapter
from simulators.process import Simulator

CODE = "a1b2c3d4e5f6"
SECRET = "whsec_c2ltdWxhdG9yLXNlY3JldC1zaW11bGF0b3Itc2VjcmV0"
WOOCOMMERCE = {"CONSUMER_KEY": "ck_0123456789abcdef", "CONSUMER_SECRET": "cs_fedcba9876543210"}


@dataclass(frozen=True)
class Shop:
    """How the suite finds its way about in one shop's simulator.

    `create` and `find` match the calls that make and look up a coupon (method, path as a regular expression).
    `distortion` makes the shop store another coupon than it is told; `complaint` names the field that differs then.
    """

    base: str
    variables: dict[str, str]
    config: dict[str, Any]
    other_key: dict[str, Any]
    create: tuple[str, str]
    find: tuple[str, str]
    distortion: dict[str, Any]
    complaint: str
    kind: str
    """The ledger's name of a creation."""


SHOPS = {
    "woocommerce": Shop(
        base="",
        variables=WOOCOMMERCE,
        config={
            "consumer_key": WOOCOMMERCE["CONSUMER_KEY"],
            "consumer_secret": WOOCOMMERCE["CONSUMER_SECRET"],
            "require_tls": True,
        },
        other_key={"consumer_secret": "cs_of_somebody_else"},
        create=("POST", "^/wp-json/wc/v3/coupons$"),
        find=("GET", "^/wp-json/wc/v3/coupons$"),
        distortion={"amount": "0.00"},
        complaint="value is 0.00, ordered 5.00",
        kind="coupon.create",
    ),
    "generic_http": Shop(
        base="/relay",
        variables={"SECRET": SECRET},
        config={"relay_secret": SECRET},
        other_key={"relay_secret": "whsec_c29tZWJvZHktZWxzZSdzLXNlY3JldC1zb21lYm9keQ=="},
        create=("POST", "^/relay/coupons$"),
        find=("POST", "^/relay/coupons/lookup$"),
        distortion={"value": "0.00"},
        complaint="value is 0.00, ordered 5.00",
        kind="relay.create",
    ),
}


def order(**fields: Any) -> CouponOrder:
    """A coupon of 5.00 EUR for one use, changed by `fields`."""
    usual = {"code": CODE, "kind": CouponKind.FIXED_AMOUNT, "value": Decimal("5.00"), "currency": "EUR"}
    return CouponOrder(**{**usual, **fields})


class Bench:
    """One adapter and its shop. `secrets` are what must never be told."""

    def __init__(self, name: str, simulator: Simulator, environment: pytest.MonkeyPatch) -> None:
        self.name = name
        self.shop = SHOPS[name]
        self.simulator = simulator
        self.secrets = tuple(self.shop.variables.values())
        self._environment = environment
        self._built: list[StoreAdapter] = []
        simulator.reset(config=True)
        simulator.config(**self.shop.config)
        self.point_at(simulator.url)
        for variable, value in self.shop.variables.items():
            self.set(variable, value)
        self.adapter = self.build()

    def set(self, variable: str, value: str) -> None:
        """Set one of the adapter's variables for adapters that are built later."""
        self._environment.setenv(f"{self.name.upper()}__{variable}", value)

    def point_at(self, url: str) -> None:
        self.set("URL", url + self.shop.base)

    def build(self, time_limit: float = 5.0) -> StoreAdapter:
        adapter: StoreAdapter = adapter_class(self.name).from_environment(time_limit)
        self._built.append(adapter)
        return adapter

    def misbehave(self, call: tuple[str, str], **rule: Any) -> None:
        """The next such call goes wrong: the fields of the simulator's `/_sim/next`."""
        method, path = call
        self.simulator.script(method=method, path=path, **rule)

    def made(self) -> int:
        """How many coupons the shop has ever made."""
        kinds = self.simulator.summary()["kinds"]
        return int(kinds.get(self.shop.kind, {}).get("applied", 0))

    async def usable(self, code: str = CODE) -> bool:
        """Whether the shop holds an active coupon of this code."""
        found = await self.adapter.find_coupon(code)
        assert found is None or isinstance(found, CouponFound), found
        return found is not None and found.active

    async def aclose(self) -> None:
        for adapter in self._built:
            await adapter.aclose()
