"""Rows that are no entity of their own: orders that were made as a test, and parts of another entity. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from pydantic import JsonValue

from platform_relay.imports.column_names import plain
from platform_relay.imports.file_rows import FileRow
from platform_relay.inbox.events import EventKind

_TEST: Final = frozenset({"test", "istest", "testorder", "istestorder"})
_TRUE: Final = frozenset({"true", "1", "yes", "wahr", "vrai"})
PARENT: Final = "__parentId"
"""Shopify's bulk operations write variants, addresses and line items as lines of their own, with the id of their entity
(shopify.dev/docs/api/usage/bulk-operations/queries)."""


def checked(kind: EventKind, rows: Iterable[FileRow]) -> Iterator[FileRow]:
    """The rows; those that are no entity of the kind with a problem."""
    for row in rows:
        problem = None if row.problem is not None else _problem(kind, row.values)
        yield row if problem is None else replace(row, problem=problem)


def _problem(kind: EventKind, values: Mapping[str, JsonValue]) -> str | None:
    if values.get(PARENT):
        return f"is a part of another entity, because its column {PARENT} is not empty; it is not one of the {kind}"
    if kind is EventKind.ORDER:
        for name, value in values.items():
            if plain(name) in _TEST and str(value).strip().lower() in _TRUE:
                return f"is a test order: its column {name} is true"
    return None
