"""Vendure's admin API in memory, with the answers observed on 3.7.3; each of our operations by its name.

The path of a call becomes `/admin-api/<operationName>`, so that faults can be scripted for one operation.
Surprising on purpose: errors come with HTTP 200, a code may be had by any number of promotions (whose discounts add up),
nonsense is stored, FORBIDDEN means an ended session as well as a missing permission, dates are whole seconds.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from simulators.call import Call, Json, Response, json_response
from simulators.deliveries import Deliveries
from simulators.program import Control
from tests.contract.doubles.process import serve

KINDS = {"CreatePromotion": "coupon.create", "Promotions": "coupon.find", "DeletePromotion": "coupon.delete"}
LISTS = ("customers", "orders", "products")
BEFORE, NOW, LATER = (f"2026-05-1{day}T08:00:00.000Z" for day in (1, 2, 3))
"""When variants, promotions, and variants added later were made."""


@dataclass
class VendureConfig:
    """`distort` overwrites the arguments of every promotion's action; `hidden` lookups show nothing (stale read-back).

    A product's variants are its id followed by 1 and by 2; products have ids below 100. `added` are variants that came
    after all promotions.
    """

    CHOICES: ClassVar[dict[str, tuple[object, ...]]] = {}

    api_key: str = "0123456789abcdef:0123456789abcdef"
    username: str = "relay-user"
    password: str = "relay-password"
    token_in_header: bool = True
    permissions: list[str] = field(
        default_factory=lambda: [
            "ReadPromotion", "CreatePromotion", "DeletePromotion", "ReadCustomer", "ReadOrder", "ReadCatalog",
        ]
    )  # fmt: skip
    currencies: list[str] = field(default_factory=lambda: ["EUR"])
    digits: int = 2
    added: list[str] = field(default_factory=list)
    distort: Json = field(default_factory=dict)
    hidden: int = 0


def error(code: str, message: str, status: int = 200) -> Response:
    """Top-level errors, usually with HTTP 200."""
    return json_response(status, {"errors": [{"message": message, "extensions": {"code": code}}], "data": None})


def denied() -> Response:
    """To a session that ended as to a role without the permission; with the token of an anonymous session."""
    answer = error("FORBIDDEN", "You are not currently authorized to perform this action")
    answer.headers = [*answer.headers, (b"vendure-auth-token", secrets.token_hex(32).encode())]
    return answer


def _data(data: Json) -> Response:
    return json_response(200, {"data": data})


class Vendure:
    """State and behaviour of the store."""

    once = frozenset({"coupon.create"})

    def __init__(self) -> None:
        self.config = VendureConfig()
        self.deliveries = Deliveries()
        self.controls: dict[str, Control] = {"seed": self._seed, "replace": self._seed, "expire": self._expire}
        self.reset()

    def reset(self) -> None:
        """An empty shop, nobody signed in."""
        self._ids = itertools.count(1)
        self.sessions: set[str] = set()
        self.promotions: dict[str, Json] = {}
        self.lists: dict[str, list[Json]] = {name: [] for name in LISTS}

    def identify(self, call: Call) -> None:
        """The operation is part of the path."""
        if call.path != "/admin-api" or call.method != "POST":
            return
        call.argument = str(call.object.get("operationName"))
        call.path = f"/admin-api/{call.argument}"
        call.kind = KINDS.get(call.argument, call.argument)
        if call.kind == "coupon.create":
            call.entity = f"coupon:{call.object['variables']['input'].get('couponCode')}"

    async def answer(self, call: Call) -> Response:
        """Handle the call; whoever is not known, or not allowed to, is FORBIDDEN."""
        handlers: dict[str, tuple[str | None, Callable[[Json, Call], Response]]] = {
            "Login": (None, self._login), "Market": (None, self._market),
            "Promotions": ("ReadPromotion", self._find), "CreatePromotion": ("CreatePromotion", self._create),
            "DeletePromotion": ("DeletePromotion", self._delete), "Variants": ("ReadCatalog", self._variants),
            "Customers": ("ReadCustomer", self._list), "Customer": ("ReadCustomer", self._one),
            "Orders": ("ReadOrder", self._list), "Order": ("ReadOrder", self._one),
            "Products": ("ReadCatalog", self._list), "Product": ("ReadCatalog", self._one),
        }  # fmt: skip
        found = handlers.get(call.argument)
        if found is None:
            return json_response(404, {"message": f"Cannot {call.method} {call.path}", "statusCode": 404})
        needed, handler = found
        session = call.header(b"authorization").removeprefix("Bearer ")
        known = session in self.sessions or call.header(b"vendure-api-key") == self.config.api_key
        if needed is not None and not (known and needed in self.config.permissions):
            return denied()
        return handler(call.object["variables"], call)

    def _login(self, given: Json, _call: Call) -> Response:
        if (given["username"], given["password"]) != (self.config.username, self.config.password):
            refused = {"errorCode": "INVALID_CREDENTIALS_ERROR", "message": "The provided credentials are invalid"}
            return _data({"login": {"__typename": "InvalidCredentialsError", **refused}})
        session = secrets.token_hex(32)
        self.sessions.add(session)
        answer = _data({"login": {"__typename": "CurrentUser"}})
        if self.config.token_in_header:
            answer.headers = [*answer.headers, (b"vendure-auth-token", session.encode())]
        return answer

    def _market(self, _given: Json, _call: Call) -> Response:
        channel = {
            "code": "__default_channel__", "defaultCurrencyCode": self.config.currencies[0],
            "availableCurrencyCodes": self.config.currencies, "defaultLanguageCode": "en",
        }  # fmt: skip
        settings = {"serverConfig": {"moneyStrategyPrecision": self.config.digits}}
        return _data({"activeChannel": channel, "globalSettings": settings})

    # -- promotions ---------------------------------------------------------------------------------------------------

    def _find(self, given: Json, _call: Call) -> Response:
        rows = [row for row in self.promotions.values() if row["couponCode"] in given["codes"]]
        if self.config.hidden:
            self.config.hidden -= 1
            rows = []
        return _data({"promotions": {"items": rows}})

    def _create(self, given: Json, call: Call) -> Response:
        asked = given["input"]
        if not asked.get("couponCode") and not asked["conditions"]:
            refused = {
                "errorCode": "MISSING_CONDITIONS_ERROR",
                "message": "A Promotion must have at least one condition",
            }
            return _data({"createPromotion": {"__typename": "MissingConditionsError", **refused}})
        actions = [self._operation(each) for each in asked["actions"]]
        for pair in (pair for action in actions for pair in action["args"]):
            pair["value"] = self.config.distort.get(pair["name"], pair["value"])
        row = {
            "__typename": "Promotion", "id": str(next(self._ids)), "createdAt": NOW, "enabled": asked["enabled"],
            "couponCode": asked["couponCode"], "description": asked["translations"][0]["description"],
            "startsAt": self._date(asked.get("startsAt")),
            "endsAt": self._date(asked.get("endsAt")), "usageLimit": asked.get("usageLimit"),
            "perCustomerUsageLimit": asked.get("perCustomerUsageLimit"), "actions": actions,
            "conditions": [self._operation(each) for each in asked["conditions"]],
        }  # fmt: skip
        if any(each["couponCode"] == row["couponCode"] for each in self.promotions.values()):
            call.duplicate()
        self.promotions[row["id"]] = row
        call.applied()
        return _data({"createPromotion": row})

    @staticmethod
    def _operation(asked: Json) -> Json:
        return {"code": asked["code"], "args": [dict(pair) for pair in asked["arguments"]]}

    @staticmethod
    def _date(text: str | None) -> str | None:
        return None if text is None else datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def _delete(self, given: Json, call: Call) -> Response:
        if self.promotions.pop(given["id"], None) is None:
            return error("ENTITY_NOT_FOUND", f'No Promotion with the id "{given["id"]}" could be found')
        call.applied()
        return _data({"deletePromotion": {"result": "DELETED", "message": None}})

    def _variants(self, given: Json, _call: Call) -> Response:
        wanted = given["options"]["filter"]
        products, named = (wanted.get(name, {}).get("in", []) for name in ("productId", "id"))
        ids = [f"{product}{end}" for product in products if int(product) < 100 for end in "12"]
        ids += [each for each in self.config.added if each[:-1] in products]
        ids += [each for each in named if 10 < int(each) < 1000]
        rows = [
            {"id": each, "productId": each[:-1], "createdAt": LATER if each in self.config.added else BEFORE}
            for each in ids
        ]
        return _data({"productVariants": {"items": rows}})

    # -- lists --------------------------------------------------------------------------------------------------------

    def _list(self, given: Json, call: Call) -> Response:
        name, options = call.argument.lower(), given["options"]
        filters, rows = options["filter"], self.lists[name]
        if "updatedAt" in filters:
            since = datetime.fromisoformat(filters["updatedAt"]["after"])
            rows = [row for row in rows if datetime.fromisoformat(row["updatedAt"]) > since]
        if "orderPlacedAt" in filters:
            rows = [row for row in rows if row.get("orderPlacedAt") is not None and row.get("active") is False]
        rows = sorted(rows, key=lambda row: int(row["id"]))
        skip = options.get("skip", 0)
        return _data({name: {"items": rows[skip : skip + options["take"]], "totalItems": len(rows)}})

    def _one(self, given: Json, call: Call) -> Response:
        name = call.argument.lower()
        return _data({name: next((row for row in self.lists[f"{name}s"] if row["id"] == given["id"]), None)})

    # -- control ------------------------------------------------------------------------------------------------------

    async def _seed(self, given: Json) -> Json:
        """`{"orders": […], …}` replaces the lists named; `{"promotions": […]}` are added."""
        self.promotions.update({row["id"]: row for row in given.pop("promotions", [])})
        self.lists |= given
        return {"ok": True}

    async def _expire(self, _given: Json) -> Json:
        """All sessions end."""
        self.sessions.clear()
        return {"ok": True}

    def summary(self, full: bool) -> Json:  # noqa: ARG002  # asked for by name
        """Counts."""
        return {"state": {"promotions": len(self.promotions), "sessions": len(self.sessions)}}

    def state(self, query: dict[str, str]) -> object:
        """`kind` promotions."""
        held: dict[str, Any] = {"promotions": self.promotions}
        return list(held[query["kind"]].values())


if __name__ == "__main__":
    serve("vendure", Vendure)
