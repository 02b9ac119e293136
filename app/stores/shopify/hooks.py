"""Shopify's webhook subscriptions. Shopify retries a delivery 8 times in 4 hours and then removes the subscription."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from app.outcomes import Done, Outcome, Reject, Retry, Unknown
from app.stores.native import Hook
from app.stores.shopify.api import ShopifyApi
from app.stores.shopify.documents import CREATE_HOOK, DELETE_HOOK, LIST_HOOKS

TAKEN: Final = "already been taken"


async def list_hooks(api: ShopifyApi, address: str) -> tuple[Hook, ...] | Outcome:
    """The app's subscriptions that go to `address`."""
    data = await api.read(LIST_HOOKS, {"uri": address})
    if not isinstance(data, Mapping):
        return data
    result = data["result"]
    nodes = result.get("nodes") if isinstance(result, dict) else None
    hooks = [_hook(node) for node in nodes] if isinstance(nodes, list) else [None]
    if None in hooks:
        return Unknown("Shopify answered with no list of webhooks")
    return tuple(hook for hook in hooks if hook is not None and hook.address == address)


async def create_hook(api: ShopifyApi, topic: str, address: str) -> Hook | Outcome:
    """Set one up; the one that is there already is given as it is."""
    hook: JsonValue = {"uri": address, "format": "JSON"}
    data = await api.write(CREATE_HOOK, {"topic": topic.upper().replace("/", "_"), "hook": hook})
    if not isinstance(data, Mapping):
        return data
    result = data["result"]
    told = _told(result)
    if TAKEN in told:
        known = await list_hooks(api, address)
        if not isinstance(known, tuple):
            return known
        same = next((each for each in known if each.topic == topic), None)
        return same or Retry(f"Shopify says that {topic} goes to this address already, and does not show it")
    if told:
        return Reject(f"Shopify does not set up the webhook {topic}: {told}")
    made = _hook(result.get("webhookSubscription")) if isinstance(result, dict) else None
    return made or Unknown("Shopify answered without the webhook")


async def delete_hook(api: ShopifyApi, hook: Hook) -> Outcome:
    """Done also when it is gone already."""
    data = await api.write(DELETE_HOOK, {"id": hook.id})
    if not isinstance(data, Mapping):
        return data
    told = _told(data["result"])
    gone = not told or "does not exist" in told
    return Done() if gone else Reject(f"Shopify does not remove the webhook {hook.topic}: {told}")


def _hook(node: JsonValue) -> Hook | None:
    if not isinstance(node, dict) or not all(isinstance(node.get(name), str) for name in ("id", "topic", "uri")):
        return None
    return Hook(str(node["id"]), str(node["topic"]).lower().replace("_", "/", 1), str(node["uri"]), enabled=True)


def _told(result: JsonValue) -> str:
    rows = result.get("userErrors") if isinstance(result, dict) else None
    return "; ".join(str(row.get("message")) for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ""
