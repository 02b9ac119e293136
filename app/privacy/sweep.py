"""Removes a customer from every other text in the database: the words of destinations about other customers, facts, problems.

Reads each table with such texts once. A row is decoded before it is searched, because escapes (`\\u0040`, `%40`) and encryption
hide an address.
"""

from collections.abc import Iterable
from typing import Any, Final  # Any: rows

from sqlalchemy import Column, RowMapping, Select, Table, Text, and_, bindparam, cast, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import ENCRYPTED_TEXT, KeyRing, UnreadableBodyError
from platform_relay.core.models import Base
from platform_relay.privacy.identity import ERASED, CustomerIdentity, stored_spellings
from platform_relay.privacy.spellings import HIDING

CHUNK: Final = 500
NOT_CHANGED: Final = frozenset({"audit"})
"""The entries of the audit log cannot be changed."""
FREE_TEXTS: Final = frozenset({"excerpt", "detail", "error", "name"})
"""Columns of text that are no key and no state. Columns of JSON are all searched."""


def swept_columns(table: Table) -> list[Column[Any]]:  # Any: of any type
    """The columns of a table in which a customer may be named, apart from bodies, which the erasure reads itself."""
    if table.name in NOT_CHANGED:
        return []
    keys = set(table.primary_key.columns)
    return [
        column
        for column in table.columns
        if column not in keys and (isinstance(column.type, JSONB) or column.name in FREE_TEXTS)
    ]


async def sweep(engine: AsyncEngine, customer: CustomerIdentity) -> dict[str, int]:
    """Remove the customer from all these columns. Returns the number of changed rows by table."""
    changed: dict[str, int] = {}
    for table in Base.metadata.sorted_tables if customer.needles else ():
        if columns := swept_columns(table):
            changed[table.name] = await _sweep_table(engine, customer, table, columns)
    return changed


async def _sweep_table(
    engine: AsyncEngine, customer: CustomerIdentity, table: Table, columns: list[Column[Any]]
) -> int:
    keys = list(table.primary_key.columns)
    candidates = _candidates(customer, [*keys, *columns], columns)
    after: tuple[object, ...] | None = None
    changed = 0
    while True:
        async with engine.begin() as connection:
            page = candidates.order_by(*keys).limit(CHUNK)
            if after is not None:
                values = (bindparam(None, value, key.type) for key, value in zip(keys, after, strict=True))
                page = page.where(tuple_(*keys) > tuple_(*values))
            rows = (await connection.execute(page)).mappings().all()
            for row in rows:
                changed += await _clean(connection, customer, table, columns, row)
        if len(rows) < CHUNK:
            return changed
        after = tuple(rows[-1][key] for key in keys)


def _candidates(customer: CustomerIdentity, shown: list[Column[Any]], columns: list[Column[Any]]) -> Select[Any]:
    """The rows that may name the customer: as plain text, or that have to be decoded."""
    texts = [func.lower(cast(column, Text)) for column in columns]
    needles = sorted(stored_spellings(customer.needles))
    plain = [func.strpos(text, needle) > 0 for text in texts for needle in needles]
    hidden = [text.regexp_match(HIDING) for text in texts]
    encrypted = [column.startswith(ENCRYPTED_TEXT) for column in columns if column.name == "excerpt"]
    return select(*shown).where(or_(*plain, *hidden, *encrypted))


async def _clean(
    connection: AsyncConnection,
    customer: CustomerIdentity,
    table: Table,
    columns: Iterable[Column[Any]],
    row: RowMapping,
) -> int:
    """Remove the customer from one row; 1 if it was changed."""
    ring, changes = key_ring_of(connection), {}
    for column in columns:
        value = row[column]
        plain = _readable(ring, row, value) if column.name == "excerpt" else value
        if plain != (without := _without(customer, plain)):
            changes[column.name] = None if column.name == "excerpt" else without
    if changes:
        same = and_(*(column == row[column] for column in table.primary_key.columns))
        await connection.execute(update(table).where(same).values(changes))
    return bool(changes)


def _readable(ring: KeyRing, attempt: RowMapping, excerpt: str | None) -> str | None:
    try:
        return None if excerpt is None else ring.decrypt_text(attempt["job_id"], attempt["fencing_token"], excerpt)
    except UnreadableBodyError:
        return excerpt


def _without(customer: CustomerIdentity, value: Any) -> Any:  # Any: JSON
    """The value, with each text that names the customer replaced."""
    match value:
        case dict():
            return {
                (ERASED if customer.named_in(name) else name): _without(customer, member)
                for name, member in value.items()
            }
        case list():
            return [_without(customer, item) for item in value]
        case str() if customer.named_in(value):
            return ERASED
        case _:
            return value
