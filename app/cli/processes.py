"""`relay serve`, `web`, `worker`, `migrate` and `demo`."""

import importlib.util
import os
import socket
import sys
from typing import Annotated

import structlog
import typer

from platform_relay import database_setup
from platform_relay import serve as processes
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.numbers import WHOLE, whole
from platform_relay.cli.terminal import err, out
from platform_relay.core.migrate import head


def serve(
    process_count: Annotated[
        int, typer.Option("--processes", parser=whole(1, 64), metavar=WHOLE, help="Number of processes on one port.")
    ] = 1,
    fd: Annotated[int | None, typer.Option(parser=whole(0), hidden=True, help="An inherited listening socket.")] = None,
) -> None:
    """Run the web server and the worker in one process. Enough for a small store."""
    _run_process(web=True, worker=True, process_count=process_count, fd=fd)


def web() -> None:
    """Run the web server only. Also run `relay worker`, which makes the calls."""
    _run_process(web=True, worker=False)


def worker() -> None:
    """Run a worker only. Any number of workers can run, on any machine."""
    _run_process(web=False, worker=True)


def migrate() -> None:
    """Migrate the database to this release. Safe to run many times, and from many machines at once."""
    settings = read_settings(calls_store=False)

    async def work() -> None:
        async with database_setup.migrated_database(settings):
            pass

    run(work())
    out.print(f"The database is at revision {head()}.")


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Stop after one simulated day and print a line of JSON.")
    ] = False,
) -> None:
    """Run a simulated day: a store, a Platform with an outage, and the whole service. Needs nothing else."""
    installed = importlib.util.find_spec("platform_relay.simulators") is not None
    package = "platform_relay.simulators" if installed else "simulators"  # a checkout has them beside the package
    if importlib.util.find_spec(package) is None:
        raise ValueError("The simulators are not part of this installation. Run `make demo` in a checkout.")
    os.execv(sys.executable, [sys.executable, "-m", f"{package}.demo", *(["--once"] if once else [])])  # noqa: S606


def _run_process(*, web: bool, worker: bool, process_count: int = 1, fd: int | None = None) -> None:
    settings = read_settings()
    bound = socket.socket(fileno=fd) if fd is not None else processes.listening_socket(settings) if web else None
    name = "serve" if web and worker else "web" if web else "worker"

    async def work() -> int:
        async with database_setup.database(settings) as url:
            if settings.database_url is None:
                err.print(f"Embedded PostgreSQL, data in {settings.data_dir.resolve()}")
            if bound is not None and fd is None:
                host, port = bound.getsockname()[:2]
                err.print(f"Listening on http://{host}:{port}   API docs: http://{host}:{port}/docs")
            if bound is not None and process_count > 1:
                return await processes.run_many(process_count, bound)
            await processes.run(settings, url, web=web, worker=worker, bound=bound)
            return 0

    structlog.contextvars.bind_contextvars(process=name, schema=settings.database_schema)
    raise typer.Exit(run(work()))
