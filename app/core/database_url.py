"""The database URL: what asyncpg reads of it, and what becomes of the options of libpq and of other drivers.

asyncpg sends every option that it does not know to the server, as a setting of the session. The server then rejects the
connection. Hosting companies hand out URLs for libpq, node-postgres, Prisma and JDBC, so each option is either read, translated
or ignored here, or rejected by name before a connection is opened. docs/operations.md has the table of them.
"""

import re
import ssl
from collections.abc import Iterator
from typing import Final

from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from platform_relay.core.plain_numbers import integer, is_count

DRIVER: Final = "postgresql+asyncpg"
SCHEME: Final = "postgresql"
CONNECT_SECONDS: Final = 5.0
"""How long opening a connection to one address may take, when the URL has no `connect_timeout`."""
LONGEST_CONNECT_SECONDS: Final = 60.0
CONNECT_TIMEOUT: Final = "connect_timeout"
SESSION_ATTRIBUTES: Final = "target_session_attrs"
ANY: Final = "any"
WRITABLE: Final = ("read-write", "primary")
READING: Final = ("read-only", "standby", "prefer-standby")
SYSTEM: Final = "system"
"""`sslrootcert=system`: the certificate authorities of the operating system."""

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
        "options",  # sent to the server, as libpq does, without what the relay sets itself
    }
)
"""Options that asyncpg reads."""

SCHEMA_OPTIONS: Final = ("schema", "currentSchema", "search_path")
"""Options that name the schema: of Prisma, JDBC, and lib/pq. The first one counts, before `search_path` in `options`."""

TRANSLATED: Final = frozenset({CONNECT_TIMEOUT, "ssl", "sslaccept", *SCHEMA_OPTIONS})
"""Options that become another option or a setting."""

SSLMODES: Final = {
    **dict.fromkeys(("disable", "allow", "prefer", "require", "verify-ca", "verify-full")),
    "verify_ca": "verify-ca",
    "verify_full": "verify-full",
    "no-verify": "require",  # node-postgres: TLS without a check of the certificate
    "true": "require",
    "1": "require",
    "on": "require",
    "false": "disable",
    "0": "disable",
    "off": "disable",
}
"""Values of `sslmode` and `ssl`, with libpq's word for those of other drivers."""

OWN_SETTINGS: Final = frozenset(
    {
        "application_name",
        "search_path",
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "enable_seqscan",
        "jit",
    }
)
"""Settings of the session that the relay sets itself on every connection. They are taken out of `options`: they would have no
effect, and poolers reject them."""

IGNORED: Final = frozenset(
    {
        "application_name",  # the relay sets its own
        "binary_parameters",  # about prepared statements, as the four below: the relay detects a pooler
        "pgbouncer",
        "prepareThreshold",
        "prepared_statement_cache_size",
        "statement_cache_size",
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
        "uselibpqcompat",
    }
)
"""Options of libpq and other drivers that change nothing for the relay."""

INSTEAD: Final = {
    "connection_limit": "set DATABASE_POOL_SIZE instead",
    "hostaddr": "use `host` instead",
    "pool_timeout": "the relay waits 5 s for a connection of its pool",
    "sslidentity": "use `sslcert` and `sslkey` instead, with PEM files",
}
"""What to use instead of some options that are rejected."""

_SCHEMES: Final = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9]+)?")
"""Also `postgresql+psycopg` and the like: the driver of another program."""
_SEVERAL_HOSTS: Final = re.compile(r"(?<![a-z0-9+])([a-z0-9+]+://(?:[^/]*@)?)([^/?@]*,[^/?@]*)(/[^?]*)?(?:\?(.*))?")
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(.*))?")
LARGEST_PORT: Final = 65_535
_PIECES: Final = re.compile(r"(?:[^\s\\]|\\.)+")
_SETTING: Final = re.compile(r"(?:-c ?|--)([A-Za-z_][A-Za-z0-9_.-]*)=.*", re.DOTALL)
TLS_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
TLS_REQUIRED: Final = frozenset({"require", "verify-ca", "verify-full"})


def parse_url(url: str) -> URL:
    """Parse a PostgreSQL URL for asyncpg. The result has only options of READ, and `connect_timeout`. Raises ValueError, whose
    text has no password."""
    try:
        parsed = make_url(_with_host_option(url.strip().strip("'\"")))
    except (exc.ArgumentError, ValueError):
        parsed = None
    if parsed is None or not _SCHEMES.fullmatch(parsed.drivername):
        raise ValueError(
            "the database URL is not a PostgreSQL URL; write it as postgresql://user:password@host:5432/database"
            " (several hosts: postgresql://user:password@a:5432,b:5432/database)"
        )
    for name in parsed.query:
        if name not in READ | IGNORED | TRANSLATED:
            raise _rejected(name)
    connect_seconds(parsed)
    _check_hosts(parsed)
    _check_session_attributes(parsed)
    read = {name: value for name in READ | {CONNECT_TIMEOUT} if (value := option(parsed, name)) is not None}
    options = " ".join(part for name, part in session_options(read.pop("options", "")) if name not in OWN_SETTINGS)
    return parsed.set(drivername=DRIVER, query=read | _tls(parsed) | ({"options": options} if options else {}))


def schema_in(url: str) -> str | None:
    """The schema that a database URL names; None if it names none. Of a `search_path` with several, the first. Raises ValueError
    as `parse_url`."""
    parse_url(url)
    parsed = make_url(_with_host_option(url.strip().strip("'\"")))
    named = [value for name in SCHEMA_OPTIONS if (value := option(parsed, name))]
    settings = session_options(option(parsed, "options") or "")
    named += [part.partition("=")[2] for name, part in settings if name == "search_path"]
    schemas = [schema.strip().strip('"') for schema in named[0].split(",")] if named else []
    return next((schema for schema in schemas if schema != "$user"), None)


def session_options(text: str) -> Iterator[tuple[str, str]]:
    """The parts of the option `options`, each with the name of the setting that it sets, or "": `-c name=value`, `-cname=value`
    and `--name=value`. Neon and Supabase have parts of their own: `endpoint=…`, `project=…`, `reference=…`."""
    pieces = iter(_PIECES.findall(text))
    for piece in pieces:
        part = f"{piece} {next(pieces, '')}".strip() if piece == "-c" else piece
        setting = _SETTING.fullmatch(part)
        yield (setting[1].replace("-", "_").lower() if setting else ""), part


def driver_dsn(url: URL) -> str:
    """The parsed URL for `asyncpg.connect`, which also needs `driver_tls`: without the options that asyncpg would send to the
    server. With several hosts it names the one that accepts writes, unless the URL has `target_session_attrs`.
    """
    query = {name: value for name, value in url.query.items() if name in READ}
    if query.get("sslrootcert") == SYSTEM:
        del query["sslrootcert"], query["sslmode"]
    if len(hosts(url)) > 1:
        query.setdefault(SESSION_ATTRIBUTES, "read-write")
    return url.set(drivername=SCHEME, query=query).render_as_string(hide_password=False)


def host_dsn(url: URL, host: str, port: int) -> str:
    """As `driver_dsn`, for one of the URL's `hosts`; "" is the local default. The caller checks `target_session_attrs`."""
    query: dict[str, str | tuple[str, ...]] = {**url.query, SESSION_ATTRIBUTES: ANY}
    if not host:
        return driver_dsn(url.set(query=query))
    login = URL.create(url.drivername, url.username, url.password, database=url.database)
    named = f"[{host}]" if ":" in host and not host.startswith("/") else host
    return driver_dsn(login.set(query={**query, "host": named, "port": str(port)}))


def needs_writable(url: URL) -> bool:
    """Whether only a server that accepts writes is used: with several hosts, unless the URL has `target_session_attrs=any`."""
    attributes = option(url, SESSION_ATTRIBUTES) or ("read-write" if len(hosts(url)) > 1 else ANY)
    return attributes != ANY


def driver_tls(url: URL) -> ssl.SSLContext | None:
    """The TLS of a connection whose server is verified by the operating system's certificate authorities; None: asyncpg makes it
    from the URL."""
    if option(url, "sslrootcert") != SYSTEM:
        return None
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    return context


def connect_seconds(url: URL) -> float:
    """How long opening a connection to one address may take. Raises ValueError when `connect_timeout` is not a number of seconds.

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
    return [(host, integer(port) if is_count(port) else 5432) for host, port in _written_hosts(url)]


def _written_hosts(url: URL) -> Iterator[tuple[str, str]]:
    """The hosts, and the ports as they are written."""
    names = (url.host or option(url, "host") or "").split(",")
    ports = (str(url.port) if url.port is not None else option(url, "port") or "5432").split(",")
    if len(ports) < len(names):
        ports = [ports[0]] * len(names)
    for name, own_port in zip(names, ports, strict=False):
        host, colon, port = name.rpartition(":") if name.count(":") == 1 else (name, "", "")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]  # an IPv6 address
        yield host, port if colon else own_port


def address(url: URL) -> str:
    """The hosts and ports of the URL as text for people, without user and password."""
    return ", ".join(f"{host or 'localhost'}:{port}" for host, port in hosts(url))


def option(url: URL, name: str) -> str | None:
    """An option of the URL. Of a repeated option the last counts, as for asyncpg."""
    value = url.query.get(name)
    return value[-1] if isinstance(value, tuple) else value


def _check_hosts(url: URL) -> None:
    """Raises ValueError for a port that is none, and for an empty name among several hosts. The text has no part of the URL: a
    password that is not percent-encoded can look like a port."""
    written = list(_written_hosts(url))
    if any(not is_count(port) or not 0 < integer(port) <= LARGEST_PORT for _, port in written):
        raise ValueError(
            f"the database URL has a port that is not a number from 1 to {LARGEST_PORT}; write hosts as host:5432, an IPv6"
            " address as [address]:5432, and percent-encode the user and the password"
        )
    if len(written) > 1 and not all(host for host, _ in written):
        raise ValueError("the database URL has an empty name among several hosts; write them as a:5432,b:5432")


def _check_session_attributes(url: URL) -> None:
    """Raises ValueError when `target_session_attrs` is not known, or asks for a server that the relay cannot write to."""
    attributes = option(url, SESSION_ATTRIBUTES)
    if attributes in READING:
        raise ValueError(
            f"the database URL has target_session_attrs={attributes}, but the relay needs a server that accepts writes; write"
            " target_session_attrs=read-write"
        )
    if attributes not in (None, ANY, *WRITABLE):
        raise ValueError(
            f"the database URL has a target_session_attrs that is not one of {', '.join((ANY, *WRITABLE))}"
        )


def _tls(url: URL) -> dict[str, str]:
    """`sslmode` and `sslrootcert` in the words of libpq. Raises ValueError for a value that is not known, and as libpq for a weak
    `sslmode` with the system's certificate authorities."""
    given, accept, root = (
        option(url, "sslmode") or option(url, "ssl"),
        option(url, "sslaccept"),
        option(url, "sslrootcert"),
    )
    if given is not None and given.lower() not in SSLMODES:
        raise ValueError(f"the database URL has an sslmode that is not one of {', '.join(list(SSLMODES)[:6])}")
    mode = (SSLMODES[given.lower()] or given.lower()) if given else None
    if accept not in (None, "strict", "accept_invalid_certs"):
        raise ValueError("the database URL has an sslaccept that is not strict or accept_invalid_certs")
    if accept == "strict" and mode != "disable":  # Prisma's word for verify-full
        mode, root = "verify-full", root or SYSTEM
    elif accept is not None:
        mode = mode or "require"
    if root == SYSTEM and mode not in (None, "verify-full"):
        raise ValueError("the database URL has sslrootcert=system with a weak sslmode; write sslmode=verify-full")
    if root == SYSTEM:
        mode = "verify-full"
    return {name: value for name, value in (("sslmode", mode), ("sslrootcert", root)) if value is not None}


def _with_host_option(url: str) -> str:
    """The URL with several hosts in the option `host`: SQLAlchemy does not read them in libpq's place."""
    if (several := _SEVERAL_HOSTS.fullmatch(url)) is None:
        return url
    start, listed, path, query = several.groups()
    pairs = [_HOST.fullmatch(host) for host in listed.split(",")]
    names = ",".join(pair[1] if pair else "" for pair in pairs)
    ports = ",".join((pair[2] if pair else None) or "5432" for pair in pairs)
    return f"{start}{path or '/'}?host={names}&port={ports}{'&' + query if query else ''}"


def _rejected(name: str) -> ValueError:
    instead = INSTEAD.get(name)
    return ValueError(
        f"the database URL has the option {name!r}, which the relay does not support; remove it"
        + (f" ({instead})" if instead else "")
    )
