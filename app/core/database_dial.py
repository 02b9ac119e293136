"""Opens one connection to one address of a database server.

asyncpg tries all hosts of a URL, and the event loop all addresses of a host, within one time limit: the first one that does not
answer uses it up. Here each address is tried alone. TLS, the password file and the server's certificate still see the
host's name.

The kernel ends a connection whose other side is gone: TCP_USER_TIMEOUT for data that is not confirmed, keepalives for a
connection that only waits.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast  # Any: the arguments of the event loop's own method

import asyncpg
from sqlalchemy.engine import URL

from platform_relay.core.database_server import ServerState
from platform_relay.core.database_url import driver_tls, host_dsn, hosts

T = TypeVar("T")
SILENT_SECONDS: Final = 8
"""The kernel ends a connection when the other side has not confirmed data for so long."""
KEEPALIVE_IDLE: Final = 5
KEEPALIVE_INTERVAL: Final = 1
KEEPALIVE_COUNT: Final = 3
CLOSE_SECONDS: Final = 1.0
SLICE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Place:
    """One address of a host of the URL. `address` None: asyncpg finds it (a Unix socket, or the local default)."""

    host: str
    port: int
    family: int = 0
    address: tuple[Any, ...] | None = None  # Any: the address of a socket, which depends on its family

    def __str__(self) -> str:
        """`db:5432`, with the address if the host is a name."""
        shown = f"{self.host}:{self.port}"
        return shown if self.address is None or self.address[0] == self.host else f"{shown} ({self.address[0]})"


if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection


class ServerConnection(_Connection):
    """A connection whose end never waits long. `place`: where it leads to. `state`: what the server answered when it was opened."""

    place: Place
    state: ServerState

    async def close(self, *, timeout: float | None = None) -> None:  # the driver's signature
        """Close within CLOSE_SECONDS, or terminate. The driver first waits for a running statement to be cancelled, without
        a limit of its own."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await super().close(timeout=timeout)
        if not self.is_closed():
            self.terminate()


async def places_of(url: URL, before: Iterable[Place] = ()) -> list[Place]:
    """All addresses of all hosts of the URL, in its order; names are resolved again. A host that cannot be resolved has its
    addresses of `before`. Raises OSError when no host can be resolved."""
    places: list[Place] = []
    unresolved: set[tuple[str, int]] = set()
    unknown: OSError | None = None
    for host, port in hosts(url):
        if not host or host.startswith(("/", "@")):
            places.append(Place(host, port))
            continue
        if (family := _family_of(host)) is not None:
            places.append(Place(host, port, family, (host, port)))
            continue
        try:
            resolved = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            unknown = error if isinstance(error, OSError) else OSError(str(error))
            unresolved.add((host, port))
            continue
        places += [Place(host, port, family, address) for family, _, _, _, address in resolved]
    if not places and unknown is not None:
        raise unknown
    places += [place for place in before if (place.host, place.port) in unresolved]
    return list(dict.fromkeys(places))


def _family_of(host: str) -> int | None:
    """The address family of an IP address; None for a name, and for an address with a zone."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, UnicodeError):
            socket.inet_pton(family, host)
            return family
    return None


async def dial(url: URL, place: Place, *, name: str, seconds: float, command_seconds: float) -> ServerConnection:
    """Open a connection to this address within `seconds`. Raises the errors of asyncpg, OSError and TimeoutError.

    `name` is the application_name; `command_seconds` the time limit of each statement.
    """
    loop = asyncio.get_running_loop()
    towards = cast("asyncio.AbstractEventLoop", _ToAddress(loop, place)) if place.address is not None else None
    connection = await asyncpg.connect(
        host_dsn(url, place.host, place.port),
        loop=towards,
        ssl=driver_tls(url),
        timeout=seconds,
        command_timeout=command_seconds,
        statement_cache_size=0,  # SQLAlchemy caches statements; the cache of asyncpg would also name them behind a pooler
        server_settings={"application_name": name},
        connection_class=ServerConnection,
    )
    connection.place = place
    return connection


class _ToAddress:
    """The running event loop, except that TCP connections lead to one address and are watched by the kernel."""

    def __init__(self, loop: asyncio.AbstractEventLoop, place: Place) -> None:
        self._loop = loop
        self._place = place

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)

    def __eq__(self, other: object) -> bool:
        return other is self._loop or (isinstance(other, _ToAddress) and other._loop is self._loop)

    def __hash__(self) -> int:
        return hash(self._loop)

    async def create_connection(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,  # noqa: ARG002  # the event loop's signature
        **options: Any,  # Any: as the event loop's method
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        plug = socket.socket(self._place.family, socket.SOCK_STREAM)
        try:
            plug.setblocking(False)
            _watch(plug)
            await self._loop.sock_connect(plug, self._place.address or ())
        except BaseException:
            plug.close()
            raise
        if options.get("ssl"):
            options.setdefault("server_hostname", host)
        return await self._loop.create_connection(factory, sock=plug, **options)


def _watch(plug: socket.socket) -> None:
    """Let the kernel end the connection when the other side is gone, as far as this system can."""
    plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": KEEPALIVE_IDLE,
        "TCP_KEEPINTVL": KEEPALIVE_INTERVAL,
        "TCP_KEEPCNT": KEEPALIVE_COUNT,
        "TCP_USER_TIMEOUT": SILENT_SECONDS * 1000,
    }
    for name, value in options.items():
        if (option := getattr(socket, name, None)) is not None:
            with suppress(OSError):
                plug.setsockopt(socket.IPPROTO_TCP, option, value)


class SilentError(TimeoutError):
    """The server did not answer in time."""


async def answer_within(seconds: float, asking: "asyncio.Future[T]") -> T:
    """The result of `asking`. Raises SilentError after `seconds`, without the time in which this process itself stood still: on
    a busy machine the answer may be there and not read yet."""
    waited = 0.0
    try:
        while not asking.done() and waited < seconds:
            await asyncio.wait({asking}, timeout=SLICE_SECONDS)
            waited += SLICE_SECONDS
        if asking.done():
            return asking.result()
        raise SilentError("the database does not answer")
    finally:
        if not asking.done():
            asking.cancel()
            asking.add_done_callback(_read_error)  # the caller terminates the connection, which is an error for it


def _read_error(question: "asyncio.Future[T]") -> None:
    """So that the event loop does not report it as not read."""
    if not question.cancelled():
        question.exception()
