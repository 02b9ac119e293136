"""One kept-alive HTTP/1.1 connection: sends a request and reads its response, one at a time."""

import asyncio
import errno
import select
from collections.abc import Callable
from typing import Final, cast

from platform_relay.core.http_messages import HttpError, LostError, NotSentError, Request, Response
from platform_relay.core.http_reader import ResponseReader

KEEP_ALIVE: Final = 4.0
"""Seconds for which an idle connection is kept. Apache and Node.js close it after 5 s; a request that is sent while the
destination closes the connection would be Unknown."""
_BODILESS: Final = frozenset({"GET", "DELETE"})
_SEPARATE_WRITE: Final = 1 << 16
"""Bodies from this length are not copied behind the head. Shorter ones fit into the buffer of an idle connection."""


class Connection(asyncio.Protocol):
    """An open connection. `on_lost` is called when it has ended. Times are those of the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[["Connection"], None]) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        self._reader: ResponseReader | None = None
        self._done: asyncio.Future[None] | None = None
        self.idle_until = 0.0

    # ------------------------------------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is none
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
            self._poll = poll.poll

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            self.abort()  # bytes that no request asked for: the next response could not be trusted
            return
        try:
            if self._reader.feed(data):
                self._end(None)
        except HttpError as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._reader is not None:
            self._end(self._loss(self._reader, exc))
        self._on_lost(self)

    @staticmethod
    def _loss(reader: ResponseReader, error: Exception | None) -> HttpError | None:
        """Why the response is not complete; None: the end of the connection was the end of the response."""
        if error is not None:
            problem = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            return LostError(problem, answered=reader.received > 0)
        try:
            reader.end()
        except HttpError as failed:
            return failed
        return None

    # -------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def is_usable(self, now: float) -> bool:
        """Whether an idle connection may be used again: it is young enough, and the destination has not closed it.

        The operating system is asked, because the event loop may not have read the end yet. So a POST is not sent, and lost,
        on a connection that is known to be closed.
        """
        return self.is_open and now < self.idle_until and not (self._poll is not None and self._poll(0))

    async def exchange(self, request: Request, limit: int) -> Response:
        """Send `request` and read its response. Afterwards the connection is idle or closed. Raises HttpError.

        As soon as bytes are handed to the event loop, the request counts as sent. The connection is closed when the caller is
        cancelled.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise NotSentError(ConnectionResetError(errno.ECONNRESET, "it closed the connection"))
        reader = self._reader = ResponseReader(limit)
        self._done = self._loop.create_future()
        try:
            head = _head(request)
            if len(request.content) < _SEPARATE_WRITE:
                transport.write(head + request.content)
            else:
                transport.writelines((head, request.content))
            await self._done
        except BaseException:
            self.abort()  # also if the caller is cancelled after the response was complete: the pool does not get it back
            raise
        finally:
            self._reader = self._done = None
        if reader.complete and reader.keep_alive and self.is_open and self._is_sent(request, transport):
            self.idle_until = self._loop.time() + _idle_seconds(reader.idle_seconds)
        else:
            self.abort()
        return reader.response()

    @staticmethod
    def _is_sent(request: Request, transport: asyncio.Transport) -> bool:
        """Whether the whole request has left. Otherwise the rest of its body would be in front of the next request.

        A transport with TLS does not know how much of a long body the one under it still holds.
        """
        if len(request.content) >= _SEPARATE_WRITE and transport.get_extra_info("sslcontext") is not None:
            return False
        return not transport.get_write_buffer_size()

    def _end(self, error: HttpError | None) -> None:
        self._reader = None
        if self._done is not None and not self._done.done():
            if error is None:
                self._done.set_result(None)
            else:
                self._done.set_exception(error)

    def abort(self) -> None:
        """Close the connection now."""
        if self._transport is not None:
            self._transport.abort()


def _idle_seconds(kept: int | None) -> float:
    """How long an idle connection is kept, if the server keeps it for `kept` seconds: at least one second less than the server."""
    return KEEP_ALIVE if kept is None else max(0.0, min(KEEP_ALIVE, kept - 1.0))


def _head(request: Request) -> bytes:
    """The request line and the headers. Their characters were checked (`http.HttpClient`)."""
    origin, headers, content = request.url.origin, request.headers, request.content
    lines = [f"{request.method} {request.url.target} HTTP/1.1\r\nHost: {origin.authority}\r\n"]
    if origin.authorization is not None and "authorization" not in headers:
        lines.append(f"authorization: {origin.authorization}\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if content or request.method not in _BODILESS:
        lines.append(f"Content-Length: {len(content)}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("ascii")
