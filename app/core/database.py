"""The database engine: an `AsyncEngine` over asyncpg in which every wait has a time limit.

The same engine works directly on PostgreSQL and behind PgBouncer in transaction mode, and detects which of the two it
has:

- PgBouncer rejects start-up parameters that it does not track (`unsupported startup parameter: statement_timeout`), so
  only `application_name` is sent with the connection. The time limits are set by SQL: once per connection on PostgreSQL,
  and at the start of each transaction behind a pooler, where a setting of the session would stay on a shared connection.
- A prepared statement belongs to one server connection, which a transaction pooler can change at any time. Behind a
  pooler statements are therefore unnamed (asyncpg parses them at each execution, in the same round trip). On PostgreSQL
  they are named and kept, which saves planning.
- A pooler is detected by its process id: the id that it sends to the client is not the result of `pg_backend_pid()`.

Behind a pooler everything must run inside a transaction (SQLAlchemy's default): `AUTOCOMMIT` is not safe there.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

import asyncpg
from sqlalchemy import TextClause, event, exc, text
from sqlalchemy.engine import URL, AdaptedConnection, Connection, ExceptionContext, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from platform_relay.core.encryption import NO_KEYS, KeyRing
from platform_relay.core.errors import DatabaseAway

CONNECT_SECONDS = 5.0
BODY_KEYS = "body_keys"
SCHEMA_NAME = "relay_schema"
DRIVER = "postgresql+asyncpg"
PUBLIC = "public"
SCHEMA = re.compile(r"(?!pg_|information_schema$)[a-z_][a-z0-9_]{0,49}")
"""A name that needs no quotes, is not reserved by PostgreSQL, and is short enough for a prefix in a NOTIFY channel."""

READ_ONLY = "25006"  # after a failover: the connection leads to the new standby
# Prefixes of SQLSTATEs whose cause is the server or another session, not the statement: connection, deadlock, resources,
# database not accepting connections, lock not available, cancelled or shutting down, system, read-only (PostgreSQL
# manual, appendix A).
UNAVAILABLE_STATES = ("08", "40", "53", "55000", "55P03", "57", "58", READ_ONLY)

CONNECTION_ENDED = "the server has closed this connection"
"""When the server sends a message before it closes an idle connection, the next statement fails with asyncpg's
InternalClientError ("another operation (2) is in progress"), which is not a DB-API error."""

PLANNER = {"enable_seqscan": "off", "jit": "off"}
"""A prepared statement keeps its plan. Without these settings, a plan that was made on an empty table would still read the
complete table when it has a million rows. Every query of the relay has an index."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of the server, in seconds. The client stops waiting `grace` seconds after the statement's time limit."""

    statement: float = 20.0
    lock: float = 5.0
    idle_in_transaction: float = 30.0
    grace: float = 5.0

    def as_sql(self, schema: str, *, local: bool) -> str:
        """One statement that sets the time limits and `schema`, for the session or, with `local`, for the transaction."""
        limits = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
        }
        calls = [f"set_config('{name}', '{round(seconds * 1000)}', {local})" for name, seconds in limits.items()]
        calls += [f"set_config('{name}', '{value}', {local})" for name, value in PLANNER.items()]
        calls.append(f"set_config('search_path', '{schema}', {local})")
        return f"SELECT {', '.join(calls)}"


SERVING = Timeouts()


def create_engine(
    url: str,
    *,
    application_name: str,
    pool_size: int = 10,
    timeouts: Timeouts = SERVING,
    schema: str = PUBLIC,
    body_keys: KeyRing = NO_KEYS,
) -> AsyncEngine:
    """Create an engine with at most `pool_size` connections, which are opened when they are needed.

    `body_keys` encrypt and decrypt message bodies (`key_ring_of`). `search_path` is set to `schema` on every connection, so
    that no setting of the server, the role or the URL changes where the tables are.

    `url` is a libpq URL (`postgres://`, `postgresql://`, `postgresql+asyncpg://`; `?host=/socket/folder`, `sslmode`,
    `sslrootcert`, `target_session_attrs`, several hosts as `?host=a,b&port=5432,5432`), which asyncpg reads. Raises
    ValueError for other URLs.
    """
    address = parse_url(url)
    opener = _Opener(address, application_name, timeouts, checked_schema(schema))
    engine = create_async_engine(
        address,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # they hold personal data, and errors are logged
        pool_timeout=CONNECT_SECONDS,
        execution_options={BODY_KEYS: body_keys, SCHEMA_NAME: schema},
        pool_recycle=1800,  # so that a moved database or a changed DNS entry needs no restart
        connect_args={"async_creator_fn": opener.open, "prepared_statement_name_func": opener.statement_name},
    )
    event.listen(engine.sync_engine, "connect", opener.mark_pooled)
    event.listen(engine.sync_engine, "checkout", _refuse_closed_connection)
    event.listen(engine.sync_engine, "begin", opener.limit_transaction)
    event.listen(engine.sync_engine, "handle_error", _drop_broken_connection)
    return engine


def key_ring_of(connection: AsyncConnection) -> KeyRing:
    """The key ring that encrypts and decrypts bodies on this connection."""
    assert connection.sync_connection is not None  # noqa: S101  # an open connection has one
    ring = connection.sync_connection.get_execution_options().get(BODY_KEYS, NO_KEYS)
    assert isinstance(ring, KeyRing)  # noqa: S101  # as create_engine put it there
    return ring


def schema_of(engine: AsyncEngine) -> str:
    """The schema that the engine's tables are in."""
    schema = engine.get_execution_options()[SCHEMA_NAME]
    assert isinstance(schema, str)  # noqa: S101  # as create_engine put it there
    return schema


def checked_schema(name: str) -> str:
    """Return `name` if it can be the relay's schema. Raises ValueError."""
    if not SCHEMA.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be used as a schema: use 1 to 50 lower-case letters, digits and underscores, and do not start"
            " with a digit or pg_"
        )
    return name


def advisory_lock(name: str, schema: str = "current_schema()") -> TextClause:
    """The statement that takes the lock `name` until the end of the transaction. `name` and `schema` are SQL expressions.

    Advisory locks belong to the database, so the key contains the schema: relays in two schemas of one database do not
    wait for each other.
    """
    return text(f"SELECT pg_advisory_xact_lock(hashtextextended({schema} || ':' || {name}, 0))")


@asynccontextmanager
async def single_statement(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection on which each statement commits immediately, without round trips for BEGIN and COMMIT.

    Behind a pooler it is one transaction, because a pooler may change the server between two round trips of one
    statement. Use it for one statement, or for several that may be committed separately.
    """
    async with engine.connect() as connection:
        if connection.sync_connection is not None and connection.sync_connection.info.get("pooled"):
            async with connection.begin():
                yield connection
        else:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")


def parse_url(url: str) -> URL:
    """Parse a PostgreSQL URL for asyncpg. Raises ValueError, whose text has no password."""
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in {"postgres", "postgresql", DRIVER}:
        raise ValueError(
            "the database URL is not a PostgreSQL URL; write it as postgresql://user:password@host:5432/database"
            " (several hosts: postgresql://user:password@/database?host=a,b&port=5432,5432)"
        )
    return parsed.set(drivername=DRIVER)


def is_unavailable(error: BaseException) -> bool:
    """Whether a later attempt may succeed: the database is unreachable, starting, full, failing over or too slow.

    False when the statement is wrong.
    """
    if isinstance(error, exc.DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        return error.connection_invalidated or (isinstance(state, str) and state.startswith(UNAVAILABLE_STATES))
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(UNAVAILABLE_STATES)
    return isinstance(error, OSError | TimeoutError | exc.TimeoutError | asyncpg.InterfaceError)


@asynccontextmanager
async def map_database_errors() -> AsyncIterator[None]:
    """Raise DatabaseAway for errors that mean that the database is unavailable (`is_unavailable`)."""
    try:
        yield
    except Exception as error:
        if is_unavailable(error):
            raise DatabaseAway("The relay cannot reach its database at the moment.") from error
        raise


@asynccontextmanager
async def read_connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection for reading. Raises DatabaseAway."""
    async with map_database_errors(), engine.connect() as connection:
        yield connection


def is_data_error(error: exc.DBAPIError) -> bool:
    """Whether a value was invalid for the statement: SQLSTATE class 22, "data exception"."""
    state = getattr(error.orig, "sqlstate", None)
    return isinstance(state, str) and state.startswith("22")


class _Opener:
    """Opens the connections of one engine and remembers whether they go through a pooler."""

    def __init__(self, url: URL, application_name: str, timeouts: Timeouts, schema: str) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._application_name = application_name
        self._timeouts = timeouts
        self._schema = schema
        self._pooled = False
        self._numbers = count()

    # The arguments are SQLAlchemy's reading of the URL. They are ignored: asyncpg reads the URL and knows more options.
    async def open(self, *_: object, **__: object) -> "asyncpg.Connection[asyncpg.Record]":
        try:
            return await self._open()
        except asyncpg.InternalClientError as error:
            raise ConnectionError(CONNECTION_ENDED) from error

    async def _open(self) -> "asyncpg.Connection[asyncpg.Record]":
        connection = await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_SECONDS,
            command_timeout=self._timeouts.statement + self._timeouts.grace,
            statement_cache_size=0,  # SQLAlchemy caches statements; the cache of asyncpg would also name them behind a pooler
            server_settings={"application_name": self._application_name},
        )
        try:
            async with connection.transaction():
                self._pooled = await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid()
                if not self._pooled:
                    await connection.execute(self._timeouts.as_sql(self._schema, local=False))
        except BaseException:
            connection.terminate()
            raise
        return connection

    def mark_pooled(self, _: object, record: ConnectionPoolEntry) -> None:
        record.info["pooled"] = self._pooled

    def statement_name(self) -> str:
        return "" if self._pooled else f"relay_{next(self._numbers)}"

    def limit_transaction(self, connection: Connection) -> None:
        if self._pooled:
            connection.exec_driver_sql(self._timeouts.as_sql(self._schema, local=True))


def _refuse_closed_connection(connection: AdaptedConnection, *_: object) -> None:
    """Detects connections that the server closed, without a ping: the event loop has seen the end of the socket."""
    if connection.driver_connection.is_closed():
        raise exc.DisconnectionError("the server closed this connection while it was idle")  # the pool opens another


def _drop_broken_connection(context: ExceptionContext) -> Exception | None:
    """Close connections that are open but unusable; the dialect itself detects closed ones. Returns the error to raise
    instead, when the driver's error does not show that the database is unavailable."""
    original = context.original_exception
    if getattr(original, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True
    elif isinstance(original, TimeoutError):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False  # a slow statement does not concern the other connections
    elif isinstance(original.__cause__ or original, asyncpg.InternalClientError):  # the dialect may have wrapped it
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False  # nor does a server process that ended
        return ConnectionError(CONNECTION_ENDED)
    return None
