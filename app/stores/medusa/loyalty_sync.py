"""Where a customer stands, in the metadata of Medusa's customer: keys `platform_relay_…` by `stores.news.NAMES`."""

from collections.abc import Mapping
from functools import partial
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue

from platform_relay.core.outcomes import Outcome
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.loyalty_sync import NAMES, Kept, keep_standing, no_such_customer, of_customers_alone
from platform_relay.stores.medusa.api import RESPONSES, MedusaApi, Method, gone, succeeded

PREFIX: Final = "platform_relay_"


async def sync_loyalty(api: MedusaApi, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
    """See `news.SyncsLoyalty`. Metadata of other keys stays: Medusa merges what it is sent (2.21.2, `mergeMetadata`)."""
    read, write = partial(_read, api), partial(_write, api)
    try:
        return await keep_standing(RESPONSES, topic, body, own_id=str, read=read, write=write)
    except CallFailed as failed:
        raise of_customers_alone(failed) from None


async def _read(api: MedusaApi, customer_id: str) -> Kept:
    return await _customer(api, "GET", customer_id, "the customer look-up")


async def _write(api: MedusaApi, customer_id: str, wanted: Mapping[str, str]) -> Kept:
    metadata: JsonValue = {"metadata": {PREFIX + name: value for name, value in wanted.items()}}
    return await _customer(api, "POST", customer_id, "the change of the customer", metadata)


async def _customer(api: MedusaApi, method: Method, customer_id: str, request: str, body: JsonValue = None) -> Kept:
    """What we keep on a customer, as the answer shows it."""
    answer = await api.call(method, f"customers/{quote(customer_id, safe='')}", [("fields", "id,metadata")], body)
    if gone(answer):
        raise no_such_customer(RESPONSES, customer_id, answer)
    succeeded(answer, request)
    value = RESPONSES.document(answer, request)
    shown = value.get("customer") if isinstance(value, dict) else None
    if not isinstance(shown, dict):
        raise RESPONSES.unreadable(request, "it has no customer", answer)
    metadata = shown.get("metadata")
    rows = metadata if isinstance(metadata, dict) else {}
    return {name: rows[PREFIX + name] for name in NAMES if PREFIX + name in rows}
