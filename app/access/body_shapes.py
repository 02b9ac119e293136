"""The shape of a request body: each value is replaced by its type, and each name that is not a field's name of a model. Pure.

A body may contain personal data in values and in names. Only the names that the models of the events describe, and those of
a line of a batch, are shown. Every other name becomes `other-1`, `other-2`, … in the order of the body.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.inbox.events import EVENTS

LARGEST_BODY: Final = 16_384
"""Bytes. The shape of a larger body is not determined."""
DEEPEST: Final = 6
MOST_NAMES: Final = 60
MOST_ITEMS: Final = 3
MOST_VALUES: Final = 200
OF_A_BATCH: Final = frozenset({"type", "event", "idempotencyKey"})
NOT_JSON: Final = "not JSON"
MORE: Final = "more"
"""In place of what is left out. It is the type of no value."""


@cache
def known_names() -> frozenset[str]:
    """The names of all fields of the events, at any depth."""
    return OF_A_BATCH | {
        name for model in EVENTS.values() for name in _properties(model.model_json_schema(by_alias=True))
    }


def shape_of(raw: bytes) -> JsonValue:
    """The shape of a body, of at most MOST_VALUES values."""
    try:
        document = exact_json.loads(raw)
    except (ValueError, RecursionError):
        return NOT_JSON
    return _shape(document, DEEPEST, _Budget())


def masked_path(field: str) -> str:
    """The dotted path of a field. A number, which may be a place in a list or a name in the body, becomes `#`, and every name
    that is not known becomes `other`."""
    return ".".join(
        step if step in known_names() or step in PLACES else "#" if step.isdigit() else "other"
        for step in field.split(".")[:DEEPEST]
    )


PLACES: Final = frozenset(
    [
        "body",
        "query",
        "cursor",
        "limit",
        "backfill",
        "Idempotency-Key",
        "kind",
        "why",
        "state",
        "reason_code",
        "source",
        "since",
        "until",
        "about",
    ]
)
"""Other names that an error can name, which are no names of fields of an event."""


class _Budget:
    """How many values may still be shown, of one body."""

    def __init__(self) -> None:
        self.values = MOST_VALUES
        self.others = 0


def _shape(value: ExactJson, depth: int, budget: _Budget) -> JsonValue:
    budget.values -= 1
    if isinstance(value, dict | list) and (depth == 0 or budget.values < 0):
        return MORE
    match value:
        case dict():
            return _object(value, depth, budget)
        case list():
            items: list[JsonValue] = [_shape(item, depth - 1, budget) for item in value[:MOST_ITEMS]]
            return [*items, MORE] if len(value) > MOST_ITEMS else items
        case str():
            return "text" if value else "empty text"
        case _:
            return "null" if value is None else "boolean" if isinstance(value, bool) else "number"


def _object(value: Mapping[str, ExactJson], depth: int, budget: _Budget) -> dict[str, JsonValue]:
    shape: dict[str, JsonValue] = {}
    for name, member in list(value.items())[:MOST_NAMES]:
        if budget.values <= 0:
            break
        if name in known_names():
            shown = name
        else:
            budget.others += 1
            shown = f"other-{budget.others}"
        shape[shown] = _shape(member, depth - 1, budget)
    if len(shape) < len(value):
        shape["…"] = MORE
    return shape


def _properties(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for member in schema.values():
            yield from _properties(member)
    elif isinstance(schema, list):
        for member in schema:
            yield from _properties(member)
