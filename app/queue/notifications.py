"""NOTIFY as a hint between processes: a process that commits work notifies the workers. Polling finds what a hint missed.

NOTIFY reaches the whole database, so each schema has its own channel: the relay of another store is not woken.
Behind a transaction pooler LISTEN needs a direct connection (DATABASE_LISTEN_URL); without one, workers find work by polling.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import schema_of, single_statement
from platform_relay.core.database_dial import ServerConnection, answer_within
from platform_relay.core.database_server import History, read_state
from platform_relay.core.database_servers import CONNECT_ERRORS, Servers

log: Final = structlog.get_logger(__name__)

HEARTBEAT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 3.0

_NOTIFY: Final = text("""
SELECT set_config('synchronous_commit', 'off', true), pg_notify(:name, channel)
FROM unnest(CAST(:channels AS text[])) AS t(channel)
""")
"""A transaction with a NOTIFY writes a commit record. Its end does not wait for the disk: it is only a hint, and would
delay the commits of messages."""


class Notifier:
    """Notifies workers of new work, by channel. Calls during one NOTIFY share the next."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._name = notify_channel(schema_of(engine))
        self._channels: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def notify(self, channels: Iterable[str]) -> None:
        """Send a hint in the background; call it from the event loop's thread."""
        self._channels.update(channels)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._channels:
            channels, self._channels = sorted(self._channels), set()
            try:
                async with single_statement(self._engine) as connection:
                    await connection.execute(_NOTIFY, {"name": self._name, "channels": channels})
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                log.debug("notify_failed", error=type(error).__name__)

    async def aclose(self) -> None:
        if self._task is not None:
            with suppress(asyncio.CancelledError, TimeoutError):
                await asyncio.wait_for(self._task, 1.0)


def notify_channel(schema: str) -> str:
    """The name of the NOTIFY channel of this schema."""
    return f"relay_work_{schema}"


async def listen(
    url: URL,
    schema: str,
    on_work: Callable[[str], None],
    *,
    known: Callable[[], History | None] = lambda: None,
    pause: float = 2.0,
) -> None:
    """Call `on_work(channel)` for every hint about work in `schema`. Reconnects `pause` seconds after each failure.

    `url` is the parsed URL of the database itself. Every new connection counts as a hint for all channels (""). A connection
    that does not answer, or leads to a server that is older than `known` or of another cluster, is replaced.
    """
    servers = Servers(url, "relay listen", ANSWER_SECONDS)
    while True:
        ended = asyncio.Event()
        connection: ServerConnection | None = None
        try:
            servers.newest = known() or servers.newest
            connection = await servers.connect()
            connection.add_termination_listener(lambda _: ended.set())  # noqa: B023  # the event of this connection
            await connection.add_listener(notify_channel(schema), lambda *hint: on_work(str(hint[3])))
            on_work("")
            await _until_ended(connection, ended, known)
        except CONNECT_ERRORS as error:
            if isinstance(error, TimeoutError) and connection is not None:
                servers.silent(connection.place)  # so that the other hosts are asked first
            log.debug("listen_failed", error=type(error).__name__)
        finally:
            if connection is not None and not connection.is_closed():
                connection.terminate()
        await asyncio.sleep(pause)


async def _until_ended(connection: ServerConnection, ended: asyncio.Event, known: Callable[[], History | None]) -> None:
    """Ask the server every HEARTBEAT_SECONDS. Returns when the connection has ended or leads to a server that is not used any
    more; raises SilentError when the server does not answer."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await ended.wait()
                return
        state = await answer_within(ANSWER_SECONDS, asyncio.ensure_future(read_state(connection)))
        newest, history = known(), state.history
        if not state.writable:
            return
        if history and newest and (history.system != newest.system or history.is_older_than(newest)):
            return
