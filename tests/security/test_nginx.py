"""The example for nginx: its limits hold, and no log contains the secret of the webhook endpoint."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from platform_relay import wiring
from tests.api.served import WEBHOOK_SECRET
from tests.helpers import eventually_sync, free_port
from tests.nginx import Proxy, needs_nginx, running
from tests.security.attacked import read_to_end, tcp_connection

EXAMPLE: Final = Path(__file__).parents[2] / "deploy" / "nginx" / "relay.conf"
pytestmark = needs_nginx


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[Proxy]:
    """The example, without TLS, with its files in `folder` and shorter times."""
    port = free_port()
    text = EXAMPLE.read_text()
    for old, new in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{upstream};"),
        ("    ssl_certificate /etc/ssl/relay.example.pem;\n", ""),
        ("    ssl_certificate_key /etc/ssl/private/relay.example.key;\n", ""),
        ("/var/log/nginx/", f"{folder}/"),
        ("client_header_timeout 10s;", "client_header_timeout 1s;"),
        ("client_body_timeout 10s;", "client_body_timeout 1s;"),
    ):
        assert old in text
        text = text.replace(old, new)
    with running(folder, port, text) as proxy:
        yield proxy


async def test_the_example_limits_and_logs_no_secret(tmp_path: Path, web: tuple[wiring.Services, str]) -> None:
    relay_port = int(web[1].rpartition(":")[2])
    with nginx(tmp_path, relay_port) as proxy:
        webhook = f"/v1/webhooks/platform/{WEBHOOK_SECRET}"
        async with httpx.AsyncClient(base_url=proxy.url, trust_env=False) as client:
            body = {"event": "customer/updated", "data": {"customer": {"id": "1"}}}
            for path in (webhook, webhook.replace("/v1/", "//v1//"), webhook.replace("platform", "%70latform")):
                await client.post(proxy.url + path, json=body)
            assert (await client.post(webhook, json=body)).status_code in (200, 202)
            assert (await client.get("/healthz")).status_code == 200
            large = await client.post(webhook, json=body, headers={"x-large": "v" * 9000})
            assert large.status_code == 431
            many = await client.post(webhook, json=body, headers={f"x-{number}": "v" * 6000 for number in range(6)})
            assert many.status_code == 431
            assert (await client.post(webhook, content=b"x" * (17 << 20))).status_code == 413
        start = f"POST {webhook} HTTP/1.1\r\nHost: relay\r\nContent-Length: 9\r\n".encode()
        for slow in (b"", start, start + b"\r\n{"):
            slow_client = await tcp_connection(proxy.port)
            await asyncio.get_running_loop().sock_sendall(slow_client, slow)
            answer = await asyncio.wait_for(read_to_end(slow_client), 10)
            assert not answer or answer.startswith(b"HTTP/1.1 408"), answer
        await _many_connections(proxy)
        eventually_sync(lambda: '"POST /v1/webhooks/-" 431' in proxy.logs())
    assert '"GET /healthz" 200' in proxy.logs()
    assert WEBHOOK_SECRET not in proxy.logs()


async def test_the_example_logs_no_secret_while_the_relay_is_away(tmp_path: Path) -> None:
    with nginx(tmp_path, free_port()) as proxy:
        async with httpx.AsyncClient(base_url=proxy.url, trust_env=False) as client:
            assert (await client.post(f"/v1/webhooks/platform/{WEBHOOK_SECRET}")).status_code == 502
        eventually_sync(lambda: '"POST /v1/webhooks/-" 502' in proxy.logs())
    assert WEBHOOK_SECRET not in proxy.logs()


async def _many_connections(proxy: Proxy) -> None:
    """60 connections that each have begun the body of a request: 10 too many of one address."""
    start = b"POST /v1/events/customers HTTP/1.1\r\nHost: relay\r\nContent-Length: 9\r\n\r\n{"
    clients = [await tcp_connection(proxy.port) for _ in range(60)]
    for client in clients:
        await asyncio.get_running_loop().sock_sendall(client, start)
    answers = await asyncio.wait_for(asyncio.gather(*map(read_to_end, clients)), 20)
    assert sum(answer.startswith(b"HTTP/1.1 429") for answer in answers) >= 10
