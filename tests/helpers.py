"""What tests wait with, and where they listen."""

import asyncio
import inspect
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

T = TypeVar("T")

PAUSE_SECONDS = 0.02


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@overload
async def eventually(condition: Callable[[], Awaitable[T]], within: float = 5.0) -> T: ...
@overload
async def eventually(condition: Callable[[], T], within: float = 5.0) -> T: ...
async def eventually(condition: Callable[[], T | Awaitable[T]], within: float = 5.0) -> T:
    """The first true value of `condition` (plain or async), called again and again for at most `within` seconds.

    An AssertionError in it means "not yet"; the last one is what fails the test. In a test without a loop:
    `eventually_sync`.
    """
    waiting = _Waiting(within)
    while True:
        try:
            result = condition()
            value = await cast("Awaitable[T]", result) if inspect.isawaitable(result) else result
        except AssertionError as error:
            waiting.not_yet(error)
        else:
            if value:
                return value
            waiting.not_yet(value)
        await asyncio.sleep(PAUSE_SECONDS)  # time: between two looks at the condition


def eventually_sync(condition: Callable[[], T], within: float = 5.0) -> T:
    """`eventually` for a test without an event loop."""
    waiting = _Waiting(within)
    while True:
        try:
            value = condition()
        except AssertionError as error:
            waiting.not_yet(error)
        else:
            if value:
                return value
            waiting.not_yet(value)
        time.sleep(PAUSE_SECONDS)  # time: between two looks at the condition


class _Waiting:
    def __init__(self, within: float) -> None:
        self._within = within
        self._deadline = time.monotonic() + within

    def not_yet(self, outcome: object) -> None:
        if time.monotonic() < self._deadline:
            return
        if isinstance(outcome, AssertionError):
            raise outcome
        raise AssertionError(f"still {outcome!r} after {self._within} s")
