"""Loyalty sync with the metadata of Medusa's customer: keys `platform_relay_…` by `loyalty_sync.FIELDS`."""

from collections.abc import Mapping
from functools import partial
from urllib.parse import quote

from pydantic import JsonValue

from platform_relay.core.outcomes import Done, Outcome
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.loyalty_sync import (
    PREFIX,
    StoredFields,
    customer_not_found,
    not_blocking,
    stored_fields,
    sync_customer,
)
from platform_relay.stores.medusa.api import RESPONSES, MedusaApi, Method, is_not_found, raise_for_status
from platform_relay.stores.parsing import value_at


async def sync_loyalty(api: MedusaApi, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
    """See `loyalty_sync.SyncsLoyalty`. Medusa merges metadata, so other keys are kept (2.21.2, `mergeMetadata`)."""
    read, write = partial(_read, api), partial(_write, api)
    try:
        return await sync_customer(RESPONSES, topic, body, parse_id=str, read=read, write=write)
    except CallFailed as failed:
        raise not_blocking(failed) from None


async def check_permission(api: MedusaApi) -> Done:
    """Change a customer who does not exist, which shows whether the key may write. Raises CallFailed."""
    await _write(api, "relay-check", {})
    return Done()


async def _read(api: MedusaApi, customer_id: str) -> StoredFields:
    return await _customer(api, "GET", customer_id, "the customer lookup")


async def _write(api: MedusaApi, customer_id: str, fields: Mapping[str, str]) -> StoredFields:
    metadata: JsonValue = {"metadata": {PREFIX + name: value for name, value in fields.items()}}
    return await _customer(api, "POST", customer_id, "the change of the customer", metadata)


async def _customer(
    api: MedusaApi, method: Method, customer_id: str, request: str, body: JsonValue = None
) -> StoredFields:
    """The stored fields of a customer, as the response shows them."""
    answer = await api.call(method, f"customers/{quote(customer_id, safe='')}", [("fields", "id,metadata")], body)
    if is_not_found(answer):
        raise customer_not_found(RESPONSES, customer_id, answer)
    raise_for_status(answer, request)
    customer = value_at(RESPONSES.json(answer, request), "customer")
    if not isinstance(customer, dict):
        raise RESPONSES.unreadable(request, "it does not contain the customer", answer)
    metadata = customer.get("metadata")
    return stored_fields(metadata, PREFIX) if isinstance(metadata, dict) else {}
