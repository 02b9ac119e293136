"""HAProxy in front of a primary and its standby, as Patroni's documentation sets it up: it asks each server's own agent over HTTP
whether it is the primary, and sends connections to the one that says yes."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tests.faults.pooler import Missing
from tests.faults.server import GONE, PostgresServer
from tests.helpers import eventually, free_port

YES: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
NO: Final = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class HAProxy:
    """`port` leads to the primary. Connections that are open when it changes stay open."""

    def __init__(self, folder: Path, servers: Sequence[PostgresServer]) -> None:
        self.port = free_port()
        self._folder = folder / "haproxy"
        self._servers = servers

    @asynccontextmanager
    async def running(self) -> AsyncIterator["HAProxy"]:
        program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
        if program is None:
            raise Missing("HAProxy is not installed (Debian: apt install haproxy)")
        agents = [await asyncio.start_server(_Agent(server).answer, "127.0.0.1", 0) for server in self._servers]
        self._folder.mkdir()
        settings = self._folder / "haproxy.cfg"
        lines = [
            "defaults",
            "  mode tcp",
            "  timeout connect 2s",
            "  timeout check 3s",
            "  timeout client 1h",
            "  timeout server 1h",
            "listen primary",
            f"  bind 127.0.0.1:{self.port}",
            "  option httpchk OPTIONS /primary",
            "  http-check expect status 200",
            "  default-server inter 1s fall 2 rise 1",
        ]
        for server, agent in zip(self._servers, agents, strict=True):
            check = agent.sockets[0].getsockname()[1]
            lines.append(f"  server s{server.port} 127.0.0.1:{server.port} check port {check}")
        settings.write_text("\n".join(lines) + "\n")
        with (self._folder / "log").open("ab") as log:
            child = subprocess.Popen(  # noqa: ASYNC220  # it returns at once
                [program, "-db", "-f", str(settings)], stdout=log, stderr=log
            )
        try:
            await eventually(self._leads_to_a_server, 20)
            yield self
        finally:
            child.kill()
            child.wait()
            for agent in agents:
                agent.close()

    async def _leads_to_a_server(self) -> bool:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")  # SSLRequest
                answer = await reader.readexactly(1)
                writer.close()
                return answer in (b"N", b"S")
        return False


class _Agent:
    """What runs beside a server and says whether it is the primary."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):  # it may end in a check
            await reader.readuntil(b"\r\n\r\n")
            writer.write(YES if await self._is_primary() else NO)
            await writer.drain()
        writer.close()

    async def _is_primary(self) -> bool:
        with suppress(*GONE):
            async with asyncio.timeout(1.5):
                connection = await self._server.connect(database="postgres")
                try:
                    return not await connection.fetchval("SELECT pg_is_in_recovery()")
                finally:
                    connection.terminate()
        return False
