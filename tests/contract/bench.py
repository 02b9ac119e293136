"""An adapter and its store, which runs in a process of its own. A new store is one more entry of SHOPS."""

from __future__ import annotations

import atexit
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from platform_relay.conformance import Item
from platform_relay.core.http import HttpClients, RateLimit
from platform_relay.core.outcomes import Reject
from platform_relay.stores import adapter_class
from platform_relay.stores.base import CouponKind, CouponSpec, StoreAdapter, StoreCoupon
from simulators.process import Simulator
from tests.contract.doubles import carts
from tests.contract.doubles.carts import Cart, Line
from tests.contract.doubles.process import run

CODE = "a1b2c3d4e5f6"
SECRET = "whsec_c2ltdWxhdG9yLXNlY3JldC1zaW11bGF0b3Itc2VjcmV0"
PUBLIC = {"CHANNEL"}
"""Variables that are no secrets."""
WOOCOMMERCE = {"CONSUMER_KEY": "ck_0123456789abcdef", "CONSUMER_SECRET": "cs_fedcba9876543210"}


@dataclass(frozen=True)
class Shop:
    """How the suite finds its way about in one store's simulator.

    `create` and `find` match the calls that make and look up a coupon (method, path as a regular expression).
    `distortion` makes the store store another coupon than it is told; `complaint` names the field that differs then.
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
    double: bool = False
    """Whether the store is `doubles/<name>.py`, not the simulator that all share."""


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
        complaint="value",
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
        complaint="value",
        kind="relay.create",
    ),
    "magento": Shop(
        base="",
        variables={"USERNAME": "relay-user", "PASSWORD": "relay-password"},
        config={},
        other_key={"password": "of somebody else"},
        create=("POST", "^/rest/V1/coupons$"),
        find=("GET", "^/rest/V1/coupons/search$"),
        distortion={"discount_amount": 0},
        complaint="value",
        kind="coupon.create",
        double=True,
    ),
    "saleor": Shop(
        base="",
        variables={"TOKEN": "saleor-app-token", "CHANNEL": "eu"},
        config={},
        other_key={"token": "of somebody else"},
        create=("POST", "^/graphql/CreateVoucher$"),
        find=("POST", "^/graphql/FindVouchers$"),
        distortion={"discountValue": 0.0},
        complaint="value",
        kind="coupon.create",
        double=True,
    ),
    "shopify": Shop(
        base="",
        variables={"ACCESS_TOKEN": "shpat_0123456789abcdef", "CLIENT_SECRET": "shpss_fedcba9876543210"},
        config={"access_token": "shpat_0123456789abcdef", "client_secret": "shpss_fedcba9876543210"},
        other_key={"access_token": "shpat_of_somebody_else"},
        create=("POST", "^/admin/api/2026-07/graphql.json/CreateCoupon$"),
        find=("POST", "^/admin/api/2026-07/graphql.json/FindCoupon$"),
        distortion={"customerGets": {"value": {"discountAmount": {"amount": "0", "appliesOnEachItem": False}}}},
        complaint="value",
        kind="coupon.create",
        double=True,
    ),
    "bigcommerce": Shop(
        base="/stores/abc123",
        variables={"ACCESS_TOKEN": "token-0123456789abcdef", "CLIENT_SECRET": "secret-fedcba9876543210"},
        config={"access_token": "token-0123456789abcdef"},
        other_key={"access_token": "token-of-somebody-else"},
        create=("POST", "^/stores/abc123/v2/coupons$"),
        find=("GET", "^/stores/abc123/v2/coupons$"),
        distortion={"amount": "0"},
        complaint="value",
        kind="coupon.create",
        double=True,
    ),
    "medusa": Shop(
        base="",
        variables={"API_KEY": "sk_0123456789abcdef"},
        config={},
        other_key={"api_key": "sk_of_somebody_else"},
        create=("POST", "^/admin/promotions$"),
        find=("GET", "^/admin/promotions$"),
        distortion={"value": 0},
        complaint="value",
        kind="coupon.create",
        double=True,
    ),
    "vendure": Shop(
        base="/admin-api",
        variables={"USERNAME": "relay-user", "PASSWORD": "relay-password"},
        config={},
        other_key={"password": "of somebody else"},
        create=("POST", "^/admin-api/CreatePromotion$"),
        find=("POST", "^/admin-api/Promotions$"),
        distortion={"discount": "0"},
        complaint="value",
        kind="coupon.create",
        double=True,
    ),
}

_RUNNING = ExitStack()
atexit.register(_RUNNING.close)


@cache
def double(name: str) -> Simulator:
    """The store's double (tests/contract/doubles), which runs until the tests have ended."""
    return _RUNNING.enter_context(run(name))


def order(**fields: Any) -> CouponSpec:
    """A coupon of 5.00 EUR for one use, changed by `fields`."""
    usual = {"code": CODE, "kind": CouponKind.FIXED_AMOUNT, "value": Decimal("5.00"), "currency": "EUR"}
    return CouponSpec(**{**usual, **fields})


def differences_of(outcome: Reject) -> list[dict[str, Any]]:
    """The differences that a refusal names."""
    named: Any = outcome.reason.facts["differences"]
    return list(named)


def restrictions_of(outcome: Reject) -> set[str]:
    """The conditions of the store's coupon that the refusal names."""
    return {str(each["actual"]) for each in differences_of(outcome) if each["field"] == "restrictions"}


@dataclass(frozen=True)
class BenchCarts:
    """The carts of the store for the conformance kit."""

    bench: Bench
    items: Sequence[Item] = (Item("7", "71", Decimal("7.00")), Item("12", "122", Decimal("25.00")))
    shipping: Decimal | None = Decimal("4.90")

    async def discount(self, code: str, items: Sequence[Item]) -> Decimal:
        """See `conformance.Carts`."""
        counted = Counter(items)
        lines = [Line(item.product_id, item.variant_id, item.price, units) for item, units in counted.items()]
        return self.bench.cart(code, *lines)


class Bench:
    """One adapter and its store. `secrets` are what must never be told."""

    def __init__(self, name: str, simulator: Simulator, environment: pytest.MonkeyPatch) -> None:
        self.name = name
        self.shop = SHOPS[name]
        self.simulator = simulator = double(name) if self.shop.double else simulator
        self.secrets = tuple(value for variable, value in self.shop.variables.items() if variable not in PUBLIC)
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

    def build(self, time_limit: float = 5.0, rate_limit: RateLimit | None = None) -> StoreAdapter:
        adapter: StoreAdapter = adapter_class(self.name).from_environment(HttpClients(time_limit, rate_limit))
        self._built.append(adapter)
        return adapter

    def misbehave(self, call: tuple[str, str], **rule: Any) -> None:
        """The next such call goes wrong: the fields of the simulator's `/_sim/next`."""
        method, path = call
        self.simulator.script(method=method, path=path, **rule)

    def made(self) -> int:
        """How many coupons the store has ever made."""
        kinds = self.simulator.summary()["kinds"]
        return int(kinds.get(self.shop.kind, {}).get("applied", 0))

    def cart(self, code: str, *lines: Line, currency: str = "EUR", ahead: float = 0) -> Decimal:
        """What the code takes off such a cart in the store, by the store's own calculation (doubles/carts.py)."""
        cart = Cart(lines, carts.moment(self.name, datetime.now(UTC), ahead), currency)
        return carts.discount(self.name, carts.rows_of(self.name, self.simulator.state), code, cart)

    @property
    def carts(self) -> BenchCarts:
        """The hook with which the conformance kit checks discounts in the store's carts."""
        return BenchCarts(self)

    async def usable(self, code: str = CODE) -> bool:
        """Whether the store holds an active coupon of this code."""
        found = await self.adapter.find_coupon(code)
        assert found is None or isinstance(found, StoreCoupon), found
        return found is not None and found.active

    async def aclose(self) -> None:
        for adapter in self._built:
            await adapter.aclose()
