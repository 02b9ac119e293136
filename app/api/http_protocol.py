"""The web server's HTTP protocol: uvicorn's, with limits on connections, headers and time.

uvicorn with httptools has no limit on headers and, before the first response, none on time. The limits here cost a request only
counters; one timer per process looks at all connections every `SWEEP_SECONDS`.
"""

import asyncio
import resource
from collections import Counter
from itertools import chain
from typing import Any, ClassVar, Final, cast
from urllib.parse import unquote

import httptools
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from platform_relay.api import problems
from platform_relay.api.client_ip import counted_as, is_within, parse_address
from platform_relay.api.connection_table import RESERVE, Admission, ConnectionTable, Limit
from platform_relay.api.http_response import ResponseCycle
from platform_relay.api.middleware import HEADERS
from platform_relay.api.request_body import BODY_COMPLETE
from platform_relay.core.errors import HeadersTooLarge, HeadersTooSlow, Problem, TooManyConnections
from platform_relay.core.metrics import Metrics
from platform_relay.settings import Settings

BACKLOG: Final = 256
"""Connections that the kernel accepts before the process does; the process accepts at most so many at once."""
FILES: Final = 64
"""Files that a process has open beside connections to clients, to the database and to destinations."""
SWEEP_SECONDS: Final = 0.5
LOG_SECONDS: Final = 10.0
"""A limit that is reached again and again is logged once in this time, with the number of connections."""
HEADER_OVERHEAD: Final = len(": \r\n")
PIPELINED: Final = 16
"""Requests that may wait for the responses to earlier ones on their connection. 250 KB hold 14,000 of them."""
UPGRADE_HEADERS: Final = (b"upgrade", b"http2-settings")
HEALTH_CHECKS: Final = frozenset({"/healthz", "/readyz"})
FIRST_BYTE, HEADERS_BEGUN, BODY, RESPONSE, IDLE = range(5)
"""What a connection waits for: its first byte, the rest of the headers, the rest of the body, the response, a request."""
_log = structlog.get_logger("relay.http")


class ConnectionGuard:
    """The limits of one process, and its connections."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.limits = limits = settings.connections
        total = min(limits.total, _file_limit() - _other_files(settings))
        self._table: ConnectionTable[LimitedProtocol] = ConnectionTable(
            max(total, RESERVE), limits.idle, limits.per_address, limits.idle_per_address
        )
        self._proxies = settings.trusted_proxies
        self._metrics = metrics
        self._open: dict[LimitedProtocol, str | None] = {}
        self._reached: Counter[Limit] = Counter()
        self._logged_at: dict[Limit, float] = {}
        self._sweeping = False

    def opened(self, connection: "LimitedProtocol", peer: str | None) -> bool:
        """Count a new connection. Returns whether it may only ask for health checks."""
        address = parse_address(peer)
        key = None if address is None or is_within(address, self._proxies) else counted_as(address)
        self._open[connection] = key
        admission = self._table.add(connection, key)
        self._apply(admission)
        if not self._sweeping:
            self._sweeping = True
            connection.loop.call_later(SWEEP_SECONDS, self._sweep, connection.loop)
        return admission.reserve

    def ended(self, connection: "LimitedProtocol") -> None:
        self._table.remove(connection, self._open.pop(connection, None))

    def busy(self, connection: "LimitedProtocol") -> None:
        self._table.set_busy(connection)

    def idle(self, connection: "LimitedProtocol") -> None:
        if (exceeded := self._table.set_idle(connection)) is not None:
            self._apply(exceeded)

    def reached(self, limit: Limit) -> None:
        """Count a limit that a connection reached; the next sweep logs it."""
        self._metrics.connection_limit(limit)
        self._reached[limit] += 1

    def _apply(self, admission: Admission["LimitedProtocol"]) -> None:
        for limit in admission.reached:
            self.reached(limit)
        for connection in admission.close:
            connection.transport.abort()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._open):
            connection.check_time(now)
        for limit, times in list(self._reached.items()):
            if now - self._logged_at.get(limit, -LOG_SECONDS) >= LOG_SECONDS:
                self._logged_at[limit] = now
                del self._reached[limit]
                _log.warning("connection_limit_reached", limit=limit.value, connections=times, open=len(self._open))
        self._sweeping = bool(self._open or self._reached)
        if self._sweeping:
            loop.call_later(SWEEP_SECONDS, self._sweep, loop)


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `limited_protocol` makes the class of a process."""

    guard: ClassVar[ConnectionGuard]

    def __init__(self, *arguments: Any, **named: Any) -> None:  # uvicorn's own
        super().__init__(*arguments, **named)
        self._phase = FIRST_BYTE
        self._since = self._received_at = self._written_at = self.loop.time()
        self._buffered = 0
        """Bytes of the response that the client had not read at the last sweep."""
        self._unparsed = 0
        """Bytes since the headers of a request began, or since its body ended or paused: headers, trailers, chunk extensions."""
        self._parsed = False
        self._refusal: Problem | None = None
        self._upgrades = False
        """The headers just read ask for another protocol. The parser then skips the body, so they are read again without that."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if self.guard.opened(self, self.client[0] if self.client else None):
            self.app = only_health_checks(self.app)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.guard.ended(self)

    def data_received(self, data: bytes) -> None:
        self._received_at = self.loop.time()
        self._parsed = False
        self._feed(data)
        if self._parsed:
            self._unparsed = 0
            return
        self._unparsed += len(data)
        if self._unparsed > self.guard.limits.header_bytes and not self.transport.is_closing():
            self.guard.reached(Limit.HEADER_BYTES)
            self._refuse(self._too_large())

    def _feed(self, data: bytes) -> None:
        """As uvicorn's `data_received`, but a request that asks for another protocol (`Upgrade: h2c`) is served as HTTP/1.1,
        with its body, as RFC 9110 (7.8) allows. Java's HttpClient sends such requests."""
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                self._upgrades = False
                self.parser, head = httptools.HttpRequestParser(self), self._head_without_upgrade()
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                data = head + data[upgrade.args[0] :]
            except httptools.HttpParserError:
                self.logger.warning("Invalid HTTP request received.")
                self.send_400_response("Invalid HTTP request received.")
                return

    def _head_without_upgrade(self) -> bytes:
        """The request line and headers that were just read, without those that ask for another protocol."""
        lines = [b"%b %b HTTP/1.1" % (self.scope["method"].encode(), self.url)]
        for name, value in self.headers:
            if name == b"connection":
                others = [option for option in value.split(b",") if option.strip().lower() not in UPGRADE_HEADERS]
                lines += [b"connection: %b" % b",".join(others)] if others else []
            elif name not in UPGRADE_HEADERS:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join([*lines, b"", b""])

    # --- the parser's callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase, self._since, self._parsed = HEADERS_BEGUN, self._received_at, True

    def on_headers_complete(self) -> None:
        self._parsed = True
        self._check_headers()
        if self.parser.should_upgrade():
            method = self.parser.get_method()
            if method == b"CONNECT" or self.parser.get_http_version() != "1.1":
                raise ValueError("not a request that can be served as HTTP/1.1")
            self._upgrades, self.scope["method"] = True, method.decode("ascii")
            return
        if len(self.pipeline) >= PIPELINED:
            self.guard.reached(Limit.PIPELINED)
            raise ValueError("too many requests wait for earlier ones")
        self._phase = BODY
        self.guard.busy(self)
        self._begin_response()

    def _begin_response(self) -> None:
        """As uvicorn's `on_headers_complete`, with our ResponseCycle, and without what `web_server` never sets."""
        scope, url, version = self.scope, httptools.parse_url(self.url), self.parser.get_http_version()
        path = url.path.decode("ascii")
        scope["method"], scope["http_version"] = self.parser.get_method().decode("ascii"), version
        scope["path"], scope["raw_path"] = unquote(path) if "%" in path else path, url.path
        scope["query_string"] = url.query or b""
        earlier = cast("ResponseCycle | None", self.cycle)  # None before the first request
        self.cycle = ResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._parsed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._upgrades:
            return
        super().on_message_complete()
        self.scope[BODY_COMPLETE] = True  # type: ignore[typeddict-unknown-key]  # our own
        self._parsed = True
        self._phase, self._since = IDLE if self.cycle.response_complete else RESPONSE, self._received_at

    def on_response_complete(self) -> None:
        """As uvicorn's, without its timer for each response: the sweep closes connections without a new request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        if self._phase == RESPONSE:
            self._phase, self._since = IDLE, self.loop.time()
        self.guard.idle(self)

    def _check_headers(self) -> None:
        """Raises an exception, which ends the parsing, when the complete headers are too large."""
        limits, headers = self.guard.limits, self.headers
        size = len(self.url) + sum(map(len, chain.from_iterable(headers))) + HEADER_OVERHEAD * len(headers)
        if size > limits.header_bytes or len(headers) > limits.header_count:
            self.guard.reached(Limit.HEADER_BYTES if size > limits.header_bytes else Limit.HEADER_COUNT)
            self._refusal = self._too_large()
            raise self._refusal

    def _too_large(self) -> Problem:
        limits = self.guard.limits
        return HeadersTooLarge(
            f"The relay accepts at most {limits.header_bytes:,} bytes and {limits.header_count} headers."
        )

    def send_400_response(self, msg: str) -> None:
        """For every request that cannot be parsed, so also after `_check_headers`."""
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self._may_answer():
            super().send_400_response(msg)
        else:
            self.transport.close()

    # --- time

    def check_time(self, now: float) -> None:
        """Close the connection if it has waited too long. `now` is the time of the event loop."""
        limits, buffered = self.guard.limits, self.transport.get_write_buffer_size()
        if buffered == 0 or buffered != self._buffered:
            self._buffered, self._written_at = buffered, now
        elif now - self._written_at > limits.byte_timeout:
            self.guard.reached(Limit.RESPONSE_TIMEOUT)
            self.transport.abort()
        if self.transport.is_closing():
            return
        waits = self.flow.read_paused or self.cycle.waiting_for_100_continue if self._phase == BODY else False
        if waits and not self.cycle.response_complete:
            self._received_at = now  # the client waits for the relay
        if (limit := self._overdue(now)) is not None:
            self.guard.reached(limit)
            if limit is Limit.FIRST_BYTE_TIMEOUT:
                self.transport.close()
            else:
                self._refuse(HeadersTooSlow())
        elif self._phase == IDLE and now - self._since > limits.idle_timeout:
            self.transport.close()

    def _overdue(self, now: float) -> Limit | None:
        limits, since, received = self.guard.limits, now - self._since, now - self._received_at
        if self._phase == FIRST_BYTE and since > limits.first_byte_timeout:
            return Limit.FIRST_BYTE_TIMEOUT
        if self._phase == HEADERS_BEGUN and since > limits.headers_timeout:
            return Limit.HEADERS_TIMEOUT
        if self._phase in (HEADERS_BEGUN, BODY) and received > limits.byte_timeout:
            return Limit.REQUEST_TIMEOUT
        return None

    def _refuse(self, problem: Problem) -> None:
        """Answer the request that is being received, if possible, and close the connection."""
        if self._may_answer():
            response = problems.respond(problem)
            headers = [*self.server_state.default_headers, *response.raw_headers, *HEADERS, (b"connection", b"close")]
            lines = [STATUS_LINE[problem.status], *(b"%b: %b\r\n" % header for header in headers), b"\r\n"]
            self.transport.write(b"".join((*lines, bytes(response.body))))
        self.transport.close()

    def _may_answer(self) -> bool:
        """Whether the next bytes that the client reads are the response to the request that is being received."""
        cycle = cast("ResponseCycle | None", self.cycle)  # None before the first request
        if self._phase == BODY:
            return cycle is not None and not cycle.response_started and not self.pipeline
        return cycle is None or cycle.response_complete


def limited_protocol(settings: Settings, metrics: Metrics) -> type[LimitedProtocol]:
    """The protocol class of one process, for uvicorn's `http`."""

    class OfThisProcess(LimitedProtocol):
        guard = ConnectionGuard(settings, metrics)

    return OfThisProcess


def only_health_checks(app: ASGIApp) -> ASGIApp:
    """The application for a connection of the reserve, which is closed after one response."""
    refusal = problems.respond(TooManyConnections())

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                missing = [header for header in HEADERS if header[0] not in names]
                message["headers"] = [*message["headers"], *missing, (b"connection", b"close")]
            await send(message)

        await (app if scope["path"] in HEALTH_CHECKS else refusal)(scope, receive, send_last)

    return respond


def _file_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def _other_files(settings: Settings) -> int:
    """Files that a process may need beside its counted connections. Both destinations may have `concurrency` calls."""
    return FILES + settings.database_pool_size + 2 * settings.concurrency + BACKLOG + RESERVE
