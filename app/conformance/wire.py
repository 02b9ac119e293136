"""Stands between an adapter and the shop: writes down every call, and lets the chosen ones go wrong.

It is an httpx transport around the real one, so that an adapter's client meets each fault as it meets those of a network.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import aiohttp
import httpx


class Fault(StrEnum):
    """How a call goes wrong."""

    LOST = "the answer is lost after applying"
    SLOW = "no answer in time"
    ERROR = "a 500 that applied"
    BAD_GATEWAY = "a 502 that did not apply"
    CUT = "a cut body"
    EMPTY = "an empty body"
    PAGE = "an HTML page with 200"
    SHAPE = "JSON of another shape"
    KILLED = "the process dies after the call"
    NOBODY = "nobody is there"
    PATIENCE = "a 429"
    KEY = "a 401"
    RIGHT = "a 403"
    REDIRECT = "a redirect"
    HANGS = "an answer that never comes"


class Killed(BaseException):
    """The process is no more; nothing of the adapter may catch it."""


Tamper = Callable[[httpx.Request], httpx.Request]
Answering = Callable[[httpx.Request, httpx.Response], httpx.Response]

RETRY_AFTER: Final = 7.0
_NOT_APPLIED: Final = {
    Fault.BAD_GATEWAY: (502, b"<h1>Bad Gateway</h1>"),
    Fault.PATIENCE: (429, b'{"message": "slow down"}'),
    Fault.KEY: (401, b'{"message": "Unauthorized"}'),
    Fault.RIGHT: (403, b'{"message": "Forbidden"}'),
    Fault.REDIRECT: (302, b""),
}
_HEADERS: Final = {Fault.PATIENCE: {"retry-after": f"{RETRY_AFTER:g}"}, Fault.REDIRECT: {"location": "/elsewhere"}}


@dataclass(frozen=True, slots=True)
class Seen:
    """One call as it went out, and the status that came back from the store."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    status: int | None


class Wire:
    """The calls of one sandbox. It is its own pace, which never waits and counts the turns."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.turns = 0
        self._fault: Fault | None = None
        self._at: frozenset[int] | None = None
        self._since = 0
        self._started = 0
        self._tamper: Tamper | None = None
        self._answering: Answering | None = None

    # ------------------------------------------------------------------------------------------- platform_relay.core.http.Pace

    async def turn(self) -> float | None:
        self.turns += 1
        return None

    async def throttled(self, pause: float) -> None:
        """Nothing is slowed down here."""

    # ------------------------------------------------------------------------------------------- what goes wrong

    @asynccontextmanager
    async def going_wrong(self, fault: Fault, *at: int) -> AsyncIterator[None]:
        """Within, the calls numbered `at` (from 0) suffer the fault; without numbers all of them."""
        self._fault, self._at, self._started = fault, frozenset(at) or None, 0
        try:
            yield
        finally:
            self._fault = None

    @asynccontextmanager
    async def tampering(self, tamper: Tamper | None = None, answering: Answering | None = None) -> AsyncIterator[None]:
        """Within, requests and answers are changed on their way."""
        self._tamper, self._answering = tamper, answering
        try:
            yield
        finally:
            self._tamper = self._answering = None

    def through(self, transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """The transport with this wire in front of it (`platform_relay.core.http.HttpClients.through`)."""
        return _Tapped(self, transport)

    async def carry(self, request: httpx.Request, transport: httpx.AsyncBaseTransport) -> httpx.Response:
        number, self._started = self._started, self._started + 1
        fault = self._fault if self._at is None or number in self._at else None
        sent = self._tamper(request) if self._tamper else request
        if fault in _NOT_APPLIED:
            status, body = _NOT_APPLIED[fault]
            self._note(sent, None)
            return httpx.Response(status, headers=_HEADERS.get(fault, {}), content=body)
        if fault is Fault.NOBODY:
            self._note(sent, None)
            raise aiohttp.ConnectionTimeoutError
        if fault is Fault.HANGS:
            self._note(sent, None)
            await asyncio.Event().wait()
        answer = await _whole(await transport.handle_async_request(sent))
        self._note(sent, answer.status_code)
        if self._answering:
            answer = self._answering(sent, answer)
        return answer if fault is None else _spoilt(fault, answer)

    def _note(self, request: httpx.Request, status: int | None) -> None:
        headers = tuple(request.headers.items())
        self.seen.append(Seen(request.method, str(request.url), headers, request.content, status))

    def mark(self) -> None:
        """Count from here."""
        self._since = len(self.seen)

    @property
    def since(self) -> list[Seen]:
        """The calls since the last mark."""
        return self.seen[self._since :]


class _Tapped(httpx.AsyncBaseTransport):
    def __init__(self, wire: Wire, transport: httpx.AsyncBaseTransport) -> None:
        self._wire = wire
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._wire.carry(request, self._transport)

    async def aclose(self) -> None:
        await self._transport.aclose()


async def _whole(answer: httpx.Response) -> httpx.Response:
    """The answer with its body read and decoded."""
    body = await answer.aread()
    await answer.aclose()
    headers = [pair for pair in answer.headers.multi_items() if pair[0] not in ("content-encoding", "content-length")]
    return httpx.Response(answer.status_code, headers=headers, content=body)


def _spoilt(fault: Fault, answer: httpx.Response) -> httpx.Response:
    match fault:
        case Fault.LOST:
            raise aiohttp.ServerDisconnectedError
        case Fault.SLOW:
            raise TimeoutError
        case Fault.KILLED:
            raise Killed
        case Fault.ERROR:
            return httpx.Response(500, content=b"<h1>Critical error</h1>")
        case Fault.CUT if answer.is_success and answer.content:
            return httpx.Response(answer.status_code, content=answer.content[: len(answer.content) // 2])
        case Fault.CUT:
            raise aiohttp.ClientPayloadError
        case Fault.EMPTY:
            return httpx.Response(200, content=b"")
        case Fault.PAGE:
            return httpx.Response(200, content=b"<!doctype html><title>Maintenance</title>")
        case Fault.SHAPE:
            return httpx.Response(200, content=b'{"ok": true}')
    return answer
