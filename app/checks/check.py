"""The result of one check."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. `ok` is None for a warning. `next_step` is empty if no action is needed."""

    name: str
    ok: bool | None
    detail: str
    next_step: str = ""
