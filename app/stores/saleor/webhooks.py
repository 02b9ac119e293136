"""Verifies and sets up Saleor's webhooks.

With a secret key, the signature is hex(HMAC-SHA256(raw body)). Without one, it is a detached JWS (RS256, RFC 7797 `b64: false`)
over the raw body, signed with a key that the store publishes at /.well-known/jwks.json; `kid` is the id of the key.
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
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.native import StoreWebhook, Unverified, invalid_signature, secret_missing
from platform_relay.stores.saleor import documents as documents
from platform_relay.stores.saleor.api import RESPONSES, SaleorApi, nodes

KEY_SECONDS: Final = 3600.0
"""How long the store's keys are used before they are fetched again."""
AGAIN_SECONDS: Final = 10.0
"""The minimum time between two fetches, because anyone can invent a key id. Saleor repeats a webhook that was refused."""
NAME: Final = "Platform Relay: "
SECRET: Final = "SALEOR__WEBHOOK_SECRET"  # noqa: S105  # the name of a variable
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
    """The store's public keys by id. They are fetched when needed, kept for an hour, and fetched again for an unknown id."""

    def __init__(self, api: SaleorApi) -> None:
        self._api = api
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = -KEY_SECONDS
        self._fetching = asyncio.Lock()

    async def verify(self, headers: Mapping[str, str], raw: bytes, secret: str) -> Unverified | None:
        """None if the body is signed with `secret` ("" if there is none) or with the store's own key; Unverified otherwise."""
        signature = headers.get("saleor-signature") or headers.get("x-saleor-signature") or ""
        if not signature:
            return invalid_signature(SECRET, "the header Saleor-Signature is missing")
        if signature.count(".") == 2:
            return await self._verify_jws(signature, raw)
        if not secret:
            return Unverified(secret_missing(SECRET))
        expected = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(expected.encode(), signature.encode()) else invalid_signature(SECRET)

    async def _verify_jws(self, signature: str, raw: bytes) -> Unverified | None:
        try:
            key_id = str(jwt.get_unverified_header(signature).get("kid"))
            key = await self._key(key_id)
            if key is None:
                return invalid_signature(None, "the store does not publish its key at /.well-known/jwks.json")
            jwt.PyJWS().decode_complete(signature, key.key, algorithms=["RS256"], detached_payload=raw)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            return invalid_signature(None, str(error)[:200])
        return None

    async def _key(self, key_id: str) -> jwt.PyJWK | None:
        if self._must_fetch(key_id):
            async with self._fetching:
                if self._must_fetch(key_id) and time.monotonic() - self._tried_at >= AGAIN_SECONDS:
                    await self._fetch()
        return self._keys.get(key_id)

    def _must_fetch(self, key_id: str) -> bool:
        return key_id not in self._keys or time.monotonic() - self._fetched_at >= KEY_SECONDS

    async def _fetch(self) -> None:
        self._tried_at = time.monotonic()
        try:
            document = await self._api.well_known("jwks.json")
        except CallFailed:
            return  # the known keys are kept
        if isinstance(document, dict):
            self._keys, self._fetched_at = _rsa_keys(document), self._tried_at


def _rsa_keys(document: Mapping[str, JsonValue]) -> dict[str, jwt.PyJWK]:
    keys = {}
    for row in nodes(document.get("keys")):
        if row.get("kty") == "RSA" and row.get("use", "sig") == "sig":
            try:
                keys[str(row.get("kid"))] = jwt.PyJWK(dict(row), algorithm="RS256")
            except jwt.PyJWTError:
                continue  # an unreadable key is not used
    return keys


class SaleorWebhooks:
    """Sets up the webhooks of the relay's app. `secret` "": the store signs with its own key. Methods raise CallFailed."""

    topics = tuple(TOPICS)

    def __init__(self, api: SaleorApi, secret: str) -> None:
        self._api = api
        self._secret = secret

    async def list_webhooks(self, address: str) -> tuple[StoreWebhook, ...]:
        """Return the webhooks that go to `address`. A webhook that the relay did not create has its name as topic."""
        data = await self._api.read(documents.WEBHOOKS, "the list of webhooks")
        app = data.get("app")
        if not isinstance(app, dict):
            raise RESPONSES.unreadable("the list of webhooks", "it does not contain the app")
        rows = [row for row in nodes(app.get("webhooks")) if row.get("targetUrl") == address]
        return tuple(
            StoreWebhook(str(row.get("id")), _topic(row.get("name")), address, row.get("isActive") is True)
            for row in rows
        )

    async def create_webhook(self, topic: str, address: str) -> StoreWebhook | Reject:
        """Create one webhook for all events of a kind, with only the fields that the relay needs."""
        request = "the creation of the webhook"
        if topic not in TOPICS:
            problem = f"there is no topic {topic!r}, only {', '.join(TOPICS)}"
            return Reject(RESPONSES.reason(ReasonCode.REJECTED_BY_DESTINATION, request=request, response=problem))
        document, names = TOPICS[topic]
        body: dict[str, JsonValue] = {
            "name": NAME + topic, "targetUrl": address, "asyncEvents": list(names), "isActive": True, "query": document,
        }  # fmt: skip
        if self._secret:
            body["secretKey"] = self._secret
        created = await self._api.change(documents.CREATE_WEBHOOK, "webhookCreate", request, input=body)
        row = created.get("webhook")
        if not isinstance(row, dict):
            raise RESPONSES.unreadable(request, "it does not contain the webhook")
        return StoreWebhook(str(row.get("id")), topic, address, row.get("isActive") is True)


def _topic(name: JsonValue) -> str:
    return str(name or "").removeprefix(NAME)
