"""Loyalty sync with attributes of BigCommerce's customer: `platform_relay_…` by `loyalty_sync.FIELDS`.

A store must have an attribute before a customer can have a value for it, so missing attributes are created. All of them are
strings: a number may come back in another format, and would then be written again without end.
Written from the official OpenAPI document of V3 customers. The response to an upsert is not verified.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Done, Outcome, Reject
from platform_relay.core.plain_numbers import integer
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.bigcommerce.api import RESPONSES, BigCommerceApi, Method, error_text, raise_for_status
from platform_relay.stores.cached import Cached
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.loyalty_sync import (
    FIELDS,
    PREFIX,
    StoredFields,
    customer_not_found,
    numeric_id,
    sync_customer,
)
from platform_relay.stores.parsing import Row, objects, value_at

CUSTOMERS: Final = "/v3/customers"
ATTRIBUTES: Final = f"{CUSTOMERS}/attributes"
VALUES: Final = f"{CUSTOMERS}/attribute-values"
VALUE_CHANGE: Final = "the change of the customer's attributes"


class CustomerAttributes:
    """The stored fields on the customers of one store. Every method raises CallFailed."""

    def __init__(self, api: BigCommerceApi) -> None:
        self._api = api
        self._ids = Cached(self._attribute_ids)

    async def sync_loyalty(self, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
        """See `loyalty_sync.SyncsLoyalty`. Other attributes are kept."""
        return await sync_customer(RESPONSES, topic, body, parse_id=numeric_id, read=self._read, write=self._write)

    async def check_permission(self) -> Done:
        """A change of no values shows whether the token may write."""
        await self._rows(VALUE_CHANGE, "PUT", VALUES, body=[])
        return Done()

    async def _read(self, customer_id: str) -> StoredFields:
        ids = await self._ids.get()
        query = {"customer_id:in": customer_id, "attribute_id:in": ",".join(str(number) for number in ids.values())}
        values = await self._rows("the list of the customer's attributes", "GET", VALUES, query)
        if values:
            return _values(values, integer(customer_id), ids)
        if not await self._rows("the customer lookup", "GET", CUSTOMERS, {"id:in": customer_id}):
            raise customer_not_found(RESPONSES, customer_id)
        return {}

    async def _write(self, customer_id: str, fields: Mapping[str, str]) -> StoredFields:
        ids = await self._ids.get()
        body: JsonValue = [
            {"attribute_id": ids[name], "customer_id": integer(customer_id), "value": value}
            for name, value in fields.items()
        ]
        try:
            values = await self._rows(VALUE_CHANGE, "PUT", VALUES, body=body)
        except CallFailed:
            self._ids.clear()  # an attribute may have been deleted
            raise
        return _values(values, integer(customer_id), ids)

    async def _attribute_ids(self) -> dict[str, int]:
        """The ids of the relay's attributes, by `FIELDS`. Missing attributes are created."""
        ids = await self._existing_ids()
        if len(ids) == len(FIELDS):
            return ids
        request = "the creation of the attributes"
        body: JsonValue = [{"name": PREFIX + name, "type": "string"} for name in FIELDS if name not in ids]
        failure = RESPONSES.unreadable(request, "it does not contain the attributes")
        try:
            await self._rows(request, "POST", ATTRIBUTES, body=body)
        except CallFailed as failed:
            if not isinstance(failed.outcome, Reject):
                raise
            failure = failed
        ids = await self._existing_ids()  # also after a rejection: another replica may have created them
        if len(ids) < len(FIELDS):
            raise failure
        return ids

    async def _existing_ids(self) -> dict[str, int]:
        ids: dict[str, int] = {}
        for row in await self._rows("the list of attributes", "GET", ATTRIBUTES, {"limit": "250"}):
            name, number = str(row.get("name")).removeprefix(PREFIX), row.get("id")
            if row.get("name") != name and name in FIELDS and isinstance(number, int):
                ids[name] = min(number, ids.get(name, number))
        return ids

    async def _rows(
        self, request: str, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> list[Row]:
        answer = await self._api.call(method, path, query, body)
        if answer.status == 403:  # not Blocked, which would pause the store and its coupons
            facts: dict[str, JsonValue] = {"permission": "Customers modify", "response": error_text(answer)}
            reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, **facts)
            raise CallFailed(Reject(reason, answer.evidence()))
        raise_for_status(answer, request)
        data = value_at(RESPONSES.json(answer, request), "data")
        if not isinstance(data, list):
            raise RESPONSES.unreadable(request, "it is not a list", answer)
        return objects(data)


def _values(rows: list[Row], customer: int, ids: Mapping[str, int]) -> dict[str, JsonValue]:
    values = {row.get("attribute_id"): row.get("value") for row in rows if row.get("customer_id") == customer}
    return {name: values[number] for name, number in ids.items() if number in values}
