"""The connection pool: an `AsyncEngine` over asyncpg whose every wait has an end.

The same engine works on Postgres itself and behind PgBouncer in transaction mode, and finds out by itself which of the
two it has:

- PgBouncer refuses start-up parameters it does not track (`unsupported startup parameter: statement_timeout`), so only
  `application_name`, which it does track, is sent with the connection. The time limits follow as SQL: once per
  connection on Postgres, and for each transaction at its start behind a pooler, where a setting of the session would
  stay on a connection shared with others.
- A prepared statement lives in one server connection, and a transaction pooler changes that connection under us. Behind
  a pooler statements are therefore unnamed (asyncpg parses them again with each execution, in the same round trip); on
  Postgres they are named and kept, which saves the planning.
- A pooler is recognised by its made-up process id: the one announced to the client is not the one `pg_backend_pid()`
  tells.

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

CONNECT_SECONDS = 5.0
BODY_KEYS = "body_keys"
SCHEMA_NAME = "relay_schema"
DRIVER = "postgresql+asyncpg"
PUBLIC = "public"
SCHEMA = re.compile(r"(?!pg_|information_schema$)[a-z_][a-z0-9_]{0,49}")
"""A name that needs no quotes, is not PostgreSQL's own, and leaves room for a prefix in the name of a NOTIFY destination."""

READ_ONLY = "25006"  # after a failover: we are still connected to what is now the standby
# SQLSTATEs (beginnings) that speak of the server or of the others in it, not of the statement: connection, deadlock,
# resources, a database closed to connections, lock not available, cancelled or shutting down, system, read-only
# (Postgres manual, appendix A).
UNAVAILABLE_STATES = ("08", "40", "53", "55000", "55P03", "57", "58", READ_ONLY)

SAID_GOODBYE = "the server has ended this connection"
"""An idle connection that reads the server's last words before the end of its socket fails the next statement with
asyncpg's InternalClientError ("another operation (2) is in progress"), which is no DB-API error."""

PLANNER = {"enable_seqscan": "off", "jit": "off"}
"""A prepared statement keeps the plan that it got while its tables were small. Every table has an index for what is
asked of it; without this, a plan made on an empty table reads the whole of it a million rows later."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the server may take, in seconds; `grace` seconds later the client gives up a server that is silent."""

    statement: float = 20.0
    lock: float = 5.0
    idle_in_transaction: float = 30.0
    grace: float = 5.0

    def as_sql(self, schema: str, *, local: bool) -> str:
        """One statement that sets them, and the `schema` whose tables are meant, for the session or (`local`) for the
        running transaction only."""
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
    """An engine with at most `pool_size` connections, none of which is opened yet. `body_keys` seal and open the bodies in it
    (`keys_of`).

    The tables are those of `schema` alone: `search_path` is set on every connection, also for the default, so that no
    setting of the server, the role or the URL decides where the tables are.

    `url` is any libpq URL (`postgres://`, `postgresql://`, `postgresql+asyncpg://`; `?host=/socket/folder`, `sslmode`,
    `sslrootcert`, `target_session_attrs`, several hosts as `?host=a,b&port=5432,5432`); asyncpg itself reads it. Raises
    ValueError for anything else.
    """
    address = parse_url(url)
    opener = _Opener(address, application_name, timeouts, checked_schema(schema))
    engine = create_async_engine(
        address,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # they are people's data, and errors are logged
        pool_timeout=CONNECT_SECONDS,
        execution_options={BODY_KEYS: body_keys, SCHEMA_NAME: schema},
        pool_recycle=1800,  # so that a moved database or a changed DNS entry is noticed without a restart
        connect_args={"async_creator_fn": opener.open, "prepared_statement_name_func": opener.statement_name},
    )
    event.listen(engine.sync_engine, "connect", opener.tell_pooled)
    event.listen(engine.sync_engine, "checkout", _refuse_closed_connection)
    event.listen(engine.sync_engine, "begin", opener.limit_transaction)
    event.listen(engine.sync_engine, "handle_error", _drop_broken_connection)
    return engine


def keys_of(connection: AsyncConnection) -> KeyRing:
    """What bodies are sealed and opened with on this connection."""
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
    """`name`, when it can be the name of the relay's schema. Raises ValueError."""
    if not SCHEMA.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be used as a schema: write 1 to 50 lower-case letters, digits and underscores, not starting"
            " with a digit or pg_"
        )
    return name


def advisory_lock(name: str, schema: str = "current_schema()") -> TextClause:
    """The statement that takes the lock `name` until the transaction ends. `name` and `schema` are SQL expressions.

    PostgreSQL counts advisory locks per database, so the schema is a part of the key: relays in two schemas of one
    database never wait for each other.
    """
    return text(f"SELECT pg_advisory_xact_lock(hashtextextended({schema} || ':' || {name}, 0))")


@asynccontextmanager
async def single_statement(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection on which each statement commits by itself, without round trips for BEGIN and COMMIT.

    Behind a pooler it is one transaction after all, since a pooler may change the server between two round trips of
    one statement. Use it for one statement, or for several that may be committed apart.
    """
    async with engine.connect() as connection:
        if connection.sync_connection is not None and connection.sync_connection.info.get("pooled"):
            async with connection.begin():
                yield connection
        else:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")


def parse_url(url: str) -> URL:
    """`url` in SQLAlchemy's form, for asyncpg. Raises ValueError, without the password, when it is not Postgres'."""
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in {"postgres", "postgresql", DRIVER}:
        raise ValueError(
            "the database address is not a Postgres URL: write it as postgresql://user:password@host:5432/database"
            " (several hosts: postgresql://user:password@/database?host=a,b&port=5432,5432)"
        )
    return parsed.set(drivername=DRIVER)


def is_unavailable(error: BaseException) -> bool:
    """Whether trying later makes sense: the database is away, starting, full, failing over or too slow.

    False when the statement itself was wrong.
    """
    if isinstance(error, exc.DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        return error.connection_invalidated or (isinstance(state, str) and state.startswith(UNAVAILABLE_STATES))
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(UNAVAILABLE_STATES)
    return isinstance(error, OSError | TimeoutError | exc.TimeoutError | asyncpg.InterfaceError)


def is_data_error(error: exc.DBAPIError) -> bool:
    """Whether some value could not be read as the statement wanted it: SQLSTATE class 22, "data exception"."""
    state = getattr(error.orig, "sqlstate", None)
    return isinstance(state, str) and state.startswith("22")


class _Opener:
    """Opens connections for one engine and remembers whether a pooler stands in between."""

    def __init__(self, url: URL, application_name: str, timeouts: Timeouts, schema: str) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._application_name = application_name
        self._timeouts = timeouts
        self._schema = schema
        self._pooled = False
        self._numbers = count()

    # SQLAlchemy passes what it read from the URL; asyncpg reads the URL itself, which knows more of libpq's options.
    async def open(self, *_: object, **__: object) -> "asyncpg.Connection[asyncpg.Record]":
        try:
            return await self._open()
        except asyncpg.InternalClientError as error:
            raise ConnectionError(SAID_GOODBYE) from error

    async def _open(self) -> "asyncpg.Connection[asyncpg.Record]":
        connection = await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_SECONDS,
            command_timeout=self._timeouts.statement + self._timeouts.grace,
            statement_cache_size=0,  # SQLAlchemy keeps them; asyncpg's own cache would name them behind a pooler too
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

    def tell_pooled(self, _: object, record: ConnectionPoolEntry) -> None:
        record.info["pooled"] = self._pooled

    def statement_name(self) -> str:
        return "" if self._pooled else f"relay_{next(self._numbers)}"

    def limit_transaction(self, connection: Connection) -> None:
        if self._pooled:
            connection.exec_driver_sql(self._timeouts.as_sql(self._schema, local=True))


def _refuse_closed_connection(connection: AdaptedConnection, *_: object) -> None:
    """What a ping before each use would find, but for free: the event loop has seen the server close it."""
    if connection.driver_connection.is_closed():
        raise exc.DisconnectionError("the server closed this connection while it was idle")  # the pool opens another


def _drop_broken_connection(context: ExceptionContext) -> Exception | None:
    """Beside the closed connections that the dialect recognises, give up those which are open and of no more use. The
    error to raise instead, where the driver's own says nothing of a database that is away."""
    original = context.original_exception
    if getattr(original, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True
    elif isinstance(original, TimeoutError):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False  # one slow statement says nothing about the other connections
    elif isinstance(original.__cause__ or original, asyncpg.InternalClientError):  # the dialect may have wrapped it
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False  # nor does one server process that ended
        return ConnectionError(SAID_GOODBYE)
    return None
