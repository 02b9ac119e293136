"""Work on large inputs that does not hold the event loop: in a process of its own, or with pauses (`pausing`).

    run(call) ──pickle──▶ stdin ▶ python -m platform_relay.core.compute ▶ stdout ──pickle──▶ result

The process starts with the first call and ends when it is idle, or when its standard input ends. Therefore it also ends
with a parent that is killed; the workers of `concurrent.futures` would stay.
"""

import asyncio
import gc
import io
import os
import pickle
import signal
import struct
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import BinaryIO, Final, TypeVar, cast

import structlog

log: Final = structlog.get_logger(__name__)

LARGE: Final = 64 << 10
"""Bytes. A smaller input is processed in the event loop: it takes less time there than the way to the process."""
IDLE_SECONDS: Final = 60.0
TIME_LIMIT: Final = 60.0
"""Seconds for one call, with the start of the process."""
_LENGTH: Final = struct.Struct(">Q")
T = TypeVar("T")


PAUSE_AFTER: Final = 0.002
"""Seconds."""


class ComputeError(RuntimeError):
    """The function raised an error, or the process ended or took too long."""


class ComputeProcess:
    """One call runs at a time, the others wait. Close it with `aclose`."""

    def __init__(self, *, idle_seconds: float = IDLE_SECONDS, time_limit: float = TIME_LIMIT) -> None:
        self._idle_seconds = idle_seconds
        self._time_limit = time_limit
        self._turn = asyncio.Lock()
        self._process: Process | None = None
        self._reaper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process; None while there is none."""
        return self._process.pid if self._process else None

    async def run(self, call: Callable[[], T]) -> T:
        """The result of `call`, such as a `functools.partial` of a module's function; it and its result are pickled. Raises
        ComputeError."""
        async with self._turn:
            if self._reaper is not None:
                self._reaper.cancel()
            try:
                async with asyncio.timeout(self._time_limit):
                    done, result = pickle.loads(await self._exchange(pickle.dumps(call)))  # noqa: S301  # from our own process
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                await self._kill()
                raise ComputeError(f"the process ended or took more than {self._time_limit:g} s") from error
            except BaseException:  # cancelled: the process may still write the result, and the next call would read it
                await self._kill()
                raise
            self._reaper = asyncio.create_task(self._end_idle())
        if not done:
            raise ComputeError(str(result))
        return cast("T", result)

    async def run_if_large(self, size: int, call: Callable[[], T]) -> T:
        """As `run`, but here for an input of at most LARGE bytes."""
        return call() if size <= LARGE else await self.run(call)

    async def aclose(self) -> None:
        """End the process."""
        if self._reaper is not None:
            if self._process is not None:  # otherwise it waits for the end of the process
                self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)
        await self._kill()

    async def _exchange(self, request: bytes) -> bytes:
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__, stdin=PIPE, stdout=PIPE
            )
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the process has pipes")
        process.stdin.write(_LENGTH.pack(len(request)))
        process.stdin.write(request)
        await process.stdin.drain()
        [length] = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
        return await process.stdout.readexactly(length)

    async def _end_idle(self) -> None:
        """End the process after the idle time. A call cancels this while it has the turn."""
        await asyncio.sleep(self._idle_seconds)
        async with self._turn:
            await self._kill()

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def pausing(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with a pause for other requests after each PAUSE_AFTER seconds of work."""
    started = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - started > PAUSE_AFTER:
            await asyncio.sleep(0)
            started = time.perf_counter()


def main() -> None:
    """Answer calls from standard input until it ends."""
    gc.disable()  # collections would take most of the time for a body with a million values
    for number in (signal.SIGINT, signal.SIGTERM):  # they can go to all processes of a group; the parent ends this one
        signal.signal(number, signal.SIG_IGN)
    calls = sys.stdin.buffer
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # so that no print damages a result
    while (call := _read(calls)) is not None:
        result = _result_of(call)
        results.write(_LENGTH.pack(len(result)))
        results.write(result)
        results.flush()
        del call, result
        gc.collect()


def _read(stream: BinaryIO | io.BufferedReader) -> bytes | None:
    """The next call; None at the end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    [length] = _LENGTH.unpack(head)
    return stream.read(length)


def _result_of(call: bytes) -> bytes:
    try:
        return pickle.dumps((True, pickle.loads(call)()))  # noqa: S301  # from the parent
    except Exception as error:  # noqa: BLE001  # the caller gets it. Its text may hold a customer's data
        return pickle.dumps((False, type(error).__name__))


if __name__ == "__main__":
    main()
