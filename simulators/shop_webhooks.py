"""WooCommerce's webhooks: their CRUD, the ping, and deliveries with the traits observed on 9.9.5.

No retries; after more than `webhook_failure_limit` failures in a row a webhook is disabled. The delivery id is a hash
of webhook id and current second, so two events of one second share it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING

from .call import Call, Json, Response, json_response
from .shop_auth import refusal

if TYPE_CHECKING:
    from .shop import Shop

WRITABLE = ("name", "status", "topic", "delivery_url", "secret")
AGENT = "WooCommerce/9.9.5 Hookshot (WordPress/6.9)"


class Webhooks:
    """The registered webhooks by id."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.by_id: dict[int, Json] = {}

    def clear(self) -> None:
        """No webhooks."""
        self.by_id.clear()

    def _get(self, call: Call) -> Json:
        hook = self.by_id.get(int(call.argument)) if call.argument.isdigit() else None
        if hook is None:
            raise refusal(404, "woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.")
        return hook

    def _shown(self, call: Call, hook: Json) -> Json:
        visible = {name: value for name, value in hook.items() if name not in ("secret", "failures")}
        return self.shop.shown(call, "webhooks", visible)

    async def index(self, call: Call) -> Response:
        """GET /webhooks."""
        return self.shop.page(call, [{k: v for k, v in h.items() if k not in ("secret", "failures")}
                                     for h in self.by_id.values()])  # fmt: skip

    async def get(self, call: Call) -> Response:
        """GET /webhooks/{id}."""
        return json_response(200, self._shown(call, self._get(call)))

    async def create(self, call: Call) -> Response:
        """POST /webhooks; an active one is pinged at once, form-encoded and unsigned."""
        body = call.object
        missing = [name for name in ("topic", "delivery_url") if not body.get(name)]
        if missing:
            text = f"Missing parameter(s): {', '.join(missing)}"
            raise refusal(400, "rest_missing_callback_param", text, params=missing)
        local, utc = self.shop.now()
        resource, _, event = str(body["topic"]).partition(".")
        hook: Json = {
            "id": self.shop.new_id(), "name": f"Webhook created on {local}", "status": "active", "secret": "",
            **{name: str(body[name]) for name in WRITABLE if name in body}, "resource": resource, "event": event,
            "date_created": local, "date_created_gmt": utc, "date_modified": local, "date_modified_gmt": utc,
            "failures": 0,
        }  # fmt: skip
        self.by_id[hook["id"]] = hook
        call.applied()
        if hook["status"] == "active":
            ping = f"webhook_id={hook['id']}".encode()
            headers = {"content-type": "application/x-www-form-urlencoded", "user-agent": AGENT}
            self.shop.deliveries.start(self.shop.deliveries.send("ping", hook["delivery_url"], ping, headers))
        return json_response(201, self._shown(call, hook), {"location": self.shop.url(call, f"webhooks/{hook['id']}")})

    async def update(self, call: Call) -> Response:
        """PUT /webhooks/{id}."""
        hook = self._get(call)
        hook.update({name: str(call.object[name]) for name in WRITABLE if name in call.object})
        hook["resource"], _, hook["event"] = hook["topic"].partition(".")
        hook["date_modified"], hook["date_modified_gmt"] = self.shop.now()
        if call.object.get("status") == "active":
            hook["failures"] = 0
        call.applied()
        return json_response(200, self._shown(call, hook))

    async def delete(self, call: Call) -> Response:
        """DELETE /webhooks/{id}; webhooks know no trash, so `force=true` is needed."""
        hook = self._get(call)
        if str(call.query.get("force", call.object.get("force", ""))).lower() not in ("1", "true"):
            raise refusal(501, "woocommerce_rest_trash_not_supported", "Webhooks do not support trashing.")
        del self.by_id[hook["id"]]
        call.applied()
        return json_response(200, self._shown(call, hook))

    async def fire(self, topic: str, body: object, times: int, wait: bool) -> list[Json]:
        """Deliver `body` to every active webhook of `topic`, `times` times; gives the deliveries when waited for."""
        raw = json.dumps(body, separators=(",", ":")).encode()
        hooks = [hook for hook in self.by_id.values() if hook["topic"] == topic and hook["status"] == "active"]
        work = [self._deliver(hook, topic, raw) for hook in hooks for _ in range(times)]
        if not wait:
            for one in work:
                self.shop.deliveries.start(one)
            return []
        return list(await asyncio.gather(*work))

    async def _deliver(self, hook: Json, topic: str, raw: bytes) -> Json:
        resource, _, event = topic.partition(".")
        moment = f"{hook['id']}{int(time.time())}"
        digest = hmac.new(hook["secret"].encode(), raw, hashlib.sha256).digest()
        headers = {
            "content-type": "application/json", "user-agent": AGENT,
            "x-wc-webhook-source": self.shop.config.store_url, "x-wc-webhook-topic": topic,
            "x-wc-webhook-resource": resource, "x-wc-webhook-event": event,
            "x-wc-webhook-signature": base64.b64encode(digest).decode(), "x-wc-webhook-id": str(hook["id"]),
            "x-wc-webhook-delivery-id": hashlib.md5(moment.encode(), usedforsecurity=False).hexdigest(),
        }  # fmt: skip
        sent = await self.shop.deliveries.send(topic, hook["delivery_url"], raw, headers)
        hook["failures"] = 0 if sent.delivered else hook["failures"] + 1
        if hook["failures"] > self.shop.config.webhook_failure_limit:
            hook["status"] = "disabled"
        return sent.as_json()
