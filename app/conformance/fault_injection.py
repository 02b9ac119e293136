"""Records the calls between an adapter and the store, and injects faults into them.

It is in front of the network, so that the adapter's client sees a fault like a fault of the network.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from platform_relay.core.http_messages import Headers, LostError, NotSentError, Request, Response, Transport


class Fault(StrEnum):
    """How a call fails."""

    LOST = "response lost, request applied"
    TIMEOUT = "timeout"
    ERROR = "HTTP 500, request applied"
    BAD_GATEWAY = "HTTP 502, request not applied"
    TRUNCATED = "truncated body"
    EMPTY = "empty body"
    HTML = "HTML page with HTTP 200"
    OTHER_JSON = "JSON with another structure"
    KILLED = "process killed after the call"
    UNREACHABLE = "store unreachable"
    RATE_LIMITED = "HTTP 429"
    UNAUTHORIZED = "HTTP 401"
    FORBIDDEN = "HTTP 403"
    REDIRECT = "redirect"
    HANGS = "no response, connection open"


class ProcessKilled(BaseException):
    """The process was killed. The adapter must not catch it."""


RewriteRequest = Callable[[Request], Request]
RewriteResponse = Callable[[Request, Response], Response]

RETRY_AFTER: Final = 7.0
SHORTEST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 120.0
"""Seconds for which the kit waits after a 429 of the store."""
_NOT_APPLIED: Final = {
    Fault.BAD_GATEWAY: (502, b"<h1>Bad Gateway</h1>"),
    Fault.RATE_LIMITED: (429, b'{"message": "slow down"}'),
    Fault.UNAUTHORIZED: (401, b'{"message": "Unauthorized"}'),
    Fault.FORBIDDEN: (403, b'{"message": "Forbidden"}'),
    Fault.REDIRECT: (302, b""),
}
_HEADERS: Final = {
    Fault.RATE_LIMITED: {"retry-after": f"{RETRY_AFTER:g}"},
    Fault.REDIRECT: {"location": "/elsewhere"},
}


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call as it was sent, and the status of the store's response."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    status: int | None


class CallLimiter:
    """How fast all cases may call the store: its rate limit (calls per second; None: none), and the pauses that it asks for."""

    def __init__(self, rate: float | None = None) -> None:
        self._spacing = 1 / rate if rate else 0.0
        self._next = 0.0

    async def wait(self) -> None:
        """Wait until the next call may be made."""
        now = time.monotonic()
        turn = max(now, self._next)
        self._next = turn + self._spacing
        await asyncio.sleep(turn - now)

    def pause(self, seconds: float) -> None:
        """No calls within the next seconds: the store answered 429."""
        self._next = max(self._next, time.monotonic() + min(max(seconds, SHORTEST_PAUSE), LONGEST_PAUSE))


class FaultyNetwork:
    """The network of one sandbox. It is also the `RateLimit` of the clients: it keeps the limit, and counts the calls.

    `rate_limited`: the store itself has answered 429.
    """

    def __init__(self, limiter: CallLimiter | None = None) -> None:
        self.rate_limited = False
        self._limiter = limiter or CallLimiter()
        self._injected = False
        self.calls: list[RecordedCall] = []
        self.acquired = 0
        self._fault: Fault | None = None
        self._fault_at: frozenset[int] | None = None
        self._mark = 0
        self._number = 0
        self._rewrite_request: RewriteRequest | None = None
        self._rewrite_response: RewriteResponse | None = None

    # ------------------------------------------------------------------------------------------- platform_relay.core.http.RateLimit

    async def acquire(self) -> float | None:
        self.acquired += 1
        await self._limiter.wait()
        return None

    async def back_off(self, pause: float) -> None:
        """Pauses all calls if the store asked for it, not if the 429 was injected."""
        if not self._injected:
            self.rate_limited = True
            self._limiter.pause(pause)

    # ------------------------------------------------------------------------------------------- faults

    @asynccontextmanager
    async def inject(self, fault: Fault, *call_numbers: int) -> AsyncIterator[None]:
        """Inject the fault into the calls with these numbers (from 0) in the block; without numbers, into all of them."""
        self._fault, self._fault_at, self._number = fault, frozenset(call_numbers) or None, 0
        try:
            yield
        finally:
            self._fault = None

    @asynccontextmanager
    async def rewrite(
        self, request: RewriteRequest | None = None, response: RewriteResponse | None = None
    ) -> AsyncIterator[None]:
        """Change the requests and responses in the block."""
        self._rewrite_request, self._rewrite_response = request, response
        try:
            yield
        finally:
            self._rewrite_request = self._rewrite_response = None

    def wrap(self, transport: Transport) -> Transport:
        """The transport with this network in front of it (`platform_relay.core.http.HttpClients.wrap`)."""
        return _FaultyTransport(self, transport)

    async def send(self, request: Request, limit: int, transport: Transport) -> Response:
        number, self._number = self._number, self._number + 1
        fault = self._fault if self._fault_at is None or number in self._fault_at else None
        sent = self._rewrite_request(request) if self._rewrite_request else request
        self._injected = fault is not None or self._rewrite_response is not None
        if fault in _NOT_APPLIED:
            status, body = _NOT_APPLIED[fault]
            self._record(sent, None)
            return Response(status, Headers(_HEADERS.get(fault, {})), body)
        if fault is Fault.UNREACHABLE:
            self._record(sent, None)
            raise NotSentError(TimeoutError())
        if fault is Fault.HANGS:
            self._record(sent, None)
            await asyncio.Event().wait()
        response = await transport.send(sent, limit)
        self._record(sent, response.status)
        if self._rewrite_response:
            response = self._rewrite_response(sent, response)
        return response if fault is None else _apply(fault, response)

    def _record(self, request: Request, status: int | None) -> None:
        headers = tuple(request.headers.items())
        self.calls.append(RecordedCall(request.method, str(request.url), headers, request.content, status))

    def mark(self) -> None:
        """Start of `calls_since_mark`."""
        self._mark = len(self.calls)

    @property
    def calls_since_mark(self) -> list[RecordedCall]:
        return self.calls[self._mark :]


class _FaultyTransport:
    def __init__(self, network: FaultyNetwork, transport: Transport) -> None:
        self._network = network
        self._transport = transport

    async def send(self, request: Request, limit: int) -> Response:
        return await self._network.send(request, limit, self._transport)

    async def aclose(self) -> None:
        await self._transport.aclose()


def _apply(fault: Fault, response: Response) -> Response:
    match fault:
        case Fault.LOST:
            raise LostError("it closed the connection without a response")
        case Fault.TIMEOUT:
            raise TimeoutError
        case Fault.KILLED:
            raise ProcessKilled
        case Fault.ERROR:
            return Response(500, content=b"<h1>Critical error</h1>")
        case Fault.TRUNCATED if 200 <= response.status < 300 and response.content:
            return Response(response.status, content=response.content[: len(response.content) // 2])
        case Fault.TRUNCATED:
            raise LostError("it closed the connection before its response was complete", answered=True)
        case Fault.EMPTY:
            return Response(200, content=b"")
        case Fault.HTML:
            return Response(200, content=b"<!doctype html><title>Maintenance</title>")
        case Fault.OTHER_JSON:
            return Response(200, content=b'{"ok": true}')
    return response
