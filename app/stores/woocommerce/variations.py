"""Reads the variations of a product (REST v3 /products/<id>/variations)."""

from typing import Final

from pydantic import JsonValue

from platform_relay.stores.paging import Rows, next_rows
from platform_relay.stores.parsing import Row, objects
from platform_relay.stores.woocommerce.api import RESPONSES, WooCommerceApi, total_of
from platform_relay.stores.woocommerce.events import VARIANTS, has_variations

PER_PAGE: Final = 100
MOST: Final = 1_000
"""Variations of a product. The variants of a product with more are left out, because the Platform deletes variants that are not
in the list."""
FIELDS: Final = "id,status,name,sku,image,attributes,menu_order"


async def with_variations(api: WooCommerceApi, row: Row) -> Row:
    """Return the product with its variations, in the merchant's order; any other row unchanged. Raises CallFailed."""
    if not has_variations(row):
        return row
    ids = row.get("variations")
    known = len(ids) if isinstance(ids, list) else None
    if known == 0 or (known or 0) > MOST:
        return {**row, VARIANTS: None if known else []}
    return {**row, VARIANTS: await _variations(api, row["id"])}


async def _variations(api: WooCommerceApi, product_id: JsonValue) -> list[JsonValue] | None:
    """All variations; None if they are more than MOST."""
    request = "the list of the product's variations"

    async def read(offset: int, limit: int) -> Rows:
        by_id = {"orderby": "id", "order": "asc"}  # menu_order has ties, which would move between pages
        query = {"per_page": str(limit), "offset": str(offset), **by_id, "_fields": FIELDS}
        answer = await api.accepted(request, "GET", f"products/{product_id}/variations", query)
        rows = RESPONSES.json(answer, request)
        if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
            raise RESPONSES.unreadable(request, "it is not a list of variations", answer)
        return Rows(objects(rows), total_of(answer))

    variations: dict[str, Row] = {}
    cursor: str | None = None
    while len(variations) <= MOST:
        page = await next_rows(read, cursor, size=PER_PAGE, row_id=lambda row: str(row["id"]))
        variations |= {str(row["id"]): row for row in page.rows}
        cursor = page.next
        if cursor is None:
            return [*sorted(variations.values(), key=_position)]
    return None


def _position(row: Row) -> tuple[int, int]:
    order = row.get("menu_order")
    return (order if isinstance(order, int) else 0, row["id"] if isinstance(row["id"], int) else 0)
