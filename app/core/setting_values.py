"""Values of settings: rates, secrets, and `none` for no limit."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, SecretStr, TypeAdapter

PLACEHOLDERS: Final = ("changeme", "change-me", "secret", "password", "example", "todo", "xxx", "placeholder")
MIN_LENGTH: Final = 24
"""The minimum number of characters of a key or secret that the operator chooses."""
MIN_DIFFERENT: Final = 12
"""The minimum number of different characters in it."""


def _per_second(value: object) -> object:
    """Calls per second, from `10/s`, `600/min`, `36000/h` or a number. Raises ValueError."""
    if not isinstance(value, str):
        return value
    if (match := re.fullmatch(r"([0-9]+(?:\.[0-9]*)?) ?(?:/ ?(s|sec|m|min|h))?", value.strip())) is None:
        raise ValueError("is not a rate; write it as 10/s, 600/min or 36000/h")
    return float(match[1]) / {None: 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}[match[2]]


Rate = Annotated[float, BeforeValidator(_per_second), Field(ge=0.2, le=100_000)]
"""Calls per second. The minimum of 12/min lets all calls for one coupon fit into the 60 s of one attempt."""


def parse_rate(text: str) -> float:
    """Calls per second, from `10/s` or `600/min`. Raises ValueError."""
    return TypeAdapter(Rate).validate_python(text)


def none_as_no_limit(value: object) -> object:
    """`none` switches off a limit that has a default; an empty variable would give the default."""
    return None if value == "none" else value


def refuse_placeholder(secret: SecretStr | None) -> SecretStr | None:
    """Return the secret. Raises ValueError when it is a placeholder or shorter than 8 characters."""
    if secret is None:
        return None
    value = secret.get_secret_value()
    if value.lower().strip("<>") in PLACEHOLDERS:
        raise ValueError("is a placeholder; set the real secret")
    if len(value) < 8:
        raise ValueError("is shorter than 8 characters; copy the complete secret")
    return secret


def refuse_weak(secret: SecretStr | None) -> SecretStr | None:
    """Return a secret that the operator chose. Raises ValueError when it could be guessed.

    Secrets that a store or the Platform issues have the form that they issue; `refuse_placeholder` is for those.
    """
    if secret is not None:
        value = secret.get_secret_value()
        if value.lower().strip("<>") in PLACEHOLDERS:
            refuse_placeholder(secret)
        if len(value) < MIN_LENGTH or len(set(value)) < MIN_DIFFERENT:
            raise ValueError(
                f"is too easy to guess: it has {len(value)} characters, {len(set(value))} different ones, and needs at least"
                f" {MIN_LENGTH} and {MIN_DIFFERENT}; generate one with: openssl rand -hex 32"
            )
    return secret
