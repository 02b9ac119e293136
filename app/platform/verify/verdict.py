"""A verdict on an assumption, and what the checks of several subjects share. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.platform.responses import Rejected, RejectionKind
from platform_relay.platform.verify.observations import Exchange, Observations

TEXT_CHARS: Final = 60
"""The longest part of a message that is proposed as a text to search for."""
_OWN_VALUES: Final = re.compile(r"(?<!\S)\S{0,200}?relay-?verify\S*", re.IGNORECASE)
_PHRASE: Final = re.compile(r"[^\W\d_][\w' ]*[^\W\d_]")


def stable_part(message: str) -> str:
    """The longest part of a message that names none of the test data, so that it is the same for every customer and order."""
    parts = [match[0].strip() for piece in _OWN_VALUES.split(message) for match in _PHRASE.finditer(piece)]
    return max(parts, key=len, default="")[:TEXT_CHARS]


Result = Literal["confirmed", "refuted", "undecidable"]
NO_CHANGE: Final = "The relay works either way."


@dataclass(frozen=True, slots=True)
class Verdict:
    """`finding`: one or two sentences without values of a customer. `settings`: entries of PLATFORM__FIELDS to set. `variable`:
    another setting as NAME=value."""

    id: str
    result: Result
    finding: str
    settings: Mapping[str, str] = field(default_factory=dict)
    variable: str = ""


Check = Callable[[Observations], Verdict]


def confirmed(name: str, finding: str) -> Verdict:
    return Verdict(name, "confirmed", finding)


def refuted(name: str, finding: str, settings: Mapping[str, str] | None = None, variable: str = "") -> Verdict:
    return Verdict(name, "refuted", finding, settings or {}, variable)


def undecidable(name: str, finding: str) -> Verdict:
    return Verdict(name, "undecidable", finding)


def never(key: str, finding: str) -> Check:
    return lambda _: undecidable(key, finding)


def form_verdict(key: str, seen: Observations, exchange: Exchange | None, text: str) -> Verdict:
    """An entry for which another text is known if it was needed."""
    if exchange is None or not exchange.accepted:
        return undecidable(key, not_accepted(exchange))
    if key in seen.overrides:
        return refuted(key, text.format(seen.overrides[key]), {key: seen.overrides[key]})
    return confirmed(key, "As configured.")


def form_check(key: str, step: str, text: str) -> Check:
    return lambda seen: form_verdict(key, seen, seen.get(step), text)


def customer_in(exchange: Exchange, seen: Observations) -> ExactJson:
    return exact_json.at_path(exchange.json, seen.fields.path("response.customer"))


def is_rejected(exchange: Exchange, kind: RejectionKind, seen: Observations) -> bool:
    meaning = exchange.meaning(seen.fields)
    return isinstance(meaning, Rejected) and meaning.kind is kind


def message_of(seen: Observations, step: str) -> str:
    exchange = seen.get(step)
    return exchange.message if exchange is not None else ""


def not_accepted(exchange: Exchange | None) -> str:
    if exchange is None:
        return "The call was not made, because an earlier one was not accepted or a key is missing."
    return f"The call for it was not accepted: {exchange.described()}."
