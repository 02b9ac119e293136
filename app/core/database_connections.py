"""Opens the connections of a pool, and discards those that cannot be used again.

SQLAlchemy and asyncpg remember in Python whether a transaction is open. When the server cancels a COMMIT or a ROLLBACK
before it executes it (a statement timeout on a stalled server, a late cancel request), both forget the transaction, and
the server keeps it: the connection would return to the pool inside a failed transaction. When the server cancels a BEGIN,
asyncpg remembers a transaction that the server does not have, and every later BEGIN would become a SAVEPOINT.

A connection is therefore checked when it returns to the pool and when it leaves the pool. The server reports its
transaction state after each statement, and asyncpg keeps the last report, so the check needs no round trip.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TYPE_CHECKING, Final, cast

import asyncpg
import structlog
from sqlalchemy import event, exc
from sqlalchemy.engine import AdaptedConnection, Connection, Engine, ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from platform_relay.core.database_server import SYSTEM, TIMELINE, History, timeline_number
from platform_relay.core.database_servers import NoWritableServerError as NoWritableServerError
from platform_relay.core.database_servers import OldPrimaryError, OtherClusterError, Servers
from platform_relay.core.failed_statements import note_failure

if TYPE_CHECKING:
    from platform_relay.core.database_dial import ServerConnection

    Driver = asyncpg.Connection[asyncpg.Record]

log: Final = structlog.get_logger(__name__)

READ_ONLY: Final = "25006"  # after a failover: the connection leads to the new standby
INVALID_TRANSACTION_STATE: Final = "25"  # the class of SQLSTATEs: the connection is in another state than we think
CONNECTION_ENDED: Final = "the server has closed this connection"
"""When the server sends a message before it closes an idle connection, the next statement fails with asyncpg's
InternalClientError ("another operation (2) is in progress"), which is not a DB-API error."""
POOLED: Final = "pooled"
"""Key in the `info` of a connection: whether it goes through a pooler."""


class OpenTransactionError(ConnectionError):
    """A statement that should commit immediately was executed inside an open transaction. It is not committed."""


class ConnectionOpener:
    """Opens the connections of one engine and remembers whether they go through a pooler.

    `session_settings` returns the statement that sets the time limits and the schema: for the session, or, when its
    argument is True, for the transaction. `on_history` is called, and must return, before the first connection to a server
    whose history this process has not seen is used.
    """

    def __init__(
        self,
        servers: Servers,
        session_settings: Callable[[bool], str],
        on_history: Callable[[History], Awaitable[None]] | None = None,
    ) -> None:
        self._servers = servers
        self._session_settings = session_settings
        self._on_history = on_history
        self._histories: dict[History, asyncio.Task[None]] = {}
        self._pooled = False
        self._numbers = count()

    # The arguments are SQLAlchemy's reading of the URL. They are ignored: the relay reads it itself.
    async def open(self, *_: object, **__: object) -> "ServerConnection":
        try:
            return await self._open()
        except asyncpg.InternalClientError as error:
            raise ConnectionError(CONNECTION_ENDED) from error

    async def _open(self) -> "ServerConnection":
        connection = await self._servers.connect()
        try:
            state = connection.state
            self._pooled = state.pid != connection.get_server_pid()
            if not self._pooled:
                await connection.execute(self._session_settings(False))
                if state.standby:  # its promotion must not make a writable connection without a check
                    await connection.execute("SET default_transaction_read_only = on")
            if state.history is not None:
                await self._accept(state.history)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _accept(self, history: History) -> None:
        """Wait for `on_history`, which runs once for each history, however many connections are opened. It does not end with the
        caller: it may take longer than the caller waits."""
        if self._on_history is None:
            return
        task = self._histories.get(history)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._histories[history] = asyncio.create_task(self._prepare(self._on_history, history))
        if not task.done():
            await asyncio.shield(task)

    async def _prepare(self, on_history: Callable[[History], Awaitable[None]], history: History) -> None:
        with self._servers.preparing():
            await on_history(history)

    def mark_pooled(self, _: object, record: ConnectionPoolEntry) -> None:
        record.info[POOLED] = self._pooled

    def statement_name(self) -> str:
        return "" if self._pooled else f"relay_{next(self._numbers)}"

    def limit_transaction(self, connection: Connection) -> None:
        """Behind a pooler each transaction may have another server: set the limits, and check that it is the known one."""
        if not self._pooled:
            return
        known = self._servers.newest
        if known is None:
            connection.exec_driver_sql(self._session_settings(True))
            return
        row = connection.exec_driver_sql(f"{self._session_settings(True)}, {SYSTEM}, {TIMELINE}").one()
        system, timeline = row[-2:]
        if timeline is None:  # a standby, which accepts no writes
            return
        if system != known.system:
            connection.invalidate()
            raise OtherClusterError(f"the pooler leads to the cluster {system}; it was {known.system}")
        if timeline_number(timeline) != known.timeline:
            connection.invalidate()
            raise OldPrimaryError(
                f"the pooler leads to a server on timeline {timeline_number(timeline)}; it was on {known.timeline}"
            )


def watch_connections(engine: Engine, opener: ConnectionOpener, on_discard: Callable[[], None]) -> None:
    """Discard broken connections of the engine's pool. `on_discard` is called for each that was in an open transaction."""

    def end_open_transaction(connection: AdaptedConnection | None, _: ConnectionPoolEntry) -> None:
        """At its return to the pool: close the connection, which ends its transaction and releases its locks."""
        if connection is None or is_idle(driver := _driver(connection)):
            return
        log.error("connection_discarded", server_pid=driver.get_server_pid(), cause="open transaction")
        on_discard()
        driver.terminate()  # the pool opens another when it is next needed

    event.listen(engine, "connect", opener.mark_pooled)
    event.listen(engine, "checkin", end_open_transaction)
    event.listen(engine, "checkout", _refuse_unusable_connection)
    event.listen(engine, "begin", opener.limit_transaction)
    event.listen(engine, "handle_error", _drop_broken_connection)


def is_idle(driver: "Driver") -> bool:
    """Whether a statement on this connection is its own transaction. True for a closed connection. No round trip."""
    in_python = getattr(driver, "_top_xact") is not None  # noqa: B009  # private; `reset()` of asyncpg checks the same two
    return driver.is_closed() or not (driver.is_in_transaction() or in_python)


def require_idle(connection: Connection) -> None:
    """Raises OpenTransactionError, and discards the connection, when it is in an open transaction."""
    if connection.invalidated or is_idle(_driver(connection.connection)):
        return
    connection.invalidate()
    raise OpenTransactionError("a statement was executed inside an open transaction and is not committed")


def _driver(connection: object) -> "Driver":
    return cast("Driver", cast("AdaptedConnection", connection).driver_connection)


def _refuse_unusable_connection(connection: AdaptedConnection, *_: object) -> None:
    """Detects connections that the server closed, without a ping: the event loop has seen the end of the socket. A
    connection that is in a transaction was not returned by the pool's own rules; it is not used either."""
    driver = _driver(connection)
    if driver.is_closed():
        raise exc.DisconnectionError("the server closed this connection while it was idle")  # the pool opens another
    if not is_idle(driver):
        raise exc.DisconnectionError("this connection is in an open transaction")


def _drop_broken_connection(context: ExceptionContext) -> Exception | None:
    """Close connections that are open but unusable; the dialect itself detects closed ones. Returns the error to raise
    instead, when the driver's error does not show that the database is unavailable."""
    note_failure(context)
    original = context.original_exception
    state = getattr(original, "sqlstate", None) or ""
    if state == READ_ONLY:
        context.is_disconnect = True  # and the other connections: they lead to the same server
    elif isinstance(original, TimeoutError):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False  # a slow statement does not concern the other connections
        if context.connection is not None and not context.connection.invalidated:
            _driver(context.connection.connection).terminate()  # it may hang: nothing waits for its end
    elif state.startswith(INVALID_TRANSACTION_STATE):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
    elif isinstance(original.__cause__ or original, asyncpg.InternalClientError):  # the dialect may have wrapped it
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False  # nor does a server process that ended
        return ConnectionError(CONNECTION_ENDED)
    return None
