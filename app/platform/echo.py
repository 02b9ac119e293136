"""Compares what was sent to the Platform with what came back. Pure."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, cast

from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson

_PHONE: Final = re.compile(r"\+?[\d\s()./-]{7,32}")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d[\d:.Z+-]*")
DEEPEST: Final = 12
"""Levels of a response that are searched."""


class Place(NamedTuple):
    """Where a value is in a response: the names of the members from the outside. Positions in lists are left out."""

    path: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path[-1] if self.path else ""


def same_value(sent: ExactJson, returned: ExactJson) -> bool:
    """Whether two values mean the same: text without regard to case and outer spaces, numbers also as text, times as
    instants, telephone numbers by their digits, lists in any order. Everything that is empty is equal to a missing member."""
    if _is_empty(sent) or _is_empty(returned):
        return _is_empty(sent) and _is_empty(returned)
    if isinstance(sent, bool) or isinstance(returned, bool):
        return sent is returned
    if isinstance(sent, list) and isinstance(returned, list):
        rest = list(returned)
        return len(sent) == len(rest) and all(_take(item, rest) for item in sent)
    if isinstance(sent, dict | list) or isinstance(returned, dict | list):
        return sent == returned
    number = exact_json.number(returned)
    if number is not None and number == exact_json.number(sent):
        return True
    left, right = str(sent).strip().casefold(), str(returned).strip().casefold()
    return left == right or _same_instant(left, right) or _same_phone(left, right)


def places_of(value: JsonValue, response: ExactJson) -> tuple[Place, ...]:
    """Every place of a value that is not empty, in a response, at most DEEPEST levels deep."""
    sent = cast("ExactJson", value)  # no value of the relay is a float
    return tuple(place for place, leaf in _members(response, ()) if same_value(sent, leaf) and not _is_empty(leaf))


def holder_of(value: JsonValue, response: ExactJson) -> tuple[str, ...] | None:
    """The path of the outermost object that has the value as one of its own members; None when there is none."""
    places = sorted(places_of(value, response), key=lambda place: len(place.path))
    return places[0].path[:-1] if places else None


def _members(value: ExactJson, path: tuple[str, ...]) -> Iterator[tuple[Place, ExactJson]]:
    if len(path) > DEEPEST:
        return
    if isinstance(value, dict):
        for name, item in value.items():
            yield Place((*path, name)), item
            yield from _members(item, (*path, name))
    elif isinstance(value, list):
        for item in value:
            yield from _members(item, path)


def _is_empty(value: ExactJson) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def _take(item: ExactJson, rest: list[ExactJson]) -> bool:
    for position, other in enumerate(rest):
        if same_value(item, other):
            del rest[position]
            return True
    return False


def _same_instant(left: str, right: str) -> bool:
    instants: Sequence[datetime | None] = [_instant(left), _instant(right)]
    return instants[0] is not None and instants[0] == instants[1]


def _instant(text: str) -> datetime | None:
    if not _INSTANT.fullmatch(text.upper()):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _same_phone(left: str, right: str) -> bool:
    return bool(_PHONE.fullmatch(left) and _PHONE.fullmatch(right)) and _digits(left) == _digits(right)


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit()).lstrip("0")
