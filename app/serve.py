"""Running the processes: the web server, the worker, both in one, and several of both side by side.

Exit codes: 0 stopped as asked, 1 a part died, 2 misconfigured.
"""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Final

import structlog
import uvicorn
from prometheus_client import CollectorRegistry, start_http_server

from platform_relay import wiring
from platform_relay.core import tracing
from platform_relay.main import create_app
from platform_relay.settings import Settings
from platform_relay.worker import Worker

log: Final = structlog.get_logger(__name__)

MISCONFIGURED: Final = 2
BEAT_SECONDS: Final = 5.0
GC_YOUNG: Final = 10_000
"""Objects between two looks of the garbage collector at the youngest; Python's own default is 700."""
GRACE_SECONDS: Final = 5
"""How long open requests may take to end at shutdown."""


async def run(settings: Settings, database_url: str, *, web: bool, worker: bool, bound: socket.socket | None) -> None:
    """One process. Returns at SIGTERM or SIGINT; raises when a part of it dies."""
    name = "serve" if web and worker else "web" if web else "worker"
    async with AsyncExitStack() as stack:
        tracing.start(str(settings.otlp_endpoint) if settings.otlp_endpoint else None, name)
        stack.callback(tracing.stop)
        parts = await stack.enter_async_context(wiring.services(settings, database_url, name))
        tasks: list[asyncio.Task[None]] = []
        background: Worker | None = None
        if worker:
            background = Worker(parts, await stack.enter_async_context(wiring.destinations(parts)))
            if settings.metrics_port is not None and not web:
                stack.enter_context(_metrics(settings.host, settings.metrics_port, parts.metrics.registry))
            parts.worker_alive = background.alive
            tasks.append(asyncio.create_task(background.run()))
            if settings.heartbeat is not None:
                beating = asyncio.create_task(_beat(settings.heartbeat, parts.worker_alive))
                stack.callback(beating.cancel)
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
                    proxy_headers=False,  # whom to believe is TRUSTED_PROXIES' to say (api/origin.py)
                    timeout_graceful_shutdown=GRACE_SECONDS,
                    lifespan="on",
                )
            )
            tasks.append(asyncio.create_task(server.serve(sockets=[bound] if bound else None)))
        spare_the_collector()
        stopping = asyncio.Event()
        with _signals(stopping):
            stopped = asyncio.create_task(stopping.wait())
            await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if server is not None:
                server.should_exit = True
            if background is not None:
                background.stop()
            await asyncio.gather(*tasks)


def spare_the_collector() -> None:
    """What has been loaded stays: the garbage collector need not walk through it again and again, which took an eighth
    of a busy process's time. It looks less often too: nearly all that a request or a job leaves goes without it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG)


async def run_many(processes: int, bound: socket.socket) -> int:
    """`processes` copies of `relay serve` on one listening socket; one that dies is started again. The exit code."""
    bound.set_inheritable(True)
    stopping = asyncio.Event()

    async def keep_running() -> int:
        while True:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "platform_relay.cli",
                "serve",
                "--fd",
                str(bound.fileno()),
                pass_fds=[bound.fileno()],
            )
            ended = asyncio.create_task(child.wait())
            stopped = asyncio.create_task(stopping.wait())
            await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not ended.done():
                child.terminate()
                return await ended
            if ended.result() in (0, MISCONFIGURED):
                stopping.set()
                return ended.result()
            log.error("process_died", pid=child.pid, exit_code=ended.result())

    with _signals(stopping):
        return max(await asyncio.gather(*(keep_running() for _ in range(processes))))


def listening_socket(settings: Settings) -> socket.socket:
    """Bound to HOST and PORT. Raises ValueError when that cannot be, for example because the port is taken."""
    bound = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        where = f"{settings.host}:{settings.port}"
        raise ValueError(
            f"cannot listen on {where}: {error.strerror}; set HOST and PORT, or end what listens there"
        ) from error
    return bound


@contextmanager
def _metrics(host: str, port: int, registry: CollectorRegistry) -> Iterator[None]:
    """What this process counts, for Prometheus, at every address of the port. Raises ValueError when it is taken."""
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        why = error.strerror or str(error)
        raise ValueError(
            f"cannot serve metrics on {host}:{port}: {why}; set HOST and METRICS_PORT, or end what listens there"
        ) from error
    log.info("metrics_served", host=host, port=server.server_port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def _beat(path: Path, alive: Callable[[], bool]) -> None:
    """Touch `path` every BEAT_SECONDS, for ever, while the worker is alive."""
    while True:
        if alive():
            await asyncio.to_thread(path.touch)
        await asyncio.sleep(BEAT_SECONDS)


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
