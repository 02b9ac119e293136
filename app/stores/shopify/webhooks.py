"""Sets up Shopify's webhook subscriptions. Shopify retries a delivery 8 times in 4 hours, then deletes the subscription."""

from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Done, Outcome, Retry
from platform_relay.stores.native import StoreWebhook
from platform_relay.stores.parsing import value_at
from platform_relay.stores.shopify.api import RESPONSES, ShopifyApi, rejected, user_errors
from platform_relay.stores.shopify.documents import CREATE_WEBHOOK, DELETE_WEBHOOK, LIST_WEBHOOKS

TAKEN: Final = "already been taken"
GONE: Final = "does not exist"
"""Parts of Shopify's error texts, as the userErrors of subscriptions have no codes."""


async def list_webhooks(api: ShopifyApi, address: str) -> tuple[StoreWebhook, ...]:
    """Return the app's subscriptions that go to `address`. Raises CallFailed."""
    request = "the list of webhooks"
    result = await api.read(request, LIST_WEBHOOKS, {"uri": address})
    nodes = value_at(result, "nodes")
    webhooks = [_webhook(node) for node in nodes] if isinstance(nodes, list) else [None]
    if None in webhooks:
        raise RESPONSES.unreadable(request, "it is not a list of webhooks")
    return tuple(webhook for webhook in webhooks if webhook is not None and webhook.address == address)


async def create_webhook(api: ShopifyApi, topic: str, address: str) -> StoreWebhook | Outcome:
    """Create a subscription, or return the existing one. Raises CallFailed."""
    request = f"the creation of the webhook {topic}"
    webhook: JsonValue = {"uri": address, "format": "JSON"}
    result = await api.write(request, CREATE_WEBHOOK, {"topic": topic.upper().replace("/", "_"), "webhook": webhook})
    errors = user_errors(result)
    if any(TAKEN in text for _, text in errors):
        existing = next((known for known in await list_webhooks(api, address) if known.topic == topic), None)
        return existing or Retry(rejected(request, errors).reason)
    if errors:
        return rejected(request, errors)
    created = _webhook(value_at(result, "webhookSubscription"))
    if created is None:
        raise RESPONSES.unreadable(request, "it does not contain the webhook")
    return created


async def delete_webhook(api: ShopifyApi, webhook: StoreWebhook) -> Outcome:
    """Delete a subscription. Done also if it no longer exists. Raises CallFailed."""
    request = f"the removal of the webhook {webhook.topic}"
    errors = user_errors(await api.write(request, DELETE_WEBHOOK, {"id": webhook.id}))
    is_not_found = not errors or any(GONE in text for _, text in errors)
    return Done() if is_not_found else rejected(request, errors)


def _webhook(node: JsonValue) -> StoreWebhook | None:
    if not isinstance(node, dict) or not all(isinstance(node.get(name), str) for name in ("id", "topic", "uri")):
        return None
    return StoreWebhook(
        str(node["id"]), str(node["topic"]).lower().replace("_", "/", 1), str(node["uri"]), enabled=True
    )
