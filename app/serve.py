"""Running the processes: the web server, the worker, both in one, and several of both side by side.

Exit codes: 0 stopped as asked, 1 a part died, 2 misconfigured.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Final

import structlog
import uvicorn

from app import wiring
from app.main import create_app
from app.settings import Settings
from app.worker import Worker

log: Final = structlog.get_logger(__name__)

GRACE_SECONDS: Final = 5
"""How long open requests may take to end at shutdown."""


async def run(settings: Settings, database_url: str, *, web: bool, worker: bool, bound: socket.socket | None) -> None:
    """One process. Returns at SIGTERM or SIGINT; raises when a part of it dies."""
    name = "serve" if web and worker else "web" if web else "worker"
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(wiring.services(settings, database_url, name))
        tasks: list[asyncio.Task[None]] = []
        engine_room = None
        if worker:
            far = await stack.enter_async_context(wiring.far_sides(parts))
            engine_room = Worker(parts, far, database_url)
            tasks.append(asyncio.create_task(engine_room.run()))
        server = None
        if web:
            server = _Server(
                uvicorn.Config(
                    create_app(parts),
                    host=settings.host,
                    port=settings.port,
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    timeout_graceful_shutdown=GRACE_SECONDS,
                    lifespan="on",
                )
            )
            tasks.append(asyncio.create_task(server.serve(sockets=[bound] if bound else None)))
        stopping = asyncio.Event()
        with _signals(stopping):
            stopped = asyncio.create_task(stopping.wait())
            await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if server is not None:
                server.should_exit = True
            if engine_room is not None:
                engine_room.stop()
            await asyncio.gather(*tasks)


def run_many(processes: int, bound: socket.socket) -> int:
    """`processes` copies of `relay serve` on one listening socket; one that dies is started again. The exit code."""
    bound.set_inheritable(True)
    command = [sys.executable, "-m", "app.cli", "serve", "--fd", str(bound.fileno())]
    stopping = False

    def start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(command, pass_fds=[bound.fileno()])  # our own program

    children = [start() for _ in range(processes)]

    def stop(number: int, _: object) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            child.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not stopping:
        pid, _ = os.wait()
        for number, child in enumerate(children):
            if child.pid == pid and not stopping:
                if child.poll() == 2:  # misconfigured: starting again cannot help
                    stop(signal.SIGTERM, None)
                    return 2
                log.error("process_died", pid=pid)
                children[number] = start()
    return max(abs(child.wait()) for child in children)


def listening_socket(settings: Settings) -> socket.socket:
    """Bound to HOST and PORT. Raises OSError when the port is taken."""
    bound = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((settings.host, settings.port))
    return bound


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: one place decides what ends."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def _signals(stopping: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
