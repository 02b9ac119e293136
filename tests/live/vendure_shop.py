"""A running Vendure with something to sell: its administrator's side, and customers through the store API."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from tests.helpers import free_port
from tests.live.stores import ROOT, Installed, served, step

SECRET: Final = "live-secret-0123456789-0123456789"
MUG, POT, LAMP = 2500, 1000, 2000
SHIPPING: Final = 490
PLUGIN: Final = ROOT / "integrations" / "vendure" / "relay-plugin.ts"
COMPILE: Final = (
    "node", "node_modules/typescript/bin/tsc", "--strict", "--target", "es2022", "--module", "node16",
    "--moduleResolution", "node16", "--experimentalDecorators", "--emitDecoratorMetadata", "--skipLibCheck",
    "relay-plugin.ts",
)  # fmt: skip
PERMISSIONS: Final = ("ReadPromotion", "CreatePromotion", "DeletePromotion", "ReadCustomer", "ReadOrder", "ReadCatalog")
Row = dict[str, Any]
ORDER: Final = (
    "__typename ... on Order { id code state totalWithTax shippingWithTax couponCodes discounts { amountWithTax } }"
)
OR_ERROR: Final = "... on ErrorResult { errorCode message }"


class Session:
    """GraphQL that must succeed, signed in by the token of the last login."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def __call__(self, document: str, /, **variables: Any) -> Any:
        """The first field of the data."""
        return next(iter(self.data(document, **variables).values()))

    def data(self, document: str, /, **variables: Any) -> Row:
        """The data."""
        answer = self._http.post("", json={"query": document, "variables": variables})
        if token := answer.headers.get("vendure-auth-token"):
            self._http.headers["authorization"] = f"Bearer {token}"
        body = answer.json()
        assert "errors" not in body, f"{document}: {body}"
        data: Row = body["data"]
        return data

    def close(self) -> None:
        self._http.close()


class VendureShop:
    """The store at `url`; furnished it has a mug for 25.00, a pot and a cup for 10.00 EUR without tax, a lamp for 20.00 with a
    tax of 19 %, and shipping for 4.90. `database` is its SQLite file."""

    def __init__(self, url: str, database: Path) -> None:
        self._database = database
        self.admin_url, self._shop_url = f"{url}/admin-api", f"{url}/shop-api"
        self._sessions: list[Session] = []
        self.admin = self._session(self.admin_url)
        sign_in = 'mutation($p: String!) { login(username: "superadmin", password: $p) { __typename } }'
        assert self.admin(sign_in, p=SECRET)["__typename"] == "CurrentUser"

    def _session(self, url: str) -> Session:
        session = Session(url)
        self._sessions.append(session)
        return session

    def close(self) -> None:
        """Close the connections."""
        for session in self._sessions:
            session.close()

    def furnish(self) -> None:
        """Make the zone, taxes, shipping, payment, products, and an API key with just the permissions we ask for."""
        admin = self.admin
        zone = admin('mutation { createZone(input: { name: "All" }) { id } }')["id"]
        names = '[{ languageCode: en, name: "Germany" }]'
        land = admin(
            f'mutation {{ createCountry(input: {{ code: "DE", enabled: true, translations: {names} }}) {{ id }} }}'
        )
        admin(
            "mutation($z: ID!, $c: [ID!]!) { addMembersToZone(zoneId: $z, memberIds: $c) { id } }",
            z=zone,
            c=[land["id"]],
        )
        tax = admin('mutation { createTaxCategory(input: { name: "Standard" }) { id } }')["id"]
        taxed = admin('mutation { createTaxCategory(input: { name: "Taxed" }) { id } }')["id"]
        for category, percent in ((tax, 0), (taxed, 19)):
            rate = {"name": f"{percent}", "enabled": True, "value": percent, "categoryId": category, "zoneId": zone}
            admin("mutation($i: CreateTaxRateInput!) { createTaxRate(input: $i) { id } }", i=rate)
        channel = {
            "id": "1", "defaultTaxZoneId": zone, "defaultShippingZoneId": zone, "defaultCurrencyCode": "EUR",
            "availableCurrencyCodes": ["EUR"], "pricesIncludeTax": True,
        }  # fmt: skip
        admin("mutation($i: UpdateChannelInput!) { updateChannel(input: $i) { __typename } }", i=channel)
        self._deliver()
        self.mug, (self.mug_variant,) = self._sell("Mug", MUG, tax, "M")
        self.pot, (self.pot_variant,) = self._sell("Pot", POT, tax, "M")
        self.cup, self.cups = self._sell("Cup", POT, tax, "M", "L")
        self.lamp, (self.lamp_variant,) = self._sell("Lamp", LAMP, taxed, "M")
        self._tax = tax
        role = {"code": "relay", "description": "relay", "permissions": PERMISSIONS}
        made = admin("mutation($i: CreateRoleInput!) { createRole(input: $i) { id } }", i=role)
        key = {"roleIds": [made["id"]], "translations": [{"languageCode": "en", "name": "relay"}]}
        create = "mutation($i: CreateApiKeyInput!) { createApiKey(input: $i) { ... on CreateApiKeyResult { apiKey } } }"
        self.api_key: str = admin(create, i=key)["apiKey"]

    def _deliver(self) -> None:
        def operation(code: str, **arguments: str) -> Row:
            return {"code": code, "arguments": [{"name": name, "value": value} for name, value in arguments.items()]}

        text = [{"languageCode": "en", "name": "standard", "description": ""}]
        parcel = {
            "code": "parcel", "fulfillmentHandler": "manual-fulfillment", "translations": text,
            "checker": operation("default-shipping-eligibility-checker", orderMinimum="0"),
            "calculator": operation(
                "default-shipping-calculator", rate=str(SHIPPING), includesTax="auto", taxRate="0"
            ),
        }  # fmt: skip
        self.admin("mutation($i: CreateShippingMethodInput!) { createShippingMethod(input: $i) { id } }", i=parcel)
        paying = {
            "code": "dummy", "enabled": True, "translations": text,
            "handler": operation("dummy-payment-handler", automaticSettle="false"),
        }  # fmt: skip
        self.admin("mutation($i: CreatePaymentMethodInput!) { createPaymentMethod(input: $i) { id } }", i=paying)

    def _sell(self, name: str, price: int, tax: str, *sizes: str) -> tuple[str, list[str]]:
        """The product's id, and those of its variants, one for each size."""
        text = {"languageCode": "en", "name": name}
        product = {"enabled": True, "translations": [{**text, "slug": name.lower(), "description": ""}]}
        made = self.admin("mutation($i: CreateProductInput!) { createProduct(input: $i) { id } }", i=product)["id"]
        options = [{"code": size.lower(), "translations": [{**text, "name": size}]} for size in sizes]
        group = self.admin(
            "mutation($i: CreateProductOptionGroupInput!) { createProductOptionGroup(input: $i) { id options { id } } }",
            i={"code": f"{name}-size".lower(), "translations": [{**text, "name": "Size"}], "options": options},
        )
        add = "mutation($p: ID!, $g: ID!) { addOptionGroupToProduct(productId: $p, optionGroupId: $g) { id } }"
        self.admin(add, p=made, g=group["id"])
        variants = [
            {"productId": made, "sku": f"{name}-{size}", "price": price, "taxCategoryId": tax, "trackInventory": "FALSE",
             "translations": [text], "optionIds": [option["id"]]}
            for size, option in zip(sizes, group["options"], strict=True)
        ]  # fmt: skip
        create = "mutation($i: [CreateProductVariantInput!]!) { createProductVariants(input: $i) { id } }"
        return made, [each["id"] for each in self.admin(create, i=variants)]

    def promotions(self, code: str) -> list[Row]:
        """The promotions of a code, the oldest first."""
        find = "query($c: String!) { promotions(options: { filter: { couponCode: { eq: $c } } }) { items { id } } }"
        rows: list[Row] = self.admin(find, c=code)["items"]
        return sorted(rows, key=lambda row: int(row["id"]))

    def register(self, email: str) -> str:
        """A customer with an account; the id."""
        person = {"firstName": "Jane", "lastName": "Doe", "emailAddress": email}
        create = (
            "mutation($i: CreateCustomerInput!) {"
            f' createCustomer(input: $i, password: "a-password-of-hers") {{ ... on Customer {{ id }} {OR_ERROR} }} }}'
        )
        made: str = self.admin(create, i=person)["id"]
        return made

    def rename(self, customer_id: str, name: str) -> None:
        """Change a customer's first name."""
        change = "mutation($i: UpdateCustomerInput!) { updateCustomer(input: $i) { __typename } }"
        self.admin(change, i={"id": customer_id, "firstName": name})

    def retitle(self, product_id: str, name: str) -> None:
        """Change a product's name."""
        change = "mutation($i: UpdateProductInput!) { updateProduct(input: $i) { id } }"
        text = {"languageCode": "en", "name": name}
        self.admin(change, i={"id": product_id, "translations": [text]})

    def add(self, name: str, count: int) -> list[str]:
        """Create products in one request, so that most have one time; their ids."""
        text = [{"languageCode": "en", "name": name, "description": ""}]
        inputs = {f"i{number}": {"translations": [{**text[0], "slug": f"{name}-{number}"}]} for number in range(count)}
        declared = ", ".join(f"${variable}: CreateProductInput!" for variable in inputs)
        calls = " ".join(f"p{variable}: createProduct(input: ${variable}) {{ id }}" for variable in inputs)
        data = self.admin.data(f"mutation({declared}) {{ {calls} }}", **inputs)
        return [product["id"] for product in data.values()]

    def new_product(self, name: str, *sizes: str) -> tuple[str, list[str]]:
        """A product for 10.00 with a variant for each size; its id, and those of the variants."""
        return self._sell(name, POT, self._tax, *sizes)

    def remove(self, product_ids: Iterable[str]) -> None:
        """Delete products."""
        self.admin("mutation($i: [ID!]!) { deleteProducts(ids: $i) { result } }", i=list(product_ids))

    def remove_variant(self, variant_id: str) -> None:
        """Delete a variant of a product."""
        self.admin("mutation($i: ID!) { deleteProductVariant(id: $i) { result } }", i=variant_id)

    def execute(self, statement: str, *values: object) -> None:
        """Change the database behind the back of Vendure, as an import does: no event, and no new time of change."""
        with closing(sqlite3.connect(self._database, timeout=30)) as connection, connection:
            connection.execute(statement, values)

    def times(self, product_ids: Iterable[str]) -> set[str]:
        """The times of change of products."""
        find = "query($i: [String!]!) { products(options: { filter: { id: { in: $i } }, take: 1000 }) { items { updatedAt } } }"
        return {row["updatedAt"] for row in self.admin(find, i=list(product_ids))["items"]}

    @contextmanager
    def prices_without_tax(self) -> Iterator[None]:
        """The prices of the channel are without tax, until the block ends."""
        self._prices_include_tax(False)
        try:
            yield
        finally:
            self._prices_include_tax(True)

    def _prices_include_tax(self, included: bool) -> None:
        change = "mutation($i: UpdateChannelInput!) { updateChannel(input: $i) { __typename } }"
        self.admin(change, i={"id": "1", "pricesIncludeTax": included})

    def cart(self, code: str | None, *variants: str, email: str = "guest@example.com", account: bool = False) -> Cart:
        """A cart with one of each variant named, shipping, and the coupon entered if any."""
        return Cart(self._session(self._shop_url), code, variants, email, account)

    def sell_in(self, *currencies: str) -> None:
        """The currencies of the channel."""
        channel = {"id": "1", "availableCurrencyCodes": list(currencies)}
        self.admin("mutation($i: UpdateChannelInput!) { updateChannel(input: $i) { __typename } }", i=channel)

    def settle(self, order_id: str) -> None:
        """Take the money of an order."""
        payments = self.admin("query($i: ID!) { order(id: $i) { payments { id } } }", i=order_id)["payments"]
        settle = "mutation($i: ID!) { settlePayment(id: $i) { ... on Payment { state } " + OR_ERROR + " } }"
        assert self.admin(settle, i=payments[0]["id"])["state"] == "Settled"


class Cart:
    """A customer's active order. `shown`: as the store API answered to the coupon (or, without one, to the shipping)."""

    def __init__(
        self, session: Session, code: str | None, variants: tuple[str, ...], email: str, account: bool
    ) -> None:
        self._session = session
        if account:
            sign_in = 'mutation($e: String!) { login(username: $e, password: "a-password-of-hers") { __typename } }'
            assert session(sign_in, e=email)["__typename"] == "CurrentUser"
        add = "mutation($v: ID!) { addItemToOrder(productVariantId: $v, quantity: 1) { __typename } }"
        for variant in variants:
            session(add, v=variant)
        if not account:
            who = {"firstName": "G", "lastName": "H", "emailAddress": email}
            session("mutation($i: CreateCustomerInput!) { setCustomerForOrder(input: $i) { __typename } }", i=who)
        address = {"streetLine1": "A 1", "city": "Berlin", "postalCode": "10115", "countryCode": "DE"}
        session("mutation($i: CreateAddressInput!) { setOrderShippingAddress(input: $i) { __typename } }", i=address)
        method = session("{ eligibleShippingMethods { id } }")[0]["id"]
        ship = "mutation($m: [ID!]!) { setOrderShippingMethod(shippingMethodId: $m) { %s %s } }"
        self.shown: Row = session(ship % (ORDER, OR_ERROR), m=[method])
        if code:
            enter = "mutation($c: String!) { applyCouponCode(couponCode: $c) { %s %s } }"
            self.shown = session(enter % (ORDER, OR_ERROR), c=code)

    @property
    def off(self) -> int:
        """What the coupon takes off, in cents."""
        assert self.shown["__typename"] == "Order", self.shown
        return -sum(int(discount["amountWithTax"]) for discount in self.shown["discounts"])

    def buy(self) -> Row:
        """Complete the order. The payment is authorized, not settled."""
        self._session('mutation { transitionOrderToState(state: "ArrangingPayment") { __typename } }')
        pay = 'mutation { addPaymentToOrder(input: { method: "dummy", metadata: {} }) { %s %s } }'
        order: Row = self._session(pay % (ORDER, OR_ERROR))
        assert order.get("state") == "PaymentAuthorized", order
        return order


@contextmanager
def vendure(installed: Installed, folder: Path, relay: Mapping[str, str]) -> Iterator[VendureShop]:
    """A new store with the plugin of integrations/vendure, told the `relay`'s variables, until the block ends."""
    project = installed.project(folder, {PLUGIN: Path("relay-plugin.ts")})
    step(COMPILE, project, {})
    port = free_port()
    database = folder / "vendure.sqlite"
    own = {
        "PORT": str(port), "LIVE_SECRET": SECRET, "DATABASE_FILE": str(database),
        "VENDURE_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with served(("node", "server.js"), project, {**own, **relay}, f"{url}/health"):
        shop = VendureShop(url, database)
        try:
            shop.furnish()
            yield shop
        finally:
            shop.close()
