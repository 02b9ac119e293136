"""Makes the event of a store's entity from its translated fields, also if some of them cannot be read.

    an optional field that cannot be read     left out
    a text that is too long                   cut at the limit
    a discount without a readable code        left out of its list
    a variant without a readable id           the list of variants is left out: the Platform deletes what it does not contain
    an e-mail address that identifies no one  left out (`events.is_placeholder_address`)
    a required field that cannot be read      the entity is Unreadable

What was left out or cut is the `note` of the event. Pure. A store's translation passes values that it cannot convert, so that
the field is named here.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from platform_relay.core import exact_json
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.events import (
    EVENTS,
    TEXT_LENGTH,
    DiscountCode,
    EventKind,
    Instant,
    LineItem,
    Variant,
    is_placeholder_address,
)
from platform_relay.stores.native import NativeEvent, Unreadable, native_event, unreadable_entity
from platform_relay.stores.parsing import set_fields, validation_problem

PARTS: Final[Mapping[str, type[BaseModel]]] = {
    "lineItems": LineItem,
    "discountCodes": DiscountCode,
    "variants": Variant,
}
COMPLETE: Final = frozenset({"variants"})
"""Lists that are sent completely, or not at all."""
INVALID_FORM: Final = "it does not have the documented form"
MAX_NAMED: Final = 20
_INSTANT: Final = TypeAdapter[datetime](Instant)


def translate(
    source: str,
    destination: str,
    kind: EventKind,
    row: Mapping[str, object],
    fields: Callable[[], Mapping[str, object]],
    *,
    entity_id: object,
    required: Collection[str] = (),
) -> NativeEvent | Unreadable:
    """The event of an entity. `fields` returns the event's fields (`set_fields`), translated from the `row`.

    `source` is the adapter's name, `destination` the store's. `entity_id` identifies an entity that is Unreadable.
    `required` fields are those without which the store's entity is not complete; the event's own are always required.
    """
    values: dict[str, object] = {}
    try:
        values = set_fields(fields())
        cleaning = _Cleaning()
        event = EVENTS[kind].model_validate(cleaning.clean(EVENTS[kind], values, frozenset(required)))
        return native_event(source, kind, event, cleaning.note)
    except FieldUnreadableError as error:
        problem, field = f"{error.field}: {error.problem}", error.field
    except KeyError as error:
        field = str(error.args[0])[:100]
        problem = f"{field}: it is missing"
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        problem, field = validation_problem(error), None
    known = isinstance(entity_id, str | int) and not isinstance(entity_id, bool) and entity_id not in ("", 0)
    reference = str(entity_id)[:255] if known else None
    reason = unreadable_entity(destination, kind, reference, problem, field)
    return Unreadable(reason, kind, reference, _time(values.get("updatedAt")), _json(row))


class FieldUnreadableError(ValueError):
    """A required `field` cannot be read. `problem` contains no value of the store."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class _Cleaning:
    """Removes from an event's values what cannot be read, and remembers the names of the fields."""

    def __init__(self) -> None:
        self._left_out: list[str] = []
        self._cut: list[str] = []

    @property
    def note(self) -> Reason | None:
        if not self._left_out and not self._cut:
            return None
        left_out, cut = self._left_out[:MAX_NAMED], self._cut[:MAX_NAMED]
        count = len(self._left_out) + len(self._cut)
        return because(ReasonCode.FIELDS_LEFT_OUT, fields=[*left_out], cut=[*cut], count=count)

    def clean(
        self, model: type[BaseModel], values: Mapping[str, object], required: frozenset[str], place: str = ""
    ) -> dict[str, object]:
        """The values that the model accepts. Raises FieldUnreadableError."""
        cleaned = dict(values)
        if isinstance(email := cleaned.get("email"), str) and is_placeholder_address(email):
            del cleaned["email"]
            self._left_out.append(f"{place}email")
        unstorable = [name for name, value in cleaned.items() if _holds_nul(value)]
        for name in unstorable:
            if name not in PARTS:
                self._leave_out(model, cleaned, required, place, name, "it holds a NUL character")
        try:
            if not PARTS.keys().isdisjoint(unstorable):
                self._clean_parts(cleaned, place)
            model.model_validate(cleaned)
        except ValidationError:
            self._clean_parts(cleaned, place)
        else:
            self._require(cleaned, required, place)
            return cleaned
        while True:
            try:
                model.model_validate(cleaned)
            except ValidationError as error:
                self._clean_fields(model, cleaned, required, place, error)
            else:
                self._require(cleaned, required, place)
                return cleaned

    def _clean_parts(self, cleaned: dict[str, object], place: str) -> None:
        for name in cleaned.keys() & PARTS.keys():
            parts = cleaned[name]
            if not isinstance(parts, list):
                continue
            kept = []
            for number, part in enumerate(parts):
                try:
                    kept.append(self.clean(PARTS[name], part, frozenset(), f"{place}{name}.{number}."))
                except (FieldUnreadableError, TypeError, ValueError):
                    self._left_out.append(f"{place}{name}.{number}")
            if len(kept) < len(parts) and name in COMPLETE:
                self._left_out.append(f"{place}{name}")
                del cleaned[name]
            else:
                cleaned[name] = kept

    def _clean_fields(
        self,
        model: type[BaseModel],
        cleaned: dict[str, object],
        required: frozenset[str],
        place: str,
        error: ValidationError,
    ) -> None:
        for problem in error.errors(include_url=False, include_input=False):
            location = problem["loc"]
            name = str(location[0]) if location else ""
            value = cleaned.get(name)
            limit = problem.get("ctx", {}).get("max_length")
            if problem["type"] == "string_too_long" and limit == TEXT_LENGTH and isinstance(value, str):
                cleaned[name] = value[:TEXT_LENGTH]
                self._cut.append(place + name)
            else:
                text = INVALID_FORM if problem["type"] == "string_pattern_mismatch" else problem["msg"]
                self._leave_out(model, cleaned, required, place, name, text)

    def _leave_out(
        self,
        model: type[BaseModel],
        cleaned: dict[str, object],
        required: frozenset[str],
        place: str,
        name: str,
        problem: str,
    ) -> None:
        field = model.model_fields.get(name)
        if name not in cleaned or name in required or (field is not None and field.is_required()):
            raise FieldUnreadableError(place + name, problem)
        del cleaned[name]
        self._left_out.append(place + name)

    def _require(self, cleaned: Mapping[str, object], required: frozenset[str], place: str) -> None:
        if missing := sorted(name for name in required if cleaned.get(name) is None):
            raise FieldUnreadableError(place + missing[0], "it is missing")


def _holds_nul(value: object) -> bool:
    """Whether a text in the value holds a NUL character, which no destination can store."""
    if isinstance(value, dict):
        return any(map(_holds_nul, value.values()))
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\x00" in value


def _time(value: object) -> datetime | None:
    try:
        return _INSTANT.validate_python(value)
    except ValidationError:
        return None


def _json(row: Mapping[str, JsonValue] | Mapping[str, object]) -> bytes:
    try:
        return exact_json.dumps(row)
    except (TypeError, ValueError):
        return b"{}"
