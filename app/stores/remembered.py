"""What a store's adapter asks for once and believes for a while: a currency, a time zone, ids."""

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """The result of `ask`, which is asked for again after `seconds`. An exception of `ask` is raised and not kept."""

    def __init__(self, ask: Callable[[], Awaitable[T]], seconds: float = 600.0) -> None:
        self._ask = ask
        self._seconds = seconds
        self._value: T | None = None
        self._until = 0.0

    async def get(self) -> T:
        """The value, asked for when none is known or it is too old."""
        if self._value is None or time.monotonic() >= self._until:
            self._value = await self._ask()
            self._until = time.monotonic() + self._seconds
        return self._value

    def forget(self) -> None:
        """Ask again next time."""
        self._until = 0.0
