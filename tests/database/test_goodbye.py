"""A server process may say its last words to an idle connection before the socket ends. That is a database that is away,
for those who ask, claim or listen, and no error of the statement; the next connection serves again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import PUBLIC, create_engine, is_unavailable, parse_url
from platform_relay.queue.destinations import DATABASE_ERRORS
from platform_relay.queue.notifications import Notifier, listen
from tests.helpers import eventually

READY = b"Z\x00\x00\x00\x05"  # ReadyForQuery, before its last byte (PostgreSQL manual, "Message Formats")
_WORDS = b"SFATAL\x00VFATAL\x00C57P01\x00Mterminating connection due to administrator command\x00\x00"
GOODBYE = b"E" + (len(_WORDS) + 4).to_bytes(4, "big") + _WORDS


class Server:
    """A way to the real server; while `ending`, whoever has an answer hears the server's last words."""

    def __init__(self, database_url: str) -> None:
        self._real = parse_url(database_url)
        self.ending = False
        self.said = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        folder, port = self._real.query.get("host"), self._real.port or 5432
        if isinstance(folder, str) and folder.startswith("/"):
            answers, questions = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        else:
            answers, questions = await asyncio.open_connection(self._real.host, port)
        ways = [self._carry(reader, questions), self._carry(answers, writer, idle=True)]
        tasks = [asyncio.create_task(way) for way in ways]
        self._tasks.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, questions):
            end.close()

    async def _carry(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, *, idle: bool = False) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                last_words = idle and self.ending and data[:-1].endswith(READY)
                self.said += last_words
                to.write(data + GOODBYE if last_words else data)
                await to.drain()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Server]:
    way = Server(database_url)
    listener = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    real = parse_url(database_url)
    address = real.set(host="127.0.0.1", port=port, query={"sslmode": "disable"}, drivername="postgresql")
    way.url = address.render_as_string(hide_password=False)
    yield way
    listener.close()
    await way.end()


@asynccontextmanager
async def engine_by(server: Server) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(server.url, application_name="tests", pool_size=1)
    try:
        yield engine
    finally:
        await engine.dispose()


async def one(engine: AsyncEngine) -> object:
    async with engine.begin() as connection:
        return (await connection.execute(text("SELECT 1"))).scalar()


async def says_away(engine: AsyncEngine, server: Server) -> None:
    server.ending = True
    with pytest.raises(DATABASE_ERRORS) as caught:
        await one(engine)
    assert is_unavailable(caught.value)
    assert server.said
    server.ending = False
    assert await one(engine) == 1


async def test_a_connection_of_the_pool_that_is_ended(server: Server) -> None:
    async with engine_by(server) as engine:
        assert await one(engine) == 1
        await says_away(engine, server)


async def test_a_connection_that_is_ended_while_it_opens(server: Server) -> None:
    async with engine_by(server) as engine:
        await says_away(engine, server)


async def test_a_listener_that_is_ended_while_it_opens(server: Server, engine: AsyncEngine) -> None:
    server.ending = True
    heard: list[str] = []
    task = asyncio.create_task(listen(parse_url(server.url), PUBLIC, heard.append, pause=0.02))
    notifier = Notifier(engine)
    try:
        await eventually(lambda: server.said >= 2)
        server.ending = False
        await eventually(lambda: "" in heard)
        notifier.notify(["platform"])
        await eventually(lambda: "platform" in heard)
        assert not task.done()
    finally:
        await notifier.aclose()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
