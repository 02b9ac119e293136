"""Which column fills which field: a guess from the names and the values of the columns. Pure.

A mapping is field -> column. Columns that are not mapped are left out of CSV rows, and kept unchanged in JSON rows.

A wrong id invents a customer or merges two. Therefore ids are only guessed from columns whose values look like ids, and e-mail
addresses from columns whose values contain `@`. A guess that can be wrong is in `Guess.uncertain`, and waits for a confirmation.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.imports.column_names import BIRTHDAY, IDS, aliases, mappable_fields, plain, uncertain_aliases
from platform_relay.imports.id_values import damage_of, is_token, looks_like_id
from platform_relay.imports.values import currency_of
from platform_relay.inbox.events import EVENTS, EventKind

_CERTAIN_SHARE: Final = 0.9
"""A column of ids has at least this share of values with a digit."""
_POSSIBLE_SHARE: Final = 0.5
Doubt = Literal["name", "values", "addresses"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a file with the values of its first rows that are not empty, without spaces around them."""

    name: str
    values: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Guess:
    """`uncertain`: the fields whose column may be a wrong one, and why. `refused`: the column that has the name of a field and
    values that it cannot have, by field."""

    mapping: dict[str, str] = field(default_factory=dict)
    uncertain: dict[str, Doubt] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def known_fields(kind: EventKind) -> tuple[str, ...]:
    """The fields that a column can fill."""
    names = tuple(EVENTS[kind].model_fields)
    return (*names, BIRTHDAY) if kind is EventKind.CUSTOMER else names


@cache
def required_fields(kind: EventKind) -> tuple[str, ...]:
    return tuple(name for name, field in EVENTS[kind].model_fields.items() if field.is_required())


def guess_mapping(kind: EventKind, columns: Iterable[Column], *, typed: bool = False) -> Guess:
    """A mapping by the names and values of the columns. Each column is used once, for the first field that it fits.
    `typed`: the values come from JSON, so that only their names decide."""
    named = [(column, plain(column.name)) for column in columns]
    guess = Guess()
    for name in mappable_fields(kind):
        for alias, column in _candidates(kind, name, named):
            if column.name in guess.mapping.values() or (name == BIRTHDAY and "birthdayMonth" in guess.mapping):
                continue
            is_uncertain = alias in uncertain_aliases(kind, name)
            doubt = None if typed and not is_uncertain else _doubt(name, alias, column, is_uncertain=is_uncertain)
            if doubt == "refused":
                guess.refused.setdefault(name, column.name)
                continue
            guess.mapping[name] = column.name
            if doubt is not None:
                guess.uncertain[name] = doubt
            break
    return guess


def _candidates(kind: EventKind, name: str, named: Sequence[tuple[Column, str]]) -> list[tuple[str, Column]]:
    """The columns with a name of the field, the preferred ones first. Those without a value are the last ones; of JSON, also an
    object has none, but its members can be columns."""
    options = [(alias, column) for alias in aliases(kind, name) for column, text in named if text == alias]
    uncertain = uncertain_aliases(kind, name)

    def rank(candidate: tuple[str, Column]) -> int:
        alias, column = candidate
        if not column.values:
            return 3
        if alias in uncertain:
            return 2  # only of ids
        is_constant = len(column.values) > 1 and len(set(column.values)) == 1
        return 1 if name == "id" and is_constant else 0  # such as the id of the store in each row

    return sorted(options, key=rank)


def _doubt(name: str, alias: str, column: Column, *, is_uncertain: bool) -> Doubt | Literal["refused"] | None:
    """Why the column may not be the one of the field; `refused`: its values cannot be."""
    values = column.values
    if not values:
        return "refused" if is_uncertain else None
    if name in IDS:
        return _id_doubt(values, is_uncertain=is_uncertain)
    fits = _fit(name, alias)
    if fits is None:
        return None
    share = sum(1 for text in values if fits(text)) / len(values)
    if name == "birthdayDay" and alias == "birthday":
        return None if share == 1 else "refused"
    return None if share >= _POSSIBLE_SHARE else "refused"


def _fit(name: str, alias: str) -> Callable[[str], bool] | None:
    """What most values of the field's column have; None: they can be any text."""
    match name:
        case "email":
            return lambda text: "@" in text
        case "birthdayDay" if alias == BIRTHDAY:
            return lambda text: is_count(text) and 1 <= integer(text) <= 31
        case "birthday":
            return lambda text: any(character.isalnum() for character in text)
        case "totalPrice" | "subtotalPrice" | "refundedAmount":
            return _has_digit
        case "currency":
            return lambda text: currency_of(text) is not None or re.fullmatch("[A-Za-z]{3}", text) is not None
    return None


def _id_doubt(values: Sequence[str], *, is_uncertain: bool) -> Doubt | Literal["refused"] | None:
    sound = [text for text in values if damage_of(text) is None]
    if not sound:  # all are damaged: each row is rejected, and the reason names the damage
        return "name" if is_uncertain else None
    with_digit = sum(1 for text in sound if looks_like_id(text)) / len(sound)
    tokens = sum(1 for text in sound if is_token(text)) / len(sound)
    addresses = sum(1 for text in sound if "@" in text and " " not in text) / len(sound)
    if is_uncertain:
        return "name" if with_digit == 1 else "refused"
    if addresses == 1:
        return "addresses"
    if tokens == 1 and with_digit >= _CERTAIN_SHARE:
        return None
    return "values" if tokens >= _CERTAIN_SHARE and with_digit >= _POSSIBLE_SHARE else "refused"


def _has_digit(text: str) -> bool:
    return any("0" <= character <= "9" for character in text)


def parse_mapping(kind: EventKind, items: Iterable[str], columns: Iterable[str] | None) -> dict[str, str]:
    """The mapping in items such as `field=column`. Raises ValueError for an unknown field or column."""
    known, present = known_fields(kind), None if columns is None else set(columns)
    mapping: dict[str, str] = {}
    for item in items:
        field, sign, column = item.partition("=")
        if not sign or field not in known:
            raise ValueError(f"{item!r} is not valid: write FIELD=COLUMN; fields of {kind} are {', '.join(known)}")
        if present is not None and column and column not in present:
            raise ValueError(f"there is no column {column!r}; the columns are {', '.join(sorted(present))}")
        mapping[field] = column
    return mapping


def missing_fields(kind: EventKind, mapping: Mapping[str, str]) -> list[str]:
    """Required fields without a column."""
    return [field for field in required_fields(kind) if not mapping.get(field)]
