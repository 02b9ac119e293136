"""Saleor's webhooks: whose they are, and setting them up.

With a secret key the signature is hex(HMAC-SHA256(raw body)). Without, it is a detached JWS (RS256, RFC 7797 `b64: false`)
over the raw body by the key that the store shows at /.well-known/jwks.json; the key's id (`kid`) says which.
https://docs.saleor.io/developer/extending/webhooks/payload-signature
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Final

import jwt
from pydantic import JsonValue

from platform_relay.core.outcomes import Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.native import Hook, Refused, secret_missing, wrong_signature
from platform_relay.stores.saleor import documents as documents
from platform_relay.stores.saleor.api import RESPONSES, SaleorApi, nodes

KEY_SECONDS: Final = 3600.0
"""How long the store's keys are believed."""
AGAIN_SECONDS: Final = 10.0
"""The shortest time between two fetches: anybody can invent a key id. Saleor delivers a refused webhook again."""
NAME: Final = "Platform Relay: "
SECRET: Final = "SALEOR__WEBHOOK_SECRET"  # noqa: S105  # a variable's name
TOPICS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "customers": (documents.CUSTOMER_EVENTS, ("CUSTOMER_CREATED", "CUSTOMER_UPDATED")),
    "orders": (
        documents.ORDER_EVENTS,
        (
            "ORDER_CREATED", "ORDER_CONFIRMED", "ORDER_UPDATED", "ORDER_PAID", "ORDER_FULLY_PAID", "ORDER_REFUNDED",
            "ORDER_FULLY_REFUNDED", "ORDER_CANCELLED", "ORDER_EXPIRED",
        ),
    ),
    "products": (
        documents.PRODUCT_EVENTS,
        (
            "PRODUCT_CREATED", "PRODUCT_UPDATED", "PRODUCT_VARIANT_CREATED", "PRODUCT_VARIANT_UPDATED",
            "PRODUCT_VARIANT_DELETED",
        ),
    ),
}  # fmt: skip


class KeySet:
    """The store's public keys by id: fetched when needed, kept for an hour, fetched again for an id that is new."""

    def __init__(self, api: SaleorApi) -> None:
        self._api = api
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = -KEY_SECONDS
        self._fetching = asyncio.Lock()

    async def refusal(self, headers: Mapping[str, str], raw: bytes, secret: str) -> Refused | None:
        """None when the body is the store's: signed with `secret` ("": there is none), or by the store's own key."""
        signature = headers.get("saleor-signature") or headers.get("x-saleor-signature") or ""
        if not signature:
            return wrong_signature(SECRET, "there is no header Saleor-Signature")
        if signature.count(".") == 2:
            return await self._not_signed_by_key(signature, raw)
        if not secret:
            return Refused(secret_missing(SECRET))
        right = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(right.encode(), signature.encode()) else wrong_signature(SECRET)

    async def _not_signed_by_key(self, signature: str, raw: bytes) -> Refused | None:
        try:
            key_id = str(jwt.get_unverified_header(signature).get("kid"))
            key = await self._key(key_id)
            if key is None:
                return wrong_signature(None, "the store does not publish its key at /.well-known/jwks.json")
            jwt.PyJWS().decode_complete(signature, key.key, algorithms=["RS256"], detached_payload=raw)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            return wrong_signature(None, str(error)[:200])
        return None

    async def _key(self, key_id: str) -> jwt.PyJWK | None:
        if self._wanted(key_id):
            async with self._fetching:
                if self._wanted(key_id) and time.monotonic() - self._tried >= AGAIN_SECONDS:
                    await self._fetch()
        return self._keys.get(key_id)

    def _wanted(self, key_id: str) -> bool:
        return key_id not in self._keys or time.monotonic() - self._fetched >= KEY_SECONDS

    async def _fetch(self) -> None:
        self._tried = time.monotonic()
        try:
            document = await self._api.well_known("jwks.json")
        except CallFailed:
            return  # the known keys stay
        if isinstance(document, dict):
            self._keys, self._fetched = _rsa_keys(document), self._tried


def _rsa_keys(document: Mapping[str, JsonValue]) -> dict[str, jwt.PyJWK]:
    keys = {}
    for row in nodes(document.get("keys")):
        if row.get("kty") == "RSA" and row.get("use", "sig") == "sig":
            try:
                keys[str(row.get("kid"))] = jwt.PyJWK(dict(row), algorithm="RS256")
            except jwt.PyJWTError:
                continue  # a key that we cannot read verifies nothing
    return keys


class Hooks:
    """The webhooks of our app. `secret` "": the store signs with its own key."""

    topics = tuple(TOPICS)

    def __init__(self, api: SaleorApi, secret: str) -> None:
        self._api = api
        self._secret = secret

    async def listed(self, address: str) -> tuple[Hook, ...]:
        """Those that go to `address`; the topic of one that is not ours is its name."""
        data = await self._api.read(documents.HOOKS, "the list of webhooks")
        app = data.get("app")
        if not isinstance(app, dict):
            raise RESPONSES.unreadable("the list of webhooks", "it has no app")
        rows = [row for row in nodes(app.get("webhooks")) if row.get("targetUrl") == address]
        return tuple(
            Hook(str(row.get("id")), _topic(row.get("name")), address, row.get("isActive") is True) for row in rows
        )

    async def create(self, topic: str, address: str) -> Hook | Reject:
        """One webhook for all events of a kind, with the fields that we need and nothing else."""
        if topic not in TOPICS:
            problem = f"there is no topic {topic!r}, only {', '.join(TOPICS)}"
            return Reject(RESPONSES.reason(ReasonCode.REJECTED_BY_DESTINATION, request="the webhook", response=problem))
        document, names = TOPICS[topic]
        body: dict[str, JsonValue] = {
            "name": NAME + topic, "targetUrl": address, "asyncEvents": list(names), "isActive": True, "query": document,
        }  # fmt: skip
        if self._secret:
            body["secretKey"] = self._secret
        made = await self._api.change(documents.CREATE_HOOK, "webhookCreate", "the webhook", input=body)
        row = made.get("webhook")
        if not isinstance(row, dict):
            raise RESPONSES.unreadable("the webhook", "it has no webhook")
        return Hook(str(row.get("id")), topic, address, row.get("isActive") is True)


def _topic(name: JsonValue) -> str:
    return str(name or "").removeprefix(NAME)
