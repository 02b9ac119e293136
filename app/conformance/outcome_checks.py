"""Checks every outcome of an adapter: all except Done have a reason code, and facts that can be stored."""

import json
from collections.abc import Awaitable, Callable
from typing import Final, cast

from platform_relay.core.outcomes import Blocked, Outcome, Reject, Retry, Skip, Unknown, Wait
from platform_relay.core.reasons import Reason, ReasonCode
from platform_relay.stores.base import StoreAdapter

WITH_REASON: Final = (Skip, Retry, Unknown, Reject, Blocked, Wait)
MAX_RESPONSE_CHARACTERS: Final = 300
"""The maximum length of the fact `response`, the error text of the store."""
CALLS: Final = (
    "issue_coupon", "find_coupon", "retire_coupon", "check", "list_entities", "count", "fetch", "list_webhooks",
    "create_webhook", "enable_webhook", "delete_webhook", "sync_loyalty",
)  # fmt: skip
OTHERS: Final = ("parse_event", "webhook_parser", "webhook_topics", "aclose")


class InvalidReason(Exception):  # noqa: N818  # a result of a case, not a program error
    """The reason of an outcome is missing or invalid."""


def check_outcomes(adapter: StoreAdapter) -> StoreAdapter:
    """The adapter with all of its abilities. Its methods raise InvalidReason for an outcome with an invalid reason."""
    calls = {name: _checked(name, getattr(adapter, name)) for name in CALLS if hasattr(adapter, name)}
    others = {name: getattr(adapter, name) for name in OTHERS if hasattr(adapter, name)}
    methods = {name: staticmethod(method) for name, method in (calls | others).items()}
    return cast(StoreAdapter, type("CheckedAdapter", (), methods)())  # `isinstance` finds abilities by their methods


def _checked(name: str, method: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    async def call(*arguments: object) -> object:
        outcome = await method(*arguments)
        if isinstance(outcome, WITH_REASON) and (problem := reason_problem(outcome)):
            raise InvalidReason(f"{name} returned {type(outcome).__name__}, and {problem}")
        return outcome

    return call


def reason_problem(outcome: Outcome) -> str:
    """What is wrong with the reason of an outcome; empty if it is valid."""
    reason: object = getattr(outcome, "reason", None)
    if not isinstance(reason, Reason) or reason.code is ReasonCode.UNSPECIFIED:
        return "it has no reason code"
    try:
        stored = json.dumps(dict(reason.facts), allow_nan=False)
    except (TypeError, ValueError):
        return "its facts are not JSON"
    if "\\u0000" in stored:
        return "its facts contain a NUL character, which PostgreSQL cannot store"
    if len(str(reason.facts.get("response", ""))) > MAX_RESPONSE_CHARACTERS:
        return f"its fact `response` is longer than {MAX_RESPONSE_CHARACTERS} characters"
    return "" if reason.text else "it has no text"
