"""The result of a verification: the settings to paste, and the JSON file. Pure.

The file has no customer's data: the test data are replaced, and of responses only statuses, names of members, durations and
texts without them are kept.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.core.http import quoted
from platform_relay.platform.verify.assumptions import BY_ID
from platform_relay.platform.verify.observations import Exchange, Observations
from platform_relay.platform.verify.verdict import Verdict

FORMAT = 1
"""The version of the file's form."""


def settings_lines(base: Mapping[str, str], verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """The settings to paste, as NAME=value; those of PLATFORM__FIELDS together with what is configured already."""
    changed: dict[str, str] = {}
    for verdict in verdicts:
        changed |= verdict.settings
    lines = [verdict.variable for verdict in verdicts if verdict.variable]
    if changed:
        lines.insert(0, "PLATFORM__FIELDS=" + json.dumps({**base, **changed}, ensure_ascii=False))
    return tuple(lines)


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many assumptions have each result."""
    return {
        result: sum(verdict.result == result for verdict in verdicts)
        for result in ("confirmed", "refuted", "undecidable")
    }


def as_json(address: str, at: datetime, seen: Observations, verdicts: Sequence[Verdict]) -> bytes:
    """The result as JSON."""
    seconds = [exchange.seconds for exchange in seen.every]
    document: dict[str, JsonValue] = {
        "format": FORMAT,
        "address": address,
        "at": at.isoformat(timespec="seconds"),
        "counts": dict(counts(verdicts)),
        "settings": list(settings_lines(seen.base, verdicts)),
        "median_ms": round(statistics.median(seconds) * 1000) if seconds else None,
        "assumptions": [_row(verdict) for verdict in verdicts],
        "calls": [_call(exchange) for exchange in seen.every],
    }
    return exact_json.dumps(document, indent=2) + b"\n"


def _row(verdict: Verdict) -> JsonValue:
    assumption = BY_ID[verdict.id]
    return {
        "id": verdict.id,
        "statement": assumption.statement,
        "check": assumption.check,
        "setting": assumption.setting,
        "result": verdict.result,
        "finding": quoted(verdict.finding),
        "settings": dict(verdict.settings),
        "variable": verdict.variable,
    }


def _call(exchange: Exchange) -> JsonValue:
    """A call without its content: the names of the members of the response show its shape."""
    return {
        "step": exchange.call.step,
        "method": exchange.call.method,
        "status": exchange.status,
        "ms": round(exchange.seconds * 1000),
        "members": [*_members(exchange)],
    }


def _members(exchange: Exchange) -> list[str]:
    """The names of the members of the response and of the objects in it, one level deep."""
    body = exchange.json
    if not isinstance(body, dict):
        return []
    names = [str(name) for name in body]
    names += [f"{name}.{inner}" for name, value in body.items() if isinstance(value, dict) for inner in value]
    return [quoted(name) for name in sorted(names)][:100]
