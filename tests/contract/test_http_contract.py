"""The contract of the HTTP client, as a table: for each fault and each method, the outcome, and how often the destination received
the request.

Retry and Blocked: the request was certainly not sent, so it may be sent again. Unknown: it may have been applied. A POST or
PATCH is never received twice. A GET, PUT or DELETE is received twice only if its kept-alive connection ended without a byte of
a response.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from platform_relay.core.http import Failure, HttpClient, HttpResponse
from platform_relay.core.http_reader import ResponseReader
from platform_relay.core.outcomes import Blocked, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from tests.contract.tls import Authority, front
from tests.helpers import free_port

METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")
REPEATED = ("GET", "PUT", "DELETE")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CAP = 1000
Outcome = type[HttpResponse] | type[Failure]


@dataclass
class Destination:
    """A server that reads each request completely, records it, and lets `behave` do the rest."""

    behave: Callable[[Destination, asyncio.StreamWriter], Awaitable[None]]
    url: str = ""
    received: list[str] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    server: asyncio.Server | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
                if length:
                    await reader.readexactly(int(length[0].partition(":")[2]))
                self.received.append(head.split(" ")[0])
                self.arrived.set()
                await self.behave(self, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.closed.set()


@asynccontextmanager
async def destination(
    behave: Callable[[Destination, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Destination]:
    there = Destination(behave)
    there.server = server = await asyncio.start_server(there.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    there.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/orders/7"
    try:
        yield there
    finally:
        server.close()


def reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def client_of(time_limit: float = 5.0, connections: int = 8, ca_file: Path | None = None) -> HttpClient:
    ca = str(ca_file) if ca_file else None
    return HttpClient(destination="the shop", time_limit=time_limit, body_cap=CAP, connections=connections, ca_file=ca)


async def call(client: HttpClient, method: str, url: str) -> HttpResponse | Failure:
    return await client.call(method, url, content=None if method in ("GET", "DELETE") else b'{"total": "12.34"}')


def check(answer: HttpResponse | Failure, outcome: Outcome, code: ReasonCode | None) -> None:
    assert type(answer) is outcome, answer
    assert getattr(getattr(answer, "reason", None), "code", None) is code, answer


# -- not sent: Retry, or Blocked when it concerns the destination ------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
async def test_refused(method: str) -> None:
    client = client_of()
    check(await call(client, method, f"http://127.0.0.1:{free_port()}/"), Retry, ReasonCode.CONNECTION_FAILED)
    await client.aclose()


@pytest.mark.parametrize("method", METHODS)
async def test_a_name_without_an_address(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    client = client_of()
    answer = await call(client, method, "http://shop.example/")
    await client.aclose()
    check(answer, Retry, ReasonCode.CONNECTION_FAILED)
    assert isinstance(answer, Retry)
    assert answer.reason.facts["error"] == "Name or service not known"


@pytest.mark.parametrize("method", METHODS)
async def test_no_connection_in_time(method: str) -> None:
    """A listener whose queue of connections is full answers no SYN."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for queued in (first, second):
            queued.setblocking(False)
            queued.connect_ex(listener.getsockname())
        client = client_of(time_limit=0.6)
        answer = await call(client, method, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        await client.aclose()
    check(answer, Retry, ReasonCode.CONNECTION_FAILED)


@pytest.mark.parametrize("method", METHODS)
async def test_no_tls_handshake_in_time(method: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = client_of(time_limit=0.6)
        answer = await call(client, method, f"https://127.0.0.1:{silent.getsockname()[1]}/")
        await client.aclose()
    check(answer, Retry, ReasonCode.CONNECTION_FAILED)


@pytest.mark.parametrize("method", METHODS)
async def test_no_free_connection_in_time(method: str) -> None:
    """All connections of the client are in use."""
    release = asyncio.Event()

    async def wait(_: Destination, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(OK)

    async with destination(wait) as there:
        client = client_of(time_limit=1.0, connections=1)
        first = asyncio.create_task(call(client, "GET", there.url))
        await there.arrived.wait()
        second = await call(client, method, there.url)
        release.set()
        check(await first, HttpResponse, None)
        check(second, Retry, ReasonCode.CONNECTION_FAILED)
        assert there.received == ["GET"]
        check(await call(client, method, there.url), HttpResponse, None)
        await client.aclose()


async def no_response(_: Destination, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("certificate", ["untrusted", "expired", "of another host"])
async def test_a_certificate_that_is_not_valid(method: str, certificate: str, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    issued = {
        "untrusted": lambda: Authority.create(tmp_path).issue(),
        "expired": lambda: authority.issue(expired=True),
        "of another host": lambda: authority.issue(host="shop.example"),
    }[certificate]()
    code = {
        "untrusted": ReasonCode.CERTIFICATE_UNTRUSTED,
        "expired": ReasonCode.CERTIFICATE_EXPIRED,
        "of another host": ReasonCode.CERTIFICATE_WRONG_HOST,
    }[certificate]
    async with destination(no_response) as there, front(issued, there.url) as url:
        client = client_of(ca_file=authority.path)
        check(await call(client, method, url), Blocked, code)
        await client.aclose()
        assert there.received == []


async def test_the_file_of_authorities_replaces_those_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pyreqwest it would only be added to them."""
    system, own = Authority.create(tmp_path), Authority.create(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(system.path))
    async with destination(no_response) as there, front(system.issue(), there.url) as url:
        client = client_of(ca_file=own.path)
        check(await call(client, "GET", url), Blocked, ReasonCode.CERTIFICATE_UNTRUSTED)
        await client.aclose()


# -- sent: whatever happens then is Unknown, and the request is received once ------------------------------------------


def sends(
    *parts: bytes, then: Callable[[asyncio.StreamWriter], None] = asyncio.StreamWriter.close
) -> Callable[[Destination, asyncio.StreamWriter], Awaitable[None]]:
    async def behave(_: Destination, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        then(writer)

    return behave


def stay(_: asyncio.StreamWriter) -> None:
    """Leave the connection open."""


def encoded(body: bytes, encoding: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


SENT = {
    "read, then closed": (sends(), ReasonCode.CONNECTION_LOST),
    "read, then reset": (sends(then=reset), ReasonCode.CONNECTION_LOST),
    "half a status line": (sends(b"HTTP/1.1 20"), ReasonCode.CONNECTION_LOST),
    "half the headers": (sends(b"HTTP/1.1 200 OK\r\nContent-Le"), ReasonCode.CONNECTION_LOST),
    "half a body": (sends(OK[:-1]), ReasonCode.CONNECTION_LOST),
    "half a body, then reset": (sends(OK[:-1], then=reset), ReasonCode.CONNECTION_LOST),
    "a chunked body without its end": (sends(CHUNKED + b"2\r\n{}\r\n"), ReasonCode.CONNECTION_LOST),
    "an interim response only": (sends(b"HTTP/1.1 100 Continue\r\n\r\n"), ReasonCode.CONNECTION_LOST),
    "no response in time": (sends(then=stay), ReasonCode.TIMED_OUT),
    "half a head in time": (sends(b"HTTP/1.1 200 OK\r\n", then=stay), ReasonCode.TIMED_OUT),
    "half a body in time": (sends(OK[:-1], then=stay), ReasonCode.TIMED_OUT),
    "no HTTP": (sends(b"\x16\x03\x01 hello\r\n\r\n"), ReasonCode.RESPONSE_MALFORMED),
    "two lengths": (sends(OK.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n")), ReasonCode.RESPONSE_MALFORMED),
    "a length and chunks": (
        sends(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + b"0\r\n\r\n"),
        ReasonCode.RESPONSE_MALFORMED,
    ),
    "another protocol": (
        sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
        ReasonCode.RESPONSE_MALFORMED,
    ),
    "a long header": (
        sends(OK.replace(b"\r\n\r\n", b"\r\nX: " + b"a" * 9000 + b"\r\n\r\n")),
        ReasonCode.RESPONSE_MALFORMED,
    ),
    "a header without an end": (
        sends(b"HTTP/1.1 200 OK\r\nX: ", *[b"a" * 65536] * 5, then=stay),
        ReasonCode.RESPONSE_MALFORMED,
    ),
    "a long body": (
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b" " * 2000),
        ReasonCode.RESPONSE_TOO_LARGE,
    ),
    "a long chunked body": (sends(CHUNKED + (b"64\r\n" + b" " * 100 + b"\r\n") * 20), ReasonCode.RESPONSE_TOO_LARGE),
    "a long body without a length": (sends(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 2000), ReasonCode.RESPONSE_TOO_LARGE),
    "a trailer without an end": (
        sends(CHUNKED + b"0\r\nX: ", *[b"a" * 65536] * 5, then=stay),
        ReasonCode.RESPONSE_TOO_LARGE,
    ),
    "a gzip bomb": (sends(encoded(gzip.compress(b" " * 50_000_000), "gzip")), ReasonCode.RESPONSE_TOO_LARGE),
    "a deflate bomb": (sends(encoded(zlib.compress(b" " * 50_000_000), "deflate")), ReasonCode.RESPONSE_TOO_LARGE),
    "brotli, which was not requested": (sends(encoded(b"\x0b\x02\x80{}\x03", "br")), ReasonCode.RESPONSE_UNREADABLE),
    "gzip in gzip": (sends(encoded(b"{}", "gzip, gzip")), ReasonCode.RESPONSE_UNREADABLE),
    "cut gzip": (sends(encoded(gzip.compress(b"{}" * 400)[:-9], "gzip")), ReasonCode.RESPONSE_UNREADABLE),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fault", SENT)
async def test_what_was_sent_is_unknown_and_received_once(fault: str, method: str) -> None:
    behave, code = SENT[fault]
    async with destination(behave) as there:
        client = client_of(time_limit=0.5 if code is ReasonCode.TIMED_OUT else 5.0)
        check(await call(client, method, there.url), Unknown, code)
        assert there.received == [method]
        assert there.connections == 1
        await asyncio.wait_for(there.closed.wait(), 5) if code is not ReasonCode.TIMED_OUT else None
        await client.aclose()


@pytest.mark.parametrize("method", METHODS)
async def test_a_connection_that_is_reset_before_anything_is_read(method: str) -> None:
    """The request may have arrived: the operating system of the destination accepts it before the server does."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        client = client_of()
        answer = await call(client, method, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await client.aclose()
    assert isinstance(answer, Unknown | Retry), answer
    if isinstance(answer, Retry):  # the reset arrived before anything was sent
        assert answer.reason.code is ReasonCode.CONNECTION_FAILED


@pytest.mark.parametrize("method", METHODS)
async def test_a_redirect_is_a_response_and_not_followed(method: str) -> None:
    moved = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with destination(sends(moved, then=stay)) as there:
        client = client_of()
        answer = await call(client, method, there.url)
        check(answer, HttpResponse, None)
        assert there.received == [method]
        await client.aclose()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "response",
    [
        OK,
        OK.replace(b"\r\n", b"\n"),
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        CHUNKED + b"1\r\n{\r\n1;a=b\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n",
        encoded(gzip.compress(b"{}"), "gzip"),
        OK + b"HTTP/1.1 200 OK\r\n",
    ],
    ids=["plain", "LF", "after hints", "until the end", "HTTP 1.0", "chunked", "gzip", "with more behind it"],
)
async def test_a_complete_response(response: bytes, method: str) -> None:
    async with destination(sends(response)) as there:
        client = client_of()
        answer = await call(client, method, there.url)
        check(answer, HttpResponse, None)
        assert isinstance(answer, HttpResponse)
        assert answer.body == b"{}"
        assert there.received == [method]
        await client.aclose()


# -- kept-alive connections --------------------------------------------------------------------------------------------


def first_ok(
    *rest: Callable[[Destination, asyncio.StreamWriter], Awaitable[None]],
) -> Callable[[Destination, asyncio.StreamWriter], Awaitable[None]]:
    """The first request is answered, the next ones as given, and further ones are answered."""

    async def behave(there: Destination, writer: asyncio.StreamWriter) -> None:
        number = len(there.received) - 2
        if 0 <= number < len(rest):
            await rest[number](there, writer)
        else:
            writer.write(OK)

    return behave


@pytest.mark.parametrize("method", METHODS)
async def test_a_connection_that_ended_while_idle_is_not_used(method: str) -> None:
    """So not even a POST is lost."""
    async with destination(sends(OK)) as there:
        client = client_of()
        for number in range(20):
            check(await call(client, method, there.url), HttpResponse, None)
            await there.closed.wait()
            there.closed.clear()
            assert there.received == [method] * (number + 1)
        await client.aclose()


@pytest.mark.parametrize("how", [sends(), sends(then=reset)], ids=["closed", "reset"])
@pytest.mark.parametrize("method", METHODS)
async def test_a_kept_alive_connection_that_ends_without_a_response(
    method: str, how: Callable[[Destination, asyncio.StreamWriter], Awaitable[None]]
) -> None:
    async with destination(first_ok(how)) as there:
        client = client_of()
        check(await call(client, "GET", there.url), HttpResponse, None)
        answer = await call(client, method, there.url)
        await client.aclose()
        if method in REPEATED:
            check(answer, HttpResponse, None)
            assert there.received == ["GET", method, method]
        else:
            check(answer, Unknown, ReasonCode.CONNECTION_LOST)
            assert there.received == ["GET", method]


@pytest.mark.parametrize("method", REPEATED)
async def test_a_request_is_sent_at_most_twice(method: str) -> None:
    async with destination(first_ok(sends(), sends(), sends())) as there:
        client = client_of()
        check(await call(client, "GET", there.url), HttpResponse, None)
        check(await call(client, method, there.url), Unknown, ReasonCode.CONNECTION_LOST)
        assert there.received == ["GET", method, method]
        await client.aclose()


@pytest.mark.parametrize("method", REPEATED)
async def test_the_second_connection_that_fails_does_not_undo_the_first_request(method: str) -> None:
    """Sent, lost, and then the server is gone: Unknown, although the last connection was refused."""

    async def leave(there: Destination, writer: asyncio.StreamWriter) -> None:
        assert there.server is not None
        there.server.close()
        writer.close()

    async with destination(first_ok(leave)) as there:
        client = client_of()
        check(await call(client, "GET", there.url), HttpResponse, None)
        check(await call(client, method, there.url), Unknown, ReasonCode.CONNECTION_LOST)
        assert there.received == ["GET", method]
        await client.aclose()


@pytest.mark.parametrize("method", METHODS)
async def test_a_part_of_a_response_is_never_followed_by_a_second_request(method: str) -> None:
    async with destination(first_ok(sends(b"H"))) as there:
        client = client_of()
        check(await call(client, "GET", there.url), HttpResponse, None)
        check(await call(client, method, there.url), Unknown, ReasonCode.CONNECTION_LOST)
        assert there.received == ["GET", method]
        await client.aclose()


@pytest.mark.parametrize("method", METHODS)
async def test_a_second_response_is_not_taken_for_that_of_the_next_request(method: str) -> None:
    other = OK.replace(b"{}", b"[]")
    async with destination(first_ok(sends(other, then=stay))) as there:
        there.behave = sends(OK + OK, then=stay)
        client = client_of()
        check(await call(client, method, there.url), HttpResponse, None)
        there.behave = sends(other, then=stay)
        answer = await call(client, method, there.url)
        assert isinstance(answer, HttpResponse)
        assert answer.body == b"[]"
        assert there.connections == 2
        await client.aclose()


async def test_bytes_on_an_idle_connection_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform_relay.core.http_pool.KEEP_ALIVE", 600.0)  # it is not closed for its age

    async def twice(there: Destination, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await again.wait()
        writer.write(OK)

    again = asyncio.Event()
    async with destination(twice) as there:
        client = client_of()
        check(await call(client, "POST", there.url), HttpResponse, None)
        again.set()
        await asyncio.wait_for(there.closed.wait(), 20)
        check(await call(client, "POST", there.url), HttpResponse, None)
        assert there.connections == 2
        await client.aclose()


@pytest.mark.parametrize(
    ("header", "connections"),
    [(b"X: 1", 1), (b"Keep-Alive: timeout=5, max=100", 1), (b"Keep-Alive: timeout=1", 2), (b"Connection: close", 2)],
)
async def test_a_connection_is_kept_for_a_shorter_time_than_the_server_keeps_it(
    header: bytes, connections: int
) -> None:
    async with destination(sends(OK.replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n\r\n"), then=stay)) as there:
        client = client_of()
        for _ in range(2):
            check(await call(client, "POST", there.url), HttpResponse, None)
        assert (there.received, there.connections) == (["POST", "POST"], connections)
        await client.aclose()


async def test_a_post_is_received_once_whatever_the_server_closes() -> None:
    """Many at once, while the server closes kept-alive connections at the same moment."""
    seen: dict[str, int] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                await reader.readexactly(len(b'{"total": "12.34"}'))
                path = head.split(" ")[1]
                seen[path] = seen.get(path, 0) + 1
                number = int(path.rpartition("/")[2])
                if number % 3:
                    writer.write(OK)
                if number % 3 != 1:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        client = client_of()
        answers = await asyncio.gather(*(call(client, "POST", f"{base}/{number}") for number in range(300)))
        await client.aclose()
    assert set(seen.values()) == {1}
    for number, answer in enumerate(answers):
        assert isinstance(answer, HttpResponse | Unknown), answer
        if isinstance(answer, HttpResponse):
            assert seen[f"/{number}"] == 1
    assert any(isinstance(answer, HttpResponse) for answer in answers)


async def test_a_call_that_is_cancelled_closes_its_connection() -> None:
    """Otherwise the response of the cancelled call could be taken for that of the next."""
    async with destination(sends(then=stay)) as there:
        client = client_of()
        calling = asyncio.create_task(call(client, "POST", there.url))
        await there.arrived.wait()
        calling.cancel()
        await asyncio.wait([calling])
        there.behave = sends(OK, then=stay)
        check(await call(client, "POST", there.url), HttpResponse, None)
        assert there.connections == 2
        await client.aclose()


async def test_a_call_that_is_cancelled_when_its_response_is_complete_leaves_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time limit can end in the same moment: the connection is then neither used again nor left open."""
    calling: list[asyncio.Task[HttpResponse | Failure]] = []
    read = ResponseReader.feed

    def feed_and_cancel(reader: ResponseReader, data: bytes) -> bool:
        complete = read(reader, data)
        asyncio.get_running_loop().call_soon(calling[-1].cancel)
        return complete

    async with destination(sends(OK, then=stay)) as there:
        client = client_of()
        monkeypatch.setattr(ResponseReader, "feed", feed_and_cancel)
        for _ in range(3):
            calling.append(asyncio.create_task(call(client, "POST", there.url)))
            await asyncio.wait(calling[-1:])
            await asyncio.wait_for(there.closed.wait(), 5) if calling[-1].cancelled() else None
        assert any(task.cancelled() for task in calling)
        await client.aclose()


async def test_a_client_that_is_closed_sends_nothing_more() -> None:
    """Calls that wait for a connection were not sent."""
    async with destination(sends(then=stay)) as there:
        client = client_of(connections=1)
        calls = [asyncio.create_task(call(client, "POST", there.url)) for _ in range(3)]
        await there.arrived.wait()
        await client.aclose()
        first, *others = await asyncio.gather(*calls)
        check(first, Unknown, ReasonCode.CONNECTION_LOST)
        for answer in others:
            check(answer, Retry, ReasonCode.CONNECTION_FAILED)
        assert there.received == ["POST"]


async def test_a_client_that_is_closed_while_it_connects_sends_nothing(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    async with destination(sends(OK, then=stay)) as there, front(authority.issue(), there.url) as url:
        client = client_of(ca_file=authority.path)
        calling = asyncio.create_task(call(client, "POST", url))
        closing = asyncio.create_task(client.aclose())  # begins after the call
        check(await calling, Retry, ReasonCode.CONNECTION_FAILED)
        await closing
        assert there.received == []


async def test_a_response_that_comes_before_the_request_was_read_ends_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asked.wait()
        writer.close()

    opened: list[asyncio.StreamWriter] = []
    asked = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        client = client_of()
        for _ in range(2):
            answer = await client.call("POST", url, content=b" " * 20_000_000)
            assert isinstance(answer, HttpResponse), answer
            assert answer.status == 413
        asked.set()
        await client.aclose()
    assert len(opened) == 2


async def test_with_tls_a_response_that_comes_before_the_request_was_read_ends_the_connection(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    certificate = authority.issue()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.path, certificate.key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asked.wait()
        writer.transport.abort()

    opened: list[asyncio.StreamWriter] = []
    asked = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        client = client_of(ca_file=authority.path)
        for _ in range(2):
            answer = await client.call("POST", url, content=b" " * 20_000_000)
            assert isinstance(answer, HttpResponse), answer
            assert answer.status == 413
        asked.set()
        await client.aclose()
    assert len(opened) == 2


async def test_a_server_that_ends_the_tls_handshake_is_named_as_the_cause() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        client = client_of()
        answer = await call(client, "POST", f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await client.aclose()
    check(answer, Retry, ReasonCode.CONNECTION_FAILED)
    assert isinstance(answer, Retry)
    assert answer.reason.facts["error"]


async def test_http_2_is_not_offered(tmp_path: Path) -> None:
    """A stream that is refused or lost when the server goes away (REFUSED_STREAM, GOAWAY) cannot occur."""
    authority = Authority.create(tmp_path)
    certificate = authority.issue()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.path, certificate.key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    chosen: list[str | None] = []

    async def behave(_: Destination, writer: asyncio.StreamWriter) -> None:
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        writer.write(OK)

    async with destination(behave, context) as there:
        client = client_of(ca_file=authority.path)
        check(await call(client, "POST", there.url), HttpResponse, None)
        await client.aclose()
    assert chosen == [None]


async def test_proxies_and_cookies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with destination(sends(OK, then=stay)) as there:
        client = client_of()
        check(await call(client, "GET", there.url), HttpResponse, None)
        await client.aclose()


async def test_a_password_in_an_address_is_sent_and_not_shown() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        client = client_of()
        answer = await call(client, "GET", f"http://ada:hunter2@127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await client.aclose()
    assert b"\r\nauthorization: Basic YWRhOmh1bnRlcjI=\r\n" in heads[0]
    assert b"hunter2" not in heads[0]
    assert "hunter2" not in repr(answer)
