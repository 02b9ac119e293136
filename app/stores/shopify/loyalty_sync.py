"""Loyalty sync with metafields of Shopify's customer: namespace `platform_relay`, keys by `loyalty_sync.FIELDS`."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Outcome
from platform_relay.core.plain_numbers import is_count
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.loyalty_sync import POINTS, StoredFields, customer_not_found, not_blocking, sync_customer
from platform_relay.stores.parsing import objects, value_at
from platform_relay.stores.shopify.api import RESPONSES, ShopifyApi, rejected, user_errors
from platform_relay.stores.shopify.coupons import gid, plain_id
from platform_relay.stores.shopify.documents import LOYALTY_FIELDS, SET_LOYALTY_FIELDS

NAMESPACE: Final = "platform_relay"
CHANGE: Final = "the change of the customer's metafields"


async def sync_loyalty(api: ShopifyApi, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
    """See `loyalty_sync.SyncsLoyalty`. `metafieldsSet` changes only the metafields that it receives.

    Raises CallFailed.
    """

    async def read(owner: str) -> StoredFields:
        customer = await api.read("the customer lookup", LOYALTY_FIELDS, {"id": owner, "namespace": NAMESPACE})
        if customer is None:
            raise customer_not_found(RESPONSES, owner)
        return {str(row.get("key")): row.get("value") for row in objects(value_at(customer, "metafields", "nodes"))}

    async def write(owner: str, fields: Mapping[str, str]) -> StoredFields:
        result = await api.write(CHANGE, SET_LOYALTY_FIELDS, {"metafields": metafields(owner, fields)})
        if errors := user_errors(result):
            raise CallFailed(rejected(CHANGE, errors))
        if not isinstance(value_at(result, "metafields"), list):
            raise RESPONSES.unreadable(CHANGE, "it does not contain the changed metafields")
        return dict(fields)

    try:
        return await sync_customer(RESPONSES, topic, body, parse_id=_owner_id, read=read, write=write)
    except CallFailed as failed:
        raise not_blocking(failed) from failed


def _owner_id(customer_id: str) -> str | None:
    return gid("Customer", customer_id) if is_count(plain_id(customer_id)) else None


def metafields(owner: str, fields: Mapping[str, str]) -> list[JsonValue]:
    """The metafields as `MetafieldsSetInput`."""
    return [
        {
            "ownerId": owner,
            "namespace": NAMESPACE,
            "key": name,
            "value": value,
            "type": "number_integer" if name == POINTS else "single_line_text_field",
        }
        for name, value in fields.items()
    ]
