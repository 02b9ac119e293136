"""Sets up BigCommerce's webhooks (V3). It switches a webhook off after 90 days without an event, or after many failures."""

from pydantic import JsonValue

from platform_relay.core.outcomes import Done, Outcome
from platform_relay.stores.bigcommerce.api import RESPONSES, BigCommerceApi, raise_for_status
from platform_relay.stores.native import StoreWebhook
from platform_relay.stores.parsing import value_at


async def list_webhooks(api: BigCommerceApi, address: str) -> tuple[StoreWebhook, ...]:
    """Return the webhooks that go to `address`, also those that are switched off. Raises CallFailed."""
    request = "the list of webhooks"
    response = await api.document(request, "/v3/hooks", {"destination": address, "limit": "250"})
    if response is None:
        return ()
    data = response.get("data")
    webhooks = [_webhook(row) for row in data] if isinstance(data, list) else [None]
    if None in webhooks:
        raise RESPONSES.unreadable(request, "it is not a list of webhooks")
    return tuple(webhook for webhook in webhooks if webhook is not None and webhook.address == address)


async def create_webhook(api: BigCommerceApi, topic: str, address: str) -> StoreWebhook:
    """Create a webhook, or switch on the existing one. Raises CallFailed."""
    if existing := next((webhook for webhook in await list_webhooks(api, address) if webhook.topic == topic), None):
        if not existing.enabled:
            await enable_webhook(api, existing)
        return StoreWebhook(existing.id, topic, address, enabled=True)
    request = f"the creation of the webhook {topic}"
    body: JsonValue = {"scope": topic, "destination": address, "is_active": True, "headers": {}}
    answer = await api.call("POST", "/v3/hooks", body=body)
    raise_for_status(answer, request)
    created = _webhook(value_at(answer.json(), "data"))
    if created is None:
        raise RESPONSES.unreadable(request, "it does not contain the webhook", answer)
    return created


async def enable_webhook(api: BigCommerceApi, webhook: StoreWebhook) -> Outcome:
    """Switch on a webhook that the store has switched off. Raises CallFailed."""
    body: JsonValue = {"scope": webhook.topic, "destination": webhook.address, "is_active": True}
    answer = await api.call("PUT", f"/v3/hooks/{webhook.id}", body=body)
    raise_for_status(answer, f"the activation of the webhook {webhook.topic}", single=True)
    return Done({"id": webhook.id})


async def delete_webhook(api: BigCommerceApi, webhook: StoreWebhook) -> Outcome:
    """Delete a webhook. Done also if it no longer exists. Raises CallFailed."""
    answer = await api.call("DELETE", f"/v3/hooks/{webhook.id}")
    if answer.status != 404:
        raise_for_status(answer, f"the removal of the webhook {webhook.topic}")
    return Done()


def _webhook(row: JsonValue) -> StoreWebhook | None:
    if not isinstance(row, dict) or not isinstance(row.get("id"), int):
        return None
    return StoreWebhook(
        str(row["id"]), str(row.get("scope")), str(row.get("destination")), enabled=row.get("is_active") is True
    )
