"""What responses show about the names of fields. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from platform_relay.core.exact_json import ExactJson
from platform_relay.platform.echo import places_of
from platform_relay.platform.fields import ASSUMPTIONS, NO_FIELDS, Fields
from platform_relay.platform.translation import Body
from platform_relay.platform.verify.observations import NameFinding, NameState
from platform_relay.platform.verify.samples import PARTS, is_unique, other_names


def sent_values(entity: str, values: Body) -> Iterator[tuple[str, JsonValue]]:
    """The keys of the table that a body sends, with their values; those of the rows of lists too."""
    for name, value in values.items():
        key = f"{entity}.{name}"
        part = next((part for part, holder in PARTS.items() if holder == key), None)
        if part is None:
            yield key, value
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield key, value
            for inner, item in value[0].items():
                yield f"{part}.{inner}", item


def names_in(entity: str, values: Body, fields: Fields, responses: Sequence[ExactJson]) -> dict[str, NameFinding]:
    """Under which name each value came back, after it was sent under the names of `fields` and was accepted."""
    return {
        key: NameFinding(NameState.CONFIRMED, name) if name else NameFinding(NameState.NOT_SHOWN)
        for key, value in sent_values(entity, values)
        if fields[key] != NO_FIELDS
        for name in [_name_of(key, value, fields, responses)]
    }


def other_names_in(
    entity: str, values: Body, fields: Fields, responses: Sequence[ExactJson], known: Mapping[str, NameFinding]
) -> dict[str, NameFinding]:
    """The names under which values came back after they were sent under every name, for those that are not `known` to come back
    under their own name."""
    findings: dict[str, NameFinding] = {}
    for key, finding in names_in(entity, values, fields, responses).items():
        before = known.get(key)
        if before is not None and before.state is NameState.CONFIRMED:
            findings[key] = before
        elif finding.state is NameState.CONFIRMED and finding.name != fields[key]:
            findings[key] = NameFinding(NameState.OTHER_NAME, finding.name)
        else:
            findings[key] = finding
    return findings


def overrides_of(findings: Mapping[str, NameFinding], fields: Fields) -> dict[str, str]:
    """The entries of PLATFORM__FIELDS that follow from the findings. Two fields of one body never get the same name."""
    overrides: dict[str, str] = {}
    for key, finding in findings.items():
        entity = key.partition(".")[0]
        taken = {name for other, name in overrides.items() if other.startswith(f"{entity}.")}
        if finding.state is NameState.OTHER_NAME and finding.name not in taken and is_free(key, finding.name, fields):
            overrides[key] = finding.name
    return overrides


def is_free(key: str, name: str, fields: Fields) -> bool:
    """Whether no other field of the same body has the name."""
    entity = key.partition(".")[0]
    return not any(fields[other] == name for other in ASSUMPTIONS if other.startswith(f"{entity}.") and other != key)


def _name_of(key: str, value: JsonValue, fields: Fields, responses: Sequence[ExactJson]) -> str:
    """The name under which the value came back, its own if possible; empty when no response contains it."""
    if key in PARTS.values():
        return _list_name(key, value, fields, responses)
    names = [place.name for response in responses for place in places_of(value, response)]
    allowed = [fields[key], *other_names(key)]
    if (own := next((name for name in allowed if name in names), None)) is not None:
        return own
    return names[0] if names and is_unique(key) else ""


def _list_name(key: str, value: JsonValue, fields: Fields, responses: Sequence[ExactJson]) -> str:
    """The name of a list, from the place of a value inside of its first row that occurs nowhere else."""
    part = next(part for part, holder in PARTS.items() if holder == key)
    row = value[0] if isinstance(value, list) and value else None
    items = row.items() if isinstance(row, dict) else ()
    names = [
        place.path[-2]
        for name, item in items
        if is_unique(f"{part}.{name}")
        for response in responses
        for place in places_of(item, response)
        if len(place.path) > 1
    ]
    return next((name for name in (fields[key], *other_names(key)) if name in names), "")
