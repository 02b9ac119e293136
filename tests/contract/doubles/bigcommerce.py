"""A BigCommerce store in memory: V2 coupons and orders, V3 customers, products and webhooks.

Made from the official OpenAPI documents. Surprising on purpose: an empty V2 list is 204 without a body, the name of a
coupon is unique too (409), amounts come back with four places, 0 means "no limit", errors of V2 are a list.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, ClassVar

from simulators.call import Call, Json, Response, json_response
from simulators.deliveries import Deliveries
from simulators.program import Control
from tests.contract.doubles.process import serve

STORE = "/stores/abc123"
TYPES = ("per_item_discount", "per_total_discount", "shipping_discount", "free_shipping", "percentage_discount")

SCOPES = {
    (True, "store"): "Information & settings read-only",
    (True, "coupons"): "Marketing modify", (False, "coupons"): "Marketing modify",
    (True, "orders"): "Orders read-only", (True, "catalog/products"): "Products read-only",
    (True, "customers"): "Customers read-only", (False, "customers"): "Customers modify",
}  # fmt: skip
"""The scope that a call needs: whether it only reads, and its path without the version."""


@dataclass
class Config:
    """What `POST /_sim/config` changes."""

    CHOICES: ClassVar[dict[str, tuple[object, ...]]] = {}

    access_token: str = "token-of-the-double"
    permissions: list[str] = field(default_factory=lambda: sorted(set(SCOPES.values())))
    """The scopes of the token. *modify* includes *read-only*."""
    currency: str = "EUR"
    distort: dict[str, Any] = field(default_factory=dict)
    stale_finds: int = 0
    """So many of the next lookups do not see what was made."""


class BigCommerceDouble:
    """State and behaviour."""

    once = frozenset({"coupon.create"})

    def __init__(self) -> None:
        self.config = Config()
        self.deliveries = Deliveries()
        self.controls: dict[str, Control] = {
            "seed": self._seed, "replace": self._replace, "switch-off": self._switch_off, "drop-attributes": self._drop_attributes
        }  # fmt: skip
        self.reset()

    def reset(self) -> None:
        """An empty store."""
        self.last_id = 0
        self.coupons: dict[int, Json] = {}
        self.webhooks: dict[int, Json] = {}
        self.attributes: list[Json] = []
        self.values: list[Json] = []
        self.rows: dict[str, list[Json]] = {"orders": [], "customers": [], "products": []}

    def identify(self, call: Call) -> None:
        """Only what makes a coupon and what changes a customer have names that the suite asks for."""
        parts = call.path.removeprefix(STORE).strip("/").split("/")
        named = {
            ("POST", "v2/coupons"): "coupon.create",
            ("PUT", "v3/customers/attribute-values"): "customer.update",
        }
        call.kind = named.get((call.method, "/".join(parts)), "/".join(parts[:2]))

    async def answer(self, call: Call) -> Response:  # noqa: C901, PLR0911  # a table of routes
        """Authenticate and route."""
        if not call.path.startswith(f"{STORE}/"):
            return json_response(404, {"status": 404, "title": "Not found"})
        if call.header(b"x-auth-token") != self.config.access_token:
            return json_response(401, {"status": 401, "title": "Unauthorized"})
        parts = call.path.removeprefix(STORE).strip("/").split("/")
        needed = SCOPES.get((call.method == "GET", parts[1]), SCOPES.get((call.method == "GET", "/".join(parts[1:3]))))
        if needed and not {needed, needed.replace("read-only", "modify")} & set(self.config.permissions):
            words = "You don't have a required scope to access the endpoint"
            return _told(403, words) if parts[0] == "v2" else json_response(403, {"status": 403, "title": words})
        match [call.method, *parts]:
            case ["GET", "v2", "store"]:
                return json_response(200, {"id": "abc123", "name": "The double", "currency": self.config.currency})
            case ["GET", "v2", "coupons"]:
                return self._find(call)
            case ["POST", "v2", "coupons"]:
                return self._create(call)
            case [("PUT" | "DELETE"), "v2", "coupons", number]:
                return self._change(call, int(number))
            case ["GET", "v2", "orders", *rest]:
                return self._orders(call, rest)
            case ["GET", "v3", "customers"]:
                return self._customers(call)
            case [_, "v3", "customers", ("attributes" | "attribute-values") as family]:
                return self._attributes(call) if family == "attributes" else self._values(call)
            case ["GET", "v3", "catalog", "products", *rest]:
                return self._products(call, rest)
            case [_, "v3", "hooks", *rest]:
                return self._webhooks(call, rest)
        return _told(404, "The requested resource was not found.")

    # ------------------------------------------------------------------------------------------- coupons

    def _find(self, call: Call) -> Response:
        if self.config.stale_finds:
            self.config.stale_finds -= 1
            return Response(204)
        wanted = call.query.get("code", "").casefold()
        found = [coupon for coupon in self.coupons.values() if str(coupon["code"]).casefold() == wanted]
        return json_response(200, found) if found else Response(204)

    def _create(self, call: Call) -> Response:
        given = call.object
        missing = [name for name in ("name", "type", "amount", "code", "applies_to") if given.get(name) in (None, "")]
        if missing:
            return _told(400, f"The required field '{missing[0]}' was not supplied.")
        if given["type"] not in TYPES or not isinstance(given["amount"], str):
            return _told(400, "The field 'type' or 'amount' is invalid.")
        if any(str(known["code"]).casefold() == given["code"].casefold() for known in self.coupons.values()):
            call.duplicate()
            return _told(400, "The field 'code' is invalid.", "The coupon code must be unique.")
        if any(known["name"] == given["name"] for known in self.coupons.values()):
            return _told(409, "A coupon with this name exists already.")
        self.last_id += 1
        now = format_datetime(datetime.now(UTC))
        stored = {"min_purchase": "0", "expires": "", "enabled": True, "max_uses": 0, "max_uses_per_customer": 0,
                  "restricted_to": {}, "shipping_methods": [], **given, **self.config.distort}  # fmt: skip
        for name in ("amount", "min_purchase"):
            stored[name] = f"{float(stored[name]):.4f}"
        coupon = {"id": self.last_id, **stored, "num_uses": 0, "date_created": now}
        self.coupons[self.last_id] = coupon
        call.applied()
        return json_response(201, coupon)

    def _change(self, call: Call, number: int) -> Response:
        if number not in self.coupons:
            return _told(404, "The requested resource was not found.")
        if call.method == "DELETE":
            del self.coupons[number]
            call.applied()
            return Response(204)
        self.coupons[number].update(call.object)
        return json_response(200, self.coupons[number])

    # ------------------------------------------------------------------------------------------- entities

    def _orders(self, call: Call, rest: list[str]) -> Response:
        if not rest:
            since, first = call.query.get("min_date_modified"), int(call.query.get("min_id", 0))
            rows = [row for row in self.rows["orders"] if not since or _time(row) >= parsedate_to_datetime(since)]
            rows = [row for row in rows if int(row["id"]) >= first]
            rows.sort(key=(lambda row: int(row["id"])) if call.query.get("sort") == "id:asc" else _time)
            page = self._page(call, rows)
            return json_response(200, [_bare(row) for row in page]) if page else Response(204)
        found = next((row for row in self.rows["orders"] if str(row["id"]) == rest[0]), None)
        if found is None:
            return _told(404, "The requested resource was not found.")
        if len(rest) == 1:
            return json_response(200, _bare(found))
        part = found.get(f"_{rest[1]}", [])
        return json_response(200, part) if part else Response(204)

    def _customers(self, call: Call) -> Response:
        wanted, since = call.query.get("id:in"), call.query.get("date_modified:min", "")
        first, last = call.query.get("date_created:min", ""), call.query.get("date_created:max", "~")
        rows = [row for row in self.rows["customers"] if row["date_modified"] >= since]
        rows = [row for row in rows if first <= row.get("date_created", "") <= last]
        rows = [row for row in rows if wanted in (None, str(row["id"]))]
        random.shuffle(rows)  # equal times have no order
        rows.sort(key=lambda row: str(row.get("date_created")))
        return self._document(call, rows)

    def _products(self, call: Call, rest: list[str]) -> Response:
        if rest:
            found = next((row for row in self.rows["products"] if str(row["id"]) == rest[0]), None)
            return (
                json_response(200, {"data": found}) if found else json_response(404, {"status": 404, "title": "none"})
            )
        since, after = call.query.get("date_modified:min", ""), int(call.query.get("id:greater", 0))
        rows = [row for row in self.rows["products"] if row["date_modified"] >= since and int(row["id"]) > after]
        if call.query.get("sort") == "id":
            rows.sort(key=lambda row: int(row["id"]))
        unused = call.query.get("exclude_fields", "").split(",")
        return self._document(
            call, [{name: value for name, value in row.items() if name not in unused} for row in rows]
        )

    def _document(self, call: Call, rows: list[Json]) -> Response:
        return json_response(200, {"data": self._page(call, rows), "meta": {"pagination": {"total": len(rows)}}})

    @staticmethod
    def _page(call: Call, rows: list[Json]) -> list[Json]:
        limit, page = int(call.query.get("limit", 50)), int(call.query.get("page", 1))
        return rows[(page - 1) * limit : page * limit]

    # ------------------------------------------------------------------------------------------- attributes

    def _attributes(self, call: Call) -> Response:
        if call.method == "GET":
            return json_response(200, {"data": self.attributes})
        taken, given = {row["name"] for row in self.attributes}, _listed(call)
        if any(row["name"] in taken for row in given):
            return json_response(
                422, {"status": 422, "title": "Attribute create failed", "errors": {"0": "name exists"}}
            )
        made = [{"id": len(self.attributes) + number, **row} for number, row in enumerate(given, 101)]
        self.attributes += made
        call.applied()
        return json_response(200, {"data": made})

    def _values(self, call: Call) -> Response:
        """An upsert of a customer or an attribute that is not there is refused, and nothing of it is kept."""
        if call.method == "GET":
            whose, which = (call.query.get(f"{name}:in", "").split(",") for name in ("customer_id", "attribute_id"))
            shown = [
                row for row in self.values if str(row["customer_id"]) in whose and str(row["attribute_id"]) in which
            ]
            return json_response(200, {"data": shown})
        given, same = _listed(call), ("customer_id", "attribute_id")
        customers, attributes = ({row["id"] for row in rows} for rows in (self.rows["customers"], self.attributes))
        if any(row["customer_id"] not in customers or row["attribute_id"] not in attributes for row in given):
            return json_response(422, {"status": 422, "title": "Upsert failed", "errors": {"0": "invalid id"}})
        for each in given:
            self.values = [row for row in self.values if any(row[name] != each[name] for name in same)] + [each]
        if given:
            call.applied()
        return json_response(200, {"data": given})

    # ------------------------------------------------------------------------------------------- webhooks

    def _webhooks(self, call: Call, rest: list[str]) -> Response:
        if rest:
            number = int(rest[0])
            if number not in self.webhooks:
                return json_response(404, {"status": 404, "title": "Webhook does not exist"})
            if call.method == "DELETE":
                return json_response(200, {"data": self.webhooks.pop(number)})
            self.webhooks[number].update(call.object)
            return json_response(200, {"data": self.webhooks[number]})
        if call.method == "GET":
            wanted = call.query.get("destination")
            shown = [webhook for webhook in self.webhooks.values() if wanted in (None, webhook["destination"])]
            return json_response(200, {"data": shown, "meta": {}})
        if not str(call.object.get("destination", "")).startswith("https://"):
            return json_response(422, {"status": 422, "title": "destination must be an https address"})
        self.last_id += 1
        self.webhooks[self.last_id] = {"id": self.last_id, "created_at": int(time.time()), **call.object}
        call.applied()
        return json_response(200, {"data": self.webhooks[self.last_id], "meta": {}})

    # ------------------------------------------------------------------------------------------- control

    async def _seed(self, given: Json) -> object:
        """Rows of `orders` (with `_products` and `_coupons`), `customers`, `products`; `attributes` and `values`."""
        self.attributes += given.pop("attributes", [])
        self.values += given.pop("values", [])
        for family, rows in given.items():
            self.rows[family] += rows
        return {"ok": True}

    async def _replace(self, given: Json) -> object:
        """`{"orders": […], …}`: the lists named are these from now on."""
        self.rows |= given
        return {"ok": True}

    async def _drop_attributes(self, given: Json) -> object:  # noqa: ARG002
        """A deleted attribute takes its values with it."""
        self.attributes, self.values = [], []
        return {"ok": True}

    async def _switch_off(self, given: Json) -> object:  # noqa: ARG002
        for webhook in self.webhooks.values():
            webhook["is_active"] = False
        return {"ok": True}

    def summary(self, full: bool) -> Json:
        """Counts."""
        codes = [coupon["code"] for coupon in self.coupons.values()] if full else []
        return {"state": {"coupons": len(self.coupons), "webhooks": len(self.webhooks)}, "codes": codes}

    def state(self, query: dict[str, str]) -> object:
        """`kind` coupons | webhooks | attributes | values."""
        lists = {"attributes": self.attributes, "values": self.values, "webhooks": list(self.webhooks.values())}
        return lists.get(query["kind"], list(self.coupons.values()))


def _told(status: int, message: str, reason: str = "") -> Response:
    error: Json = {"status": status, "message": message}
    return json_response(status, [{**error, "details": {"invalid_reason": reason}} if reason else error])


def _listed(call: Call) -> list[Json]:
    return call.json if isinstance(call.json, list) else []


def _time(row: Json) -> datetime:
    return parsedate_to_datetime(row["date_modified"])


def _bare(row: Json) -> Json:
    return {name: value for name, value in row.items() if not name.startswith("_")}


if __name__ == "__main__":
    serve("bigcommerce", BigCommerceDouble)
