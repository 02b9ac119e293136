"""Opens and keeps the connections to one destination, and decides whether a request may be sent again.

A GET, PUT or DELETE whose kept-alive connection ends without a byte of a response is sent once more, on a new connection.
These methods are idempotent in HTTP. A POST or PATCH is never sent twice.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiohappyeyeballs

from platform_relay.core.egress import AddressInfo
from platform_relay.core.http_connection import KEEP_ALIVE, Connection
from platform_relay.core.http_messages import LostError, NotSentError, Origin, Request, Response

OTHER_FAMILY_DELAY: Final = 0.25
"""Seconds after which the next address of a name is tried beside the first (RFC 8305)."""
RESOLVED_FOR: Final = 10.0
"""Seconds for which the addresses of a name are kept. Every address is checked for every connection."""
_REPEATED: Final = frozenset({"GET", "PUT", "DELETE"})


class ConnectionPool:
    """A `Transport`. `connections` limits the calls at one time, `connect_limit` (seconds) the wait for one of them and for a new
    connection. `open_socket` creates the socket for a resolved address, or raises OSError to deny it."""

    def __init__(
        self,
        *,
        connections: int,
        connect_limit: float,
        tls: ssl.SSLContext,
        open_socket: Callable[[AddressInfo], socket.socket] | None = None,
    ) -> None:
        self._concurrency = asyncio.Semaphore(connections)
        self._connect_limit = connect_limit
        self._tls = tls
        self._open_socket = open_socket
        self._idle: dict[Origin, list[Connection]] = {}
        self._all: set[Connection] = set()
        self._addresses: dict[Origin, tuple[float, list[AddressInfo]]] = {}
        self._resolving = asyncio.Lock()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._none_left = asyncio.Event()

    async def send(self, request: Request, limit: int) -> Response:
        """Send `request` and read the response, with at most `limit` bytes of decompressed body. Raises HttpError."""
        if self._closed:
            raise RuntimeError("the HTTP client is closed")
        deadline = asyncio.get_running_loop().time() + self._connect_limit
        if self._concurrency.locked():
            try:
                async with asyncio.timeout_at(deadline):
                    await self._concurrency.acquire()
            except TimeoutError as error:
                raise NotSentError(error) from None
        else:
            await self._concurrency.acquire()  # does not wait
        try:
            return await self._send(request, limit, deadline)
        finally:
            self._concurrency.release()

    async def _send(self, request: Request, limit: int, deadline: float) -> Response:
        origin = request.url.origin
        self._check_open()
        if (kept := self._kept(origin)) is None:
            return await self._exchange(await self._open(origin, deadline), request, limit)
        try:
            return await self._exchange(kept, request, limit)
        except LostError as lost:
            if lost.answered or request.method not in _REPEATED:
                raise
        try:
            fresh = await self._open(origin, asyncio.get_running_loop().time() + self._connect_limit)
            return await self._exchange(fresh, request, limit)
        except NotSentError as error:  # but it was sent the first time
            raise LostError(f"it closed the connection without a response, then: {error}") from error

    async def _exchange(self, connection: Connection, request: Request, limit: int) -> Response:
        response = await connection.exchange(request, limit)
        if self._closed:
            connection.abort()
        elif connection.is_open:
            self._idle.setdefault(request.url.origin, []).append(connection)
            if self._sweep is None:
                self._sweep = asyncio.get_running_loop().call_later(KEEP_ALIVE, self._close_old)
        return response

    def _kept(self, origin: Origin) -> Connection | None:
        """The idle connection that was used last, if there is one."""
        idle = self._idle.get(origin)
        now = asyncio.get_running_loop().time() if idle else 0.0
        while idle:
            connection = idle.pop()
            if connection.is_usable(now):
                return connection
            connection.abort()
        return None

    def _close_old(self) -> None:
        """Close the connections that have been idle for too long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for origin, idle in self._idle.items():
            for connection in idle:
                if not connection.is_usable(now):
                    connection.abort()
            self._idle[origin] = [connection for connection in idle if connection.is_open]
        kept = any(self._idle.values())
        self._sweep = loop.call_later(KEEP_ALIVE, self._close_old) if kept and not self._closed else None

    async def _open(self, origin: Origin, deadline: float) -> Connection:
        """Raises NotSentError."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self._connect(origin)
        except OSError as error:  # a TimeoutError is one
            raise NotSentError(error) from error
        except UnicodeError as error:  # a name that DNS cannot have
            raise NotSentError(OSError(errno.EINVAL, str(error))) from error

    async def _connect(self, origin: Origin) -> Connection:
        loop = asyncio.get_running_loop()
        opened = await aiohappyeyeballs.start_connection(
            await self._resolve(origin),
            happy_eyeballs_delay=OTHER_FAMILY_DELAY,
            interleave=1,
            loop=loop,
            socket_factory=self._open_socket,
        )
        secure = origin.scheme == "https"
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(loop, self._forget),
                sock=opened,
                ssl=self._tls if secure else None,
                server_hostname=origin.host if secure else None,
            )
        except BaseException:
            with suppress(OSError):  # the event loop may not have taken the socket
                opened.close()
            raise
        if connection.is_open:
            self._all.add(connection)
        if self._closed:
            connection.abort()
            self._check_open()
        return connection

    def _check_open(self) -> None:
        """Raises NotSentError: the client was closed while this call waited for a connection."""
        if self._closed:
            raise NotSentError(OSError("the HTTP client was closed"))

    async def _resolve(self, origin: Origin) -> list[AddressInfo]:
        loop = asyncio.get_running_loop()
        async with self._resolving:  # one look-up at a time; the next finds its result
            until, known = self._addresses.get(origin, (0.0, []))
            if loop.time() < until:
                return known
            addresses: list[AddressInfo] = list(
                await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            )
            self._addresses[origin] = (loop.time() + RESOLVED_FOR, addresses)
        return addresses

    def _forget(self, connection: Connection) -> None:
        self._all.discard(connection)
        if self._closed and not self._all:
            self._none_left.set()

    async def aclose(self) -> None:
        """Close all connections. Calls whose request was sent end with a LostError, and others with a NotSentError."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._all):
            connection.abort()
        if self._all:
            await self._none_left.wait()
