"""Where a shopper stands, as metafields of Shopify's customer: namespace `platform_relay`, keys by `stores.news.NAMES`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue

from app.http import Failure
from app.outcomes import Blocked, Done, Outcome, Reject, Skip, Unknown
from app.stores.news import POINTS, due, standing
from app.stores.shopify.api import LACKS, ShopifyApi
from app.stores.shopify.coupons import gid, plain_id
from app.stores.shopify.documents import SET_STANDING, STANDING

NAMESPACE: Final = "platform_relay"


async def take_news(api: ShopifyApi, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
    """See `news.TakesNews`. Other metafields stay: `metafieldsSet` changes only those that it is sent."""
    told = standing(topic, body)
    if isinstance(told, Skip):
        return told
    if not plain_id(told.customer_id).isdecimal():
        return Skip(f"{told.customer_id[:40]} is no customer's id of Shopify")
    owner = gid("Customer", told.customer_id)
    data = await api.read(STANDING, {"id": owner, "namespace": NAMESPACE})
    if not isinstance(data, Mapping):
        return _of_this_alone(data)
    if data["result"] is None:
        return Reject(f"Shopify has no such customer: {owner}")
    wanted = due(told, _values(data["result"], "metafields"), datetime.now(UTC))
    if isinstance(wanted, Skip):
        return wanted
    data = await api.write(SET_STANDING, {"metafields": metafields(owner, wanted)})
    return _judged(data["result"]) if isinstance(data, Mapping) else _of_this_alone(data)


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


def _values(shown: JsonValue, name: str) -> dict[str, JsonValue]:
    listed = shown.get(name) if isinstance(shown, dict) else None
    nodes = listed.get("nodes") if isinstance(listed, dict) else None
    rows = nodes if isinstance(nodes, list) else []
    return {str(row.get("key")): row.get("value") for row in rows if isinstance(row, dict)}


def _judged(result: JsonValue) -> Outcome:
    errors, kept = (result.get("userErrors"), result.get("metafields")) if isinstance(result, dict) else (None, None)
    if isinstance(errors, list) and errors:
        words = "; ".join(str(row.get("message")) for row in errors if isinstance(row, dict))
        return Reject(f"Shopify refuses the customer's metafields: {words[:500]}")
    return Done() if isinstance(kept, list) else Unknown("Shopify answered without the metafields that were set")


def _of_this_alone(failure: Failure) -> Outcome:
    """A permission that only news needs is no reason to pause the channel, coupons and all."""
    wanting = isinstance(failure, Blocked) and failure.why.startswith(LACKS)
    return Reject(failure.why, failure.evidence) if wanting and isinstance(failure, Blocked) else failure
