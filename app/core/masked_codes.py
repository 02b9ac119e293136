"""Coupon codes are money: who reads one can spend it. Logs show their first two characters only. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pydantic import JsonValue

MASK: Final = "***"
SHORT: Final = 4
"""Of a code of at most this length nothing is shown."""
CODE_FACTS: Final = ("code", "other")
"""The facts of reasons that hold a coupon's code."""


def masked(code: str) -> str:
    """`ab***` for a code; `***` for a short one."""
    return MASK if len(code) <= SHORT else f"{code[:2]}{MASK}"


def codes_in(facts: Mapping[str, JsonValue]) -> Iterator[str]:
    """The coupon codes in the facts of a reason, and of the reasons among them."""
    is_reason = isinstance(facts.get("facts"), dict)
    for name, value in facts.items():
        if name in CODE_FACTS and isinstance(value, str) and value and not (is_reason and name == "code"):
            yield value
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield from codes_in(item)


def without_codes(text: str, codes: Iterable[str]) -> str:
    """The text with all these codes masked."""
    for code in sorted(set(codes), key=len, reverse=True):
        text = text.replace(code, masked(code))
    return text
