"""Where a customer stands, as metafields of Shopify's customer: namespace `platform_relay`, keys by `stores.news.NAMES`."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Outcome, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.loyalty_sync import POINTS, Kept, keep_standing, no_such_customer, of_customers_alone
from platform_relay.stores.reading import rows, within
from platform_relay.stores.shopify.api import RESPONSES, WORDS, ShopifyApi
from platform_relay.stores.shopify.coupons import gid, plain_id
from platform_relay.stores.shopify.documents import SET_STANDING, STANDING

NAMESPACE: Final = "platform_relay"
CHANGE: Final = "the change of the customer's metafields"


async def sync_loyalty(api: ShopifyApi, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
    """See `news.SyncsLoyalty`. Other metafields stay: `metafieldsSet` changes only those that it is sent.

    Raises CallFailed.
    """

    async def read(owner: str) -> Kept:
        shown = await api.read("the customer look-up", STANDING, {"id": owner, "namespace": NAMESPACE})
        if shown is None:
            raise no_such_customer(RESPONSES, owner)
        return {str(row.get("key")): row.get("value") for row in rows(within(shown, "metafields", "nodes"))}

    async def write(owner: str, wanted: Mapping[str, str]) -> Kept:
        result = await api.write(CHANGE, SET_STANDING, {"metafields": metafields(owner, wanted)})
        if errors := rows(within(result, "userErrors")):
            response = "; ".join(str(row.get("message")) for row in errors)[:WORDS]
            reason = RESPONSES.reason(ReasonCode.REJECTED_BY_DESTINATION, request=CHANGE, response=response)
            raise CallFailed(Reject(reason))
        if not isinstance(within(result, "metafields"), list):
            raise RESPONSES.unreadable(CHANGE, "it does not show what was changed")
        return dict(wanted)

    try:
        return await keep_standing(RESPONSES, topic, body, own_id=_owner, read=read, write=write)
    except CallFailed as failed:
        raise of_customers_alone(failed) from failed


def _owner(customer_id: str) -> str | None:
    return gid("Customer", customer_id) if plain_id(customer_id).isdecimal() else None


def metafields(owner: str, wanted: Mapping[str, str]) -> list[JsonValue]:
    """What is sent, as `MetafieldsSetInput`."""
    return [
        {
            "ownerId": owner,
            "namespace": NAMESPACE,
            "key": name,
            "value": value,
            "type": "number_integer" if name == POINTS else "single_line_text_field",
        }
        for name, value in wanted.items()
    ]
