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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any  # Any: a column of any type

import asyncpg
from sqlalchemy import ARRAY, ColumnElement, TextClause, any_, exc, literal, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import InstrumentedAttribute

from platform_relay.core.database_connections import (
    POOLED,
    READ_ONLY,
    ConnectionOpener,
    require_idle,
    watch_connections,
)
from platform_relay.core.database_server import History
from platform_relay.core.database_servers import Servers
from platform_relay.core.database_url import CONNECT_SECONDS
from platform_relay.core.database_url import parse_url as parse_url
from platform_relay.core.encryption import NO_KEYS, KeyRing
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.one_transaction import OneTransaction

BODY_KEYS = "body_keys"
SERVERS = "servers"
SCHEMA_NAME = "relay_schema"
PUBLIC = "public"
SCHEMA = re.compile(r"(?!pg_|information_schema$)[a-z_][a-z0-9_]{0,49}")
"""A name that needs no quotes, is not reserved by PostgreSQL, and is short enough for a prefix in a NOTIFY channel."""

# Prefixes of SQLSTATEs whose cause is the server or another session, not the statement: connection, login, database
# missing, deadlock, resources, database not accepting connections, lock not available, cancelled or shutting down, system,
# read-only (PostgreSQL manual, appendix A).
UNAVAILABLE_STATES = ("08", "28", "3D", "40", "53", "55000", "55P03", "57", "58", READ_ONLY)

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
    on_discard: Callable[[], None] = lambda: None,
    on_history: Callable[[History], Awaitable[None]] | None = None,
) -> AsyncEngine:
    """Create an engine with at most `pool_size` connections, which are opened when they are needed.

    `body_keys` encrypt and decrypt message bodies (`key_ring_of`). `search_path` is set to `schema` on every connection, so
    that no setting of the server, the role or the URL changes where the tables are.

    `url` is a libpq URL (`postgres://`, `postgresql://`, `postgresql+asyncpg://`; `?host=/socket/folder`, `sslmode`,
    `sslrootcert`, `target_session_attrs`, several hosts as `?host=a,b&port=5432,5432`), see `database_url`. Raises
    ValueError for other URLs. `on_discard` is called for each connection that is discarded because it returned to the pool
    in an open transaction. `on_history` is called before the first connection to a server with a history that this engine
    has not seen is used (`database_server.History`).
    """
    address = parse_url(url)
    checked_schema(schema)
    servers = Servers(address, application_name, timeouts.statement + timeouts.grace)
    opener = ConnectionOpener(servers, lambda local: timeouts.as_sql(schema, local=local), on_history)
    engine = create_async_engine(
        address,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # they hold personal data, and errors are logged
        pool_timeout=CONNECT_SECONDS,
        execution_options={BODY_KEYS: body_keys, SCHEMA_NAME: schema, SERVERS: servers},
        pool_recycle=1800,  # so that a moved database or a changed DNS entry needs no restart
        connect_args={"async_creator_fn": opener.open, "prepared_statement_name_func": opener.statement_name},
    )
    watch_connections(engine.sync_engine, opener, on_discard)
    return engine


def key_ring_of(connection: AsyncConnection) -> KeyRing:
    """The key ring that encrypts and decrypts bodies on this connection."""
    assert connection.sync_connection is not None  # noqa: S101  # an open connection has one
    ring = connection.sync_connection.get_execution_options().get(BODY_KEYS, NO_KEYS)
    assert isinstance(ring, KeyRing)  # noqa: S101  # as create_engine put it there
    return ring


def servers_of(engine: AsyncEngine) -> Servers:
    """The database servers of the engine."""
    servers = engine.get_execution_options()[SERVERS]
    assert isinstance(servers, Servers)  # noqa: S101  # as create_engine put it there
    return servers


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


def is_one_of(column: ColumnElement[Any] | InstrumentedAttribute[Any], values: Iterable[object]) -> ColumnElement[bool]:
    """The condition that `column` is one of `values`, which are one parameter: an array. `in_` would make a parameter of
    each value, and PostgreSQL accepts at most 32,767."""
    return column == any_(literal(list(values), ARRAY(column.type)))


def advisory_lock(name: str, schema: str = "current_schema()") -> TextClause:
    """The statement that takes the lock `name` until the end of the transaction. `name` and `schema` are SQL expressions.

    Advisory locks belong to the database, so the key contains the schema: relays in two schemas of one database do not
    wait for each other.
    """
    return text(f"SELECT pg_advisory_xact_lock(hashtextextended({schema} || ':' || {name}, 0))")


def try_advisory_lock(name: str) -> TextClause:
    """As `advisory_lock`, without waiting: the statement returns whether it got the lock. For who needs further connections while
    it has the lock: those that wait for it must not hold all connections of the pool."""
    return text(f"SELECT pg_try_advisory_xact_lock(hashtextextended(current_schema() || ':' || {name}, 0))")


@asynccontextmanager
async def single_statement(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection on which each statement commits immediately, without round trips for BEGIN and COMMIT.

    Behind a pooler it is one transaction, because a pooler may change the server between two round trips of one
    statement. Use it for one statement, or for several that may be committed separately.

    Raises OpenTransactionError when the connection was in an open transaction: then nothing is committed.
    """
    if isinstance(engine, OneTransaction):
        yield engine.connection
        return
    async with engine.connect() as connection:
        sync_connection = connection.sync_connection
        assert sync_connection is not None  # noqa: S101  # an open connection has one
        if sync_connection.info.get(POOLED):
            async with connection.begin():
                yield connection
        else:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")
            require_idle(sync_connection)


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
