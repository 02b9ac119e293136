"""Reads BigCommerce's orders (V2), customers and products (V3): single entities, or those that changed since a time.

The products of an order take a second call. Its coupons take a third one, which is left out if the order has none.
"""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Outcome, Skip, Unknown
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.stores.bigcommerce.api import RESPONSES, BigCommerceApi
from platform_relay.stores.bigcommerce.events import INCOMPLETE, customer_event, order_event, product_event
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.native import NativeEvent, Page, unreadable_entity
from platform_relay.stores.parsing import Row, format_time

PER_PAGE: Final = {EventKind.CUSTOMER: 50, EventKind.ORDER: 10, EventKind.PRODUCT: 10}
LINES: Final = 250
"""The maximum page size for the products of an order."""
WITH_VARIANTS: Final = {"include": "variants,images"}


async def fetch(api: BigCommerceApi, kind: EventKind, entity_id: str) -> NativeEvent | Outcome | None:
    """See `native.FetchesEntities`. Skip for an order that is not placed yet. Raises CallFailed."""
    if not (entity_id.isascii() and entity_id.isdigit()):
        return None
    request = f"the {kind.removesuffix('s')}"
    if kind is EventKind.ORDER:
        order = await api.document(request, f"/v2/orders/{entity_id}", single=True)
        return None if order is None else await _order(api, order)
    if kind is EventKind.CUSTOMER:
        response = await api.document(request, "/v3/customers", {"id:in": entity_id})
    else:
        response = await api.document(request, f"/v3/catalog/products/{entity_id}", WITH_VARIANTS, single=True)
    if response is None or response.get("data") == []:
        return None
    data = response.get("data")
    row = data[0] if isinstance(data, list) else data
    return _event(kind, row) or Unknown(unreadable_entity("BigCommerce", kind, entity_id))


async def list_entities(api: BigCommerceApi, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:
    """See `native.ListsEntities`. The cursor is a page number. Raises CallFailed."""
    page = int(cursor) if cursor and cursor.isascii() and cursor.isdigit() else 1
    request = f"the list of {kind}"
    rows = await _page(api, kind, since, page, request)
    events: list[NativeEvent] = []
    for row in rows:
        event = await _order(api, row) if kind is EventKind.ORDER and isinstance(row, dict) else _event(kind, row)
        if event is None:
            raise RESPONSES.unreadable(request, "it contains a row that cannot be read")
        if isinstance(event, NativeEvent):
            events.append(event)
    return Page(tuple(events), str(page + 1) if len(rows) == PER_PAGE[kind] else None)


async def _page(
    api: BigCommerceApi, kind: EventKind, since: datetime | None, page: int, request: str
) -> list[JsonValue]:
    query = {"page": str(page), "limit": str(PER_PAGE[kind])}
    if kind is EventKind.ORDER:
        changed = {"min_date_modified": format_datetime(since.astimezone(UTC))} if since else {}
        return await api.rows(request, "/v2/orders", {**query, **changed, "sort": "date_modified:asc"})
    changed = {"date_modified:min": str(format_time(since))} if since else {}
    if kind is EventKind.CUSTOMER:
        response = await api.document(request, "/v3/customers", {**query, **changed, "sort": "date_modified:asc"})
    else:
        order = {"sort": "date_modified", "direction": "asc"}
        response = await api.document(request, "/v3/catalog/products", {**query, **changed, **order, **WITH_VARIANTS})
    data = [] if response is None else response.get("data")
    if not isinstance(data, list):
        raise RESPONSES.unreadable(request, "it is not a list")
    return data


async def _order(api: BigCommerceApi, row: Row) -> NativeEvent | Skip:
    if row.get("status_id") == INCOMPLETE or row.get("is_deleted") is True:
        explanation = "the order is incomplete (not placed) or deleted"
        return Skip(because(ReasonCode.NOT_APPLICABLE, explanation=explanation))
    path, limit = f"/v2/orders/{row.get('id')}", {"limit": str(LINES)}
    items = await api.rows("the list of the order's products", f"{path}/products", limit)
    coupons: list[JsonValue] = []
    if str(row.get("coupon_discount") or "0").strip("0.") != "":
        coupons = await api.rows("the list of the order's coupons", f"{path}/coupons", limit)
    event = order_event(row, items, coupons)
    if event is None:
        raise CallFailed(Unknown(unreadable_entity("BigCommerce", EventKind.ORDER, str(row.get("id")))))
    return event


def _event(kind: EventKind, row: JsonValue) -> NativeEvent | None:
    if not isinstance(row, dict):
        return None
    return customer_event(row) if kind is EventKind.CUSTOMER else product_event(row)
