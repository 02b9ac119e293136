"""Reads BigCommerce's customers (V3) by time of creation: the list has page numbers and no filter by id.

A page begins with the second of the last customer; those that were already read are left out. If more customers of one second
exist than a page holds, this second is read alone, by page numbers, until all of them were seen.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from pydantic import JsonValue, TypeAdapter

from platform_relay.stores.bigcommerce.api import RESPONSES, BigCommerceApi
from platform_relay.stores.paging import PageOfRows, with_smaller_pages
from platform_relay.stores.parsing import Row, format_time, value_at, whole_number

REQUEST: Final = "the list of customers"
PER_PAGE: Final = 50
MOST_PER_PAGE: Final = 250
PASSES: Final = 20
"""How often the customers of one second are read, until as many were seen as the store counts."""

_CURSOR: Final = TypeAdapter[tuple[str, int, tuple[JsonValue, ...]]](tuple[str, int, tuple[JsonValue, ...]])


async def next_customers(api: BigCommerceApi, since: datetime | None, cursor: str | None) -> PageOfRows:
    """The next page of the customers that changed since `since`. Raises CallFailed."""
    created, size, seen = _CURSOR.validate_json(cursor) if cursor else ("", PER_PAGE, ())
    after = {"date_created:min": str(created)} if created else {}

    async def read(limit: int) -> list[Row]:
        return rows_of(await _customers(api, since, after, limit), REQUEST)

    rows, size = await with_smaller_pages(size, read)
    new = [row for row in rows if row.get("id") not in seen]
    if len(rows) < size:
        return PageOfRows(new, None)
    first, last = _created(rows[0]), _created(rows[-1])
    if first == last:
        second = await _of_one_second(api, since, str(last))
        new = [row for row in second if row.get("id") not in seen]
        later = datetime.fromisoformat(str(last)) + timedelta(seconds=1)
        return PageOfRows(new, json.dumps([format_time(later), size, []]))
    return PageOfRows(new, json.dumps([last, size, [row.get("id") for row in rows if row.get("date_created") == last]]))


async def _of_one_second(api: BigCommerceApi, since: datetime | None, created: str) -> Sequence[Row]:
    """All customers that were created at this time. The store may list them in another order for each page.

    They are complete when as many were seen as the store counts, without a change of that number in between.
    """
    customers: dict[JsonValue, Row] = {}
    seen: set[JsonValue] = set()
    total: int | None = None
    size = MOST_PER_PAGE
    for _ in range(PASSES):
        response, size = await with_smaller_pages(size, partial(_customers, api, since, _only(created)))
        page = 1
        while True:
            rows = rows_of(response, REQUEST)
            if total_of(response) != total:
                total, seen = total_of(response), set()
            customers |= {row.get("id"): row for row in rows}
            seen |= {row.get("id") for row in rows}
            if len(rows) < size:
                break
            page += 1
            response = await _customers(api, since, _only(created), size, page)
        if total is None or len(seen) >= total:
            return list(customers.values())
    raise RESPONSES.unreadable(REQUEST, "the customers of one second have another order on each page")


def _only(created: str) -> dict[str, str]:
    return {"date_created:min": created, "date_created:max": created}


async def _customers(
    api: BigCommerceApi, since: datetime | None, created: dict[str, str], limit: int, page: int = 1
) -> Row | None:
    query = {**created, **changed_since(since), "sort": "date_created:asc", "limit": str(limit), "page": str(page)}
    return await api.document(REQUEST, "/v3/customers", query)


def _created(row: Row) -> JsonValue:
    created = row.get("date_created")
    try:
        datetime.fromisoformat(str(created))
    except ValueError:
        raise RESPONSES.unreadable(REQUEST, "it contains a customer without a time of creation") from None
    return created


def changed_since(since: datetime | None) -> dict[str, str]:
    """The filter of V3 for what changed at this time or later."""
    return {"date_modified:min": str(format_time(since))} if since else {}


def rows_of(response: Row | None, request: str) -> list[Row]:
    """The rows of a list of V3. Raises CallFailed if it is no list of objects."""
    return as_objects([] if response is None else response.get("data"), request)


def as_objects(rows: JsonValue, request: str) -> list[Row]:
    """The rows of a list. Raises CallFailed if it is no list of objects."""
    if not isinstance(rows, list):
        raise RESPONSES.unreadable(request, "it is not a list")
    objects = [row for row in rows if isinstance(row, dict)]
    if len(objects) < len(rows):
        raise RESPONSES.unreadable(request, "it contains a row that cannot be read")
    return objects


def total_of(response: Row | None) -> int | None:
    """The number of rows in the complete list of V3; None if the response does not contain it."""
    return whole_number(value_at(response, "meta", "pagination", "total"))
