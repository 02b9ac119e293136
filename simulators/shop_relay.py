"""The endpoints a merchant would write for the `generic_http` adapter: signed JSON POSTs (Standard Webhooks).

    POST /relay/coupons         {"type": "coupon.issue", "code", …}      → 201, the same again 200, other values 409
    POST /relay/coupons/lookup  {"type": "coupon.lookup", "code"}        → 200, 404 "no such coupon"
    POST /relay/coupons/retire  {"type": "coupon.retire", "code"}        → 200, 404 "no such coupon"
    POST /relay/loyalty         {"type": "loyalty.sync", "topic", "id", "body"}  → 200

200, 201 and 409 carry `{"coupon": {…as sent, "id", "used"}, "state": "active" | "retired"}`. A `type` that does not
belong to the path is 422, because the signature covers the body alone.

Headers `webhook-id`, `webhook-timestamp` (Unix seconds), `webhook-signature` ("v1,<base64>" items parted by blanks);
signed is `{id}.{timestamp}.{body}` with HMAC-SHA256 and the base64 part of `whsec_…`
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import TYPE_CHECKING

from .call import Call, Json, RefusalError, Response, json_response

if TYPE_CHECKING:
    from .shop import Shop

TOLERANCE = 300
"""Seconds a timestamp may be off."""

TYPES = {
    "relay.loyalty": "loyalty.sync",
    "relay.create": "coupon.issue",
    "relay.lookup": "coupon.lookup",
    "relay.retire": "coupon.retire",
}
NONE_SUCH = json_response(404, {"message": "no such coupon"})


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The `v1,…` signature of one message."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def verify(call: Call, secret: str) -> None:
    """Raise the 401 unless one of the signatures is right and the timestamp is near."""
    message_id, timestamp = call.header(b"webhook-id"), call.header(b"webhook-timestamp")
    if not message_id or not timestamp.isdigit():
        raise RefusalError(json_response(401, {"message": "webhook-id or webhook-timestamp is missing or malformed"}))
    if abs(time.time() - int(timestamp)) > TOLERANCE:
        raise RefusalError(json_response(401, {"message": f"webhook-timestamp is more than {TOLERANCE} s off"}))
    expected = signature(secret, message_id, timestamp, call.body)
    given = call.header(b"webhook-signature").split()
    if not any(hmac.compare_digest(expected.encode(), one.encode()) for one in given):
        raise RefusalError(json_response(401, {"message": "no webhook-signature matches"}))


class RelayCoupons:
    """Coupons by code, kept as they were sent; code and values decide what "the same" is."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.clear()

    def clear(self) -> None:
        """No coupons."""
        self.coupons: dict[str, Json] = {}
        self._wanted: dict[str, Json] = {}

    def identify(self, call: Call) -> None:
        """Route a call below /relay/coupons."""
        routes = {
            "/relay/coupons": ("relay.create", self._create),
            "/relay/coupons/lookup": ("relay.lookup", self._lookup),
            "/relay/coupons/retire": ("relay.retire", self._retire),
        }
        if call.method == "POST" and call.path == "/relay/loyalty":
            call.kind, call.handler = "relay.loyalty", self._loyalty
            call.argument = str(call.object.get("topic", ""))
            call.entity = f"loyalty:{call.object.get('id', '')}"
        if call.method == "POST" and call.path in routes:
            call.kind, call.handler = routes[call.path]
            call.argument = str(call.object.get("code", ""))
            call.entity = f"coupon:{call.argument}"

    async def answer(self, call: Call) -> Response:
        """Verify the signature and handle the call."""
        verify(call, self.shop.config.relay_secret)
        if call.handler is None:
            return json_response(404, {"message": "no such route"})
        if not call.argument:
            return json_response(422, {"message": "the body must be a JSON object with a code"})
        if call.object.get("type") != TYPES[call.kind]:
            return json_response(422, {"message": f"type must be {TYPES[call.kind]} at {call.path}"})
        return await call.handler(call)

    async def _create(self, call: Call) -> Response:
        wanted = {name: value for name, value in call.object.items() if name != "type"}
        known = self.coupons.get(call.argument)
        if known is not None:
            call.duplicate()
            return json_response(200 if self._wanted[call.argument] == wanted else 409, known)
        self._wanted[call.argument] = wanted
        stored = {**wanted, **self.shop.config.distort, "id": f"relay-{self.shop.new_id()}", "used": 0}
        self.coupons[call.argument] = made = {"coupon": stored, "state": "active"}
        call.applied()
        return json_response(201, made)

    async def _loyalty(self, call: Call) -> Response:
        call.applied()
        return json_response(200, {})

    async def _lookup(self, call: Call) -> Response:
        known = self.coupons.get(call.argument)
        return json_response(200, known) if known else NONE_SUCH

    async def _retire(self, call: Call) -> Response:
        known = self.coupons.get(call.argument)
        if known is None:
            return NONE_SUCH
        if known["state"] != "retired":
            known["state"] = "retired"
            call.applied()
        return json_response(200, known)
