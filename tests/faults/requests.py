"""A proxy in front of PostgreSQL that causes one fault at one request of a client.

asyncpg sends a request (BEGIN, prepare, bind and execute, COMMIT, …) and waits for its answer. The proxy has its own
thread and event loop: it works while the loop of the test is blocked.
"""

import asyncio
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import asyncpg
from sqlalchemy.engine import URL

from platform_relay.core.database_url import driver_dsn, hosts, parse_url

# PostgreSQL manual, "Message Formats"
READY: Final = b"Z\x00\x00\x00\x05"  # ReadyForQuery, before its last byte
FLUSH: Final = b"H\x00\x00\x00\x04"  # the answer to a request that ends with it has no ReadyForQuery
ENDS: Final = (FLUSH, b"S\x00\x00\x00\x04", b"X\x00\x00\x00\x04")  # or with Sync, or Terminate
SIMPLE_QUERY: Final = b"Q"
BACKEND_KEY: Final = b"K\x00\x00\x00\x0c"
SLEEP: Final = b"SELECT pg_sleep(1); "


class Fault(StrEnum):
    CUT_BEFORE = "cut before the server has the request"
    CUT_AFTER = "cut after the server executed the request"
    HOLD_REQUEST = "the request is late"
    HOLD_ANSWER = "the answer is late"
    STALL = "the statement timeout ends a BEGIN, COMMIT or ROLLBACK before the server executes it"
    LOCKED = "the statement timeout ends a statement that waits for a lock"
    TERMINATE = "pg_terminate_backend"
    CANCEL = "pg_cancel_backend"


@dataclass
class Armed:
    """The next fault: at request `number`, counted from 1. `happened`: the request has come. `seconds`: how long a late
    request or answer is late, and how long the table `kept` is locked."""

    fault: Fault
    number: int
    seconds: float
    seen: int = 0
    happened: bool = False
    request: bytes = b""


class RequestProxy:
    """A proxy in front of the server or pooler of `database_url`, on `port` of 127.0.0.1 (0: any). `direct_url` is that of
    the server, if `database_url` is that of a pooler."""

    def __init__(self, database_url: str, direct_url: str | None = None, port: int = 0) -> None:
        self._real = parse_url(database_url)
        self._direct = parse_url(direct_url or database_url)
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._armed: Armed | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    def arm(self, fault: Fault, number: int, seconds: float) -> Armed:
        self._armed = Armed(fault, number, seconds)
        return self._armed

    def disarm(self) -> None:
        self._armed = None

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(self._stop(server), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)
            self._loop.close()

    async def _start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        port = server.sockets[0].getsockname()[1]
        query = {"sslmode": "disable"}
        self.url = self._real.set(host="127.0.0.1", port=port, query=query).render_as_string(hide_password=False)
        return server

    async def _stop(self, server: asyncio.Server) -> None:
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        server, to_server = await _connect(self._real)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await _Connection(self, client, to_client, server, to_server).carry()
        finally:
            for writer in (to_client, to_server):
                writer.transport.abort()

    def due(self, request: bytes) -> Armed | None:
        """The armed fault, when this is its request."""
        armed = self._armed
        if armed is None or armed.happened:
            return None
        armed.seen += 1
        if armed.seen < armed.number:
            return None
        armed.happened, armed.request = True, request
        return armed

    async def administrator(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection that does not go through the proxy."""
        return await asyncpg.connect(driver_dsn(self._direct))


class _Connection:
    def __init__(
        self,
        proxy: RequestProxy,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._pid = 0
        self._pass_answers = asyncio.Event()
        self._pass_answers.set()
        self._answered = asyncio.Event()
        self._flushed = False

    async def carry(self) -> None:
        tasks = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _requests(self) -> None:
        request = b""
        while data := await self._client.read(1 << 18):
            request += data
            if self._pid and not _is_complete(request):
                continue
            armed = self._proxy.due(request) if self._pid else None
            if armed is None:
                self._to_server.write(request)
            elif not await self._play(armed, request):
                return
            request = b""

    async def _answers(self) -> None:
        while answer := await self._server.read(1 << 18):
            if not self._pid and (at := answer.find(BACKEND_KEY)) >= 0:
                self._pid = struct.unpack_from("!i", answer, at + len(BACKEND_KEY))[0]
            if self._flushed or answer[:-1].endswith(READY):
                self._answered.set()
            await self._pass_answers.wait()
            self._to_client.write(answer)

    async def _play(self, armed: Armed, request: bytes) -> bool:
        """Cause the fault. Returns False when the connection is to end."""
        self._answered.clear()
        self._flushed = request.endswith(FLUSH)
        match armed.fault:
            case Fault.CUT_BEFORE:
                return False
            case Fault.CUT_AFTER:
                self._pass_answers.clear()
                self._to_server.write(request)
                await self._answered.wait()
                return False
            case Fault.HOLD_REQUEST:
                await asyncio.sleep(armed.seconds)  # time: the length of the fault
                self._to_server.write(request)
            case Fault.HOLD_ANSWER:
                self._pass_answers.clear()
                self._to_server.write(request)
                await self._answered.wait()
                await asyncio.sleep(armed.seconds)  # time: the length of the fault
                self._pass_answers.set()
            case Fault.STALL:
                self._to_server.write(_slow(request))
            case Fault.LOCKED:
                await self._execute_while_locked(request, armed.seconds)
            case Fault.TERMINATE:
                await self._administer("SELECT pg_terminate_backend($1)")
                self._to_server.write(request)
            case Fault.CANCEL:
                self._to_server.write(_slow(request))
                await self._administer("SELECT pg_cancel_backend($1)")
        return True

    async def _administer(self, statement: str) -> None:
        administrator = await self._proxy.administrator()
        try:
            await administrator.execute("SELECT 1")
            await administrator.fetchval(statement, self._pid)
        finally:
            await administrator.close()

    async def _execute_while_locked(self, request: bytes, seconds: float) -> None:
        administrator = await self._proxy.administrator()
        try:
            async with administrator.transaction():
                await administrator.execute("LOCK TABLE kept IN ACCESS EXCLUSIVE MODE NOWAIT")
                self._to_server.write(request)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._answered.wait(), seconds)
        except asyncpg.LockNotAvailableError:  # the client's own transaction has locked the table
            self._to_server.write(request)
        finally:
            await administrator.close()


def _is_complete(request: bytes) -> bool:
    """Whether the server answers it now."""
    return request.startswith(SIMPLE_QUERY) or request.endswith(ENDS)


def _slow(request: bytes) -> bytes:
    """The same simple query after one second, which the statement timeout does not allow. Other requests are unchanged."""
    if not request.startswith(SIMPLE_QUERY):
        return request
    query = SLEEP + request[5:]
    return SIMPLE_QUERY + struct.pack("!i", len(query) + 4) + query


async def _connect(url: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    [(host, port)] = hosts(url)
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)
