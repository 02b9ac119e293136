"""Saleor's GraphQL API in memory, with the answers observed on 3.23.28; each of our operations by its name.

The path of a call becomes `/graphql/<operationName>`, so that faults can be scripted for one operation.
Surprising on purpose: errors come with HTTP 200, a duplicate is told in three ways (`duplicate`), the search is fuzzy,
codes differ by case, a voucher without a listing never applies, values are checked with the listing only.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from simulators.call import Call, Json, Response, json_response
from simulators.deliveries import Deliveries
from simulators.program import Control
from tests.contract.doubles.process import serve

CHANNELS = [
    {"id": "Q2hhbm5lbDox", "slug": "default-channel", "currencyCode": "USD", "isActive": True},
    {"id": "Q2hhbm5lbDoy", "slug": "eu", "currencyCode": "EUR", "isActive": True},
    {"id": "Q2hhbm5lbDoz", "slug": "jpy", "currencyCode": "JPY", "isActive": True},
    {"id": "Q2hhbm5lbDo0", "slug": "kwd", "currencyCode": "KWD", "isActive": True},
]
SMALLEST = {"JPY": Decimal(1), "KWD": Decimal("0.001")}
"""The smallest amounts of currencies that have no cents."""
KINDS = {
    "CreateVoucher": "coupon.create", "ListVoucher": "listing.create", "FindVouchers": "coupon.search",
    "DeleteVoucher": "coupon.delete", "DeleteCodes": "code.delete",
}  # fmt: skip
CATALOGUE = ("products", "variants", "categories", "collections")
NAMES = {"customers": "user", "orders": "order", "products": "product"}


@dataclass
class SaleorConfig:
    """`distort` overwrites fields of every voucher and listing stored; `hidden` searches show nothing (stale read-back)."""

    CHOICES: ClassVar[dict[str, tuple[object, ...]]] = {
        "duplicate": ("ALREADY_EXISTS", "UNIQUE", "IntegrityError"),
    }

    token: str = "saleor-app-token"
    permissions: list[str] = field(
        default_factory=lambda: ["MANAGE_DISCOUNTS", "MANAGE_USERS", "MANAGE_ORDERS", "MANAGE_PRODUCTS"]
    )
    active: bool = True
    duplicate: str = "ALREADY_EXISTS"
    distort: Json = field(default_factory=dict)
    hidden: int = 0
    page: int = 2
    """The most rows in a page of customers, orders or products."""
    clock_ahead: float = 0
    """Seconds by which the store's clock is ahead."""
    jwks: Json = field(default_factory=lambda: {"keys": []})


def connection(rows: list[Json]) -> Json:
    """Rows as a whole connection."""
    return {"edges": [{"node": row} for row in rows], "pageInfo": {"hasNextPage": False, "endCursor": None}}


def denied(needed: str) -> Response:
    """Top-level errors, with HTTP 200."""
    words = f"To access this path, you need one of the following permissions: {needed}"
    return json_response(
        200, {"errors": [{"message": words, "extensions": {"exception": {"code": "PermissionDenied"}}}], "data": None}
    )


class Saleor:
    """State and behaviour of the store."""

    once = frozenset({"coupon.create"})

    def __init__(self) -> None:
        self.config = SaleorConfig()
        self.deliveries = Deliveries()
        self.controls: dict[str, Control] = {"seed": self._seed, "replace": self._seed}
        self.reset()

    def reset(self) -> None:
        """An empty shop."""
        self._ids = itertools.count(1)
        self.vouchers: dict[str, Json] = {}
        self.webhooks: dict[str, Json] = {}
        self.lists: dict[str, list[Json]] = {name: [] for name in NAMES}

    def identify(self, call: Call) -> None:
        """The operation is part of the path."""
        if call.path == "/.well-known/jwks.json":
            call.kind = "jwks"
        elif call.path == "/graphql/" and call.method == "POST":
            operation = str(call.object.get("operationName"))
            call.path += operation
            call.argument = operation
            call.kind = KINDS.get(operation, operation)
            if operation == "CreateVoucher":
                call.entity = f"coupon:{self._variables(call)['input']['addCodes'][0]}"

    @staticmethod
    def _variables(call: Call) -> Json:
        given = call.object.get("variables")
        return given if isinstance(given, dict) else {}

    async def answer(self, call: Call) -> Response:
        """Handle the call; a missing or wrong token is a missing permission."""
        if call.kind == "jwks":
            return json_response(200, self.config.jwks)
        handlers: dict[str, tuple[str, Callable[[Json, Call], Response]]] = {
            "Channels": ("AUTHENTICATED_APP", lambda _given, _call: _data({"channels": CHANNELS})),
            "Permissions": ("AUTHENTICATED_APP", self._permissions),
            "FindVouchers": ("MANAGE_DISCOUNTS", self._find),
            "CreateVoucher": ("MANAGE_DISCOUNTS", self._create),
            "ListVoucher": ("MANAGE_DISCOUNTS", self._list_voucher),
            "DeleteVoucher": ("MANAGE_DISCOUNTS", self._delete),
            "DeleteCodes": ("MANAGE_DISCOUNTS", self._delete_codes),
            "Webhooks": ("AUTHENTICATED_APP", self._webhooks),
            "CreateWebhook": ("AUTHENTICATED_APP", self._create_webhook),
            "EnableWebhook": ("AUTHENTICATED_APP", self._enable_webhook),
            "DeleteWebhook": ("AUTHENTICATED_APP", self._delete_webhook),
            "Customers": ("MANAGE_USERS", self._list), "Customer": ("MANAGE_USERS", self._one),
            "CustomerCount": ("MANAGE_USERS", self._count), "OrderCount": ("MANAGE_ORDERS", self._count),
            "ProductCount": ("MANAGE_PRODUCTS", self._count),
            "LoyaltyFields": ("MANAGE_USERS", self._one), "SetLoyaltyFields": ("MANAGE_USERS", self._set_standing),
            "Orders": ("MANAGE_ORDERS", self._list), "Order": ("MANAGE_ORDERS", self._one),
            "Products": ("MANAGE_PRODUCTS", self._list), "Product": ("MANAGE_PRODUCTS", self._one),
        }  # fmt: skip
        found = handlers.get(call.argument)
        if found is None:
            return json_response(404, {"message": "Not Found"})
        needed, handler = found
        known = call.header(b"authorization") == f"Bearer {self.config.token}" and self.config.active
        if not known or needed not in ("AUTHENTICATED_APP", *self.config.permissions):
            return denied(needed)
        return handler(self._variables(call), call)

    def _permissions(self, _given: Json, _call: Call) -> Response:
        codes = [{"code": code} for code in self.config.permissions]
        return _data({"app": {"id": "QXBwOjE=", "name": "Relay", "isActive": True, "permissions": codes}})

    # -- vouchers -----------------------------------------------------------------------------------------------------

    def _find(self, given: Json, _call: Call) -> Response:
        words = given["code"].casefold()
        codes = {key: [each["node"]["code"] for each in row["codes"]["edges"]] for key, row in self.vouchers.items()}
        rows = [row for key, row in self.vouchers.items() if any(words in code.casefold() for code in codes[key])]
        if self.config.hidden:
            self.config.hidden -= 1
            rows = []
        start = int(given.get("after") or 0)
        page = connection(rows[start : start + 20])
        page["pageInfo"] = {"hasNextPage": len(rows) > start + 20, "endCursor": str(start + 20)}
        return _data({"vouchers": page})

    def _create(self, given: Json, call: Call) -> Response:
        asked = given["input"]
        code = asked["addCodes"][0].strip() or "GENERATED"
        if any(code == each["node"]["code"] for row in self.vouchers.values() for each in row["codes"]["edges"]):
            call.duplicate()
            return self._duplicate(code)
        now = (datetime.now(UTC) + timedelta(seconds=self.config.clock_ahead)).isoformat()
        if asked.get("endDate") and asked["endDate"] <= asked.get("startDate", now):
            return _result(
                "voucherCreate", "voucher", "endDate", "INVALID", "End date cannot be before the start date."
            )
        number = next(self._ids)
        code_row = {"id": f"code-{number}", "code": code, "used": 0, "isActive": True}
        voucher = {
            "id": f"Vm91Y2hlcjo{number}", "type": "ENTIRE_ORDER", "discountValueType": "FIXED", "usageLimit": None,
            "used": 0, "singleUse": False, "applyOncePerOrder": False, "applyOncePerCustomer": False,
            "onlyForStaff": False, "minCheckoutItemsQuantity": None, "startDate": now, "endDate": None, "countries": [],
            "privateMetafield": None,
            **{name: value for name, value in asked.items() if name not in (*CATALOGUE, "addCodes")},
            "codes": connection([code_row]),
            **{name: connection([{"id": each} for each in asked.get(name, [])]) for name in CATALOGUE},
            "channelListings": [],
        }  # fmt: skip
        voucher |= {name: value for name, value in self.config.distort.items() if name in voucher}
        self.vouchers[voucher["id"]] = voucher
        call.applied()
        return _data({"voucherCreate": {"voucher": voucher, "errors": []}})

    def _duplicate(self, code: str) -> Response:
        if self.config.duplicate == "IntegrityError":
            words = (
                f'duplicate key value violates unique constraint "discount_vouchercode_code_key" Key (code)=({code})'
            )
            error = {"message": words, "extensions": {"exception": {"code": "IntegrityError"}}}
            return json_response(200, {"errors": [error], "data": {"voucherCreate": None}})
        where = "codes" if self.config.duplicate == "ALREADY_EXISTS" else "code"
        words = "Voucher with this Code already exists."
        return _result("voucherCreate", "voucher", where, self.config.duplicate, words)

    def _list_voucher(self, given: Json, call: Call) -> Response:
        voucher = self.vouchers.get(given["id"])
        if voucher is None:
            return _result("voucherChannelListingUpdate", "voucher", "id", "NOT_FOUND", "Couldn't resolve to a node.")
        for each in given["metadata"]:  # the first of two mutations in one call, which stays whatever the other does
            if each["key"] == "platform_relay_reference":
                voucher["privateMetafield"] = each["value"]
        asked = given["input"]["addChannels"][0]
        channel = next(each for each in CHANNELS if each["id"] == asked["channelId"])
        value = Decimal(asked["discountValue"])
        percent = voucher["discountValueType"] == "PERCENTAGE"
        words = ""
        if percent and value > 100:
            words = "Invalid percentage value."
        elif not percent and value != value.quantize(SMALLEST.get(str(channel["currencyCode"]), Decimal("0.01"))):
            words = "Invalid amount precision."
        if words:
            return _result("voucherChannelListingUpdate", "voucher", "discountValue", "INVALID", words)
        least = asked.get("minAmountSpent")
        listing = {
            "channel": channel, "discountValue": float(value), "currency": channel["currencyCode"],
            "minSpent": {"amount": float(least)} if least else None,
        }  # fmt: skip
        listing |= {name: value for name, value in self.config.distort.items() if name in listing}
        kept = [each for each in voucher["channelListings"] if each["channel"]["id"] != channel["id"]]
        voucher["channelListings"] = [*kept, listing]
        call.applied()
        return _data({"voucherChannelListingUpdate": {"voucher": voucher, "errors": []}})

    def _delete(self, given: Json, call: Call) -> Response:
        if self.vouchers.pop(given["id"], None) is None:
            return _result("voucherDelete", "voucher", "id", "NOT_FOUND", "Couldn't resolve to a node.")
        call.applied()
        return _data({"voucherDelete": {"errors": []}})

    def _delete_codes(self, given: Json, _call: Call) -> Response:
        for voucher in self.vouchers.values():
            kept = [each["node"] for each in voucher["codes"]["edges"] if each["node"]["id"] not in given["ids"]]
            voucher["codes"] = connection(kept)
        return _data({"voucherCodeBulkDelete": {"count": len(given["ids"]), "errors": []}})

    # -- webhooks and lists -------------------------------------------------------------------------------------------

    def _webhooks(self, _given: Json, _call: Call) -> Response:
        return _data({"app": {"id": "QXBwOjE=", "webhooks": list(self.webhooks.values())}})

    def _create_webhook(self, given: Json, _call: Call) -> Response:
        asked = given["input"]
        row = {
            "id": f"V2ViaG9vazo{next(self._ids)}", "name": asked["name"], "targetUrl": asked["targetUrl"],
            "isActive": asked["isActive"], "asyncEvents": [{"eventType": name} for name in asked["asyncEvents"]],
            "secretKey": asked.get("secretKey"), "query": asked.get("query"),
        }  # fmt: skip
        self.webhooks[row["id"]] = row
        return _data({"webhookCreate": {"webhook": row, "errors": []}})

    def _enable_webhook(self, given: Json, _call: Call) -> Response:
        self.webhooks[given["id"]]["isActive"] = True
        return _data({"webhookUpdate": {"webhook": self.webhooks[given["id"]], "errors": []}})

    def _delete_webhook(self, given: Json, _call: Call) -> Response:
        if self.webhooks.pop(given["id"], None) is None:
            return _result("webhookDelete", "webhook", "id", "NOT_FOUND", "Couldn't resolve to a node.")
        return _data({"webhookDelete": {"errors": []}})

    def _list(self, given: Json, call: Call) -> Response:
        """At most `page` rows, so that paging shows. A cursor is the key of the last row."""
        name = call.argument.lower()
        since = (given.get("updated") or {}).get("gte", "")
        keys = [((row["updatedAt"], row["id"]), row) for row in self.lists[name] if row["updatedAt"] >= since]
        after = tuple(json.loads(given["after"])) if given.get("after") else ("", "")
        rows = [row for key, row in sorted(keys, key=lambda pair: pair[0]) if key > after]
        size = min(self.config.page, given["first"])
        page = connection(rows[:size])
        cursor = json.dumps([rows[:size][-1]["updatedAt"], rows[:size][-1]["id"]]) if rows else None
        page["pageInfo"] = {"hasNextPage": len(rows) > size, "endCursor": cursor}
        return _data({name: page})

    def _count(self, given: Json, call: Call) -> Response:
        name = f"{call.argument.removesuffix('Count').lower()}s"
        since = (given.get("updated") or {}).get("gte", "")
        return _data({name: {"totalCount": sum(row["updatedAt"] >= since for row in self.lists[name])}})

    def _one(self, given: Json, call: Call) -> Response:
        name = "customers" if call.argument == "LoyaltyFields" else f"{call.argument.lower()}s"
        if given["id"].isdigit():  # not the base64 of a type and a number
            words = f"Invalid ID: {given['id']}. Expected: {call.argument}."
            error = {"message": words, "extensions": {"exception": {"code": "GraphQLError"}}}
            return json_response(200, {"errors": [error], "data": None})
        return _data({NAMES[name]: next((row for row in self.lists[name] if row["id"] == given["id"]), None)})

    def _set_standing(self, given: Json, call: Call) -> Response:
        """Staff are customers too, and only MANAGE_STAFF changes them. Keys that are not sent stay."""
        user = next((row for row in self.lists["customers"] if row["id"] == given["id"]), None)
        if user is None:
            return _result("updatePrivateMetadata", "item", "id", "NOT_FOUND", "Couldn't resolve to a node.")
        if user.get("isStaff"):
            return denied("MANAGE_STAFF")
        user["privateMetafields"] |= {each["key"]: each["value"] for each in given["input"]}
        call.applied()
        return _data({"updatePrivateMetadata": {"item": user, "errors": []}})

    # -- control ------------------------------------------------------------------------------------------------------

    async def _seed(self, given: Json) -> Json:
        """`{"orders": […], …}` replaces the lists named; `{"vouchers": […]}` adds vouchers as they stand."""
        for voucher in given.pop("vouchers", []):
            self.vouchers[voucher["id"]] = voucher
        for webhook in given.pop("webhooks", []):
            self.webhooks[webhook["id"]] = webhook
        self.lists |= given
        return {"ok": True}

    def summary(self, full: bool) -> Json:  # noqa: ARG002  # asked for by name
        """Counts."""
        return {"state": {"vouchers": len(self.vouchers), "webhooks": len(self.webhooks)}}

    def state(self, query: dict[str, str]) -> object:
        """`kind` vouchers | webhooks | customers | orders | products."""
        held: dict[str, Any] = {"vouchers": self.vouchers, "webhooks": self.webhooks}
        kind = query["kind"]
        return self.lists[kind] if kind in NAMES else list(held[kind].values())


def _data(data: Json) -> Response:
    return json_response(
        200, {"data": data, "extensions": {"cost": {"requestedQueryCost": 1, "maximumAvailable": 50000}}}
    )


def _result(mutation: str, noun: str, where: str, code: str, message: str) -> Response:
    errors = [{"field": where, "message": message, "code": code}]
    return _data({mutation: {noun: None, "errors": errors}})


if __name__ == "__main__":
    serve("saleor", Saleor)
