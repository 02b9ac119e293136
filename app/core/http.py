"""Calls to destinations. Each call has a time limit and a body limit, and a failure becomes an outcome with a reason.

    answer = await http.call("PUT", url, json=body)
    if not isinstance(answer, HttpResponse):
        return answer                      # Retry, Unknown or Blocked: there is no complete response
    if failure := failure_of(answer):
        return failure                     # the meaning of the status alone

The HTTP/1.1 client is the relay's own, on asyncio's connections and llhttp's parser (ADR 0030), because it must prove whether a
request was sent, and because a library's client would take most of the time of an attempt (docs/performance.md). It has no
redirects, cookies, proxies of the environment, or retries. `http_pool` opens connections and knows which request may be sent
again, `http_connection` sends, `http_reader` reads, and `http_messages` has their types.
"""

import math
import os
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, Protocol, cast

from pydantic import JsonValue

from platform_relay.core import exact_json, surrounded_json, tracing
from platform_relay.core.egress import EgressPolicy, Network, denied_addresses
from platform_relay.core.exact_json import ExactJson
from platform_relay.core.http_connection import KEEP_ALIVE as KEEP_ALIVE
from platform_relay.core.http_messages import (
    Headers,
    HttpError,
    LostError,
    MalformedError,
    NotSentError,
    Request,
    TooLargeError,
    Transport,
    UnreadableError,
    UrlParser,
    parse_url,
)
from platform_relay.core.http_pool import ConnectionPool
from platform_relay.core.http_reader import HEADER_BYTES as HEADER_BYTES
from platform_relay.core.http_reader import HEADER_COUNT as HEADER_COUNT
from platform_relay.core.outcomes import Blocked, Evidence, Reject, Retry, Unknown
from platform_relay.core.plain_numbers import is_count
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.core.time_limit import TimeLimit
from platform_relay.core.tls import tls_context, tls_problem
from platform_relay.core.visible_text import visible, visible_lines

EXCERPT_CHARS: Final = 500
QUOTE_CHARS: Final = 300
DESTINATION: Final = "the destination"
CONNECT_SHARE: Final = 0.5
"""The share of a call's time limit for opening a connection. When it runs out, nothing was sent: Retry."""
LONGEST_RETRY_AFTER: Final = 86400.0
"""Seconds. A destination that asks for a longer pause is in error, and its request is ignored."""

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_EMAIL: Final = re.compile(r"[\w.+%-]{1,64}@[\w.-]{1,255}")
Failure = Retry | Unknown | Reject | Blocked


class RateLimit(Protocol):
    """Limits how often all replicas together call a destination (`queue.destination_guard.DestinationGuard`)."""

    async def acquire(self) -> float | None:
        """Wait until this call may be made. Returns seconds if that is too long to wait: the call must not be made."""

    async def back_off(self, pause: float) -> None:
        """The destination asked for fewer calls, and for none within the next `pause` seconds."""


class WriteGuard(Protocol):
    """Decides whether calls that change something may be made now (`trial.mode.OperatingMode`)."""

    async def refusal(self) -> Reason | None:
        """Why no such call may be made; None if it may."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete HTTP response. `body` is decompressed, and not longer than the client's limit.

    `secrets` are removed from its evidence. `destination` is the display name of the system that responded. `reads`: the
    request changes nothing, so its JSON may have other text around it (`surrounded_json`).
    """

    status: int
    headers: Headers
    body: bytes
    secrets: tuple[str, ...] = ()
    destination: str = DESTINATION
    reads: bool = False

    def parsed(self) -> ExactJson:
        """The body as JSON with exact numbers. Raises ValueError, whose text is a noun phrase, when it is not JSON.

        Text around the JSON is ignored in errors, and in responses to requests that change nothing. A success of a request that
        changes something proves nothing if it is incomplete, so it must be JSON as a whole.
        """
        if not self.body.strip():
            raise ValueError("an empty body")
        try:
            return exact_json.loads(self.body)
        except ValueError:
            pass
        try:
            value = surrounded_json.loads(self.body)
        except surrounded_json.AmbiguousJsonError as error:
            raise ValueError(f"{error}, with other text around it") from None
        except ValueError:
            raise ValueError("a body that is not JSON") from None
        if not self.reads and self.status < 400:
            raise ValueError("JSON with other text around it, such as a warning of PHP or a comment")
        return value

    def json(self, request: str | None = None) -> JsonValue | Unknown:
        """`parsed`, or Unknown when the body is not JSON (an HTML page, an empty or incomplete body)."""
        try:
            return cast("JsonValue", self.parsed())  # with Decimals instead of floats
        except ValueError as error:
            return self.unreadable(str(error), request)

    def unreadable(self, problem: str, request: str | None = None) -> Unknown:
        """The outcome of a response that cannot be read. `problem` and `request` are noun phrases."""
        return Unknown(self.reason(ReasonCode.RESPONSE_UNREADABLE, problem=problem, request=request), self.evidence())

    def reason(self, code: ReasonCode, /, **facts: JsonValue) -> Reason:
        """A reason with the destination, the status and more facts."""
        return because(code, destination=self.destination, status=self.status, **facts)

    def evidence(self) -> Evidence:
        """The status and the beginning of the body, without secrets, in a form that the database can store."""
        text = self.without_secrets(self.body[: EXCERPT_CHARS * 8].decode("utf-8", "replace"))
        return Evidence(self.status, text[:EXCERPT_CHARS] or None)

    def quote(self, text: str) -> str:
        """A text of the destination as a fact: at most 300 characters, without secrets and e-mail addresses."""
        return quoted(self.without_secrets(text))

    def hiding(self, *secrets: str) -> "HttpResponse":
        """The response, which also hides secrets that were obtained at run time, such as the token of a session."""
        return replace(self, secrets=(*self.secrets, *(secret for secret in secrets if secret)))

    def without_secrets(self, text: str) -> str:
        """A text of the destination without secrets and control characters, so that it can be stored and shown."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return visible_lines(text)


def quoted(text: str) -> str:
    """A text of a destination as a fact: at most 300 characters in one line, without e-mail addresses."""
    return visible(_EMAIL.sub("***", text[: QUOTE_CHARS * 4])).strip()[:QUOTE_CHARS]


def failure_of(answer: HttpResponse, now: datetime | None = None, *, request: str | None = None) -> Failure | None:
    """The outcome of a status, for destinations that give no more precise meaning; None for 2xx.

    408, 425, 429 and 5xx: Retry. 401, 403 and redirects concern the destination: Blocked; a 403 can also concern this call
    alone, and comes from a firewall if it is an HTML page. Other 4xx: Reject. `request` is a noun phrase for the facts ("the
    creation of the coupon").
    """
    status, evidence = answer.status, answer.evidence()
    if 200 <= status < 300:
        return None
    if status == 429:
        return rate_limited(answer, now)
    if status in (408, 425) or status >= 500:
        code = ReasonCode.DESTINATION_UNAVAILABLE if status in _UNAVAILABLE else ReasonCode.SERVER_ERROR
        reason = answer.reason(code, request=request)
        return Retry(reason, retry_after(answer.headers, now or datetime.now(UTC)), evidence)
    if status in (401, 403):
        rejected = Blocked(answer.reason(ReasonCode.KEY_REJECTED), evidence, certain=status == 401)
        return firewall_refusal(answer) or rejected
    if 300 <= status < 400:
        return Blocked(answer.reason(ReasonCode.REDIRECTED), evidence)
    return Reject(answer.reason(ReasonCode.REJECTED_BY_DESTINATION, request=request), evidence)


def firewall_refusal(answer: HttpResponse) -> Blocked | None:
    """The outcome of a 403 that a firewall, CDN or security plugin sent instead of the API: an HTML page, which no API of a
    destination sends. It may concern this request alone, so it is not certain. None for every other response."""
    if answer.status != 403:
        return None
    challenge = (
        "cf-mitigated" in answer.headers
    )  # https://developers.cloudflare.com, "Detect a challenge page response"
    if not challenge and not answer.body.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html", b"<head")):
        return None
    title = _TITLE.search(answer.body[: 64 * 1024])
    response = answer.quote(" ".join(title[1].decode("utf-8", "replace").split())) if title else None
    return Blocked(answer.reason(ReasonCode.FIREWALL_REFUSED, response=response), answer.evidence(), certain=False)


_TITLE: Final = re.compile(rb"<title[^>]*>(.{0,1000}?)</title>", re.IGNORECASE | re.DOTALL)
_UNAVAILABLE: Final = frozenset({408, 425, 502, 503, 504})


def rate_limited(answer: HttpResponse, now: datetime | None = None) -> Retry:
    """The outcome of a response that refuses a call because of the destination's rate limit."""
    after = retry_after(answer.headers, now or datetime.now(UTC))
    seconds = None if after is None else math.ceil(after)
    return Retry(answer.reason(ReasonCode.RATE_LIMITED, seconds=seconds), after, answer.evidence())


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds of `Retry-After`, which holds seconds or an HTTP date; never negative. None when it is absent, invalid or
    implausible (more than LONGEST_RETRY_AFTER)."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if is_count(value):
        return plausible_pause(float(value))
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return plausible_pause(max(0.0, (moment - now).total_seconds()))


def plausible_pause(seconds: float) -> float | None:
    """The seconds that a destination asked to wait; None if they are more than LONGEST_RETRY_AFTER."""
    return seconds if seconds <= LONGEST_RETRY_AFTER else None


def pause_of_429(answer: HttpResponse) -> float | None:
    """The seconds for which a 429 asks to pause all calls, 0 when it names none; None for other responses."""
    return (retry_after(answer.headers, datetime.now(UTC)) or 0.0) if answer.status == 429 else None


class HttpClient:
    """A pool of connections to one destination, whose display name is `destination` ("the Platform", "WooCommerce").

    `time_limit` (seconds) limits a complete call including a slow body, `body_cap` (bytes) the decompressed body beyond twice the
    length of the request, which a response may repeat.
    `ca_file` (PEM) replaces the system's certificate authorities. `secrets` are the credentials sent to the destination,
    in every form in which they are sent; evidence never shows them. `egress` limits the hosts and addresses that may be
    called; None: no limit. `HttpClients` always sets it.
    `rate_limit` delays each call, outside of the time limit, and gets the pause that `rate_limit_pause` finds in a
    response (None: the response is not rate-limited). `wrap` puts another transport in front of the network. Close the
    client with `aclose()`. `write_guard` refuses calls that change something: all except those that `call` knows as reads.
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
        egress: EgressPolicy | None = None,
        rate_limit: RateLimit | None = None,
        rate_limit_pause: Callable[[HttpResponse], float | None] = pause_of_429,
        wrap: Callable[[Transport], Transport] | None = None,
        write_guard: WriteGuard | None = None,
    ) -> None:
        self.destination = destination
        self._write_guard = write_guard
        self._egress = egress
        self.time_limit = time_limit
        self._limit = TimeLimit(time_limit)
        self.body_cap = body_cap
        self.user_agent = user_agent
        self._rate_limit = rate_limit
        self._rate_limit_pause = rate_limit_pause
        self._urls = UrlParser()
        self._checked_headers: dict[str, str] = {}
        """Those of the last call. Most calls have the same."""
        self._secrets = tuple(secret for secret in secrets if secret)
        pool = ConnectionPool(
            connections=connections,
            connect_limit=time_limit * CONNECT_SHARE,
            tls=tls_context(ca_file),
            open_socket=egress.open_socket if egress else None,
        )
        self._transport: Transport = wrap(pool) if wrap else pool

    async def call(
        self,
        method: str,
        url: str,
        *,
        json: JsonValue = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        reads: bool | None = None,
    ) -> HttpResponse | Failure:
        """Send one request, with `json` or raw `content` as its body. Failures of the destination are returned, not raised.

        `reads`: the request changes nothing; None: it is a GET.
        """
        all_headers = {"user-agent": self.user_agent, "accept": "application/json", "accept-encoding": "identity"}
        if json is not None:
            content = exact_json.dumps(json)
            all_headers["content-type"] = "application/json"
        if headers:
            all_headers.update({name.lower(): value for name, value in headers.items()})
        try:
            url_parts = self._urls.parse(url) if params is None else parse_url(url, params)
            self._check(all_headers)
        except ValueError:
            error = "it is no http:// or https:// address, or has characters that HTTP does not allow"
            return Blocked(self._because(ReasonCode.ADDRESS_INVALID, error=error))
        request = Request(method, url_parts, all_headers, content or b"")
        if self._egress is not None and not self._egress.allows(request.url):
            error = "it is not the configured host"
            return Blocked(self._because(ReasonCode.EGRESS_DENIED, host=request.url.host, error=error))
        if reads is None:
            reads = method == "GET"
        if self._rate_limit is None:
            return await self._send(request, reads=reads)
        if (wait := await self._rate_limit.acquire()) is not None:
            return Retry(self._because(ReasonCode.RATE_LIMITED, seconds=math.ceil(wait)), wait, called=False)
        answer = await self._send(request, reads=reads)
        if isinstance(answer, HttpResponse) and (pause := self._rate_limit_pause(answer)) is not None:
            await self._rate_limit.back_off(pause)
        return answer

    def _check(self, headers: dict[str, str]) -> None:
        """Raises ValueError for a character that HTTP does not allow in a header."""
        if headers != self._checked_headers:
            if not (_NAME.fullmatch("".join(headers)) and _VALUE.fullmatch("".join(headers.values()))):
                raise ValueError("a character that HTTP does not allow in a header")
            self._checked_headers = dict(headers)

    async def _send(self, request: Request, *, reads: bool) -> HttpResponse | Failure:
        if not reads and self._write_guard is not None and (refusal := await self._write_guard.refusal()) is not None:
            return Blocked(refusal.also(destination=self.destination))
        with tracing.call(request.method, request.url.host, request.headers) as set_result:
            answer = await self._exchange(request, reads=reads)
            set_result(str(answer.status) if isinstance(answer, HttpResponse) else type(answer).__name__.lower())
            return answer

    async def _exchange(self, request: Request, *, reads: bool) -> HttpResponse | Failure:
        denied = denied_addresses()
        limit = self.body_cap + 2 * len(request.content)  # a response may repeat the request
        try:
            with self._limit.attempt():
                response = await self._transport.send(request, limit)
        except HttpError as error:
            return self._failure(error, request.url.host, limit, denied)
        except TimeoutError:
            seconds = int(self.time_limit) if self.time_limit == int(self.time_limit) else self.time_limit
            return Unknown(self._because(ReasonCode.TIMED_OUT, seconds=seconds))
        return HttpResponse(response.status, response.headers, response.content, self._secrets, self.destination, reads)

    def _failure(self, error: HttpError, host: str, limit: int, denied: Sequence[str]) -> Failure:
        """The outcome when there is no complete response. `denied` are the private addresses of `host`.

        Only what was certainly not sent is Retry, or Blocked when it concerns the destination. Otherwise the request may have
        arrived: Unknown.
        """
        match error:
            case NotSentError():
                return self._not_sent(error.error, host, denied)
            case MalformedError():
                problem = quoted(error.problem) or "it is not HTTP"
                return Unknown(self._because(ReasonCode.RESPONSE_MALFORMED, problem=problem))
            case TooLargeError():
                reason = self._because(ReasonCode.RESPONSE_TOO_LARGE, status=error.status, limit=limit)
                return Unknown(reason, Evidence(error.status))
            case UnreadableError():
                reason = self._because(ReasonCode.RESPONSE_UNREADABLE, status=error.status, problem=error.problem)
                return Unknown(reason, Evidence(error.status))
            case LostError():
                return Unknown(self._because(ReasonCode.CONNECTION_LOST, error=error.problem[:QUOTE_CHARS]))
            case _:
                return Unknown(self._because(ReasonCode.CONNECTION_LOST, error=type(error).__name__))

    def _not_sent(self, error: OSError, host: str, denied: Sequence[str]) -> Failure:
        """The outcome when no connection was opened. An invalid certificate, or a destination without TLS, concerns the
        destination: Blocked."""
        match error:
            case ssl.SSLEOFError():
                problem = "it closed the connection during the TLS handshake"
            case ssl.SSLError():
                code, problem = tls_problem(error)
                return Blocked(self._because(code, error=problem[:QUOTE_CHARS], host=host))
            case _ if denied:
                problem = f"it leads to the private address {', '.join(sorted(set(denied)))}"
                return Blocked(self._because(ReasonCode.EGRESS_DENIED, host=host, error=problem))
            case TimeoutError():
                problem = "it did not accept it in time"
            case _:
                problem = _os_error(error)[:QUOTE_CHARS]
        return Retry(self._because(ReasonCode.CONNECTION_FAILED, error=problem))

    def _because(self, code: ReasonCode, /, **facts: JsonValue) -> Reason:
        return because(code, destination=self.destination, **facts)

    async def aclose(self) -> None:
        await self._transport.aclose()


@dataclass(frozen=True, slots=True)
class HttpClients:
    """Makes the clients of one destination, which share its time limit, rate limiter, egress policy and write guard."""

    time_limit: float
    rate_limit: RateLimit | None = None
    wrap: Callable[[Transport], Transport] | None = None
    private_networks: Sequence[Network] = ()
    write_guard: WriteGuard | None = None

    def make(
        self,
        *bases: object,
        destination: str = DESTINATION,
        secrets: tuple[str, ...] = (),
        ca_file: Path | None = None,
        body_cap: int = 1 << 20,
        connections: int = 128,
        rate_limit_pause: Callable[[HttpResponse], float | None] = pause_of_429,
    ) -> HttpClient:
        """A client that may only call the configured base URLs. The other parameters are those of `HttpClient`."""
        return HttpClient(
            destination=destination,
            time_limit=self.time_limit,
            body_cap=body_cap,
            connections=connections,
            ca_file=str(ca_file) if ca_file else None,
            secrets=secrets,
            egress=EgressPolicy(bases, self.private_networks),
            rate_limit=self.rate_limit,
            rate_limit_pause=rate_limit_pause,
            wrap=self.wrap,
            write_guard=self.write_guard,
        )


def _os_error(error: OSError) -> str:
    """The operating system's text for an error; that of the error when it has no number, or one of `getaddrinfo`."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return (
        str(error.strerror or error) or "it closed the connection"
    )  # during the TLS handshake: asyncio's error is empty
