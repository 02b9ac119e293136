"""What in the values of a file speaks against its columns of ids. Pure.

A file of another system has that system's own ids as well as the store's. Neither name nor values of one column show which is
which; the comparison of columns does.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from platform_relay.core.visible_text import visible
from platform_relay.imports.column_names import IDS, TIMES, aliases, plain, uncertain_aliases
from platform_relay.imports.id_values import is_placeholder
from platform_relay.imports.summary import NAME_LENGTH
from platform_relay.inbox.events import EventKind

Cells = Mapping[str, Sequence[str]]
"""The values of the first rows by column; "" for none. All columns have the same number."""
_ONE_VALUE: Final[Mapping[EventKind, tuple[str, ...]]] = {
    EventKind.CUSTOMER: ("email",),
    EventKind.ORDER: ("email", "totalPrice", "financialStatus"),
    EventKind.PRODUCT: ("title",),
}
"""Fields that have one value for each entity, so that a repeated id with two of them identifies something else."""
_NAMES: Final = {
    "email": "e-mail addresses",
    "totalPrice": "totals",
    "financialStatus": "statuses",
    "title": "titles",
}
_MANY_ADDRESSES: Final = 5
"""A customer with more addresses is not one customer."""
_SHARE: Final = 10
"""Customers change their addresses. A tenth of those with several orders do not."""


@dataclass(frozen=True, slots=True)
class IdDoubt:
    """Why the column of a field may be the wrong one: the text of a question, its answers (`field=column`), and the effect."""

    text: str
    answers: tuple[str, ...]
    effect: str


def id_doubts(kind: EventKind, mapping: Mapping[str, str], chosen: Mapping[str, str], cells: Cells) -> list[IdDoubt]:
    """The doubts about the columns of ids that were guessed, not chosen."""
    guessed = {name: column for name in IDS if name not in chosen and (column := mapping.get(name, "")) in cells}
    doubts: list[IdDoubt] = []
    for name, column in guessed.items():
        doubts += _several(kind, name, column, mapping, cells)
    if "id" in guessed:
        doubts += _only_an_id(guessed["id"], mapping, cells)
        doubts += _repeated(kind, guessed["id"], mapping, cells)
    if "customerId" in guessed:
        doubts += _many_addresses(guessed["customerId"], mapping, cells)
    return doubts


def _several(kind: EventKind, name: str, column: str, mapping: Mapping[str, str], cells: Cells) -> Iterator[IdDoubt]:
    """If another column has a name of the field as well, and other values."""
    certain = set(aliases(kind, name)) - uncertain_aliases(kind, name)
    # An order's number is beside its id in most stores. A customer's number may be the store's id.
    rivals = set(aliases(kind, name)) if kind is EventKind.CUSTOMER else certain
    others = [
        other
        for other in cells
        if other not in mapping.values()
        and plain(other) in rivals
        and _differ(cells[column], cells[other])
        and not _is_constant(cells[other])
    ]
    if plain(column) in certain and others:
        names = " and ".join(_shown(option) for option in (column, *others))
        yield IdDoubt(
            f"The columns {names} can hold the ids of your store, and their values differ. {_shown(column)} would be used for"
            f" {name}.",
            tuple(f"{name}={option}" for option in (column, *others)),
            _WRONG_COLUMN,
        )


def _only_an_id(column: str, mapping: Mapping[str, str], cells: Cells) -> Iterator[IdDoubt]:
    """If nothing but the id and times is filled, and the file has columns that fill no field."""
    filled = {field for field, source in mapping.items() if any(cells.get(source, ()))} - {"id", *TIMES}
    if not filled and set(cells) - set(mapping.values()):
        yield IdDoubt(
            f"Only the id has a column ({_shown(column)}); the other columns fill no field. So the file may be of another system,"
            " with ids of its own.",
            (f"id={column}",),
            "Each row would become an entity that has nothing but an id.",
        )


def _repeated(kind: EventKind, column: str, mapping: Mapping[str, str], cells: Cells) -> Iterator[IdDoubt]:
    """If one id is beside two values of a field that has one value for each entity."""
    for field in _ONE_VALUE[kind]:
        if any(len(values) > 1 for values in _beside(cells, column, mapping.get(field)).values()):
            yield IdDoubt(
                f"Column {_shown(column)} has the same id beside different {_NAMES[field]}. It would be used for id.",
                (f"id={column}",),
                "If it does not identify one of the rows, or if an entity has several rows, rows would be merged or lost.",
            )
            return


def _many_addresses(column: str, mapping: Mapping[str, str], cells: Cells) -> Iterator[IdDoubt]:
    """If the customers of orders have more addresses than people have."""
    addresses = _beside(cells, column, mapping.get("email"))
    orders = Counter(cells[column])
    returning = [known for identifier, known in addresses.items() if orders[identifier] > 1]
    several = sum(len(known) > 1 for known in returning)
    if several and (several * _SHARE >= len(returning) or max(map(len, returning)) > _MANY_ADDRESSES):
        yield IdDoubt(
            f"Column {_shown(column)} has the same id beside different e-mail addresses. It would be used for customerId.",
            (f"customerId={column}",),
            "If it does not identify the customer of the order, orders of many people would count for one.",
        )


def notes_on_customers(kind: EventKind, mapping: Mapping[str, str], cells: Cells) -> list[str]:
    """A sentence about orders that name no customer; none if all do."""
    if kind is not EventKind.ORDER:
        return []
    columns = [cells[column] for name in ("customerId", "email") if (column := mapping.get(name, "")) in cells]
    if not columns:
        return ["No column names the customers of the orders, so they belong to no customer and give no points."]
    rows = len(columns[0])
    without = sum(all(map(is_placeholder, values)) for values in zip(*columns, strict=True))
    if not without:
        return []
    which = f"{without:,} of the first {rows:,}" if without < rows else f"All of the first {rows:,}"
    return [f"{which} orders have neither an id nor an e-mail address of a customer: they give no points."]


_WRONG_COLUMN: Final = "With a wrong column, entities would be invented or merged."


def _beside(cells: Cells, column: str, other: str | None) -> Mapping[str, set[str]]:
    """The different values in column `other` beside each id."""
    values: dict[str, set[str]] = defaultdict(set)
    for identifier, value in zip(cells[column], cells.get(other or "", ()), strict=False):
        if value and not is_placeholder(identifier):
            values[identifier].add(value.lower())
    return values


def _differ(some: Sequence[str], others: Sequence[str]) -> bool:
    return any(
        one.rpartition("/")[2] != other.rpartition("/")[2]  # gid://shopify/Customer/7 and 7 are equal
        for one, other in zip(some, others, strict=False)
        if not is_placeholder(one) and not is_placeholder(other)
    )


def _is_constant(values: Sequence[str]) -> bool:
    """Whether several rows have one value, such as the id of the merchant: it identifies none of them."""
    filled = [value for value in values if value]
    return len(filled) > 1 and len(set(filled)) == 1


def _shown(column: str) -> str:
    return visible(column[:NAME_LENGTH])
