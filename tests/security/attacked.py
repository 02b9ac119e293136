"""`relay web` in a process of its own, with few files, and the connections of an attacker."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from tests.helpers import eventually, free_port

WEBHOOK_SECRET: Final = "webhook-secret-for-tests"
OPERATOR_KEY: Final = "operator-key-for-tests-0123"
STORE_KEY: Final = "store-key-for-tests-012345"
OPEN_FILES: Final = 1024
ATTACKER: Final = "127.0.0.66"
"""The attacker's address; the store and the health checks come from 127.0.0.1."""


@dataclass(frozen=True, slots=True)
class Relay:
    port: int
    process: psutil.Process
    log: Path
    webhook_secret: str = WEBHOOK_SECRET

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rss(self) -> int:
        """The resident memory of the process in bytes."""
        return int(self.process.memory_info().rss)

    async def connect(self, address: str = ATTACKER) -> socket.socket:
        return await tcp_connection(self.port, address)

    async def limits_reached(self) -> dict[str, float]:
        """How many connections reached each limit."""
        async with httpx.AsyncClient(base_url=self.url, timeout=20, trust_env=False) as client:
            lines = (await client.get("/metrics")).text.splitlines()
        values = [line.partition(" ") for line in lines if line.startswith("relay_connection_limits_total{")]
        return {name.split('"')[1]: float(value) for name, _, value in values}

    async def serves_others(self) -> None:
        """Health checks and a webhook of the Platform are answered on new connections."""
        async with httpx.AsyncClient(base_url=self.url, timeout=5, trust_env=False) as client:
            for path in ("/healthz", "/readyz"):
                assert (await client.get(path)).status_code == 200
            webhook = {"event": "customer/updated", "data": {"customer": {"id": "1"}}}
            answer = await client.post(f"/v1/webhooks/platform/{self.webhook_secret}", json=webhook)
            assert answer.status_code in (200, 202), answer.text


@asynccontextmanager
async def relay(database_url: str, **settings: str) -> AsyncIterator[Relay]:
    """`relay web` on the database, which may open OPEN_FILES files; ready."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "STORE_KEY": STORE_KEY,
            "OPERATOR_KEY": OPERATOR_KEY,
            "PLATFORM__WEBHOOK_SECRET": WEBHOOK_SECRET,
            **settings,
        }
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                "sh", "-c", f'ulimit -n {OPEN_FILES} && exec "$0" -m platform_relay.cli web', sys.executable,
                env=environment, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            result = Relay(port, psutil.Process(process.pid), log)

            async def ready() -> bool:
                assert process.returncode is None, log.read_text()
                async with httpx.AsyncClient(trust_env=False) as client:
                    try:
                        return (await client.get(f"{result.url}/readyz")).status_code == 200
                    except httpx.TransportError:
                        return False

            await eventually(ready, 60)
            yield result
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def tcp_connection(port: int, address: str = ATTACKER) -> socket.socket:
    """A connection to `port` from an `address` of this machine. Its calls do not block."""
    client = socket.socket()
    client.setblocking(False)
    client.bind((address, 0))
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


async def read_to_end(client: socket.socket) -> bytes:
    """What the server sends until it ends the connection."""
    result = b""
    try:
        while part := await asyncio.get_running_loop().sock_recv(client, 65_536):
            result += part
    except ConnectionError:
        pass
    finally:
        client.close()
    return result
