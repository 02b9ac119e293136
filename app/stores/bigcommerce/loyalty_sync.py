"""Where a customer stands, as attributes of BigCommerce's customer: `platform_relay_…` by `stores.news.NAMES`.

The store has to know an attribute before a customer can have a value of it, so the three are made where they are
missing. All are texts: a number may come back written otherwise, and would be written again without end.
Made from the official OpenAPI document of V3 customers; what an upsert answers is not proven.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Outcome, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.bigcommerce.api import RESPONSES, BigCommerceApi, Method, Row, succeeded
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.loyalty_sync import NAMES, Kept, keep_standing, no_such_customer, whole_id
from platform_relay.stores.reading import rows, within
from platform_relay.stores.remembered import Remembered

PREFIX: Final = "platform_relay_"
CUSTOMERS: Final = "/v3/customers"
ATTRIBUTES: Final = f"{CUSTOMERS}/attributes"
VALUES: Final = f"{CUSTOMERS}/attribute-values"
VALUE_CHANGE: Final = "the change of the customer's attributes"


class Standings:
    """What we keep on the customers of one store. Every method raises CallFailed."""

    def __init__(self, api: BigCommerceApi) -> None:
        self._api = api
        self._ids = Remembered(self._attributes)

    async def sync_loyalty(self, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
        """See `news.SyncsLoyalty`. Other attributes stay."""
        return await keep_standing(RESPONSES, topic, body, own_id=whole_id, read=self._read, write=self._write)

    async def _read(self, customer_id: str) -> Kept:
        ids = await self._ids.get()
        query = {"customer_id:in": customer_id, "attribute_id:in": ",".join(str(each) for each in ids.values())}
        values = await self._rows("the list of the customer's attributes", "GET", VALUES, query)
        if values:
            return _values(values, int(customer_id), ids)
        if not await self._rows("the customer look-up", "GET", CUSTOMERS, {"id:in": customer_id}):
            raise no_such_customer(RESPONSES, customer_id)
        return {}

    async def _write(self, customer_id: str, wanted: Mapping[str, str]) -> Kept:
        ids = await self._ids.get()
        body: JsonValue = [
            {"attribute_id": ids[name], "customer_id": int(customer_id), "value": value}
            for name, value in wanted.items()
        ]
        try:
            values = await self._rows(VALUE_CHANGE, "PUT", VALUES, body=body)
        except CallFailed:
            self._ids.forget()  # an attribute may have been deleted
            raise
        return _values(values, int(customer_id), ids)

    async def _attributes(self) -> dict[str, int]:
        """The ids of our attributes, by `news.NAMES`; those that are missing are made."""
        listed = await self._listed()
        if len(listed) == len(NAMES):
            return listed
        request = "the creation of the attributes"
        body: JsonValue = [{"name": PREFIX + name, "type": "string"} for name in NAMES if name not in listed]
        refused = RESPONSES.unreadable(request, "it does not show the attributes")
        try:
            await self._rows(request, "POST", ATTRIBUTES, body=body)
        except CallFailed as failed:
            if not isinstance(failed.outcome, Reject):
                raise
            refused = failed
        listed = await self._listed()  # also when it was refused: another replica may have made them
        if len(listed) < len(NAMES):
            raise refused
        return listed

    async def _listed(self) -> dict[str, int]:
        ids: dict[str, int] = {}
        for row in await self._rows("the list of attributes", "GET", ATTRIBUTES, {"limit": "250"}):
            name, number = str(row.get("name")).removeprefix(PREFIX), row.get("id")
            if row.get("name") != name and name in NAMES and isinstance(number, int):
                ids[name] = min(number, ids.get(name, number))
        return ids

    async def _rows(
        self, request: str, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> list[Row]:
        answer = await self._api.call(method, path, query, body)
        if answer.status == 403:  # no Blocked, which would pause the store, coupons and all
            facts = {"permission": "Customers modify", "hint": "docs/stores/bigcommerce.md lists the scopes."}
            reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, **facts)
            raise CallFailed(Reject(reason, answer.evidence()))
        succeeded(answer, request)
        data = within(RESPONSES.document(answer, request), "data")
        if not isinstance(data, list):
            raise RESPONSES.unreadable(request, "it is not a list", answer)
        return rows(data)


def _values(rows: list[Row], customer: int, ids: Mapping[str, int]) -> dict[str, JsonValue]:
    own = {row.get("attribute_id"): row.get("value") for row in rows if row.get("customer_id") == customer}
    return {name: own[number] for name, number in ids.items() if number in own}
