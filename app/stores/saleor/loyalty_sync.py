"""Loyalty sync with the private metadata of Saleor's customer: keys `platform_relay_…` by `loyalty_sync.FIELDS`.

The metadata is private because customers can write their own public metadata (`accountUpdate`), including any tier.
"""

import base64
import binascii
from collections.abc import Mapping
from functools import partial
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Outcome
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.loyalty_sync import (
    FIELDS,
    PREFIX,
    StoredFields,
    customer_not_found,
    not_blocking,
    stored_fields,
    sync_customer,
)
from platform_relay.stores.parsing import value_at
from platform_relay.stores.saleor.api import RESPONSES, SaleorApi
from platform_relay.stores.saleor.documents import LOYALTY_FIELDS, SET_LOYALTY_FIELDS

KEYS: Final[list[JsonValue]] = [PREFIX + name for name in FIELDS]


async def sync_loyalty(api: SaleorApi, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
    """See `loyalty_sync.SyncsLoyalty`. Saleor merges metadata, so other keys are kept."""
    read, write = partial(_read, api), partial(_write, api)
    try:
        return await sync_customer(RESPONSES, topic, body, parse_id=_user_id, read=read, write=write)
    except CallFailed as failed:
        if failed.outcome.reason.code is ReasonCode.PERMISSION_MISSING:
            # A permission can be missing for this customer only (staff needs MANAGE_STAFF). Saleor's response to an invalid
            # token is the same, but an invalid token concerns all calls.
            await api.own_app()
        raise not_blocking(failed) from None


async def _read(api: SaleorApi, customer_id: str) -> StoredFields:
    request = "the customer lookup"
    data = await api.read(LOYALTY_FIELDS, request, id=customer_id, keys=KEYS)
    if "user" not in data:
        raise RESPONSES.unreadable(request, "it does not contain the customer")
    if data["user"] is None:
        raise customer_not_found(RESPONSES, customer_id)
    return _stored(data["user"])


async def _write(api: SaleorApi, customer_id: str, fields: Mapping[str, str]) -> StoredFields:
    variables: dict[str, JsonValue] = {"id": customer_id, "keys": KEYS, "input": metadata(fields)}
    changed = await api.change(SET_LOYALTY_FIELDS, "updatePrivateMetadata", "the change of the customer", **variables)
    return _stored(changed.get("item"))


def metadata(fields: Mapping[str, str]) -> list[JsonValue]:
    """The fields as `MetadataInput`."""
    return [{"key": PREFIX + name, "value": value} for name, value in fields.items()]


def _stored(customer: JsonValue) -> StoredFields:
    metafields = value_at(customer, "privateMetafields")
    return stored_fields(metafields, PREFIX) if isinstance(metafields, dict) else {}


def _user_id(customer_id: str) -> str | None:
    """An id of Saleor is the base64 of a type and a number. Saleor returns an internal error for any other text."""
    try:
        return customer_id if base64.b64decode(customer_id, validate=True).startswith(b"User:") else None
    except (binascii.Error, ValueError):
        return None
