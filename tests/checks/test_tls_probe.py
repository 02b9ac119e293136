"""The TLS probe calls only what the egress policy allows."""

import asyncio
import socket
from ipaddress import ip_network

import pytest

from platform_relay.checks import tls_probe
from tests.helpers import free_port

HERE = (ip_network("127.0.0.0/8"),)


async def test_an_address_that_the_policy_denies_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of the internet that leads to this machine, as with DNS rebinding."""
    calls: list[object] = []
    port = free_port()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer.get_extra_info("peername"))
        writer.close()

    async def resolve(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    async with server:
        for probe in (tls_probe.uses_tls, tls_probe.offers_http2):
            assert not await probe(f"https://store.example:{port}")
        assert calls == []
        assert not await tls_probe.uses_tls(f"http://store.example:{port}", HERE)
        assert len(calls) == 1
