"""BigCommerce's webhooks (V3). It switches one off after 90 days without an event, or when deliveries keep failing."""

from pydantic import JsonValue

from app.http import Answer
from app.outcomes import Done, Outcome, Unknown
from app.stores.bigcommerce.api import BigCommerceApi
from app.stores.native import Hook


async def list_hooks(api: BigCommerceApi, address: str) -> tuple[Hook, ...] | Outcome:
    """Those that go to `address`, switched off or not."""
    found = await api.document("/v3/hooks", {"destination": address, "limit": "250"})
    if found is None:
        return ()
    if not isinstance(found, dict):
        return found
    data = found.get("data")
    hooks = [_hook(row) for row in data] if isinstance(data, list) else [None]
    if None in hooks:
        return Unknown("BigCommerce answered with no list of webhooks")
    return tuple(hook for hook in hooks if hook is not None and hook.address == address)


async def create_hook(api: BigCommerceApi, topic: str, address: str) -> Hook | Outcome:
    """Set one up; the one that is there already is switched on and given."""
    known = await list_hooks(api, address)
    if not isinstance(known, tuple):
        return known
    if same := next((hook for hook in known if hook.topic == topic), None):
        switched = Done() if same.enabled else await enable_hook(api, same)
        return Hook(same.id, topic, address, enabled=True) if isinstance(switched, Done) else switched
    body: JsonValue = {"scope": topic, "destination": address, "is_active": True, "headers": {}}
    answer = await api.call("POST", "/v3/hooks", body=body)
    if not isinstance(answer, Answer):
        return answer
    if failure := api.failure(answer):
        return failure
    shown = answer.json()
    made = _hook(shown.get("data")) if isinstance(shown, dict) else None
    return made or Unknown("BigCommerce answered without the webhook", answer.evidence())


async def enable_hook(api: BigCommerceApi, hook: Hook) -> Outcome:
    """Switch on what the shop switched off."""
    body: JsonValue = {"scope": hook.topic, "destination": hook.address, "is_active": True}
    answer = await api.call("PUT", f"/v3/hooks/{hook.id}", body=body)
    return answer if not isinstance(answer, Answer) else api.failure(answer, single=True) or Done({"id": hook.id})


async def delete_hook(api: BigCommerceApi, hook: Hook) -> Outcome:
    """Done also when it is gone already."""
    answer = await api.call("DELETE", f"/v3/hooks/{hook.id}")
    if not isinstance(answer, Answer):
        return answer
    return Done() if answer.status == 404 else api.failure(answer, single=True) or Done()


def _hook(row: JsonValue) -> Hook | None:
    if not isinstance(row, dict) or not isinstance(row.get("id"), int):
        return None
    return Hook(
        str(row["id"]), str(row.get("scope")), str(row.get("destination")), enabled=row.get("is_active") is True
    )
