"""A time limit that many attempts share, with one timer for all of them.

`asyncio.timeout` starts and cancels a timer each time. Here all attempts have the same limit, so they end in the order of their
beginning, and a timer for the oldest is enough: it starts again for the next one when it fires.
"""

import asyncio
from types import TracebackType
from typing import Literal, Self


class TimeLimit:
    """`with limit.attempt(): await …` raises TimeoutError after `seconds`, as `asyncio.timeout` does."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[Attempt, float] = {}
        """The ends of the attempts by the event loop's clock, the earliest first."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def attempt(self) -> "Attempt":
        return Attempt(self)

    def add(self, attempt: "Attempt") -> None:
        loop = asyncio.get_running_loop()
        self._running[attempt] = end = loop.time() + self._seconds
        if self._loop is not loop:  # no timer runs, or it ended with its loop
            self._loop = loop
            loop.call_at(end, self._expire)

    def remove(self, attempt: "Attempt") -> None:
        self._running.pop(attempt, None)

    def _expire(self) -> None:
        """End the attempts whose time is over, and set the timer for the next one."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for attempt, end in list(self._running.items()):
            if end > now:
                loop.call_at(end, self._expire)
                return
            del self._running[attempt]
            attempt.expire()
        self._loop = None


class Attempt:
    """A block that ends with TimeoutError when its time is over, or `expire` was called."""

    __slots__ = ("_cancelling", "_expired", "_limit", "_task")

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit
        self._expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task")
        self._task, self._cancelling = task, task.cancelling()
        self._limit.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._limit.remove(self)
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
        return False

    def expire(self) -> None:
        """End it now. A second call does nothing: it would cancel the task once more than the block takes back."""
        if self._expired:
            return
        self._expired = True
        self._task.cancel()
