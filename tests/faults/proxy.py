"""A TCP relay in front of Postgres that cuts connections at the worst moment and can be led to another server."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER with 0 s: close sends RST


@dataclass
class Proxy:
    """`target` is the server's port. While `risk` > 0, that share of the client's messages costs its connection: half
    of them before the server has it, half of them after the server has done it and before the client hears of it."""

    target: int
    rng: random.Random
    port: int = 0
    risk: float = 0.0
    cut_before: int = 0
    cut_after: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set["asyncio.Task[object]"] = field(default_factory=set)

    def lead_to(self, port: int) -> None:
        """New connections go there; the old ones are reset, as when an address moves."""
        self.target = port
        for writer in list(self._open):
            _reset(writer)

    def lead_new_ones_to(self, port: int) -> None:
        """New connections go there; the old ones stay, as when only the address of a name changes."""
        self.target = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (ours := asyncio.current_task()) is not None:
            self._tasks.add(ours)
            ours.add_done_callback(self._tasks.discard)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)
            return
        self._open |= {writer, server_writer}
        mute = asyncio.Event()
        both = [
            asyncio.create_task(self._requests(reader, server_writer, mute)),
            asyncio.create_task(self._answers(server_reader, writer, mute)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self._open -= {writer, server_writer}
            _reset(writer)
            server_writer.close()

    async def _requests(self, client: asyncio.StreamReader, server: asyncio.StreamWriter, mute: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await client.read(1 << 16):
                if self.risk and self.rng.random() < self.risk:
                    if self.rng.random() < 0.5:
                        self.cut_before += 1
                        return
                    self.cut_after += 1
                    mute.set()
                server.write(data)
                await server.drain()

    async def _answers(self, server: asyncio.StreamReader, client: asyncio.StreamWriter, mute: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await server.read(1 << 16):
                if mute.is_set():
                    return
                client.write(data)
                await client.drain()

    async def aclose(self) -> None:
        """Reset all connections; what serves them ends by that."""
        for writer in list(self._open):
            _reset(writer)
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxy(target: int, rng: random.Random) -> AsyncIterator[Proxy]:
    """A proxy in front of 127.0.0.1:target, for the length of the block."""
    relay = Proxy(target, rng)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        await relay.aclose()


def _reset(writer: asyncio.StreamWriter) -> None:
    plug = writer.get_extra_info("socket")
    with suppress(OSError):
        if plug is not None:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
