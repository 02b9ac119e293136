"""One outbound call: what each answer and each failure to answer means."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from time import monotonic

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from platform_relay.core.http import EXCERPT_CHARS, Failure, HttpClient, HttpResponse, failure_of, retry_after
from platform_relay.core.http_messages import Headers
from platform_relay.core.outcomes import Blocked, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode, because
from tests.contract.tls import front, self_signed
from tests.helpers import free_port

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def answer(status: int, body: bytes) -> HttpResponse:
    return HttpResponse(status, Headers(), body)


# -- what a status means -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_is_no_failure(status: int) -> None:
    assert failure_of(answer(status, b"said"), NOW) is None


@pytest.mark.parametrize(
    ("statuses", "outcome", "code"),
    [
        ((408, 425, 502, 503, 504), Retry, ReasonCode.DESTINATION_UNAVAILABLE),
        ((500, 520, 599), Retry, ReasonCode.SERVER_ERROR),
        ((429,), Retry, ReasonCode.RATE_LIMITED),
        ((401, 403), Blocked, ReasonCode.KEY_REJECTED),
        ((300, 301, 302, 304, 307, 308), Blocked, ReasonCode.REDIRECTED),
        (
            (400, 402, 404, 405, 409, 410, 413, 418, 422, 451, 499),
            Reject,
            ReasonCode.REJECTED_BY_DESTINATION,
        ),
    ],
)
def test_failure_of_every_status(statuses: tuple[int, ...], outcome: type[Failure], code: ReasonCode) -> None:
    for status in statuses:
        failure = failure_of(HttpResponse(status, Headers(), b"said", destination="the shop"), NOW)
        assert type(failure) is outcome, status
        assert failure.reason == because(code, destination="the shop", status=status)
        assert (failure.evidence.status, failure.evidence.excerpt) == (status, "said")


def test_the_request_is_named() -> None:
    failure = failure_of(answer(422, b""), request="the creation of the coupon")
    assert failure is not None
    assert failure.reason.facts["request"] == "the creation of the coupon"


def test_a_quote_has_no_secret_no_address_and_an_end() -> None:
    said = HttpResponse(400, Headers(), b"", ("hunter2-hunter2",))
    quote = said.quote("no ada.lovelace+x@shop.example, key hunter2-hunter2\x00 " + "x" * 10_000)
    assert quote.startswith("no ***, key ***\ufffd xxx")
    assert len(quote) == 300
    assert said.quote("a" * 5000 + "@shop.example") == "a" * 300


def test_retry_after_is_handed_on() -> None:
    failure = failure_of(HttpResponse(503, Headers({"Retry-After": "120"}), b""))
    assert isinstance(failure, Retry)
    assert failure.after == 120


def test_a_rate_limit_names_its_seconds() -> None:
    failure = failure_of(HttpResponse(429, Headers({"Retry-After": "7"}), b""))
    assert isinstance(failure, Retry)
    assert (failure.after, failure.reason.facts["seconds"]) == (7, 7)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("86400", 86400.0),
        ("86401", None),  # implausible, as are the next ones
        ("1000000000", None),
        ("9" * 400, None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
        ("soon", None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=2), usegmt=True), None),
        ("Mon, 23 Nov 2026 08:00:30", 30.0),
        ("Mon, 23 Nov 2026 09:00:00 +0100", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 -9999", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    given_seconds = retry_after({"retry-after": value}, NOW)
    assert given_seconds == seconds


def test_retry_after_absent() -> None:
    assert retry_after({}, NOW) is None


WORDS = st.lists(
    st.sampled_from(
        ["Mon,", "23", "Nov", "2026", "0000", "99999", "08:00:00", "25:61:61", "GMT", "+9999", "-99999999", ","]
    ),
    max_size=8,
).map(" ".join)


@given(st.one_of(st.text(), st.integers().map(str), st.datetimes().map(format_datetime), WORDS))
@example("Mon, 23 Nov 0000 08:00:00 GMT")
@example("Sat, 01 Jan 0001 00:00:00 +2359")
def test_retry_after_never_fails(value: str) -> None:
    seconds = retry_after({"retry-after": value}, NOW)
    assert seconds is None or 0 <= seconds < float("inf")


# -- bodies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"<html>", b'{"a":', b"\xff\xfe\xfd", b"[" * 200_000, b'{"n": ' + b"9" * 5000 + b"}"],
    ids=["empty", "blank", "html", "cut", "binary", "deep", "digits"],
)
def test_a_body_that_is_no_json(body: bytes) -> None:
    outcome = answer(200, body).json("the list of orders")
    assert isinstance(outcome, Unknown)
    problem = "a body that is not JSON" if body.strip() else "an empty body"
    assert outcome.reason == because(
        ReasonCode.RESPONSE_UNREADABLE,
        destination="the destination",
        status=200,
        problem=problem,
        request="the list of orders",
    )


def test_evidence_is_short_storable_and_without_secrets() -> None:
    secret = "hunter2-hunter2"
    body = f"key {secret}\x00 ".encode() + b"\xff" + b"x" * 10_000
    evidence = HttpResponse(500, Headers(), body, (secret,)).evidence()
    assert evidence.excerpt is not None
    assert evidence.excerpt.startswith("key ***\ufffd \ufffdxxx")
    assert len(evidence.excerpt) == EXCERPT_CHARS


# -- on the wire -------------------------------------------------------------------------------------------------------

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def destination(behave: Behaviour) -> AsyncIterator[str]:
    """A server that reads a request's head and then does as told; gives its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await behave(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        await server.wait_closed()


def says(body: bytes, status: str = "200 OK", length: int | None = None, **headers: str) -> Behaviour:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return behave


async def call(
    url: str, method: str = "POST", time_limit: float = 5.0, body_cap: int = 1 << 20
) -> HttpResponse | Failure:
    client = HttpClient(destination="the shop", time_limit=time_limit, body_cap=body_cap)
    try:
        return await client.call(method, url, json={"a": 1})
    finally:
        await client.aclose()


async def test_an_answer() -> None:
    async with destination(says(b'{"ok": true}', "201 Created", x_id="7")) as url:
        got = await call(url)
    assert isinstance(got, HttpResponse)
    assert (got.status, got.json(), got.headers["X-Id"]) == (201, {"ok": True}, "7")
    assert got.destination == "the shop"


async def test_what_is_sent() -> None:
    heads: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readexactly(len('{"name":"Zoë"}'.encode())))
        await says(b"")(reader, writer)

    async with destination(behave) as url:
        client = HttpClient()
        assert isinstance(await client.call("PUT", url, json={"name": "Zoë"}, headers={"x-key": "k"}), HttpResponse)
        await client.aclose()
    assert heads == ['{"name":"Zoë"}'.encode()]


RESTS = (
    ["", "/", "//a", "/a/b~c.d_e-f:g", "/a%2Fb%C3%A9", "/a%2fb", "/%zz", "/é", "/a b", "/a;b=c,d@e", "/a'b"],
    ["/./a", "/a/../b", "/.a", "/a.b/..c", "/a?b=/c", "?a=/b", "#a/b", "/a#b"],
)


@pytest.mark.parametrize("rest", [rest for part in RESTS for rest in part])
async def test_an_address_goes_out_as_httpx_reads_it(rest: str) -> None:
    """Plain ones are not parsed by httpx each time; that must not show."""
    lines: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await reader.readuntil(b"\r\n\r\n")).decode())
        await says(b"{}", connection="close")(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        client = HttpClient()
        for address in (origin + "/first", origin + rest):
            assert isinstance(await client.call("GET", address), HttpResponse)
        await client.aclose()
    expected = httpx.URL(origin + rest).raw_path.decode()
    assert lines[1].split("\r\n")[0] == f"GET {expected} HTTP/1.1"


async def test_nobody_there_is_retry() -> None:
    got = await call(f"http://127.0.0.1:{free_port()}/")
    assert isinstance(got, Retry)
    assert got.reason.code is ReasonCode.CONNECTION_FAILED
    assert got.reason.facts["destination"] == "the shop"


async def test_no_connection_in_time_is_retry() -> None:
    """A listener whose queue of connections is full answers no SYN."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for queued in (first, second):
            queued.setblocking(False)
            queued.connect_ex(listener.getsockname())
        got = await call(f"http://127.0.0.1:{listener.getsockname()[1]}/", time_limit=1.0)
    assert isinstance(got, Retry), got
    assert got.reason.code is ReasonCode.CONNECTION_FAILED


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://", "127.0.0.1", "http://127.0.0.1:99999/", "http://[::1/"])
async def test_an_address_that_cannot_be_called_is_blocked(url: str) -> None:
    got = await call(url)
    assert isinstance(got, Blocked)
    assert got.reason.code is ReasonCode.ADDRESS_INVALID


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "schlüssel", "a\0b"])
async def test_a_key_that_http_cannot_carry_is_blocked(value: str) -> None:
    client = HttpClient()
    got = await client.call("GET", f"http://127.0.0.1:{free_port()}/", headers={"x-key": value})
    await client.aclose()
    assert isinstance(got, Blocked)
    assert got.reason.code is ReasonCode.ADDRESS_INVALID
    assert value not in repr(got.reason)


async def test_reset_is_unknown() -> None:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with destination(behave) as url:
        got = await call(url)
    assert isinstance(got, Unknown)
    assert got.reason.code is ReasonCode.CONNECTION_LOST


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        (says(b"{}", content_encoding="br"), ReasonCode.RESPONSE_UNREADABLE),
        (says(b"not gzip", content_encoding="gzip"), ReasonCode.RESPONSE_UNREADABLE),
        (says(gzip.compress(b'{"a": 1}' * 100)[:-20], content_encoding="gzip"), ReasonCode.RESPONSE_UNREADABLE),
        (says(b'{"a": 1', length=500), ReasonCode.CONNECTION_LOST),
        (says(b"x" * 2000), ReasonCode.RESPONSE_TOO_LARGE),
        (says(gzip.compress(b" " * 50_000_000), content_encoding="gzip"), ReasonCode.RESPONSE_TOO_LARGE),
        (says(zlib.compress(b" " * 50_000_000), content_encoding="deflate"), ReasonCode.RESPONSE_TOO_LARGE),
    ],
    ids=["unasked encoding", "no gzip", "cut gzip", "cut", "too long", "gzip bomb", "deflate bomb"],
)
async def test_an_answer_that_cannot_be_trusted_is_unknown(behave: Behaviour, code: ReasonCode) -> None:
    async with destination(behave) as url:
        got = await call(url, body_cap=1000)
    assert isinstance(got, Unknown), got
    assert got.reason.code is code


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 9000 + b"\r\n", "its status line or a header is longer than 8190 bytes"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(300)),
            "it has more than 128 headers",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "Duplicate Content-Length"),
        (b"hello\r\n", "Expected HTTP/, RTSP/ or ICE/"),
    ],
    ids=["long header", "many headers", "repeated length", "not HTTP"],
)
async def test_a_response_that_breaks_http_is_named(head: bytes, problem: str) -> None:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"Content-Length: 2\r\n\r\n{}")
        await writer.drain()

    async with destination(behave) as url:
        got = await call(url)
    assert isinstance(got, Unknown)
    assert got.reason.code is ReasonCode.RESPONSE_MALFORMED
    assert got.reason.facts["problem"] == problem


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_answer_within_the_cap(encoding: str) -> None:
    body = b'{"a": 1}'
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    async with destination(says(packed, content_encoding=encoding)) as url:
        got = await call(url, body_cap=len(body))
    assert isinstance(got, HttpResponse)
    assert got.json() == {"a": 1}


async def test_a_dripping_answer_is_unknown_within_the_limit() -> None:
    gone = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while not gone.is_set():
            writer.write(b" ")
            await writer.drain()
            await asyncio.wait([asyncio.ensure_future(gone.wait())], timeout=0.05)

    started = monotonic()
    async with destination(behave) as url:
        got = await call(url, time_limit=0.5)
        gone.set()
    assert isinstance(got, Unknown), got
    assert got.reason == because(ReasonCode.TIMED_OUT, destination="the shop", seconds=0.5)
    assert monotonic() - started < 3


async def test_a_redirect_is_not_followed() -> None:
    async with destination(says(b"", "307 Temporary Redirect", location="/elsewhere")) as url:
        got = await call(url)
    assert isinstance(got, HttpResponse)
    assert isinstance(failure_of(got), Blocked)


async def test_cookies_are_thrown_away() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await says(b"", set_cookie="session=1; Path=/")(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "localhost", 0, family=socket.AF_INET)
    url = f"http://localhost:{server.sockets[0].getsockname()[1]}/"
    client = HttpClient()
    for _ in range(2):
        assert isinstance(await client.call("GET", url), HttpResponse)
    await client.aclose()
    server.close()
    await server.wait_closed()
    assert len(heads) == 2
    assert b"cookie" not in heads[1].lower()


async def test_a_certificate_nobody_vouches_for_is_blocked(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    async with destination(says(b"{}")) as plain, front(certificate, plain) as url:
        got = await call(url)
        assert isinstance(got, Blocked), got
        assert got.reason.code is ReasonCode.CERTIFICATE_UNTRUSTED
        trusting = HttpClient(ca_file=str(certificate.path))
        assert isinstance(await trusting.call("GET", url), HttpResponse)
        await trusting.aclose()


async def test_a_far_side_that_speaks_no_tls_is_blocked() -> None:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await behave(reader, writer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    got = await call(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    server.close()
    await server.wait_closed()
    assert isinstance(got, Blocked), got
    assert got.reason.code is ReasonCode.TLS_NOT_OFFERED
