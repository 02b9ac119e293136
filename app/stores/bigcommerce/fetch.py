"""Reads BigCommerce's orders (V2), customers and products (V3): single entities, or those that changed since a time.

The products of an order take a second call. Its coupons take a third one, which is left out if the order has none.
"""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from pydantic import JsonValue

from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.inbox.events import EventKind
from platform_relay.stores.bigcommerce.api import RESPONSES, BigCommerceApi
from platform_relay.stores.bigcommerce.customers import (
    as_objects,
    changed_since,
    next_customers,
    rows_of,
    total_of,
)
from platform_relay.stores.bigcommerce.events import INCOMPLETE, customer_event, order_event, product_event
from platform_relay.stores.native import Page, ParsedEntity, not_relayed
from platform_relay.stores.paging import KeyPosition, PageOfRows, with_smaller_pages
from platform_relay.stores.parsing import Row

PER_PAGE: Final = {EventKind.ORDER: 10, EventKind.PRODUCT: 10}
PRODUCTS: Final = "/v3/catalog/products"
LINES: Final = 250
"""The maximum page size for the products of an order."""
WITH_VARIANTS: Final = {"include": "variants,images"}
UNUSED: Final = "description,search_keywords,meta_description,meta_keywords,warranty"
"""The long texts of a product, which a list leaves out."""


async def fetch(api: BigCommerceApi, kind: EventKind, entity_id: str) -> ParsedEntity | None:
    """See `native.FetchesEntities`. Ignored for an order that is not placed yet. Raises CallFailed."""
    if not is_count(entity_id):
        return None
    request = f"the {kind.removesuffix('s')}"
    if kind is EventKind.ORDER:
        order = await api.document(request, f"/v2/orders/{entity_id}", single=True)
        return None if order is None else await _order(api, order)
    if kind is EventKind.CUSTOMER:
        response = await api.document(request, "/v3/customers", {"id:in": entity_id})
    else:
        response = await api.document(request, f"{PRODUCTS}/{entity_id}", WITH_VARIANTS, single=True)
    if response is None or response.get("data") == []:
        return None
    data = response.get("data")
    row = data[0] if isinstance(data, list) else data
    if not isinstance(row, dict):
        raise RESPONSES.unreadable(request, "it does not contain the entity")
    return _event(kind, row)


async def list_entities(api: BigCommerceApi, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:
    """See `native.ListsEntities`. Raises CallFailed.

    Orders and products are read by id, customers by time of creation (`customers.next_customers`): neither ever changes.
    """
    if kind is EventKind.CUSTOMER:
        page = await next_customers(api, since, cursor)
    else:
        page = await _next_by_id(api, kind, since, cursor)
    entities = [await _order(api, row) if kind is EventKind.ORDER else _event(kind, row) for row in page.rows]
    return Page.of(entities, page.next)


async def count(api: BigCommerceApi, kind: EventKind, since: datetime | None) -> int | None:
    """See `native.CountsEntities`. None for orders: the lists leave out those that are incomplete or archived."""
    if kind is EventKind.ORDER:
        return None
    path = "/v3/customers" if kind is EventKind.CUSTOMER else PRODUCTS
    query = {"limit": "1", **changed_since(since)}
    return total_of(await api.document(f"the number of {kind}", path, query))


async def _next_by_id(api: BigCommerceApi, kind: EventKind, since: datetime | None, cursor: str | None) -> PageOfRows:
    position = KeyPosition.of(cursor, first="0", size=PER_PAGE[kind])

    async def read(limit: int) -> list[Row]:
        if kind is EventKind.ORDER:
            changed = {"min_date_modified": format_datetime(since.astimezone(UTC))} if since else {}
            first = {"min_id": str(integer(position.after) + 1), "sort": "id:asc"}
            rows = await api.rows("the list of orders", "/v2/orders", {**first, **changed, "limit": str(limit)})
            return as_objects(rows, "the list of orders")
        first = {"id:greater": position.after, "sort": "id", "direction": "asc", "exclude_fields": UNUSED}
        query = {**first, **changed_since(since), **WITH_VARIANTS, "limit": str(limit)}
        return rows_of(await api.document("the list of products", PRODUCTS, query), "the list of products")

    rows, size = await with_smaller_pages(position.size, read)
    if len(rows) < size:
        return PageOfRows(rows, None)
    return PageOfRows(rows, KeyPosition(str(rows[-1].get("id")), size).cursor())


async def _order(api: BigCommerceApi, row: Row) -> ParsedEntity:
    if row.get("status_id") == INCOMPLETE or row.get("is_deleted") is True:
        return not_relayed("the order is incomplete (not placed) or deleted", EventKind.ORDER, row.get("id"))
    path, limit = f"/v2/orders/{row.get('id')}", {"limit": str(LINES)}
    items = await api.rows("the list of the order's products", f"{path}/products", limit)
    coupons: list[JsonValue] = []
    if str(row.get("coupon_discount") or "0").strip("0.") != "":
        coupons = await api.rows("the list of the order's coupons", f"{path}/coupons", limit)
    return order_event(row, items, coupons)


def _event(kind: EventKind, row: Row) -> ParsedEntity:
    return customer_event(row) if kind is EventKind.CUSTOMER else product_event(row)
