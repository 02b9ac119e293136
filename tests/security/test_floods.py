"""Attacks before a request is complete: endless headers, many connections, slow senders and readers."""

import asyncio
import re
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest

from tests.helpers import eventually
from tests.security.attacked import OPEN_FILES, OPERATOR_KEY, WEBHOOK_SECRET, Relay, read_to_end, relay

MEBIBYTE: Final = 1 << 20
FLOOD: Final = 94 * MEBIBYTE
START: Final = b"GET /healthz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n"
CHUNKED: Final = (
    b"POST /v1/webhooks/platform/"
    + WEBHOOK_SECRET.encode()
    + b" HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n"
)
FLOODS: Final = {
    "many headers": (START, b"X-A: b\r\n"),
    "many large headers": (START, b"X-A: " + b"v" * 1000 + b"\r\n"),
    "one endless header": (START + b"X-Long: ", b"v"),
    "one endless header name": (START + b"X", b"X"),
    "an endless URL": (b"GET /", b"u"),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"X-A: " + b"v" * 1000 + b"\r\n"),
    "one endless trailer": (CHUNKED + b"1\r\nx\r\n0\r\nX-Long: ", b"v"),
    "an endless chunk extension": (CHUNKED + b"1;", b"e"),
    "empty lines": (b"\r\n", b"\r\n"),
}
"""How a flood begins, and what is repeated."""
SLOW: Final = {
    "CONNECTIONS__FIRST_BYTE_TIMEOUT": "1",
    "CONNECTIONS__HEADERS_TIMEOUT": "3",
    "CONNECTIONS__BYTE_TIMEOUT": "1",
    "CONNECTIONS__IDLE_TIMEOUT": "1",
}


@pytest.fixture
async def target(database_url: str) -> AsyncIterator[Relay]:
    async with relay(database_url) as running:
        yield running


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may open enough files for the attacker's connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip(f"the attacker needs 4096 open files, and this user may open {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def flood(client: socket.socket, start: bytes, repeated: bytes) -> int:
    """Send up to FLOOD bytes. Returns how many the server took before it ended the connection."""
    loop, sent, block = asyncio.get_running_loop(), 0, repeated * (MEBIBYTE // len(repeated))
    try:
        await loop.sock_sendall(client, start)
        while sent < FLOOD:
            await loop.sock_sendall(client, block)
            sent += len(block)
    except ConnectionError:
        pass
    client.close()
    return sent


async def test_floods_of_headers_use_no_memory(target: Relay) -> None:
    """Up to 94 MB on one connection, in every form. The process needs at most 24 MiB more after all of them."""
    await target.serves_others()
    before = target.rss()
    for name, (start, repeated) in FLOODS.items():
        taken = await flood(await target.connect(), start, repeated)
        assert taken < FLOOD // 4, f"{name}: the server took {taken:,} bytes"
        assert target.rss() - before < 24 * MEBIBYTE, name
    await target.serves_others()
    assert await target.limits_reached() == {"header_bytes": len(FLOODS)}
    await eventually(lambda: b'"connection_limit_reached"' in target.log.read_bytes())


async def test_headers_above_a_limit_are_answered_with_431(target: Relay) -> None:
    for headers, status in (
        (b"X-A: b\r\n" * 98, b"200"),
        (b"X-A: b\r\n" * 99, b"431"),
        (b"X-A: " + b"v" * 32_000 + b"\r\n", b"200"),
        (b"X-A: " + b"v" * 33_000 + b"\r\n", b"431"),
    ):
        answer = await ask(target, START + headers + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 " + status), answer
        if status == b"431":
            assert b"urn:platform-relay:problem:headers-too-large" in answer
            assert b"x-content-type-options: nosniff" in answer
    # Requests in one packet are counted one by one.
    one = b"GET /healthz HTTP/1.1\r\nHost: relay\r\nX-A: " + b"v" * 5000 + b"\r\n\r\n"
    assert (await ask(target, one * 10 + START + b"\r\n")).count(b"HTTP/1.1 200 OK") == 11


async def test_requests_that_wait_for_responses_use_no_memory(target: Relay) -> None:
    """200 connections, each with 14,000 requests in 250 KB, and the attacker reads nothing."""
    await target.serves_others()
    before = target.rss()
    clients = [await target.connect() for _ in range(200)]
    for client in clients:
        with suppress(OSError):
            client.send(b"GET /docs HTTP/1.1\r\n\r\n" * 12_000)
    await target.serves_others()
    assert target.rss() - before < 24 * MEBIBYTE
    assert (await target.limits_reached())["pipelined"] == len(clients)
    for client in clients:
        client.close()


@pytest.mark.parametrize("upgrade", ["websocket", "h2c", "foo"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_request_that_asks_for_another_protocol_keeps_its_body(
    target: Relay, upgrade: str, chunked: bool
) -> None:
    """As Java's HttpClient sends it. The body counts, the other protocol does not, and the connection can be used again."""
    body = b'{"event": "customer/updated", "data": "%b"}' % upgrade.encode()
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    size = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    start = b"POST /v1/webhooks/platform/%b HTTP/1.1\r\nHost: relay\r\n" % WEBHOOK_SECRET.encode()
    asks = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAA\r\n" % upgrade.encode()
    plain = await ask(target, start + size + b"\r\nConnection: close\r\n\r\n" + sent)
    answers = await ask(target, start + asks + size + b"\r\n\r\n" + sent + START + b"\r\n")
    assert answers.count(b"HTTP/1.1 200 OK") == 2, answers
    [accepted] = re.findall(rb'"id":"([^"]+)","status":"accepted"', plain)
    assert b'"id":"%b","status":"duplicate"' % accepted in answers


async def test_a_body_in_another_transfer_encoding_is_refused(target: Relay) -> None:
    """The relay would store the encoded bytes."""
    start = CHUNKED.replace(b": chunked", b": gzip, chunked").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert b"HTTP/1.1 415" in (await ask(target, start + b"2\r\n{}\r\n0\r\n\r\n"))[:12]


async def test_a_broken_second_request_is_not_answered_before_the_first(target: Relay) -> None:
    """A proxy would give the response to the wrong client."""
    first = (
        b"POST /v1/webhooks/platform/"
        + WEBHOOK_SECRET.encode()
        + b" HTTP/1.1\r\nHost: relay\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert b"400" not in (await ask(target, first + b"broken\r\n\r\n"))[:12]


@pytest.mark.usefixtures("many_files")
async def test_idle_connections_lock_nobody_out(target: Relay) -> None:
    """1,100 connections while the process may open 1,024 files. Others are answered, and so is the attacker's address."""
    after_request = START.replace(b"Connection: close\r\n", b"") + b"\r\n"
    for what, start in (("silent", b""), ("in the headers", START), ("after a request", after_request)):
        async with idle_connections(target, 1100, start):
            await target.serves_others()
            assert target.process.num_fds() < OPEN_FILES // 2, what
            assert (await ask(target, START + b"\r\n")).startswith(b"HTTP/1.1 200"), what
    assert (await target.limits_reached())["idle_per_address"] >= 3 * 850


@pytest.mark.usefixtures("many_files")
async def test_idle_connections_from_many_addresses_lock_nobody_out(target: Relay) -> None:
    addresses = [f"127.0.1.{number}" for number in range(1, 12)]
    async with idle_connections(target, 1100, b"", addresses):
        await target.serves_others()
        assert target.process.num_fds() < OPEN_FILES
        assert (await target.limits_reached())["total"] > 400


@pytest.mark.usefixtures("many_files")
async def test_health_checks_have_a_reserve(database_url: str) -> None:
    """Every connection is busy with a body that never ends. Health checks are answered, other requests with 503."""
    start = b"POST /v1/events/customers HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer " + OPERATOR_KEY.encode()
    start += b"\r\nContent-Length: 1000\r\n\r\n{"
    async with relay(database_url, CONNECTIONS__TOTAL="64") as target, idle_connections(target, 100, start):
        for path, status in ((b"/healthz", b"200"), (b"/readyz", b"200"), (b"/metrics", b"503"), (b"/docs", b"503")):
            answer = await ask(target, START.replace(b"/healthz", path) + b"\r\n", "127.0.0.1")
            assert answer.startswith(b"HTTP/1.1 " + status), answer
            assert status == b"200" or b"urn:platform-relay:problem:too-many-connections" in answer
        await eventually(lambda: b'"limit":"total"' in target.log.read_bytes())


async def test_trusted_proxies_have_no_limit_per_address(database_url: str) -> None:
    settings = {"CONNECTIONS__PER_ADDRESS": "4", "CONNECTIONS__IDLE_PER_ADDRESS": "4"}
    for proxies, expected in (("[]", 16), ('["127.0.0.64/26"]', 0)):
        async with (
            relay(database_url, TRUSTED_PROXIES=proxies, **settings) as target,
            idle_connections(target, 20, b""),
        ):
            reached = await target.limits_reached()
            assert reached.get("per_address", 0) == expected, proxies


async def test_slow_senders_are_disconnected(database_url: str) -> None:
    """Slowloris: 5 x 30 connections that send as little as they can."""
    attacks = (
        ("silent", b"", b"", b""),
        ("empty lines", b"\r\n", b"\r\n", b""),
        ("silent in the headers", START, b"", b"HTTP/1.1 408"),
        ("one byte at a time", START, b"X", b"HTTP/1.1 408"),
        ("silent in the body", CHUNKED + b"5\r\n", b"", b"HTTP/1.1 408"),
    )

    async def attack(target: Relay, name: str, start: bytes, repeated: bytes, status: bytes) -> None:
        async with idle_connections(target, 30, start) as clients:
            trickle = asyncio.create_task(send_slowly(clients, repeated))
            answers = await asyncio.wait_for(asyncio.gather(*map(read_to_end, clients)), 20)
            trickle.cancel()
            assert {answer[:12] for answer in answers} == {status}, name

    async with relay(database_url, **SLOW) as target:
        await asyncio.gather(*(attack(target, *each) for each in attacks), target.serves_others())
        assert await target.limits_reached() == {
            "first_byte_timeout": 60,
            "headers_timeout": 30,
            "request_timeout": 60,
        }


async def test_a_body_that_nobody_waits_for_does_not_keep_a_connection(database_url: str) -> None:
    """The request was refused, so the client that asked whether to send its body never sends it."""
    async with relay(database_url, **SLOW) as target:
        start = b"POST /v1/events/orders HTTP/1.1\r\nHost: relay\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        assert (await ask(target, start)).startswith(b"HTTP/1.1 401")


async def test_a_reader_that_stops_is_disconnected(database_url: str) -> None:
    """The client asks for large pages again and again, and reads nothing."""
    async with relay(database_url, **SLOW) as target:
        client = await target.connect()
        page = b"GET /openapi.json HTTP/1.1\r\nHost: relay\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(client, page * 16)

        async def disconnected() -> bool:
            return "response_timeout" in await target.limits_reached()

        await eventually(disconnected, 20)
        client.close()


async def ask(target: Relay, request: bytes, *address: str) -> bytes:
    """Everything that the server sends on a new connection."""
    client = await target.connect(*address)
    await asyncio.get_running_loop().sock_sendall(client, request)
    return await asyncio.wait_for(read_to_end(client), 10)


async def send_slowly(clients: list[socket.socket], repeated: bytes) -> None:
    while repeated:
        for client in clients:
            if client.fileno() >= 0:
                try:
                    await asyncio.get_running_loop().sock_sendall(client, repeated)
                except OSError:
                    continue
        await asyncio.sleep(0.3)  # time: the attack itself, slower than the limit between two bytes would allow


@asynccontextmanager
async def idle_connections(
    target: Relay, number: int, start: bytes, addresses: list[str] | None = None
) -> AsyncIterator[list[socket.socket]]:
    """Connections that send `start` and then nothing, from one address or several in turn."""
    clients = []
    try:
        for index in range(number):
            client = await (target.connect(addresses[index % len(addresses)]) if addresses else target.connect())
            clients.append(client)
            try:
                await asyncio.get_running_loop().sock_sendall(client, start)
            except ConnectionError:
                continue
        yield clients
    finally:
        for client in clients:
            client.close()
