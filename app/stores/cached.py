"""A value that an adapter reads from the store once and uses for some minutes, such as a currency or a time zone."""

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cached(Generic[T]):
    """Keeps the result of `read` for `seconds`. If `read` raises, the exception is raised and nothing is kept."""

    def __init__(self, read: Callable[[], Awaitable[T]], seconds: float = 600.0) -> None:
        self._read = read
        self._seconds = seconds
        self._value: T | None = None
        self._valid_until = 0.0

    async def get(self) -> T:
        """Return the value. Reads it if it is missing or too old."""
        if self._value is None or time.monotonic() >= self._valid_until:
            self._value = await self._read()
            self._valid_until = time.monotonic() + self._seconds
        return self._value

    def clear(self) -> None:
        """Read the value again at the next `get`."""
        self._valid_until = 0.0
