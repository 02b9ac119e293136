"""NOTIFY as a hint between processes: a process that commits work notifies the workers. Polling finds what a hint missed.

NOTIFY reaches the whole database, so each schema has its own channel: the relay of another store is not woken.
Behind a transaction pooler LISTEN needs a direct connection (DATABASE_LISTEN_URL); without one, workers find work by polling.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import schema_of, single_statement

log: Final = structlog.get_logger(__name__)

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
    dsn: str, schema: str, on_work: Callable[[str], None], *, tls: ssl.SSLContext | None = None, pause: float = 2.0
) -> None:
    """Call `on_work(channel)` for every hint about work in `schema`. Reconnects `pause` seconds after each failure.

    `dsn` is a libpq URL of the database itself, with its `driver_tls` as `tls`.
    Every new connection counts as a hint for all channels ("").
    """
    while True:
        ended = asyncio.Event()
        connection: asyncpg.Connection[asyncpg.Record] | None = None
        try:
            connection = await asyncpg.connect(
                dsn, ssl=tls, timeout=5, server_settings={"application_name": "relay listen"}
            )
            connection.add_termination_listener(lambda _: ended.set())  # noqa: B023  # the event of this connection
            await connection.add_listener(notify_channel(schema), lambda *hint: on_work(str(hint[3])))
            on_work("")
            await ended.wait()
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,  # see database.CONNECTION_ENDED
        ) as error:
            log.debug("listen_failed", error=type(error).__name__)
        finally:
            if connection is not None and not connection.is_closed():
                connection.terminate()
        await asyncio.sleep(pause)
