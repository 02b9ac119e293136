"""Reads BigCommerce's orders (V2), customers and products (V3): one by one, or what changed since.

An order's products are a second call, its coupons a third one, which is left out where the order has none.
"""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from pydantic import JsonValue

from app.http import Failure
from app.messages import Kind
from app.outcomes import Outcome, Skip, Unknown
from app.stores.bigcommerce.api import BigCommerceApi, Row
from app.stores.bigcommerce.events import INCOMPLETE, customer_event, order_event, product_event
from app.stores.native import NativeEvent, Page

PER_PAGE: Final = {Kind.CUSTOMER: 50, Kind.ORDER: 10, Kind.PRODUCT: 10}
LINES: Final = 250
"""The most that BigCommerce gives in one page of an order's products."""
WITH_VARIANTS: Final = {"include": "variants,images"}


async def fetch(api: BigCommerceApi, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
    """See `native.FetchesEntities`. Skip: an order that is not placed yet."""
    if not (entity_id.isascii() and entity_id.isdigit()):
        return None
    if kind is Kind.ORDER:
        order = await api.document(f"/v2/orders/{entity_id}", single=True)
        return await _order(api, order) if isinstance(order, dict) else order
    if kind is Kind.CUSTOMER:
        found = await api.document("/v3/customers", {"id:in": entity_id})
    else:
        found = await api.document(f"/v3/catalog/products/{entity_id}", WITH_VARIANTS, single=True)
    if not isinstance(found, dict):
        return found
    data = found.get("data")
    if data == []:
        return None
    row = data[0] if isinstance(data, list) else data
    return _event(kind, row) or Unknown(f"BigCommerce's answer for {kind} {entity_id} cannot be read")


async def list_entities(api: BigCommerceApi, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
    """See `native.ListsEntities`. The cursor is a page's number."""
    page = int(cursor) if cursor and cursor.isascii() and cursor.isdigit() else 1
    rows = await _page(api, kind, since, page)
    if not isinstance(rows, list):
        return rows
    events: list[NativeEvent] = []
    for row in rows:
        event = await _order(api, row) if kind is Kind.ORDER and isinstance(row, dict) else _event(kind, row)
        if isinstance(event, NativeEvent):
            events.append(event)
        elif not isinstance(event, Skip):
            return event or Unknown(f"a row of BigCommerce's list of {kind} cannot be read")
    return Page(tuple(events), str(page + 1) if len(rows) == PER_PAGE[kind] else None)


async def _page(api: BigCommerceApi, kind: Kind, since: datetime | None, page: int) -> list[JsonValue] | Failure:
    query = {"page": str(page), "limit": str(PER_PAGE[kind])}
    if kind is Kind.ORDER:
        changed = {"min_date_modified": format_datetime(since.astimezone(UTC))} if since else {}
        return await api.rows("/v2/orders", {**query, **changed, "sort": "date_modified:asc"})
    changed = {"date_modified:min": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")} if since else {}
    if kind is Kind.CUSTOMER:
        found = await api.document("/v3/customers", {**query, **changed, "sort": "date_modified:asc"})
    else:
        order = {"sort": "date_modified", "direction": "asc"}
        found = await api.document("/v3/catalog/products", {**query, **changed, **order, **WITH_VARIANTS})
    if not isinstance(found, dict):
        return found or []
    data = found.get("data")
    return data if isinstance(data, list) else Unknown("BigCommerce answered with no list")


async def _order(api: BigCommerceApi, row: Row) -> NativeEvent | Outcome:
    if row.get("status_id") == INCOMPLETE or row.get("is_deleted") is True:
        return Skip("the order is incomplete (not placed) or deleted")
    path = f"/v2/orders/{row.get('id')}"
    items = await api.rows(f"{path}/products", {"limit": str(LINES)})
    if not isinstance(items, list):
        return items
    coupons: list[JsonValue] = []
    if str(row.get("coupon_discount") or "0").strip("0.") != "":
        used = await api.rows(f"{path}/coupons", {"limit": str(LINES)})
        if not isinstance(used, list):
            return used
        coupons = used
    return order_event(row, items, coupons) or Unknown(f"BigCommerce's order {row.get('id')} cannot be read")


def _event(kind: Kind, row: JsonValue) -> NativeEvent | None:
    if not isinstance(row, dict):
        return None
    return customer_event(row) if kind is Kind.CUSTOMER else product_event(row)
