"""BigCommerce's webhooks (V3). It switches one off after 90 days without an event, or when deliveries keep failing."""

from pydantic import JsonValue

from platform_relay.core.outcomes import Done, Outcome
from platform_relay.stores.bigcommerce.api import RESPONSES, BigCommerceApi, succeeded
from platform_relay.stores.native import Hook


async def list_hooks(api: BigCommerceApi, address: str) -> tuple[Hook, ...]:
    """Those that go to `address`, switched off or not. Raises CallFailed."""
    request = "the list of webhooks"
    shown = await api.document(request, "/v3/hooks", {"destination": address, "limit": "250"})
    if shown is None:
        return ()
    data = shown.get("data")
    hooks = [_hook(row) for row in data] if isinstance(data, list) else [None]
    if None in hooks:
        raise RESPONSES.unreadable(request, "it is not a list of webhooks")
    return tuple(hook for hook in hooks if hook is not None and hook.address == address)


async def create_hook(api: BigCommerceApi, topic: str, address: str) -> Hook:
    """Set one up; the one that is there already is switched on and given. Raises CallFailed."""
    if same := next((hook for hook in await list_hooks(api, address) if hook.topic == topic), None):
        if not same.enabled:
            await enable_hook(api, same)
        return Hook(same.id, topic, address, enabled=True)
    request = f"the creation of the webhook {topic}"
    body: JsonValue = {"scope": topic, "destination": address, "is_active": True, "headers": {}}
    answer = await api.call("POST", "/v3/hooks", body=body)
    succeeded(answer, request)
    shown = answer.json()
    made = _hook(shown.get("data")) if isinstance(shown, dict) else None
    if made is None:
        raise RESPONSES.unreadable(request, "it does not show the webhook", answer)
    return made


async def enable_hook(api: BigCommerceApi, hook: Hook) -> Outcome:
    """Switch on what the store switched off. Raises CallFailed."""
    body: JsonValue = {"scope": hook.topic, "destination": hook.address, "is_active": True}
    answer = await api.call("PUT", f"/v3/hooks/{hook.id}", body=body)
    succeeded(answer, f"the activation of the webhook {hook.topic}", single=True)
    return Done({"id": hook.id})


async def delete_hook(api: BigCommerceApi, hook: Hook) -> Outcome:
    """Done also when it is gone already. Raises CallFailed."""
    answer = await api.call("DELETE", f"/v3/hooks/{hook.id}")
    if answer.status != 404:
        succeeded(answer, f"the removal of the webhook {hook.topic}")
    return Done()


def _hook(row: JsonValue) -> Hook | None:
    if not isinstance(row, dict) or not isinstance(row.get("id"), int):
        return None
    return Hook(
        str(row["id"]), str(row.get("scope")), str(row.get("destination")), enabled=row.get("is_active") is True
    )
