"""Makes the sentences of a reason from its code and its facts."""

import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from platform_relay.core.reason_texts.alerts import ALERTS
from platform_relay.core.reason_texts.calls import CALLS
from platform_relay.core.reason_texts.coupons import COUPONS
from platform_relay.core.reason_texts.events import EVENTS
from platform_relay.core.reason_texts.relay import RELAY
from platform_relay.core.reason_texts.text import PAUSED, ReasonText
from platform_relay.core.reasons import Reason, ReasonCode
from platform_relay.core.visible_text import visible

TEXTS: Final[Mapping[ReasonCode, ReasonText]] = {**CALLS, **RELAY, **EVENTS, **COUPONS, **ALERTS}
DEFAULTS: Final[Mapping[str, str]] = {
    "destination": "the destination",
    "request": "the request",
    "entity": "entity",
    "code": "",
    "lane": "another entity",
}
_PART: Final = re.compile(r"\[([^\[\]]*)\]")
_FACT: Final = re.compile(r"\{(\w+)\}")


def render(template: str, facts: Mapping[str, JsonValue]) -> str:
    """The template with its facts, beginning with a capital letter. Never raises."""

    def part(match: re.Match[str]) -> str:
        names = _FACT.findall(match[1])
        return _filled(match[1], facts) if all(name in facts for name in names) else ""

    # Parts are filled before the rest, so that brackets and braces in a fact are never read as a template.
    pieces = []
    end = 0
    for match in _PART.finditer(template):
        pieces += [_filled(template[end : match.start()], facts), part(match)]
        end = match.end()
    text = visible("".join([*pieces, _filled(template[end:], facts)])).strip()
    return text[:1].upper() + text[1:]


def _filled(template: str, facts: Mapping[str, JsonValue]) -> str:
    return _FACT.sub(
        lambda match: shown(facts[match[1]]) if match[1] in facts else DEFAULTS.get(match[1], ""), template
    )


def remedy(reason: Reason) -> str:
    """The next step without the sentence about paused calls: for a check, which an operator starts and repeats."""
    return render(TEXTS[reason.code].next_step.removeprefix(PAUSED), reason.facts)


def shown(fact: JsonValue) -> str:
    """A fact as text: lists are joined, a difference reads `value is 0.00 (expected 5.00)`, a reason reads as its text."""
    match fact:
        case list():
            return "; ".join(shown(item) for item in fact)
        case {"field": field, "actual": actual, "expected": expected}:
            return f"{field} is {_value(actual)} (expected {_value(expected)})"
        case {"code": str(code), "facts": dict(facts)} if code in TEXTS:
            return Reason(ReasonCode(code), facts).text.rstrip(".")
        case dict():
            return ", ".join(f"{name}: {shown(value)}" for name, value in fact.items())
        case None:
            return ""
        case _:
            return visible(str(fact)).rstrip(".")


def _value(value: JsonValue) -> str:
    return "not set" if value in (None, "", []) else shown(value)
