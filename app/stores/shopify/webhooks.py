"""Shopify's webhook subscriptions. Shopify retries a delivery 8 times in 4 hours and then removes the subscription."""

from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Done, Outcome, Reject, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.native import Hook
from platform_relay.stores.reading import rows
from platform_relay.stores.shopify.api import RESPONSES, WORDS, ShopifyApi
from platform_relay.stores.shopify.documents import CREATE_HOOK, DELETE_HOOK, LIST_HOOKS

TAKEN: Final = "already been taken"
GONE: Final = "does not exist"
"""Shopify's words: the userErrors of subscriptions have no codes."""


async def list_hooks(api: ShopifyApi, address: str) -> tuple[Hook, ...]:
    """The app's subscriptions that go to `address`. Raises CallFailed."""
    request = "the list of webhooks"
    result = await api.read(request, LIST_HOOKS, {"uri": address})
    nodes = result.get("nodes") if isinstance(result, dict) else None
    hooks = [_hook(node) for node in nodes] if isinstance(nodes, list) else [None]
    if None in hooks:
        raise RESPONSES.unreadable(request, "it is not a list of webhooks")
    return tuple(hook for hook in hooks if hook is not None and hook.address == address)


async def create_hook(api: ShopifyApi, topic: str, address: str) -> Hook | Outcome:
    """Set one up; the one that is there already is given as it is. Raises CallFailed."""
    request = f"the creation of the webhook {topic}"
    hook: JsonValue = {"uri": address, "format": "JSON"}
    result = await api.write(request, CREATE_HOOK, {"topic": topic.upper().replace("/", "_"), "hook": hook})
    errors = _errors(result)
    if TAKEN in errors:
        same = next((each for each in await list_hooks(api, address) if each.topic == topic), None)
        return same or Retry(_rejected(request, errors).reason)
    if errors:
        return _rejected(request, errors)
    made = _hook(result.get("webhookSubscription")) if isinstance(result, dict) else None
    if made is None:
        raise RESPONSES.unreadable(request, "it does not show the webhook")
    return made


async def delete_hook(api: ShopifyApi, hook: Hook) -> Outcome:
    """Done also when it is gone already. Raises CallFailed."""
    request = f"the removal of the webhook {hook.topic}"
    errors = _errors(await api.write(request, DELETE_HOOK, {"id": hook.id}))
    return Done() if not errors or GONE in errors else _rejected(request, errors)


def _rejected(request: str, errors: str) -> Reject:
    return Reject(RESPONSES.reason(ReasonCode.REJECTED_BY_DESTINATION, request=request, response=errors[:WORDS]))


def _hook(node: JsonValue) -> Hook | None:
    if not isinstance(node, dict) or not all(isinstance(node.get(name), str) for name in ("id", "topic", "uri")):
        return None
    return Hook(str(node["id"]), str(node["topic"]).lower().replace("_", "/", 1), str(node["uri"]), enabled=True)


def _errors(result: JsonValue) -> str:
    errors = rows(result.get("userErrors") if isinstance(result, dict) else None)
    return "; ".join(str(row.get("message")) for row in errors)
