"""Numbers on the command line: only ASCII digits in plain notation, as everywhere (`core/plain_numbers.py`).

The types of the command line's library read `1_9` as 19 and `٢٠` as 20.

    limit: Annotated[int, typer.Option(parser=whole(1, 1000), metavar=WHOLE)] = 50
"""

from collections.abc import Callable
from typing import Final, TypeVar

import typer

from platform_relay.core.plain_numbers import NotANumberError, decimal, integer

T = TypeVar("T")
WHOLE: Final = "<int>"
NUMBER: Final = "<number>"
"""What the help shows for the value."""


def whole(minimum: int | None = None, maximum: int | None = None) -> Callable[[str | int], int]:
    """A parser of whole numbers. It raises typer.BadParameter."""

    def parse(value: str | int) -> int:
        number = value if isinstance(value, int) else _read(integer, value)
        _check(number, minimum, maximum)
        return number

    return parse


def number(minimum: float | None = None, maximum: float | None = None) -> Callable[[str | float], float]:
    """A parser of numbers that may have a fraction. It raises typer.BadParameter."""

    def parse(value: str | float) -> float:
        parsed = float(_read(decimal, value)) if isinstance(value, str) else value
        _check(parsed, minimum, maximum)
        return parsed

    return parse


def _read(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except NotANumberError as error:
        raise typer.BadParameter(f"{text!r} {error}.") from None


def _check(value: float, minimum: float | None, maximum: float | None) -> None:
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        limits = " and ".join(
            text
            for text, limit in ((f"at least {minimum}", minimum), (f"at most {maximum}", maximum))
            if limit is not None
        )
        raise typer.BadParameter(f"{value} is not in the range: {limits}.")
