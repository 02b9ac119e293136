"""The egress policy checks the address of the connection, not only the name."""

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from platform_relay.core.egress import AddressDeniedError, AddressInfo, EgressPolicy
from platform_relay.core.http import HttpClient, HttpClients, HttpResponse
from platform_relay.core.outcomes import Blocked
from platform_relay.core.reasons import ReasonCode
from tests.helpers import free_port

PRIVATE = (
    "127.0.0.1", "10.1.2.3", "172.17.0.2", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "ff02::1", "::",
    "0.0.0.1",
)  # fmt: skip


def resolved(host: str) -> AddressInfo:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, 443)


@pytest.mark.parametrize("host", PRIVATE)
def test_a_name_must_not_resolve_to_a_private_address(host: str) -> None:
    with pytest.raises(AddressDeniedError, match="private network"):
        EgressPolicy(["https://shop.example"]).open_socket(resolved(host))


@pytest.mark.parametrize("host", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_public_addresses_may_be_called(host: str) -> None:
    EgressPolicy(["https://shop.example"]).open_socket(resolved(host)).close()


def test_private_networks_are_allowed_one_by_one() -> None:
    policy = EgressPolicy(["https://shop.example"], [ip_network("172.16.0.0/12")])
    policy.open_socket(resolved("172.17.0.2")).close()
    with pytest.raises(AddressDeniedError):
        policy.open_socket(resolved("10.0.0.1"))


def test_an_address_in_the_settings_is_allowed_and_no_other() -> None:
    policy = EgressPolicy(["http://127.0.0.1:9000"])
    policy.open_socket(resolved("127.0.0.1")).close()
    with pytest.raises(AddressDeniedError):
        policy.open_socket(resolved("127.0.0.2"))
    EgressPolicy(["http://localhost:9000"]).open_socket(resolved("127.0.0.1")).close()


def name_server(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Every name has these addresses from now on. Returns the names that are looked up."""
    names: list[str] = []

    def resolve(host: str, port: int, *_: object, **__: object) -> list[AddressInfo]:
        names.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names


@pytest.fixture
async def inside() -> AsyncIterator[tuple[int, list[bytes]]]:
    """An internal service on this machine: its port, and the requests it received."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(65536))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], received
    server.close()
    await server.wait_closed()


async def call(client: HttpClient, url: str) -> object:
    answer = await client.call("GET", url)
    await client.aclose()
    return answer


async def test_nothing_reaches_a_private_address_behind_a_public_name(
    inside: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name_server(monkeypatch, "127.0.0.1")
    port, received = inside
    base = f"http://shop.example:{port}"
    refused = await call(HttpClients(5.0).make(base), f"{base}/v1")
    assert isinstance(refused, Blocked), refused
    assert refused.reason.code is ReasonCode.EGRESS_DENIED
    assert (refused.reason.facts["host"], "127.0.0.1" in str(refused.reason.facts["error"])) == ("shop.example", True)
    assert received == []
    allowed = HttpClients(5.0, private_networks=[ip_network("127.0.0.0/8")]).make(base)
    assert isinstance(await call(allowed, f"{base}/v1"), HttpResponse)


async def test_only_configured_hosts_are_called(inside: tuple[int, list[bytes]]) -> None:
    port, received = inside
    client = HttpClients(5.0).make(f"http://127.0.0.1:{port}/base")
    for url in (f"http://localhost:{port}/", f"http://127.0.0.1:{port + 1}/", f"https://127.0.0.1:{port}/"):
        refused = await client.call("GET", url)
        assert isinstance(refused, Blocked), refused
        assert refused.reason.code is ReasonCode.EGRESS_DENIED
    assert received == []
    assert isinstance(await client.call("GET", f"http://127.0.0.1:{port}/elsewhere"), HttpResponse)
    await client.aclose()


async def test_a_private_address_among_several_is_still_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both errors are combined into one, whose text and number are those of neither. Nothing listens at the first address."""
    port = free_port()
    name_server(monkeypatch, "127.0.0.1", "10.9.8.7")
    client = HttpClients(5.0, private_networks=[ip_network("127.0.0.0/8")]).make(f"http://shop.example:{port}")
    refused = await call(client, f"http://shop.example:{port}/v1")
    assert isinstance(refused, Blocked), refused
    assert "10.9.8.7" in str(refused.reason.facts["error"])


async def test_a_name_that_is_bound_to_another_address_later_reaches_nothing_inside(
    inside: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name was looked up and called before. The addresses of a name are kept for a while, and checked again
    for every connection."""
    port, received = inside
    base = f"http://shop.example:{port}"
    client = HttpClients(5.0, private_networks=[ip_network("127.0.0.1/32")]).make(base)
    names = name_server(monkeypatch, "127.0.0.1")
    assert isinstance(await client.call("GET", f"{base}/v1"), HttpResponse)
    assert isinstance(await client.call("GET", f"{base}/v1"), HttpResponse)
    assert names == ["shop.example"]
    monkeypatch.setattr("platform_relay.core.http_pool.RESOLVED_FOR", 0.0)
    client = HttpClients(5.0, private_networks=[ip_network("127.0.0.1/32")]).make(base)
    assert isinstance(await client.call("GET", f"{base}/v1"), HttpResponse)
    name_server(monkeypatch, "127.0.0.2")
    refused = await client.call("GET", f"{base}/v1")
    await client.aclose()
    assert isinstance(refused, Blocked), refused
    assert refused.reason.code is ReasonCode.EGRESS_DENIED
    assert len(received) == 3


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"])
async def test_another_spelling_of_a_private_address_reaches_nothing(
    inside: tuple[int, list[bytes]], host: str
) -> None:
    """The operating system reads these as 127.0.0.1. What counts is the address of the connection."""
    port, received = inside
    url = f"http://{host}:{port}/"
    client = HttpClients(5.0).make("http://shop.example")
    client._egress.allows = lambda _: True  # type: ignore[method-assign,union-attr]  # noqa: SLF001
    answer = await client.call("GET", url)
    await client.aclose()
    assert isinstance(answer, Blocked), answer
    assert answer.reason.code is ReasonCode.EGRESS_DENIED
    assert received == []
