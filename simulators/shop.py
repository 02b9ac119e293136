"""A WooCommerce-like shop (/wp-json/wc/v3) and the endpoints of a merchant's own integration (/relay), in memory."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from .call import Call, Handler, Json, Response, json_response
from .deliveries import Deliveries
from .program import Control
from .shop_auth import check, refusal
from .shop_coupons import Coupons
from .shop_relay import RelayCoupons
from .shop_webhooks import Webhooks

API = "/wp-json/wc/v3"
LISTED = {
    "customers": "woocommerce_rest",
    "orders": "woocommerce_rest_shop_order",
    "products": "woocommerce_rest_product",
}
"""The families of resources, and what their "no such id" code begins with."""
ORDER_BY = {
    "customers": ("name", {"id", "include", "name", "registered_date"}),
    "webhooks": ("date", {"date", "id", "title"}),
}
ORDER_BY_ELSE = ("date", {"date", "id", "include", "title", "slug", "modified"})
"""Default and possible `orderby` of each list, as in the store's own OPTIONS answers."""


@dataclass
class ShopConfig:
    """Every setting of the store simulator; `POST /_sim/config` and `--set` change them by name."""

    CHOICES: ClassVar[dict[str, tuple[object, ...]]] = {}

    consumer_key: str = "ck_simulator_key"
    consumer_secret: str = "cs_simulator_key"
    read_only: bool = False
    require_tls: bool = False
    """As the real shop: Basic and query keys count only over TLS or with `X-Forwarded-Proto: https`."""
    relay_secret: str = "whsec_c2ltdWxhdG9yLXNlY3JldC1zaW11bGF0b3Itc2VjcmV0"
    coupon_race: float = 0.0
    """Seconds between check and insert of a new coupon; above 0, parallel creates of one code may all give 201."""
    distort: dict[str, Any] = field(default_factory=dict)
    """Fields the store silently writes otherwise into every coupon it stores."""
    distort_code: str = ""
    """`distort` only coupons whose code begins so; empty: all."""
    stale_read: float = 0.0
    """Seconds until a look-up by code shows a new coupon, as behind a cache or a replica."""
    stale_code: str = ""
    """`stale_read` only for coupons whose code begins so; empty: all."""
    customers_modified_after: bool = False
    """The real /customers ignores `modified_after`; true makes it work."""
    utc_offset_hours: float = 0.0
    store_url: str = "http://shop.example.com/"
    currency: str = "EUR"
    coupons_enabled: bool = True
    """The store's setting `woocommerce_enable_coupons`. Off, WordPress has no coupons: the key may neither list nor write."""
    webhook_failure_limit: int = 5


class Shop:
    """State and behaviour of the store."""

    once = frozenset({"coupon.create", "relay.create"})

    def __init__(self, config: ShopConfig | None = None) -> None:
        self.config = config or ShopConfig()
        self.deliveries = Deliveries()
        self.coupons = Coupons(self)
        self.webhooks = Webhooks(self)
        self.relay = RelayCoupons(self)
        self.controls: dict[str, Control] = {
            "seed": self._seed,
            "replace": self._replace,
            "event": self._event,
            "use-coupon": self._use_coupon,
        }
        self.reset()

    def reset(self) -> None:
        """An empty shop."""
        self._last_id = 0
        self._nonces: dict[str, float] = {}
        self.coupons.clear()
        self.webhooks.clear()
        self.relay.clear()
        self.resources: dict[str, dict[int, Json]] = {name: {} for name in LISTED}

    def new_id(self) -> int:
        """The next id; the store numbers all its things in one sequence."""
        self._last_id += 1
        return self._last_id

    def now(self) -> tuple[str, str]:
        """The present in store time and in UTC, as WooCommerce writes them (no zone, no fraction)."""
        moment = datetime.now(UTC)
        local = moment + timedelta(hours=self.config.utc_offset_hours)
        return local.strftime("%Y-%m-%dT%H:%M:%S"), moment.strftime("%Y-%m-%dT%H:%M:%S")

    def url(self, call: Call, path: str) -> str:
        """The absolute address of a resource."""
        return f"{call.scheme}://{call.header(b'host')}{API}/{path}"

    def shown(self, call: Call, family: str, resource: Json) -> Json:
        """The resource with its `_links`."""
        own, collection = self.url(call, f"{family}/{resource['id']}"), self.url(call, family)
        return {**resource, "_links": {"self": [{"href": own}], "collection": [{"href": collection}]}}

    def identify(self, call: Call) -> None:  # noqa: C901  # one table of routes
        """Route the call."""
        if call.path.startswith("/relay/"):
            self.relay.identify(call)
            return
        if not call.path.startswith(API):
            return
        parts = [part for part in call.path.removeprefix(API).split("/") if part]
        match [call.method, *parts]:
            case ["GET"]:
                call.kind, call.handler = "index", self._index
            case ["GET", "data", "currencies", "current"]:
                call.kind, call.handler = "currency", self._currency
            case ["GET", "settings", "general", "woocommerce_enable_coupons"]:
                call.kind, call.handler = "setting", self._coupons_setting
            case [_, ("coupons" | "webhooks") as family, *rest] if len(rest) <= 1:
                things: Coupons | Webhooks = self.coupons if family == "coupons" else self.webhooks
                self._crud(call, family.removesuffix("s"), things, rest)
            case ["GET", family] if family in LISTED:
                call.kind, call.handler = f"{family.removesuffix('s')}.list", self._list
                call.argument = family
            case ["GET", "products", product, "variations"]:
                call.kind, call.handler, call.argument = "variation.list", self._variations, product
            case ["GET", family, _] if family in LISTED:
                call.kind, call.handler = f"{family.removesuffix('s')}.get", self._get
                call.argument = family
            case ["PUT", "customers", identifier]:
                call.kind, call.handler, call.argument = "customer.update", self._update_customer, "customers"
                call.entity = f"customer:{identifier}"

    @staticmethod
    def _crud(call: Call, noun: str, things: Coupons | Webhooks, rest: list[str]) -> None:
        handlers: dict[tuple[str, bool], tuple[str, Handler]] = {
            ("GET", False): ("list", things.index), ("POST", False): ("create", things.create),
            ("GET", True): ("get", things.get), ("PUT", True): ("update", things.update),
            ("PATCH", True): ("update", things.update), ("POST", True): ("update", things.update),
            ("DELETE", True): ("delete", things.delete),
        }  # fmt: skip
        found = handlers.get((call.method, bool(rest)))
        if found is None:
            return
        call.kind, call.handler = f"{noun}.{found[0]}", found[1]
        call.argument = rest[0] if rest else ""
        key = call.argument
        if call.kind == "coupon.create":
            key = str(call.object.get("code", "")).lower()
        call.entity = f"{noun}:{key}" if key else ""

    async def answer(self, call: Call) -> Response:
        """Authenticate and handle the call. As in WordPress, a body not declared as JSON counts for nothing."""
        if call.path.startswith("/relay/"):
            return await self.relay.answer(call)
        if call.handler is None:
            raise refusal(404, "rest_no_route", "No route was found matching the URL and request method.")
        if call.body and "json" not in call.header(b"content-type"):
            call.ignore_body()
        elif call.body and call.json is ...:
            raise refusal(
                400, "rest_invalid_json", "Invalid JSON body passed.", json_error_code=4,
                json_error_message="Syntax error",
            )  # fmt: skip
        if call.kind != "index":
            check(call, self.config, self._nonces)
        if not self.config.coupons_enabled and call.kind in ("coupon.list", "coupon.create"):
            verb = "view" if call.kind == "coupon.list" else "create"
            raise refusal(403, f"woocommerce_rest_cannot_{verb}", f"Sorry, you cannot {verb} resources.")
        return await call.handler(call)

    async def _index(self, _call: Call) -> Response:
        return json_response(200, {"namespace": "wc/v3", "routes": {}})

    async def _currency(self, _call: Call) -> Response:
        return json_response(200, {"code": self.config.currency, "name": self.config.currency, "symbol": ""})

    async def _coupons_setting(self, _call: Call) -> Response:
        value = "yes" if self.config.coupons_enabled else "no"
        return json_response(200, {"id": "woocommerce_enable_coupons", "type": "checkbox", "value": value})

    def page(self, call: Call, rows: list[Json]) -> Response:
        """One page of `rows` (`page`, `per_page`, `offset`, `orderby`, `order`, `modified_after`, `dates_are_gmt`, `_fields`)."""
        query = call.query
        family = call.path.removeprefix(API).strip("/").split("/")[0]
        number, size = _integer(query, "page", 1, 1 << 31), _integer(query, "per_page", 10, 100)
        start = int(query["offset"]) if query.get("offset", "").isdigit() else (number - 1) * size
        default, possible = ORDER_BY.get(family, ORDER_BY_ELSE)
        order_by = query.get("orderby", default)
        if order_by not in possible:
            raise _invalid("orderby", f"orderby is not one of {', '.join(sorted(possible))}.")
        if "modified_after" in query and (family != "customers" or self.config.customers_modified_after):
            gmt = query.get("dates_are_gmt", "").lower() in ("1", "true")
            after = self._utc(query["modified_after"], gmt)
            rows = [row for row in rows if row["date_modified_gmt"] > after]
        column = {"modified": "date_modified_gmt", "id": "id"}.get(order_by, "date_created_gmt")
        direction = query.get("order", "asc" if family == "customers" else "desc")
        rows = random.sample(rows, len(rows)) if order_by == "modified" else rows  # equal times have no order in MySQL
        rows = sorted(rows, key=lambda row: row[column] if order_by == "modified" else (row[column], row["id"]))
        rows = rows[::-1] if direction == "desc" else rows
        pages = -(-len(rows) // size)
        chosen = [self.shown(call, family, row) for row in rows[start : start + size]]
        if query.get("_fields"):
            wanted = query["_fields"].split(",")
            chosen = [{name: row[name] for name in wanted if name in row} for row in chosen]
        return json_response(200, chosen, {"X-WP-Total": str(len(rows)), "X-WP-TotalPages": str(pages)})

    def _utc(self, text: str, gmt: bool) -> str:
        """A `modified_after` as UTC text; without a zone it is store time, unless `dates_are_gmt`."""
        try:
            moment = datetime.fromisoformat(text.replace(" ", "+"))
        except ValueError:
            raise _invalid("modified_after", "Invalid date.") from None
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC)
        elif not gmt:
            moment -= timedelta(hours=self.config.utc_offset_hours)
        return moment.strftime("%Y-%m-%dT%H:%M:%S")

    async def _list(self, call: Call) -> Response:
        rows = list(self.resources[call.argument].values())
        email = call.query.get("email", "").lower()
        if call.argument == "customers":
            role = call.query.get("role", "customer")
            rows = [row for row in rows if role == "all" or row.get("role", "customer") == role]
            rows = [row for row in rows if not email or str(row.get("email", "")).lower() == email]
        if call.argument == "products":
            rows = [row for row in rows if row.get("type") != "variation"]
        status = call.query.get("status", "any")
        if call.argument != "customers" and status != "any":
            rows = [row for row in rows if row.get("status") in status.split(",")]
        return self.page(call, rows)

    async def _variations(self, call: Call) -> Response:
        """A variation is a product with the type `variation`, and in no other list."""
        products = self.resources["products"]
        if not call.argument.isdigit() or int(call.argument) not in products:
            raise refusal(404, "woocommerce_rest_product_invalid_id", "Invalid ID.")
        return self.page(call, [row for row in products.values() if row.get("parent_id") == int(call.argument)])

    async def _get(self, call: Call) -> Response:
        identifier = call.path.rsplit("/", 1)[-1]
        row = self.resources[call.argument].get(int(identifier)) if identifier.isdigit() else None
        if row is None:
            text = "Invalid resource ID." if call.argument == "customers" else "Invalid ID."
            raise refusal(404, f"{LISTED[call.argument]}_invalid_id", text)
        return json_response(200, self.shown(call, call.argument, row))

    async def _update_customer(self, call: Call) -> Response:
        """Fields are replaced; of `meta_data` only the keys sent, and a null takes one away (WC_Data::update_meta_data)."""
        await self._get(call)  # 404 for an id that nobody has
        given, identifier = dict(call.object), int(call.path.rsplit("/", 1)[-1])
        meta = {row["key"]: row for row in self.resources["customers"][identifier].get("meta_data", [])}
        for row in given.pop("meta_data", []):
            known = meta.pop(row["key"], None)
            if row["value"] is not None:
                meta[row["key"]] = {**row, "id": known["id"] if known else self.new_id()}
        row = self._upsert("customers", {**given, "id": identifier, "meta_data": list(meta.values())})
        return json_response(200, self.shown(call, "customers", row))

    # -- control ----------------------------------------------------------------------------------------------------

    def _upsert(self, family: str, given: Json) -> Json:
        """Write a resource; the store's dates are the present unless `given` carries its own."""
        local, utc = self.now()
        identifier = int(given.get("id") or self.new_id())
        self._last_id = max(self._last_id, identifier)
        known = self.resources[family].get(identifier, {"date_created": local, "date_created_gmt": utc})
        row = {"id": identifier, **known, "date_modified": local, "date_modified_gmt": utc, **given}
        row["id"] = identifier
        self.resources[family][identifier] = row
        return row

    async def _seed(self, given: Json) -> Json:
        """`{"customers": [...], "orders": [...], "products": [...]}`, without any webhook."""
        return {family: [self._upsert(family, row)["id"] for row in given.get(family, [])] for family in LISTED}

    async def _replace(self, given: Json) -> Json:
        """`{"orders": [...], …}`: the families named are these from now on."""
        for family in given:
            self.resources[family].clear()
        return await self._seed(given)

    async def _event(self, given: Json) -> Json:
        """Something happens in the shop: the resource changes, and its webhooks are sent."""
        topic = str(given["topic"])
        resource, _, event = topic.partition(".")
        family = f"{resource}s"
        body: object = given.get("resource", {})
        if family in self.resources and isinstance(body, dict):
            if event == "deleted":
                self.resources[family].pop(int(body["id"]), None)
                body = {"id": int(body["id"])}
            else:
                body = self._upsert(family, body)
        body = given.get("body", body)
        sent: list[Json] = []
        if given.get("deliver", True):
            sent = await self.webhooks.fire(topic, body, int(given.get("times", 1)), bool(given.get("wait", True)))
        return {"body": body, "deliveries": sent}

    async def _use_coupon(self, given: Json) -> Json:
        """A customer uses a coupon: usage_count and used_by move."""
        rows = self.coupons.live(str(given["code"]))
        if not rows:
            raise refusal(404, "woocommerce_rest_shop_coupon_invalid_id", "Invalid ID.")
        rows[-1]["usage_count"] += 1
        rows[-1]["used_by"].append(str(given.get("used_by", "")))
        return rows[-1]

    def summary(self, full: bool) -> Json:
        """Counts, and coupons per code: those with more than one, or all with `full`."""
        per_code = {code: len(rows) for code, rows in self.coupons.by_code.items() if full or len(rows) > 1}
        state = {
            "coupons": len(self.coupons.by_id), "codes": len(self.coupons.by_code),
            "relay_coupons": len(self.relay.coupons), "webhooks": len(self.webhooks.by_id),
            **{name: len(rows) for name, rows in self.resources.items()},
        }  # fmt: skip
        return {"state": state, "coupons_per_code": per_code}

    def state(self, query: dict[str, str]) -> object:
        """`kind` coupons (id = code, gives a list) | relay (id = code) | customers | orders | products | webhooks."""
        kind, identifier = query.get("kind", ""), query.get("id")
        if not kind:
            return self.summary(False)["state"]
        if kind == "coupons":
            return list(self.coupons.by_id.values()) if identifier is None else self.coupons.live(identifier)
        if kind == "relay":
            return self.relay.coupons if identifier is None else self.relay.coupons.get(identifier)
        rows = self.webhooks.by_id if kind == "webhooks" else self.resources[kind]
        return rows if identifier is None else rows.get(int(identifier))


def _invalid(name: str, text: str) -> Exception:
    return refusal(400, "rest_invalid_param", f"Invalid parameter(s): {name}", params={name: text})


def _integer(query: dict[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise _invalid(name, f"{name} must be between 1 (inclusive) and {most} (inclusive)")
    return int(text)
