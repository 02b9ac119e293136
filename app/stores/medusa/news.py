"""Where a shopper stands, in the metadata of Medusa's customer: keys `platform_relay_…` by `stores.news.NAMES`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue

from app.http import Answer
from app.outcomes import Done, Outcome, Reject, Skip, Unknown
from app.stores.medusa.api import MedusaApi, Method, Query, failure, gone
from app.stores.news import NAMES, due, standing

PREFIX: Final = "platform_relay_"


async def take_news(api: MedusaApi, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
    """See `news.TakesNews`. Metadata of other keys stays: Medusa merges what it is sent (2.21.2, `mergeMetadata`)."""
    told = standing(topic, body)
    if isinstance(told, Skip):
        return told
    path = f"customers/{quote(told.customer_id, safe='')}"
    held = await _customer(api, "GET", path, [("fields", "id,metadata")])
    wanted = due(told, held, datetime.now(UTC)) if isinstance(held, dict) else held
    if not isinstance(wanted, dict):
        return wanted
    metadata: JsonValue = {PREFIX + name: value for name, value in wanted.items()}
    kept = await _customer(api, "POST", path, [("fields", "id,metadata")], {"metadata": metadata})
    if not isinstance(kept, dict):
        return kept
    if any(kept.get(name) != value for name, value in wanted.items()):
        return Unknown("Medusa answered the change of the customer without what was changed")
    return Done()


async def _customer(
    api: MedusaApi, method: Method, path: str, query: Query, body: JsonValue = None
) -> dict[str, JsonValue] | Outcome:
    """What we keep on a customer, by `news.NAMES`, as the answer shows it."""
    answer = await api.call(method, path, query, body)
    if not isinstance(answer, Answer):
        return answer
    if gone(answer):
        return Reject(f"Medusa has no such customer: {path}", answer.evidence())
    if answer.status == 403:  # no Blocked, which would pause the channel, coupons and all
        return Reject("Medusa's roles do not let our key read and change customers", answer.evidence())
    if failed := failure(answer):
        return failed
    value = answer.json()
    shown = value.get("customer") if isinstance(value, dict) else None
    if not isinstance(shown, dict):
        return Unknown("Medusa answered without the customer", answer.evidence())
    metadata = shown.get("metadata")
    rows = metadata if isinstance(metadata, dict) else {}
    return {name: rows[PREFIX + name] for name in NAMES if PREFIX + name in rows}
