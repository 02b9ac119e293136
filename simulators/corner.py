"""The corner shop: made up, for the sample adapter (`platform_relay.conformance.sample`).

Surprising on purpose: a voucher takes two calls and is worth nothing until it is published, a lookup finds whatever
begins with the code, in any spelling, though a code is valid only as it is; tokens end
(a cookie serves as well), an amount that is no number is taken for 0, and unknown fields are ignored.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from .call import Call, Json, Response, json_response
from .deliveries import Deliveries
from .program import Control

LISTS = ("customers", "orders", "products")
KNOWN = (
    "code", "type", "amount", "currency", "minimum", "uses", "uses_per_customer", "email", "products", "variants", "exclusive",
    "starts_at", "ends_at", "note", "minimum_quantity",
)  # fmt: skip


@dataclass
class CornerConfig:
    """`secret` is what a token is given for."""

    CHOICES: ClassVar[dict[str, tuple[object, ...]]] = {}

    secret: str = "corner-secret-0123456789"
    currency: str = "EUR"
    page: int = 2


class Corner:
    """State and behaviour of the store."""

    once = frozenset({"coupon.create"})

    def __init__(self) -> None:
        self.config = CornerConfig()
        self.deliveries = Deliveries()
        self.controls: dict[str, Control] = {"seed": self._seed}
        self.reset()

    def reset(self) -> None:
        """An empty shop."""
        self._ids = itertools.count(1)
        self.tokens: set[str] = set()
        self.vouchers: dict[str, Json] = {}
        self.webhooks: dict[str, Json] = {}
        self.lists: dict[str, list[Json]] = {name: [] for name in LISTS}

    def identify(self, call: Call) -> None:
        """Route the call."""
        match [call.method, *call.path.strip("/").split("/")]:
            case ["POST", "token"]:
                call.kind, call.handler = "token", self._token
            case ["GET", "store"]:
                call.kind, call.handler = "shop", self._shop
            case ["GET", "vouchers"]:
                call.kind, call.handler = "coupon.find", self._find
            case ["POST", "vouchers"]:
                call.kind, call.handler = "coupon.create", self._create
                call.entity = f"coupon:{call.object.get('code')}"
            case ["POST", "vouchers", argument, "publish"]:
                call.kind, call.handler, call.argument = "coupon.publish", self._publish, argument
            case ["DELETE", "vouchers", argument]:
                call.kind, call.handler, call.argument = "coupon.delete", self._delete, argument
            case [method, "webhooks", *rest] if len(rest) <= 1:
                call.kind, call.handler, call.argument = (
                    "webhooks",
                    self._webhooks,
                    f"{method} {rest[0] if rest else ''}",
                )
            case ["GET", name] if name in LISTS:
                call.kind, call.handler, call.argument = f"{name}.list", self._list, name
            case ["GET", name, argument] if name in LISTS:
                call.kind, call.handler, call.argument = f"{name}.get", self._get, f"{name}/{argument}"

    async def answer(self, call: Call) -> Response:
        """Authenticate, then handle."""
        if call.handler is None:
            return Response(404, b"<h1>Not here</h1>")
        session = call.header(b"authorization").removeprefix("Bearer ") or call.header(b"cookie").removeprefix(
            "session="
        )
        if call.kind != "token" and session not in self.tokens:
            return json_response(401, {"error": "token", "message": "the token is unknown or has ended"})
        return await call.handler(call)

    async def _token(self, call: Call) -> Response:
        if call.object.get("secret") != self.config.secret:
            return json_response(401, {"error": "secret", "message": "the secret is wrong"})
        token = f"token-{next(self._ids):08d}"
        self.tokens.add(token)
        return json_response(200, {"token": token})

    async def _shop(self, _call: Call) -> Response:
        return json_response(200, {"currency": self.config.currency})

    # -- vouchers -----------------------------------------------------------------------------------------------------

    async def _find(self, call: Call) -> Response:
        asked = call.query.get("code", "").casefold()
        rows = [row for row in self.vouchers.values() if str(row["code"]).casefold().startswith(asked[:4])]
        return json_response(200, {"items": rows})

    async def _create(self, call: Call) -> Response:
        asked = call.object
        code = str(asked.get("code", ""))
        if not code:
            return json_response(422, {"error": "invalid", "message": "a voucher needs a code"})
        if any(row["code"] == code for row in self.vouchers.values()):
            return json_response(409, {"error": "code_taken", "message": f"{code} is taken"})
        row = {name: asked.get(name) for name in KNOWN}
        if row["minimum_quantity"] is not None:
            row["minimum_quantity"] = int(float(row["minimum_quantity"]))
        if row["type"] != "shipping" and not re.fullmatch(r"\d+(\.\d+)?", str(row["amount"])):
            row["amount"] = "0.00"
        identifier = f"v{next(self._ids)}"
        row |= {"id": identifier, "published": False, "used": 0}
        self.vouchers[identifier] = row
        call.applied()
        return json_response(201, row)

    async def _publish(self, call: Call) -> Response:
        row = self.vouchers.get(call.argument)
        if row is None:
            return json_response(404, {"error": "no_voucher", "message": "there is no such voucher"})
        row["published"] = True
        return json_response(200, row)

    async def _delete(self, call: Call) -> Response:
        if self.vouchers.pop(call.argument, None) is None:
            return json_response(404, {"error": "no_voucher", "message": "there is no such voucher"})
        return Response(204)

    # -- lists --------------------------------------------------------------------------------------------------------

    async def _list(self, call: Call) -> Response:
        since = call.query.get("changed_after", "")
        rows = sorted(self.lists[call.argument], key=lambda row: (row["changed_at"], row["id"]))
        rows = [row for row in rows if datetime.fromisoformat(row["changed_at"]) >= _moment(since)]
        page, size = int(call.query.get("page", "1")), self.config.page
        shown = rows[(page - 1) * size : page * size]
        return json_response(
            200, {"items": shown, "next": page + 1 if page * size < len(rows) else None, "total": len(rows)}
        )

    async def _get(self, call: Call) -> Response:
        name, _, argument = call.argument.partition("/")
        row = next((row for row in self.lists[name] if row["id"] == argument), None)
        return (
            json_response(200, row) if row else json_response(404, {"error": "not_found", "message": "there is none"})
        )

    async def _webhooks(self, call: Call) -> Response:
        method, _, argument = call.argument.partition(" ")
        if method == "GET":
            return json_response(200, {"items": list(self.webhooks.values())})
        if method == "POST" and not argument:
            row = {"id": f"h{next(self._ids)}", "on": True, **call.object}
            self.webhooks[row["id"]] = row
            return json_response(201, row)
        if argument not in self.webhooks:
            return json_response(404, {"error": "no_webhook", "message": "there is no such webhook"})
        if method == "DELETE":
            del self.webhooks[argument]
            return Response(204)
        self.webhooks[argument]["on"] = True
        return json_response(200, self.webhooks[argument])

    def summary(self, _full: bool) -> Json:
        """How many vouchers there are."""
        return {"state": {"vouchers": len(self.vouchers)}}

    def state(self, query: dict[str, str]) -> object:
        """The vouchers, or one of LISTS by `kind`."""
        return list(self.vouchers.values()) if query.get("kind") == "vouchers" else self.lists[query["kind"]]

    async def _seed(self, given: Json) -> Json:
        for name in LISTS:
            self.lists[name] += given.get(name, [])
        return {}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace(" ", "+")) if text else datetime.min.replace(tzinfo=UTC)
