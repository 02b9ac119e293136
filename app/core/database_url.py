"""The database URL: what asyncpg reads of it, and what becomes of the other options of libpq.

asyncpg sends every option that it does not know to the server, as a setting of the session. The server then rejects the
connection. Hosting companies hand out URLs for libpq and for other drivers, so each option is either read, translated or
ignored here, or rejected by name before a connection is opened.
"""

from typing import Final

from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from platform_relay.core.plain_numbers import integer, is_count

DRIVER: Final = "postgresql+asyncpg"
SCHEME: Final = "postgresql"
CONNECT_SECONDS: Final = 5.0
"""How long opening a connection may take, when the URL has no `connect_timeout`."""
LONGEST_CONNECT_SECONDS: Final = 60.0
CONNECT_TIMEOUT: Final = "connect_timeout"
SESSION_ATTRIBUTES: Final = "target_session_attrs"
SCHEMA_OPTION: Final = "schema"

READ: Final = frozenset(
    {
        "host",
        "port",
        "dbname",
        "database",
        "user",
        "password",
        "passfile",
        "service",
        "sslmode",
        "sslcert",
        "sslkey",
        "sslpassword",
        "sslrootcert",
        "sslcrl",
        "sslnegotiation",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        SESSION_ATTRIBUTES,
        "krbsrvname",
        "gsslib",
        "options",  # sent to the server unchanged, as libpq does
    }
)
"""Options that asyncpg reads."""

IGNORED: Final = frozenset(
    {
        "application_name",  # the relay sets its own
        "fallback_application_name",
        "channel_binding",  # asyncpg does not support it; `sslmode` stays in force
        "client_encoding",  # asyncpg sets UTF-8
        "gssdelegation",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "sslcertmode",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)
"""Options of libpq that change nothing for the relay."""

INSTEAD: Final = {
    "connection_limit": "set DATABASE_POOL_SIZE instead",
    "currentSchema": "set DATABASE_SCHEMA instead",
    "hostaddr": "use `host` instead",
    "pgbouncer": "the relay detects PgBouncer alone",
    SCHEMA_OPTION: "set DATABASE_SCHEMA instead",
    "search_path": "set DATABASE_SCHEMA instead",
    "ssl": "use `sslmode` instead, for example sslmode=require",
    "sslaccept": "use `sslmode` instead, for example sslmode=verify-full",
}
"""What to use instead of some options that are rejected."""

TLS_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
TLS_REQUIRED: Final = frozenset({"require", "verify-ca", "verify-full"})


def parse_url(url: str) -> URL:
    """Parse a PostgreSQL URL for asyncpg. Raises ValueError, whose text has no password."""
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in {"postgres", SCHEME, DRIVER}:
        raise ValueError(
            "the database URL is not a PostgreSQL URL; write it as postgresql://user:password@host:5432/database"
            " (several hosts: postgresql://user:password@/database?host=a,b&port=5432,5432)"
        )
    for name in parsed.query:
        if name not in READ | IGNORED | {CONNECT_TIMEOUT, SCHEMA_OPTION}:
            raise _rejected(name)
    connect_seconds(parsed)
    return parsed.set(drivername=DRIVER)


def check_schema_option(url: URL, schema: str) -> None:
    """Raises ValueError when the URL names another schema than `schema`. `schema=public` is ignored: other drivers have it
    as their default."""
    if option(url, SCHEMA_OPTION) not in (None, "public", schema):
        raise _rejected(SCHEMA_OPTION)


def driver_dsn(url: URL) -> str:
    """The URL for `asyncpg.connect`: without the options that asyncpg would send to the server.

    With several hosts it names the one that accepts writes, unless the URL has `target_session_attrs`.
    """
    query = {name: value for name, value in url.query.items() if name in READ}
    if len(hosts(url)) > 1:
        query.setdefault(SESSION_ATTRIBUTES, "read-write")
    return url.set(drivername=SCHEME, query=query).render_as_string(hide_password=False)


def connect_seconds(url: URL) -> float:
    """How long opening a connection may take. Raises ValueError when `connect_timeout` is not a number of seconds.

    As in libpq, 0 and negative numbers mean the default.
    """
    value = option(url, CONNECT_TIMEOUT)
    if value is None:
        return CONNECT_SECONDS
    try:
        seconds = integer(value)
    except ValueError:
        raise ValueError("the database URL has a connect_timeout that is not a number of seconds") from None
    return min(float(seconds), LONGEST_CONNECT_SECONDS) if seconds > 0 else CONNECT_SECONDS


def hosts(url: URL) -> list[tuple[str, int]]:
    """The hosts and ports of the URL. A folder is the folder of a Unix socket; "" is the local default."""
    names = (url.host or option(url, "host") or "").split(",")
    ports = (str(url.port) if url.port else option(url, "port") or "5432").split(",")
    if len(ports) < len(names):
        ports = [ports[0]] * len(names)
    result = []
    for name, own_port in zip(names, ports, strict=False):
        host, colon, port = name.rpartition(":") if name.count(":") == 1 else (name, "", "")
        number = port if colon else own_port
        result.append((host, integer(number) if is_count(number) else 5432))
    return result


def address(url: URL) -> str:
    """The hosts and ports of the URL as text for people, without user and password."""
    return ", ".join(f"{host or 'localhost'}:{port}" for host, port in hosts(url))


def option(url: URL, name: str) -> str | None:
    """An option of the URL. Of a repeated option the last counts, as for asyncpg."""
    value = url.query.get(name)
    return value[-1] if isinstance(value, tuple) else value


def _rejected(name: str) -> ValueError:
    instead = INSTEAD.get(name)
    return ValueError(
        f"the database URL has the option {name!r}, which the relay does not support; remove it"
        + (f" ({instead})" if instead else "")
    )
