"""What the kit reads and changes in the JSON of calls: values of their own, and parts of longer texts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from pydantic import JsonValue

from platform_relay.conformance.fault_injection import RecordedCall
from platform_relay.core import exact_json
from platform_relay.core.http_messages import Request

Path = tuple[str | int, ...]
NUMBER: Final = re.compile(r"(?<![\d.])[\d.]*\d")
QUANTITY: Final = re.compile(r"qty|quantit", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A value in the body of a request. `separate`: it is a value of its own, not a part of a longer text. `nearby` are the names
    and texts around it."""

    path: Path
    separate: bool
    nearby: tuple[str, ...]

    @property
    def counts_items(self) -> bool:
        """Whether the field around it is named like a number of items."""
        return any(QUANTITY.search(text) for text in self.nearby)


def document_of(body: bytes) -> JsonValue:
    """The JSON of a body, with exact numbers; None if it is not JSON."""
    try:
        return exact_json.loads(body)  # type: ignore[return-value]  # with Decimals instead of floats
    except ValueError:
        return None


def occurrences(document: JsonValue, amount: Decimal) -> list[Occurrence]:
    """Every place where a number is, as `12.34` or in cents as `1234`, as a number or in a text."""
    spellings = (f"{amount:f}", str(_in_cents(amount)))
    places = []
    for path, leaf, nearby in _leaves(document):
        if isinstance(leaf, str) and (number := next((n for n in NUMBER.findall(leaf) if n in spellings), None)):
            places.append(Occurrence(path, number == leaf.strip(), nearby))
        elif _is_number(leaf) and Decimal(str(leaf)) in (amount, _in_cents(amount)):
            places.append(Occurrence(path, separate=True, nearby=nearby))
    return places


def replaced(document: JsonValue, path: Path, old: Decimal, new: Decimal) -> JsonValue:
    """The document with the amount replaced at one place. Both amounts have cents."""
    if not path:
        if isinstance(document, str):
            return document.replace(f"{old:f}", f"{new:f}").replace(str(_in_cents(old)), str(_in_cents(new)))
        return new if Decimal(str(document)) == old else _in_cents(new)  # type: ignore[return-value]  # Decimal is written exactly
    name, rest = path[0], path[1:]
    if isinstance(document, dict):
        return {key: replaced(item, rest, old, new) if key == name else item for key, item in document.items()}
    if isinstance(document, list):
        return [replaced(item, rest, old, new) if number == name else item for number, item in enumerate(document)]
    return document


def with_body(request: Request, document: JsonValue) -> Request:
    """The request with another JSON body."""
    return replace(request, content=exact_json.dumps(document))


def is_like(call: RecordedCall, others: Sequence[RecordedCall], code: str) -> bool:
    """Whether a call is the same as one of the others, apart from the spelling of the code."""
    return _shape(call, code) in {_shape(other, code) for other in others}


def respelled(call: RecordedCall, code: str) -> bool:
    """Whether the code is in the call in another spelling, and nowhere as it is."""
    text = f"{call.url} {call.body.decode('utf-8', 'replace')}"
    return code not in text and code.casefold() in text.casefold()


def _shape(call: RecordedCall, code: str) -> tuple[str, str, str]:
    body = call.body.decode("utf-8", "replace")
    return call.method, _without(code, call.url), _without(code, body)


def _without(code: str, text: str) -> str:
    return re.sub(re.escape(code), "CODE", text, flags=re.IGNORECASE)


def _in_cents(amount: Decimal) -> int:
    return int(amount * 100)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _leaves(
    value: JsonValue, path: Path = (), nearby: tuple[str, ...] = ()
) -> Iterator[tuple[Path, JsonValue, tuple[str, ...]]]:
    if isinstance(value, dict):
        texts = [text for text in value.values() if isinstance(text, str) and len(text) < 60]
        for name, item in value.items():
            yield from _leaves(item, (*path, name), (name, *texts))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, (*path, number), nearby)
    else:
        yield path, value, nearby
