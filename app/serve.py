"""Runs a process: web server, worker, or both; or several processes that have both.

Exit codes: 0 stopped by a signal, 1 failure, 2 configuration error.
"""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from platform_relay import wiring
from platform_relay.checks.work_watch import WorkWatch
from platform_relay.core import tracing
from platform_relay.core.background import keep_running
from platform_relay.core.database_start import wait_until_migrated
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.periodic_tasks import web_tasks
from platform_relay.queue.maintenance import run_periodically
from platform_relay.settings import Settings
from platform_relay.wiring import Services
from platform_relay.worker import Worker

log: Final = structlog.get_logger(__name__)

MISCONFIGURED: Final = 2
HEARTBEAT_SECONDS: Final = 5.0
GC_YOUNG: Final = 10_000
"""Allocations between two collections of the youngest generation; the default of Python is 700."""


async def run(settings: Settings, database_url: str, *, web: bool, worker: bool, bound: socket.socket | None) -> None:
    """Run one process until SIGTERM or SIGINT; raises when a part of it fails.

    The web server answers health checks while the process waits for its database (`wait_until_migrated`); the rest starts
    when the database is migrated.
    """
    name = "serve" if web and worker else "web" if web else "worker"
    stopping = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(_signals(stopping))
        tracing.start(str(settings.otlp_endpoint) if settings.otlp_endpoint else None, name)
        stack.callback(tracing.stop)
        parts = await stack.enter_async_context(wiring.services(settings, database_url, name))
        parts.waiting_for = because(ReasonCode.DATABASE_MIGRATING)
        tasks: list[asyncio.Task[None]] = []
        server = None
        if web:
            from platform_relay.web_server import WebServer, server_config  # noqa: PLC0415  # a worker starts without it

            server = WebServer(server_config(settings, parts))
            tasks.append(asyncio.create_task(server.serve(sockets=[bound] if bound else None)))
        if worker and not web and settings.metrics_port is not None:
            stack.enter_context(_metrics_server(settings.host, settings.metrics_port, parts.metrics.registry))
        if worker and settings.heartbeat_file is not None:
            touch = partial(_touch_regularly, settings.heartbeat_file, parts)
            heartbeat = asyncio.create_task(keep_running("heartbeat", touch))
            stack.callback(heartbeat.cancel)
        stopped = asyncio.create_task(stopping.wait())
        stack.callback(stopped.cancel)
        background: Worker | None = None
        freeze_loaded_objects()
        try:
            if await _database_is_ready(parts, [*tasks, stopped]):
                if worker:
                    background = Worker(parts, await stack.enter_async_context(wiring.clients(parts)))
                    parts.worker_alive = background.alive
                    tasks.append(asyncio.create_task(background.run()))
                else:
                    chat = await stack.enter_async_context(wiring.chat_client())
                    for task in web_tasks(parts, chat):
                        periodic = partial(run_periodically, task.name, task.every, task.run_once)
                        regular = asyncio.create_task(keep_running(task.name, periodic))
                        stack.callback(regular.cancel)
                work_watch = WorkWatch(parts.engine, parts.work, parts.worker_alive)
                watch = asyncio.create_task(keep_running("watch_work", work_watch.run))
                stack.callback(watch.cancel)
                await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if server is not None:
                server.should_exit = True
            if background is not None:
                background.stop()
            await asyncio.gather(*tasks)


async def _database_is_ready(parts: Services, others: Sequence[asyncio.Task[object]]) -> bool:
    """Wait until the database is migrated; returns False when one of `others` ended first."""

    def report(reason: Reason) -> None:
        parts.waiting_for = reason

    waiting = asyncio.create_task(wait_until_migrated(parts.engine, report))
    try:
        await asyncio.wait([waiting, *others], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            return False
        await waiting
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await parts.mode.establish()
    parts.waiting_for = None
    return True


def freeze_loaded_objects() -> None:
    """Exclude the loaded objects from garbage collection, and collect less often.

    Loaded modules stay for the life of the process; scanning them took an eighth of a busy process's time. Nearly all
    objects of a request or a job are freed by reference counting.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG)


async def run_many(processes: int, bound: socket.socket) -> int:
    """Run several `relay serve` on one listening socket, and restart those that fail. Returns the exit code."""
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
            log.error("process_failed", pid=child.pid, exit_code=ended.result())

    with _signals(stopping):
        return max(await asyncio.gather(*(keep_running() for _ in range(processes))))


def listening_socket(settings: Settings) -> socket.socket:
    """A socket that is bound to HOST and PORT. Raises ValueError, e.g. when the port is in use."""
    bound = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        address = f"{settings.host}:{settings.port}"
        raise ValueError(
            f"cannot listen on {address}: {error.strerror}; change HOST or PORT, or stop the program that uses the port"
        ) from error
    return bound


@contextmanager
def _metrics_server(host: str, port: int, registry: CollectorRegistry) -> Iterator[None]:
    """Serve the metrics of this process at `host`:`port`, for every path. Raises ValueError when the port is in use."""
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(
            f"cannot serve metrics on {host}:{port}: {reason}; change METRICS_PORT, or stop the program that uses the port"
        ) from error
    log.info("metrics_served", host=host, port=server.server_port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def _touch_regularly(path: Path, parts: Services) -> None:
    """Touch `path` every HEARTBEAT_SECONDS while the worker is alive, or the process waits for its database. Beside it,
    `path` with `.ready` exists while the worker is ready: it has started, and can claim and settle."""
    ready = path.with_name(f"{path.name}.ready")
    while True:
        if parts.worker_alive is None or parts.worker_alive():
            await asyncio.to_thread(path.touch)
        if parts.worker_alive is not None and parts.worker_alive() and not parts.work.failing():
            await asyncio.to_thread(ready.touch)
        else:
            await asyncio.to_thread(ready.unlink, missing_ok=True)
        await asyncio.sleep(HEARTBEAT_SECONDS)


@contextmanager
def _signals(stopping: asyncio.Event) -> Iterator[None]:
    """Set `stopping` at SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
