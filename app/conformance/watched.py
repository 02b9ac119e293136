"""An adapter whose outcomes are looked at as they come: each but Done has a reason code and facts that can be stored."""

import json
from collections.abc import Awaitable, Callable
from typing import Final, cast

from platform_relay.core.outcomes import Blocked, Outcome, Reject, Retry, Skip, Unknown, Wait
from platform_relay.core.reasons import Reason, ReasonCode
from platform_relay.stores.base import StoreAdapter

WITH_REASON: Final = (Skip, Retry, Unknown, Reject, Blocked, Wait)
MOST_CHARACTERS: Final = 300
"""Of a store's own words in the fact `response`."""
CALLS: Final = (
    "issue_coupon", "find_coupon", "retire_coupon", "check", "list_entities", "fetch", "list_hooks", "create_hook",
    "enable_hook", "delete_hook", "sync_loyalty",
)  # fmt: skip
OTHERS: Final = ("parse_event", "wanted_topics", "aclose")


class WithoutReason(Exception):  # noqa: N818  # a finding, not an error of the program
    """An outcome has no reason that can be used; the text names what is wrong."""


def watched(adapter: StoreAdapter) -> StoreAdapter:
    """The adapter with the abilities that it has, raising WithoutReason for an outcome that is not as promised."""
    calls = {name: _watched(name, getattr(adapter, name)) for name in CALLS if hasattr(adapter, name)}
    others = {name: getattr(adapter, name) for name in OTHERS if hasattr(adapter, name)}
    methods = {name: staticmethod(method) for name, method in (calls | others).items()}
    return cast(StoreAdapter, type("Watched", (), methods)())  # isinstance asks for abilities by their methods


def _watched(name: str, method: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    async def call(*arguments: object) -> object:
        outcome = await method(*arguments)
        if isinstance(outcome, WITH_REASON) and (flaw := flaw_of(outcome)):
            raise WithoutReason(f"{name} was answered with {type(outcome).__name__}, and {flaw}")
        return outcome

    return call


def flaw_of(outcome: Outcome) -> str:
    """What is wrong with the reason of an outcome; empty when nothing is."""
    reason: object = getattr(outcome, "reason", None)
    if not isinstance(reason, Reason) or reason.code is ReasonCode.UNSPECIFIED:
        return "it has no reason code"
    try:
        stored = json.dumps(dict(reason.facts), allow_nan=False)
    except (TypeError, ValueError):
        return "its facts are no JSON"
    if "\\u0000" in stored:
        return "its facts hold a NUL, which PostgreSQL does not store"
    if len(str(reason.facts.get("response", ""))) > MOST_CHARACTERS:
        return f"its fact `response` is longer than {MOST_CHARACTERS} characters"
    return "" if reason.text else "it has no text"
