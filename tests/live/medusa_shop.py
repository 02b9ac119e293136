"""A running Medusa with something to sell: its admin's side, and a customer's side through the store API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx

from tests.helpers import free_port
from tests.live.stores import ROOT, Installed, served, step

SECRET: Final = "live-secret-0123456789-0123456789"
ADMIN: Final = "admin@example.com"
MUG, POT = 25, 10
SHIPPING: Final = 4.9
SUBSCRIBER: Final = ROOT / "integrations" / "medusa" / "relay.ts"
Row = dict[str, Any]


class Client:
    """JSON calls that must succeed."""

    def __init__(self, url: str, **options: Any) -> None:
        self.http = httpx.Client(base_url=url, timeout=60, trust_env=False, **options)

    def post(self, path: str, name: str, headers: Mapping[str, str] | None = None, /, **body: Any) -> Row:
        """The object that is answered under `name`."""
        answered: Row = self._checked(self.http.post(path, json=body, headers=headers), name)
        return answered

    def get(self, path: str, name: str, /, **query: str) -> Any:
        """What is answered under `name`."""
        return self._checked(self.http.get(path, params=query), name)

    @staticmethod
    def _checked(answer: httpx.Response, name: str) -> Any:
        assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
        return answer.json()[name]


@dataclass(frozen=True)
class Customer:
    id: str
    email: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Place:
    """Where a cart is shipped to: a region and one of its countries."""

    region: str
    country: str


class MedusaShop:
    """The store at `url`; furnished it has a mug for 25.00 and a pot for 10.00 EUR, shipping 4.90.

    A tax of 20 % comes on top of these prices in France, and is part of them in Britain, in GBP. `database` is a URL.
    """

    def __init__(self, url: str, database: str) -> None:
        self.url = url
        self._database = database
        self._clients: list[Client] = []
        guest = self._client()
        token = guest.http.post("/auth/user/emailpass", json={"email": ADMIN, "password": SECRET}).json()["token"]
        bearer = {"authorization": f"Bearer {token}"}
        key = guest.post("/admin/api-keys", "api_key", bearer, title="relay", type="secret")
        self.api_key: str = key["token"]
        self.admin = self._client(auth=(self.api_key, ""))

    def _client(self, **options: Any) -> Client:
        client = Client(self.url, **options)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.http.close()

    def furnish(self) -> None:
        """Make the region, the channel, shipping and products."""
        admin = self.admin
        store = admin.get("/admin/stores", "stores")[0]
        currencies = [
            {"currency_code": "eur", "is_default": True}, {"currency_code": "usd"},
            {"currency_code": "gbp", "is_tax_inclusive": True},
        ]  # fmt: skip
        admin.post(f"/admin/stores/{store['id']}", "store", supported_currencies=currencies)
        self.region = admin.post(
            "/admin/regions", "region", name="EU", currency_code="eur", countries=["de"],
            payment_providers=["pp_system_default"],
        )["id"]  # fmt: skip
        self.dollar_region = admin.post(
            "/admin/regions", "region", name="US", currency_code="usd", countries=["us"],
            payment_providers=["pp_system_default"],
        )["id"]  # fmt: skip
        self.france = self._taxed("fr", "eur")
        self.britain = self._taxed("gb", "gbp")
        self.channel = admin.post("/admin/sales-channels", "sales_channel", name="web")["id"]
        key = admin.post("/admin/api-keys", "api_key", title="web", type="publishable")
        admin.post(f"/admin/api-keys/{key['id']}/sales-channels", "api_key", add=[self.channel])
        self.store = self._client(headers={"x-publishable-api-key": key["token"]})
        profiles = admin.get("/admin/shipping-profiles", "shipping_profiles")
        profile = profiles[0] if profiles else admin.post(
            "/admin/shipping-profiles", "shipping_profile", name="all", type="default"
        )  # fmt: skip
        self._profile = profile["id"]
        self._ship(profile["id"])
        self.mug, (self.mug_variant,) = self._sell("Mug", MUG, profile["id"], "M")
        self.pot, (self.pot_variant,) = self._sell("Pot", POT, profile["id"], "M")
        self.cup, self.cups = self._sell("Cup", POT, profile["id"], "M", "L")

    def _taxed(self, country: str, currency: str) -> Place:
        region = self.admin.post(
            "/admin/regions", "region", name=country, currency_code=currency, countries=[country],
            payment_providers=["pp_system_default"],
        )["id"]  # fmt: skip
        rate = {"name": "tax", "code": "tax", "rate": 20}
        self.admin.post(
            "/admin/tax-regions", "tax_region", country_code=country, provider_id="tp_system", default_tax_rate=rate
        )
        return Place(region, country)

    def _ship(self, profile: str) -> None:
        admin = self.admin
        place = f"/admin/stock-locations/{admin.post('/admin/stock-locations', 'stock_location', name='here')['id']}"
        admin.post(f"{place}/sales-channels", "stock_location", add=[self.channel])
        admin.post(f"{place}/fulfillment-providers", "stock_location", add=["manual_manual"])
        admin.post(f"{place}/fulfillment-sets", "stock_location", name="parcels", type="shipping")
        sets = admin.get(place, "stock_location", fields="*fulfillment_sets")["fulfillment_sets"]
        zones = admin.post(
            f"/admin/fulfillment-sets/{sets[0]['id']}/service-zones", "fulfillment_set", name="de",
            geo_zones=[{"type": "country", "country_code": country} for country in ("de", "fr", "gb")],
        )["service_zones"]  # fmt: skip
        rules = {"enabled_in_store": "true", "is_return": "false"}
        self.shipping = admin.post(
            "/admin/shipping-options", "shipping_option", name="parcel", service_zone_id=zones[0]["id"],
            shipping_profile_id=profile, provider_id="manual_manual", price_type="flat",
            type={"label": "parcel", "description": "parcel", "code": "parcel"},
            prices=[{"currency_code": currency, "amount": SHIPPING} for currency in ("eur", "gbp")],
            rules=[{"attribute": name, "value": value, "operator": "eq"} for name, value in rules.items()],
        )["id"]  # fmt: skip

    def _sell(self, title: str, price: float, profile: str, *sizes: str) -> tuple[str, list[str]]:
        """The product's id, and those of its variants, one for each size."""
        variants = [
            {"title": size, "sku": f"{title}-{size}", "manage_inventory": False, "options": {"Size": size},
             "prices": [{"currency_code": currency, "amount": price} for currency in ("eur", "usd", "gbp")]}
            for size in sizes
        ]  # fmt: skip
        made = self.admin.post(
            "/admin/products", "product", title=title, status="published", shipping_profile_id=profile,
            sales_channels=[{"id": self.channel}], options=[{"title": "Size", "values": sizes}], variants=variants,
        )  # fmt: skip
        ids = {each["title"]: each["id"] for each in made["variants"]}
        return made["id"], [ids[size] for size in sizes]

    def new_product(self, title: str, *sizes: str) -> tuple[str, list[str]]:
        """A product for 10.00 with a variant for each size; its id, and those of the variants."""
        return self._sell(title, POT, self._profile, *sizes)

    def add(self, name: str, count: int) -> list[str]:
        """Create products in one request; their ids."""
        options = [{"title": "Size", "values": ["M"]}]
        products = [{"title": f"{name} {number}", "options": options} for number in range(count)]
        created: Any = self.admin.post("/admin/products/batch", "created", create=products)
        return [row["id"] for row in created]

    def remove(self, product_ids: Iterable[str]) -> None:
        """Delete products."""
        self.admin.post("/admin/products/batch", "deleted", delete=list(product_ids))

    def retitle(self, product_id: str, title: str) -> None:
        """Change a product's title."""
        self.admin.post(f"/admin/products/{product_id}", "product", title=title)

    def remove_variant(self, product_id: str, variant_id: str) -> None:
        """Delete a variant of a product."""
        answer = self.admin.http.delete(f"/admin/products/{product_id}/variants/{variant_id}")
        assert answer.is_success, answer.text

    def execute(self, statement: str, *values: object) -> None:
        """Change the database behind the back of Medusa, as an import does: no event, and no new time of change.

        Not in a test with an event loop: there, call it in a thread.
        """
        asyncio.run(self._execute(statement, *values))

    async def _execute(self, statement: str, *values: object) -> None:
        connection = await asyncpg.connect(self._database)
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()

    def register(self, email: str) -> Customer:
        """A customer with an account, signed in."""
        credentials = {"email": email, "password": "a-password-of-hers"}
        token = self.store.http.post("/auth/customer/emailpass/register", json=credentials).json()["token"]
        bearer = {"authorization": f"Bearer {token}"}
        made = self.store.post("/store/customers", "customer", bearer, email=email, first_name="Jane", last_name="Doe")
        token = self.store.http.post("/auth/customer/emailpass", json=credentials).json()["token"]
        return Customer(made["id"], email, {"authorization": f"Bearer {token}"})

    def cart(
        self,
        code: str | None,
        *variants: str,
        email: str = "guest@example.com",
        customer: Customer | None = None,
        place: Place | None = None,
    ) -> Row:
        """A cart with one of each variant named, shipping, and the coupon entered if any; as the store API shows it then."""
        headers = customer.headers if customer else None
        place = place or Place(self.region, "de")
        address = {
            "first_name": "J", "last_name": "D", "address_1": "A 1", "city": "Berlin", "postal_code": "10115",
            "country_code": place.country,
        }  # fmt: skip
        items = [{"variant_id": each, "quantity": variants.count(each)} for each in dict.fromkeys(variants)]
        cart = self.store.post(
            "/store/carts", "cart", headers, region_id=place.region, sales_channel_id=self.channel, items=items,
            email=customer.email if customer else email, shipping_address=address,
        )  # fmt: skip
        path = f"/store/carts/{cart['id']}"
        shipped = self.store.post(f"{path}/shipping-methods", "cart", headers, option_id=self.shipping)
        return self.store.post(f"{path}/promotions", "cart", headers, promo_codes=[code]) if code else shipped

    def entered(self, code: str, *variants: str) -> Row | None:
        """A cart into which the code was entered. None: Medusa does not accept it."""
        path = f"/store/carts/{self.cart(None, *variants)['id']}/promotions"
        answer = self.store.http.post(path, json={"promo_codes": [code]})
        assert answer.status_code in (200, 400), answer.text
        cart: Row | None = answer.json()["cart"] if answer.is_success else None
        return cart

    def dollar_cart(self, code: str, *variants: str) -> Row:
        """A cart in dollars, with the same prices as numbers."""
        items = [{"variant_id": each, "quantity": 1} for each in variants]
        cart = self.store.post(
            "/store/carts", "cart", region_id=self.dollar_region, sales_channel_id=self.channel, items=items
        )
        return self.store.post(f"/store/carts/{cart['id']}/promotions", "cart", promo_codes=[code])

    def buy(self, cart: Row, customer: Customer | None = None) -> Row:
        """Complete the cart; the order. The payment is authorized, not captured."""
        headers = customer.headers if customer else None
        paying = self.store.post("/store/payment-collections", "payment_collection", headers, cart_id=cart["id"])
        path = f"/store/payment-collections/{paying['id']}/payment-sessions"
        self.store.post(path, "payment_collection", headers, provider_id="pp_system_default")
        return self.store.post(f"/store/carts/{cart['id']}/complete", "order", headers)

    def capture(self, order_id: str) -> None:
        """Take the money of an order."""
        fields = "payment_collections.payments.id"
        (paying,) = self.admin.get(f"/admin/orders/{order_id}", "order", fields=fields)["payment_collections"]
        self.admin.post(f"/admin/payments/{paying['payments'][0]['id']}/capture", "payment")


@contextmanager
def medusa(installed: Installed, folder: Path, database_url: str, relay: Mapping[str, str]) -> Iterator[MedusaShop]:
    """A new store with the subscriber of integrations/medusa, told the `relay`'s variables, until the block ends."""
    project = installed.project(folder, {SUBSCRIBER: Path("src/subscribers/relay.ts")})
    own = {
        "DATABASE_URL": database_url,
        "LIVE_SECRET": SECRET,
        "MEDUSA_DISABLE_TELEMETRY": "1",
    }
    program = ("node", "node_modules/@medusajs/cli/cli.js")
    step((*program, "db:migrate", "--execute-all-links"), project, own)
    step((*program, "user", "-e", ADMIN, "-p", SECRET), project, own)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = (*program, "start", "-H", "127.0.0.1", "-p", str(port))
    with served(command, project, {**own, **relay}, f"{url}/health"):
        shop = MedusaShop(url, database_url)
        try:
            shop.furnish()
            yield shop
        finally:
            shop.close()
