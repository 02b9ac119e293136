"""Columns within the objects of JSON rows: `customer.id` is the member `id` of the object `customer`. Pure.

Stores nest what files have in columns: the customer of an order (Shopify), the address of the invoice (WooCommerce), all fields of
an entity (`attributes`, Klaviyo).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import JsonValue

from platform_relay.imports.column_names import all_aliases, plain

MAX_NESTED: Final = 100
"""At most so many nested columns are offered."""


def nested_columns(rows: Iterable[Mapping[str, JsonValue]]) -> tuple[str, ...]:
    """The nested columns with a name that a guess knows, in the order of the rows."""
    nested: dict[str, None] = {}
    present: set[str] = set()
    for row in rows:
        present.update(row)
        for outer, value in row.items():
            for inner in value if isinstance(value, dict) else ():
                name = f"{outer}.{inner}"
                if name not in nested and len(nested) < MAX_NESTED and plain(name) in all_aliases():
                    nested[name] = None
    return tuple(name for name in nested if name not in present)


def with_nested(values: Mapping[str, JsonValue], columns: Iterable[str]) -> Mapping[str, JsonValue]:
    """The values with those of the nested columns among `columns`. A row without the object lacks them."""
    nested: dict[str, JsonValue] = {}
    for column in columns:
        outer, sign, inner = column.partition(".")
        inside = values.get(outer) if sign and column not in values else None
        if isinstance(inside, dict) and inner in inside:
            nested[column] = inside[inner]
    return {**values, **nested} if nested else values
