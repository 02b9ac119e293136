"""Waits for the database when a process starts, and recognises settings that waiting cannot correct.

The causes are recognised by SQLSTATE and by the type of the error.
"""

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import structlog
from sqlalchemy import exc
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core import migrate
from platform_relay.core.database import is_unavailable
from platform_relay.core.database_connections import READ_ONLY, NoWritableServerError
from platform_relay.core.database_url import SYSTEM, TLS_FILES, TLS_REQUIRED, address, hosts, option
from platform_relay.core.reasons import Reason, ReasonCode, because

log: Final = structlog.get_logger(__name__)

PAUSE_SECONDS: Final = 1.0
"""Between two attempts."""
LOG_SECONDS: Final = 5.0
"""Between two log lines."""
TLS_REQUEST: Final = struct.pack("!ii", 8, 80877103)  # SSLRequest (PostgreSQL manual, "Message Formats")
TLS_REFUSED: Final = b"N"
SETTING: Final = "DATABASE_URL"

# Prefixes of SQLSTATEs. Waiting corrects none of the first group.
_MISCONFIGURED: Final = {
    "28": ReasonCode.DATABASE_LOGIN_REJECTED,
    "3D": ReasonCode.DATABASE_NOT_FOUND,
    "42501": ReasonCode.DATABASE_PERMISSION_MISSING,
}
_WRONG_OPTION: Final = ("42704", "22023")  # a setting in `options` of the URL that the server does not know or accept
_NOT_ACCEPTING: Final = ("53", "57", "58")


class DatabaseMisconfiguredError(ValueError):
    """The database rejects the connection until the configuration, of the relay or of the database, is corrected."""


class DatabaseUnreachableError(Exception):
    """The database cannot be used at the moment. A later attempt may succeed."""


@dataclass(frozen=True, slots=True)
class ConnectionProblem:
    """Why the database cannot be used. `temporary`: waiting can help; otherwise the configuration is wrong."""

    reason: Reason
    temporary: bool

    def as_error(self) -> Exception:
        """The error for a program that ends because of the problem. Its text is the reason and the next step."""
        text = f"{self.reason.text} {self.reason.next_step}"
        return DatabaseUnreachableError(text) if self.temporary else DatabaseMisconfiguredError(text)


async def wait_until_migrated(engine: AsyncEngine, on_wait: Callable[[Reason], None] = lambda _: None) -> None:
    """Migrate the database (`migrate.upgrade`), and wait for it while it cannot be used.

    Logs every LOG_SECONDS why it waits, and calls `on_wait` with the reason after each attempt. Raises
    DatabaseMisconfiguredError when waiting cannot help, and the errors of the migration.
    """
    started, next_line = time.monotonic(), 0.0
    while True:
        try:
            await migrate.upgrade(engine)
        except Exception as error:
            problem = await connection_problem(error, engine.url)
            if problem is None:
                raise
            if not problem.temporary:
                raise problem.as_error() from error
        else:
            return
        on_wait(problem.reason)
        waited = time.monotonic() - started
        if waited >= next_line:
            next_line = waited + LOG_SECONDS
            log.warning(
                "database_waiting",
                reason_code=problem.reason.code.value,
                text=problem.reason.text,
                next_step=problem.reason.next_step,
                seconds=round(waited),
            )
        await asyncio.sleep(PAUSE_SECONDS)


async def upgrade_now(engine: AsyncEngine) -> None:
    """Migrate the database (`migrate.upgrade`) without waiting for it.

    Raises DatabaseUnreachableError or DatabaseMisconfiguredError when it cannot be used, and the errors of the migration.
    """
    try:
        await migrate.upgrade(engine)
    except Exception as error:
        if (problem := await connection_problem(error, engine.url)) is None:
            raise
        raise problem.as_error() from error


async def connection_problem(error: BaseException, url: URL) -> ConnectionProblem | None:
    """Why the database of `url` cannot be used, from the error of an attempt; None when the error has another cause."""
    cause = _driver_error(error)
    state = getattr(cause, "sqlstate", None) or ""
    facts = {"address": address(url), "error": _words(cause)}
    for prefix, code in _MISCONFIGURED.items():
        if state.startswith(prefix):
            return ConnectionProblem(because(code, **facts), temporary=False)
    if isinstance(cause, asyncpg.ClientConfigurationError | UnicodeError) or state in _WRONG_OPTION:
        return _wrong_url(_words(cause))
    if isinstance(cause, FileNotFoundError) and (missing := await asyncio.to_thread(_missing_file, url)):
        return _wrong_url(f"the file of {missing} does not exist")
    if _is_tls_error(cause) or await _tls_is_refused(cause, url):
        return ConnectionProblem(because(ReasonCode.DATABASE_TLS_FAILED, **facts), temporary=False)
    if not is_unavailable(error):
        return None
    return ConnectionProblem(because(_temporary(cause, state), **facts), temporary=True)


def _temporary(cause: BaseException, state: str) -> ReasonCode:
    if isinstance(cause, socket.gaierror):
        return ReasonCode.DATABASE_HOST_UNKNOWN
    if state == READ_ONLY or isinstance(cause, NoWritableServerError):
        return ReasonCode.DATABASE_READ_ONLY
    if state.startswith(_NOT_ACCEPTING):
        return ReasonCode.DATABASE_NOT_ACCEPTING
    if state and not state.startswith("08"):
        return ReasonCode.DATABASE_MIGRATING  # a lock that another migration or a busy table holds
    return ReasonCode.DATABASE_UNREACHABLE


def _driver_error(error: BaseException) -> BaseException:
    """The error of asyncpg or of the operating system below SQLAlchemy's errors."""
    original = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    if isinstance(original, asyncpg.PostgresError | asyncpg.InterfaceError | OSError):
        return original
    return original.__cause__ or original


def _words(cause: BaseException) -> str:
    """The error in one line, without the parts that repeat the address."""
    if isinstance(cause, asyncpg.PostgresError):
        return cause.message or type(cause).__name__
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, ssl.SSLError):
        return cause.strerror.splitlines()[0]
    return (str(cause) or type(cause).__name__).splitlines()[0]


def _wrong_url(problem: str) -> ConnectionProblem:
    return ConnectionProblem(because(ReasonCode.SETTING_WRONG, setting=SETTING, problem=problem), temporary=False)


def _missing_file(url: URL) -> str | None:
    """The option of the URL that names a file that does not exist."""
    return next(
        (
            name
            for name in TLS_FILES
            if (path := option(url, name)) not in (None, SYSTEM) and not Path(path or "").exists()
        ),
        None,
    )


def _is_tls_error(cause: BaseException) -> bool:
    """Whether the TLS handshake failed, and not the connection below it."""
    return isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)


async def _tls_is_refused(cause: BaseException, url: URL) -> bool:
    """Whether a server of the URL refuses TLS, which the URL requires.

    asyncpg raises the same ConnectionError for this as for a connection that broke, so the servers are asked again.
    """
    if type(cause) is not ConnectionError or option(url, "sslmode") not in TLS_REQUIRED:
        return False
    for host, port in hosts(url):
        if host.startswith("/"):
            continue
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection(host or "localhost", port)
                try:
                    writer.write(TLS_REQUEST)
                    if await reader.readexactly(1) == TLS_REFUSED:
                        return True
                finally:
                    writer.close()
    return False
