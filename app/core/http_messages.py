"""Requests and responses as values, and the ways in which a call fails. Pure.

For `platform_relay.core.http`, its connections, and the network of the conformance kit.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Final, Protocol

_PORTS: Final = {"http": 80, "https": 443}
_PLAIN_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9]+(?:[.-]+[a-z0-9]+)*)(?::([1-9][0-9]{0,4}))?")
"""A scheme, a host in small ASCII letters and a port."""
_DIGITS: Final = re.compile(r"[0-9.]+")
_PLAIN_PATH: Final = re.compile(r"(?:/(?!\.)(?:[\w.~:-]|%[0-9A-F]{2})*)+", re.ASCII)
"""A path without dot segments, query and characters that httpx would escape."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection leads. `authority` is the value of the Host header, `authorization` the header made of the name and
    password in the URL, if it has any."""

    scheme: str
    host: str
    port: int
    authority: str = field(compare=False)
    authorization: str | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Url:
    """The address of a call. `target` is its path and query, as sent."""

    origin: Origin
    target: str

    @property
    def host(self) -> str:
        return self.origin.host

    def __str__(self) -> str:
        """Without name and password."""
        return f"{self.origin.scheme}://{self.origin.authority}{self.target}"


def parse_url(url: str, params: Mapping[str, str] | None = None) -> Url:
    """The URL as httpx reads it; `params` replace its query. Raises ValueError when it is no http or https URL with a host.

    httpx is imported only for a URL that is not plain: it takes 2 MiB, and a worker needs it for nothing else.
    """
    if params is None and (plain := _plain_url(url)) is not None:
        return plain
    import httpx  # noqa: PLC0415  # see above

    try:
        parsed = httpx.URL(url) if params is None else httpx.URL(url, params=params)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from None
    scheme, host = parsed.scheme, parsed.raw_host.decode("ascii")
    port = _PORTS.get(scheme) if parsed.port is None else parsed.port
    if scheme not in _PORTS or not host or port is None or port > 65535:
        raise ValueError("no http:// or https:// with a host and a valid port")
    authorization = "Basic " + base64.b64encode(f"{parsed.username}:{parsed.password}".encode()).decode()
    origin = Origin(
        scheme,
        host,
        port,
        parsed.netloc.decode("ascii"),
        authorization if parsed.userinfo else None,
    )
    return Url(origin, parsed.raw_path.decode("ascii"))


def _plain_url(url: str) -> Url | None:
    """A URL whose parts need no decoding and no escapes; None for every other."""
    slash = url.find("/", len("https://"))
    text, path = (url[:slash], url[slash:]) if slash > 0 else (url, "/")
    match = _PLAIN_ORIGIN.fullmatch(text)
    if match is None or not _PLAIN_PATH.fullmatch(path):
        return None
    scheme, host = match[1], match[2]
    port = int(match[3]) if match[3] else _PORTS[scheme]
    if port > 65535 or (_DIGITS.fullmatch(host) and not _is_ipv4(host)) or host.startswith("xn--") or ".xn--" in host:
        return None
    return Url(Origin(scheme, host, port, host if port == _PORTS[scheme] else f"{host}:{port}"), path)


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


class UrlParser:
    """Parses URLs like `parse_url`, but a repeated origin only once: parsing a URL takes longer than sending a request."""

    def __init__(self) -> None:
        self._text = ""
        self._origin: Origin | None = None

    def parse(self, url: str) -> Url:
        """Raises ValueError."""
        slash = url.find("/", len("https://"))
        text, path = (url[:slash], url[slash:]) if slash > 0 else (url, "")
        if not _PLAIN_PATH.fullmatch(path):
            return parse_url(url)
        if self._origin is None or text != self._text:
            parsed = parse_url(text)
            if parsed.target != "/" or "#" in text:
                return parse_url(url)
            self._text, self._origin = text, parsed.origin
        return Url(self._origin, path)


class Headers(Mapping[str, str]):
    """Headers by name, whatever its case. The values of a repeated header are joined with commas.

    Most responses' headers are never read, so they are decoded when the first is.
    """

    __slots__ = ("_pairs", "_values")

    def __init__(self, headers: Mapping[str, str] | Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._pairs: Sequence[tuple[bytes, bytes]] = () if isinstance(headers, Mapping) else headers
        self._values: dict[str, str] | None = None
        if isinstance(headers, Mapping):
            self._values = {name.lower(): value for name, value in headers.items()}

    def _decoded(self) -> dict[str, str]:
        if self._values is None:
            values: dict[str, str] = {}
            for raw_name, raw_value in self._pairs:
                name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
                values[name] = f"{values[name]}, {value}" if name in values else value
            self._values = values
        return self._values

    def __getitem__(self, name: str) -> str:
        return self._decoded()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def __len__(self) -> int:
        return len(self._decoded())

    def __repr__(self) -> str:
        """The names only: values can be secrets."""
        return f"Headers({', '.join(self)})"


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `headers` do not include those of the connection: Host and Content-Length."""

    method: str
    url: Url
    headers: dict[str, str]
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response with its decompressed body."""

    status: int
    headers: Headers = field(default_factory=Headers)
    content: bytes = b""


class Transport(Protocol):
    """Sends requests: the network (`http_pool.ConnectionPool`), or the conformance kit's faulty one in front of it."""

    async def send(self, request: Request, limit: int) -> Response:
        """Send `request` and read the response, with at most `limit` bytes of decompressed body. Raises HttpError."""

    async def aclose(self) -> None:
        """Close all connections."""


class HttpError(Exception):
    """There is no complete response."""


class NotSentError(HttpError):
    """No connection was opened, so nothing of the request was sent. `error` is what prevented it."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class LostError(HttpError):
    """The request was sent, at least in part, and the connection ended before the response was complete.

    `answered`: a part of the response arrived.
    """

    def __init__(self, problem: str, *, answered: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.answered = answered


class MalformedError(HttpError):
    """The request was sent, and the response breaks the rules of HTTP."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class UnreadableError(HttpError):
    """The request was sent, and the body of the response cannot be decompressed. `problem` is a noun phrase."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem


class TooLargeError(HttpError):
    """The request was sent, and the response is longer than the limit."""

    def __init__(self, status: int) -> None:
        super().__init__("longer than the limit")
        self.status = status
