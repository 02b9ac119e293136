"""One outbound call: time limit, body cap, no redirects; a failure becomes an outcome with its reason.

    answer = await http.call("PUT", url, json=body)
    if not isinstance(answer, Answer):
        return answer                      # Retry, Unknown or Blocked: nothing trustworthy came back
    if failure := failure_of(answer):
        return failure                     # what the status means by itself

A `Request` is handed straight to a transport over aiohttp: an `AsyncClient` in between costs half of the throughput
(docs/performance.md) and would only add what we refuse: redirects, cookies, environment proxies.

A GET, PUT or DELETE that a kept-alive connection drops unanswered is sent once more by aiohttp, on a new one, within
the same call; they are idempotent by HTTP. A POST or PATCH is never sent twice.
"""

import asyncio
import json as json_codec
import math
import re
import ssl
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import aiohttp
import httpx
from pydantic import JsonValue
from pydantic_core import to_json

from platform_relay.core import tracing
from platform_relay.core.egress import EgressPolicy, Network, denied_addresses
from platform_relay.core.http_transport import AiohttpTransport
from platform_relay.core.outcomes import Blocked, Evidence, Reject, Retry, Unknown
from platform_relay.core.reasons import Reason, ReasonCode, because

EXCERPT_CHARS: Final = 500
QUOTE_CHARS: Final = 300
DESTINATION: Final = "the destination"
KEEP_ALIVE: Final = 4.0
"""Seconds an idle connection is kept: less than the 5 s after which Apache and Node.js close it, so that a request
seldom goes out on a connection that the destination is just closing (that would be Unknown)."""
CONNECT_SHARE: Final = 0.5
"""The part of a call's time limit for getting a connection; running out of it is Retry, as nothing was sent."""

_CONTROL: Final = re.compile(r"[\r\n\0]")
_EMAIL: Final = re.compile(r"[\w.+%-]{1,64}@[\w.-]{1,255}")
_PLAIN_PATH: Final = re.compile(r"(?:/(?!\.)(?:[\w.~:-]|%[0-9A-F]{2})*)+", re.ASCII)
"""No dot segments, no query, nothing that httpx would escape."""

Failure = Retry | Unknown | Reject | Blocked


class Pace(Protocol):
    """How fast a destination may be called, by all replicas together (`engine.gate.DestinationGuard`)."""

    async def turn(self) -> float | None:
        """Wait for this call's place. Seconds when that is too far away to wait for: the call must not be made."""

    async def throttled(self, pause: float) -> None:
        """The destination is called too often, and asks for no call for `pause` seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer: `body` decoded and at most the cap's bytes long. `secrets` never show in its evidence.

    `destination` is the display name of the system that answered.
    """

    status: int
    headers: httpx.Headers
    body: bytes
    secrets: tuple[str, ...] = ()
    destination: str = DESTINATION

    def json(self, request: str | None = None) -> JsonValue | Unknown:
        """The body as JSON, or Unknown when it is none (an HTML page, an empty or a cut body)."""
        try:
            value: JsonValue = json_codec.loads(self.body)
        except (ValueError, RecursionError):
            return self.unreadable("an empty body" if not self.body.strip() else "a body that is not JSON", request)
        return value

    def unreadable(self, problem: str, request: str | None = None) -> Unknown:
        """The outcome of an answer that proves nothing. `problem` and `request` are noun phrases."""
        return Unknown(self.reason(ReasonCode.RESPONSE_UNREADABLE, problem=problem, request=request), self.evidence())

    def reason(self, code: ReasonCode, /, **facts: JsonValue) -> Reason:
        """A reason that names the destination and the status, with more facts."""
        return because(code, destination=self.destination, status=self.status, **facts)

    def evidence(self) -> Evidence:
        """The status and the beginning of the body, fit for the database, without our secrets."""
        text = self.without_secrets(self.body[: EXCERPT_CHARS * 8].decode("utf-8", "replace"))
        return Evidence(self.status, text[:EXCERPT_CHARS] or None)

    def quote(self, text: str) -> str:
        """The destination's own words as a fact: at most 300 characters, no secret of ours, no e-mail address."""
        return _EMAIL.sub("***", self.without_secrets(text)[: QUOTE_CHARS * 4]).strip()[:QUOTE_CHARS]

    def without_secrets(self, text: str) -> str:
        """The destination's own words, fit for the database: no secret of ours, no NUL."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text.replace("\x00", "\ufffd")


def failure_of(answer: Answer, now: datetime | None = None, *, request: str | None = None) -> Failure | None:
    """What a status means when the destination's own protocol is no more precise; None for 2xx.

    408, 425, 429 and 5xx may pass later; 401 and 403 and redirects are about the destination; other 4xx never get better.
    `request` is a noun phrase for the facts ("the creation of the coupon").
    """
    status, evidence = answer.status, answer.evidence()
    if 200 <= status < 300:
        return None
    if status == 429:
        return throttled(answer, now)
    if status in (408, 425) or status >= 500:
        code = ReasonCode.DESTINATION_UNAVAILABLE if status in _UNAVAILABLE else ReasonCode.SERVER_ERROR
        reason = answer.reason(code, request=request)
        return Retry(reason, retry_after(answer.headers, now or datetime.now(UTC)), evidence)
    if status in (401, 403):
        return Blocked(answer.reason(ReasonCode.KEY_REJECTED), evidence)
    if 300 <= status < 400:
        return Blocked(answer.reason(ReasonCode.REDIRECTED), evidence)
    return Reject(answer.reason(ReasonCode.REJECTED_BY_DESTINATION, request=request), evidence)


_UNAVAILABLE: Final = frozenset({408, 425, 502, 503, 504})


def throttled(answer: Answer, now: datetime | None = None) -> Retry:
    """The outcome of an answer that the destination is called too often."""
    after = retry_after(answer.headers, now or datetime.now(UTC))
    seconds = None if after is None else math.ceil(after)
    return Retry(answer.reason(ReasonCode.RATE_LIMITED, seconds=seconds), after, answer.evidence())


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """`Retry-After` in seconds, from seconds or an HTTP date; None when absent or nonsense; never negative."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def asked_for_patience(answer: Answer) -> float | None:
    """Seconds for which a 429 asks all calls to pause, 0 when it does not tell; None for any other answer."""
    return (retry_after(answer.headers, datetime.now(UTC)) or 0.0) if answer.status == 429 else None  # as it says


class _Address(httpx.URL):
    """`origin` with a path. Parsing the whole address costs as much as everything else about a Request together."""

    def __init__(self, origin: httpx.URL, path: str) -> None:
        self._uri_reference = origin._uri_reference._replace(path=path)  # noqa: SLF001  # httpx has no public way


class HttpClient:
    """A pool of connections to one destination, whose display name is `destination` ("the Platform", "WooCommerce").

    `time_limit` (seconds) bounds a whole call including a dripping body, `body_cap` (bytes) the decoded answer.
    `ca_file` (PEM) replaces the system's certificate authorities. `secrets` are the credentials that this destination
    sends, in every form they go over the wire: if the destination echoes one, the evidence does not show it.
    `reach` says which hosts and addresses may be called; None: any (`HttpClients`, which the clients of all destinations
    come from, always gives one).
    `pace` gives each call its turn, outside of the time limit, and is notified of every answer in which `patience` finds
    that the destination is called too often (seconds of pause; None: it is not). `through` puts something between the
    client and the network. Close it with `aclose()`.
    """

    def __init__(
        self,
        *,
        destination: str = DESTINATION,
        time_limit: float = 10.0,
        body_cap: int = 1 << 20,
        connections: int = 128,
        ca_file: str | None = None,
        user_agent: str = "platform-relay",
        secrets: tuple[str, ...] = (),
        reach: EgressPolicy | None = None,
        pace: Pace | None = None,
        patience: Callable[[Answer], float | None] = asked_for_patience,
        through: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self.destination = destination
        self._reach = reach
        self.time_limit = time_limit
        self.body_cap = body_cap
        self.user_agent = user_agent
        self._pace = pace
        self._patience = patience
        self._origin = "", httpx.URL()
        self._secrets = tuple(secret for secret in secrets if secret)
        self._connections = connections
        self._tls = _trusting(ca_file)
        transport = AiohttpTransport(self._session, time_limit * CONNECT_SHARE)
        self._transport: httpx.AsyncBaseTransport = through(transport) if through else transport

    def _session(self) -> aiohttp.ClientSession:
        """Made with the first call, as it needs the running loop. A destination's cookies are discarded."""
        connector = aiohttp.TCPConnector(
            limit=self._connections,
            ssl=self._tls,
            keepalive_timeout=KEEP_ALIVE,
            socket_factory=self._reach.open_socket if self._reach else None,
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def call(
        self,
        method: str,
        url: str,
        *,
        json: JsonValue = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer | Failure:
        """One request. `json` (or raw `content`) is the body. Never raises for anything the destination can do."""
        sent = {"user-agent": self.user_agent, "accept": "application/json", "accept-encoding": "identity"}
        if json is not None:
            content = to_json(json)
            sent["content-type"] = "application/json"
        if headers:
            sent.update(headers)
        try:
            if _CONTROL.search("".join(sent.values())):
                raise ValueError("a control character in a header")
            request = self._request(method, url, params, sent, content or b"")
        except (httpx.InvalidURL, ValueError):
            error = "it has characters that HTTP does not allow"
            return Blocked(self._because(ReasonCode.ADDRESS_INVALID, error=error))
        if self._reach is not None and not self._reach.covers(request.url):
            error = "it is not the configured host"
            return Blocked(self._because(ReasonCode.EGRESS_DENIED, host=request.url.host, error=error))
        if self._pace is None:
            return await self._send(request)
        if (wait := await self._pace.turn()) is not None:
            return Retry(self._because(ReasonCode.RATE_LIMITED, seconds=math.ceil(wait)), wait)
        answer = await self._send(request)
        if isinstance(answer, Answer) and (pause := self._patience(answer)) is not None:
            await self._pace.throttled(pause)
        return answer

    async def _send(self, request: httpx.Request) -> Answer | Failure:
        with tracing.call(request.method, request.url.host, request.headers) as finish:
            answer = await self._try(request)
            finish(str(answer.status) if isinstance(answer, Answer) else type(answer).__name__.lower())
            return answer

    async def _try(self, request: httpx.Request) -> Answer | Failure:
        denied = denied_addresses()
        try:
            async with asyncio.timeout(self.time_limit):
                return await self._exchange(request)
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            error = "it has to be http:// or https:// and a host"
            return Blocked(self._because(ReasonCode.ADDRESS_INVALID, error=error))
        except aiohttp.ClientError as failed:  # some are TimeoutErrors too: those of a connection that was never made
            return self._failure(failed, request.url.host, denied)
        except TimeoutError:
            seconds = int(self.time_limit) if self.time_limit == int(self.time_limit) else self.time_limit
            return Unknown(self._because(ReasonCode.TIMED_OUT, seconds=seconds))
        except (OSError, ValueError) as failed:
            return self._failure(failed, request.url.host, denied)

    def _failure(self, error: BaseException, host: str, denied: Sequence[str]) -> Failure:
        """A transport error as an outcome, by whether the request was sent. `denied`: the private addresses of `host`.

        Nothing was sent when the connection was never made: Retry. A certificate that does not verify, or a destination
        that speaks no TLS, is a fact about the destination: Blocked. Everything else may have arrived: Unknown.
        """
        match error:
            case aiohttp.ClientConnectorSSLError() if isinstance(error.os_error, ssl.SSLEOFError):
                problem = "it closed the connection during the TLS handshake"
                return Retry(self._because(ReasonCode.CONNECTION_FAILED, error=problem))
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
                return Blocked(self._because(ReasonCode.TLS_FAILED, error=str(error)[:QUOTE_CHARS]))
            case aiohttp.ClientConnectorError() if denied:
                problem = f"it leads to the private address {', '.join(sorted(set(denied)))}"
                return Blocked(self._because(ReasonCode.EGRESS_DENIED, host=host, error=problem))
            case aiohttp.ClientConnectorError():
                problem = str(error.os_error.strerror or error)[:QUOTE_CHARS]
                return Retry(self._because(ReasonCode.CONNECTION_FAILED, error=problem))
            case aiohttp.ConnectionTimeoutError():
                return Retry(self._because(ReasonCode.CONNECTION_FAILED, error="it did not accept it in time"))
            case _:
                return Unknown(self._because(ReasonCode.CONNECTION_LOST, error=type(error).__name__))

    def _because(self, code: ReasonCode, /, **facts: JsonValue) -> Reason:
        return because(code, destination=self.destination, **facts)

    def _request(
        self, method: str, url: str, params: Mapping[str, str] | None, headers: Mapping[str, str], content: bytes
    ) -> httpx.Request:
        """With `stream`, httpx adds no headers of its own, which aiohttp does all the same (Host, Content-Length)."""
        request = httpx.Request(
            method,
            self._address(url) if params is None else httpx.URL(url, params=params),
            headers=headers,
            stream=httpx.ByteStream(content),
        )
        request.read()
        return request

    def _address(self, url: str) -> httpx.URL:
        """`httpx.URL(url)`, sparing the parsing of the host for each call where the rest is plain and escaped."""
        slash = url.find("/", len("https://"))
        origin, path = (url[:slash], url[slash:]) if slash > 0 else (url, "")
        if not _PLAIN_PATH.fullmatch(path):
            return httpx.URL(url)
        if origin != self._origin[0]:
            parsed = httpx.URL(origin)
            if parsed.raw_path != b"/" or parsed.fragment:
                return httpx.URL(url)
            self._origin = origin, parsed
        return _Address(self._origin[1], path)

    async def _exchange(self, request: httpx.Request) -> Answer | Unknown:
        response = await self._transport.handle_async_request(request)
        stream: httpx.AsyncByteStream = response.stream  # type: ignore[assignment]  # as of every async transport
        try:
            return await self._read(response.status_code, response.headers, stream)
        finally:
            await stream.aclose()

    async def _read(self, status: int, headers: httpx.Headers, stream: httpx.AsyncByteStream) -> Answer | Unknown:
        encoding = _encoding(headers)
        if encoding not in ("identity", "gzip", "deflate"):
            return self._unreadable(status, f"the encoding {encoding!r}, which was not asked for")
        inflate = None if encoding == "identity" else zlib.decompressobj(wbits=47 if encoding == "gzip" else 15)
        body = bytearray()
        try:
            async for chunk in stream:
                body += inflate.decompress(chunk, self.body_cap + 1 - len(body)) if inflate else chunk
                if len(body) > self.body_cap:
                    reason = self._because(ReasonCode.RESPONSE_TOO_LARGE, status=status, limit=self.body_cap)
                    return Unknown(reason, Evidence(status))
        except zlib.error as error:
            return self._unreadable(status, f"a body that does not decompress ({error})")
        if inflate and body and not inflate.eof:
            return self._unreadable(status, "a compressed body that was cut off")
        return Answer(status, headers, bytes(body), self._secrets, self.destination)

    def _unreadable(self, status: int, problem: str) -> Unknown:
        reason = self._because(ReasonCode.RESPONSE_UNREADABLE, status=status, problem=problem)
        return Unknown(reason, Evidence(status))

    async def aclose(self) -> None:
        await self._transport.aclose()


@dataclass(frozen=True, slots=True)
class HttpClients:
    """Makes the clients of one destination: whoever makes them, its time limit and its pace hold for all their calls."""

    time_limit: float
    pace: Pace | None = None
    through: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] | None = None
    private_networks: Sequence[Network] = ()

    def make(
        self,
        *bases: object,
        destination: str = DESTINATION,
        secrets: tuple[str, ...] = (),
        ca_file: Path | None = None,
        body_cap: int = 1 << 20,
        connections: int = 128,
        patience: Callable[[Answer], float | None] = asked_for_patience,
    ) -> HttpClient:
        """A client that calls the configured addresses `bases` and no others; the other parameters are `HttpClient`'s."""
        return HttpClient(
            destination=destination,
            time_limit=self.time_limit,
            body_cap=body_cap,
            connections=connections,
            ca_file=str(ca_file) if ca_file else None,
            secrets=secrets,
            reach=EgressPolicy(bases, self.private_networks),
            pace=self.pace,
            patience=patience,
            through=self.through,
        )


def _encoding(headers: httpx.Headers) -> str:
    """Content-Encoding in small letters. `Headers.get` costs as much as reading a small body."""
    named = [value for name, value in headers.raw if name.lower() == b"content-encoding"]
    return b", ".join(named).decode("latin-1").lower() or "identity"


@cache
def _trusting(ca_file: str | None) -> ssl.SSLContext:
    """Reading the system's certificate authorities takes longer than most calls."""
    return ssl.create_default_context(cafile=ca_file)
