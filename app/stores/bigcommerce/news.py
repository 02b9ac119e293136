"""Where a shopper stands, as attributes of BigCommerce's customer: `platform_relay_…` by `stores.news.NAMES`.

The store has to know an attribute before a customer can have a value of it, so the three are made where they are
missing. All are texts: a number may come back written otherwise, and would be written again without end.
Made from the official OpenAPI document of V3 customers; what an upsert answers is not proven.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue

from app.http import Answer, Failure
from app.outcomes import Done, Outcome, Reject, Skip, Unknown
from app.stores.bigcommerce.api import BigCommerceApi, Method, Row
from app.stores.news import NAMES, due, standing

PREFIX: Final = "platform_relay_"
CUSTOMERS: Final = "/v3/customers"
ATTRIBUTES: Final = f"{CUSTOMERS}/attributes"
VALUES: Final = f"{CUSTOMERS}/attribute-values"
KNOWN_SECONDS: Final = 600.0
"""How long the attributes' ids are believed before they are asked for again."""


class Standings:
    """What we keep on the customers of one store."""

    def __init__(self, api: BigCommerceApi) -> None:
        self._api = api
        self._ids: dict[str, int] = {}
        self._known_until = 0.0

    async def take_news(self, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
        """See `news.TakesNews`. Other attributes stay."""
        told = standing(topic, body)
        if isinstance(told, Skip):
            return told
        if not (told.customer_id.isascii() and told.customer_id.isdigit()) or int(told.customer_id) == 0:
            return Skip(f"{told.customer_id[:40]} is no customer's id of BigCommerce")
        ids = await self._attributes()
        if not isinstance(ids, dict):
            return ids
        customer = int(told.customer_id)
        held = await self._held(customer, ids)
        wanted = due(told, held, datetime.now(UTC)) if isinstance(held, dict) else held
        return await self._put(customer, ids, wanted) if isinstance(wanted, dict) else wanted

    async def _put(self, customer: int, ids: Mapping[str, int], wanted: Mapping[str, str]) -> Outcome:
        body: JsonValue = [
            {"attribute_id": ids[name], "customer_id": customer, "value": value} for name, value in wanted.items()
        ]
        rows = await self._rows("PUT", VALUES, body=body)
        if not isinstance(rows, list):
            self._known_until = 0.0  # an attribute may have been deleted
            return rows
        kept = _values(rows, customer, ids)
        if any(kept.get(name) != value for name, value in wanted.items()):
            return Unknown("BigCommerce answered the change of the customer without what was changed")
        return Done()

    async def _held(self, customer: int, ids: Mapping[str, int]) -> dict[str, JsonValue] | Failure:
        """What we keep on a customer, by `news.NAMES`."""
        ours = ",".join(str(each) for each in ids.values())
        rows = await self._rows("GET", VALUES, {"customer_id:in": str(customer), "attribute_id:in": ours})
        if rows != []:
            return _values(rows, customer, ids) if isinstance(rows, list) else rows
        known = await self._rows("GET", CUSTOMERS, {"id:in": str(customer)})
        if not isinstance(known, list):
            return known
        return {} if known else Reject(f"BigCommerce has no such customer: {customer}")

    async def _attributes(self) -> dict[str, int] | Failure:
        """The ids of our attributes, by `news.NAMES`."""
        if time.monotonic() < self._known_until:
            return self._ids
        listed = await self._listed()
        if isinstance(listed, dict) and len(listed) < len(NAMES):
            body: JsonValue = [{"name": PREFIX + name, "type": "string"} for name in NAMES if name not in listed]
            made = await self._rows("POST", ATTRIBUTES, body=body)
            if not isinstance(made, list | Reject):
                return made
            listed = await self._listed()  # also when it was refused: another replica may have made them
            if isinstance(listed, dict) and len(listed) < len(NAMES):
                return made if isinstance(made, Reject) else Unknown("BigCommerce does not show the attributes it made")
        if isinstance(listed, dict):
            self._ids, self._known_until = listed, time.monotonic() + KNOWN_SECONDS
        return listed

    async def _listed(self) -> dict[str, int] | Failure:
        rows = await self._rows("GET", ATTRIBUTES, {"limit": "250"})
        if not isinstance(rows, list):
            return rows
        found: dict[str, int] = {}
        for row in rows:
            name, number = str(row.get("name")).removeprefix(PREFIX), row.get("id")
            if row.get("name") != name and name in NAMES and isinstance(number, int):
                found[name] = min(number, found.get(name, number))
        return found

    async def _rows(
        self, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> list[Row] | Failure:
        answer = await self._api.call(method, path, query, body)
        if not isinstance(answer, Answer):
            return answer
        if answer.status == 403:  # no Blocked, which would pause the channel, coupons and all
            why = "the API account lacks the scope Customers modify (docs/shops/bigcommerce.md)"
            return Reject(why, answer.evidence())
        if failure := self._api.failure(answer):
            return failure
        value = answer.json()
        rows = value.get("data") if isinstance(value, dict) else None
        if not isinstance(rows, list):
            return Unknown(f"BigCommerce answered {path} without a list", answer.evidence())
        return [row for row in rows if isinstance(row, dict)]


def _values(rows: list[Row], customer: int, ids: Mapping[str, int]) -> dict[str, JsonValue]:
    own = {row.get("attribute_id"): row.get("value") for row in rows if row.get("customer_id") == customer}
    return {name: own[number] for name, number in ids.items() if number in own}
