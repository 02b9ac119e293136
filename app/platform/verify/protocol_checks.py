"""The checks of statuses, headers, durations and forms of success. Pure."""

import re
import statistics
from collections.abc import Mapping
from typing import Final

from platform_relay.core import exact_json
from platform_relay.platform.verify.observations import Observations
from platform_relay.platform.verify.verdict import (
    Check,
    Verdict,
    confirmed,
    not_accepted,
    refuted,
    undecidable,
)

_WINDOW: Final = re.compile(r"(?<![0-9])([0-9]{1,9})[ \t]{0,9};[ \t]{0,9}w=([0-9]{1,9})")
"""A limit and its window in seconds (draft-ietf-httpapi-ratelimit-headers, RateLimit-Policy before version 8)."""


def _wrong_key(seen: Observations) -> Verdict:
    name, exchange = "status.keyRefused", seen.get("key.wrong")
    if exchange is None or exchange.status is None:
        return undecidable(name, not_accepted(exchange))
    if seen.fields.has_status(name, exchange.status):
        return confirmed(name, f"A wrong key is refused with {exchange.status}.")
    if exchange.status == 404 or exchange.accepted or exchange.status >= 500 or exchange.status == 429:
        return undecidable(name, f"A wrong key is answered with {exchange.status}, as other requests are.")
    setting = {name: f"{seen.fields[name]},{exchange.status}"}
    return refuted(name, f"A wrong key is refused with {exchange.status}.", setting)


def _limited(seen: Observations) -> Verdict:
    name = "status.throttled"
    if any(exchange.status == 429 for exchange in seen.every):
        return confirmed(name, "The Platform answered 429 during the verification.")
    return undecidable(name, "The verification is too slow to reach a rate limit.")


def _rate_limit(seen: Observations) -> Verdict:
    name, headers = "rate_limit", _rate_headers(seen)
    if not headers:
        return confirmed(name, "No response has a header about a rate limit.")
    shown = ", ".join(f"{header}: {value}" for header, value in headers.items())
    windows = [match for value in headers.values() for match in _WINDOW.finditer(value)]
    if not windows:
        return refuted(name, f"Responses have {shown}. Set PLATFORM__RATE_LIMIT to what the Platform allows.")
    calls, seconds = min(
        ((int(match[1]), int(match[2])) for match in windows), key=lambda item: item[0] / max(item[1], 1)
    )
    per_minute = max(12, calls * 60 // max(seconds, 1))
    return refuted(name, f"Responses have {shown}.", variable=f"PLATFORM__RATE_LIMIT={per_minute}/min")


def _rate_headers(seen: Observations) -> dict[str, str]:
    """The last value of each header about a rate limit."""
    return {
        header: value[:80]
        for exchange in seen.every
        for header, value in exchange.headers.items()
        if "ratelimit" in header.replace("-", "").lower()
    }


def _timing(seen: Observations) -> Verdict:
    name, seconds = "timing", [exchange.seconds for exchange in seen.every if exchange.status is not None]
    if not seconds:
        return undecidable(name, "There was no response.")
    longest = max(seconds)
    text = f"{len(seconds)} calls: median {statistics.median(seconds) * 1000:.0f} ms, longest {longest * 1000:.0f} ms."
    if longest * 2 < seen.time_limit:
        return confirmed(name, text)
    return refuted(name, text, variable=f"PLATFORM__TIMEOUT={min(120, round(longest * 4) + 1)}")


def _http(seen: Observations) -> Verdict:
    offers = {
        True: " TLS also offers HTTP/2, which the relay does not need.",
        False: " TLS does not offer HTTP/2.",
        None: "",
    }[seen.http2]
    return confirmed("http", f"All responses were HTTP/1.1.{offers}")


def _failure_members(key: str, *, flag: bool) -> Check:
    def check(seen: Observations) -> Verdict:
        names = [
            name
            for exchange in seen.successes()
            for name in seen.fields.members(key)
            for value in [exact_json.member(exchange.json, name)]
            if (value is False if flag else bool(value))
        ]
        if names:
            return undecidable(key, f"A success has `{names[0]}`. If it was one, remove the name with the setting.")
        return confirmed(key, "No success has such a member.")

    return check


def _empty_success(seen: Observations) -> Verdict:
    key = "response.emptySuccess"
    empty = [
        exchange.call.step
        for exchange in seen.successes()
        if exchange.status != 204 and exchange.is_empty and exchange.call.method != "GET"
    ]
    if not empty:
        return confirmed(key, "No success is empty.")
    return refuted(key, f"Successes are empty: {', '.join(dict.fromkeys(empty))}.", {key: "accepted"})


CHECKS: Final[Mapping[str, Check]] = {
    "status.keyRefused": _wrong_key,
    "status.throttled": _limited,
    "rate_limit": _rate_limit,
    "timing": _timing,
    "http": _http,
    "response.failureFlag": _failure_members("response.failureFlag", flag=True),
    "response.failureText": _failure_members("response.failureText", flag=False),
    "response.emptySuccess": _empty_success,
}
