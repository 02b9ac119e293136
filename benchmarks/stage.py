"""What every row stands on: Postgres, the simulators, Redis, and the processes that a row starts."""

import asyncio
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import asyncpg

from benchmarks.scale import Scale
from platform_relay.core import migrate
from platform_relay.core.database import create_engine, parse_url
from platform_relay.core.embedded import EmbeddedPostgres
from simulators.process import Simulator, run

ROOT: Final = Path(__file__).parents[1]
STORE_KEY: Final = "store-key-of-the-benchmark"
WEBHOOK_SECRET: Final = "webhook-secret-of-the-benchmark"  # noqa: S105  # of a benchmark
TEMPLATE: Final = "relay_template"
POSTGRES: Final = {"shared_buffers": "512MB", "max_wal_size": "4GB", "max_connections": "300"}
"""Durable (fsync on); the two sizes are what every guide sets first, and count for all contenders."""
PATIENCE: Final = 120.0
"""Seconds for what takes moments on a machine that is not busy otherwise."""


class StageError(RuntimeError):
    """Something that was started here did not do its work; the message says what, with the end of its output."""


class Process:
    """A child with its output in a file; ended with the `with` block."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.pid = self._child.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """SIGTERM, after 15 s SIGKILL."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(15)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def finish(self, within: float) -> None:
        """Wait for its own end. Raises StageError when it fails or takes longer."""
        try:
            code = self._child.wait(within)
        except subprocess.TimeoutExpired:
            raise StageError(f"not done within {within:g} s:\n{self.said()}") from None
        if code:
            raise StageError(f"ended with {code}:\n{self.said()}")

    def ended(self) -> bool:
        return self._child.poll() is not None

    def must_run(self) -> None:
        """Raises StageError when it has ended."""
        if self.ended():
            raise StageError(f"ended with {self._child.poll()}:\n{self.said()}")

    def said(self) -> str:
        """The last lines of its output."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(line[:300] for line in lines[-12:])


@dataclass
class Stage:
    scale: Scale
    folder: Path
    postgres: EmbeddedPostgres
    platform: Simulator
    shop: Simulator
    redis_url: str | None
    series: Iterator[int] = field(default_factory=lambda: iter(range(1, 1 << 28)))
    """Numbers of the series of entities, so that no two measurements share one."""

    def database(self, *, empty: bool = False) -> str:
        """The URL of a new database, with the relay's tables or without any."""
        name = f"bench_{secrets.token_hex(6)}"
        self.sql(self.postgres.url, f"CREATE DATABASE {name} TEMPLATE {'template1' if empty else TEMPLATE}")
        return parse_url(self.postgres.url).set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        self.sql(self.postgres.url, f"DROP DATABASE IF EXISTS {parse_url(url).database} WITH (FORCE)")

    @staticmethod
    def sql(url: str, statement: str, *parameters: object) -> list[asyncpg.Record]:
        """Run one statement, or several without parameters."""

        async def run() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(
                parse_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
            )
            try:
                if parameters or statement.lstrip().upper().startswith("SELECT"):
                    return await connection.fetch(statement, *parameters)
                await connection.execute(statement)
                return []
            finally:
                await connection.close()

        return asyncio.run(run())

    def relay(self, role: str, database_url: str, **settings: str) -> Process:
        """`relay web | worker | serve` as a user would start it."""
        environment = {
            "DATABASE_URL": database_url,
            "STORE_KEY": STORE_KEY,
            "PLATFORM__URL": self.platform.url,
            "PLATFORM__API_KEY": "sim-platform-key",
            "PLATFORM__LAUNCHER_URL": self.platform.url,
            "PLATFORM__SHOP_KEY": "sim-shop",
            "PLATFORM__WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STORE__ADAPTER": "woocommerce",
            "WOOCOMMERCE__URL": self.shop.url,
            "WOOCOMMERCE__CONSUMER_KEY": "ck_simulator_key",
            "WOOCOMMERCE__CONSUMER_SECRET": "cs_simulator_key",
            **settings,
        }
        return self.python(role, ["platform_relay.cli", role], environment)

    def python(self, name: str, module: list[str], environment: Mapping[str, str]) -> Process:
        """`python -m module…`, its output in a file called after `name`."""
        return Process([sys.executable, "-m", *module], environment, self.folder / f"{name}.log")

    @contextmanager
    def web(self, module: list[str], database_url: str, **settings: str) -> Iterator[tuple[str, Process]]:
        """A web process (`["platform_relay.cli", "web"]`, or one of `benchmarks.servers`) that listens; its address."""
        port = free_port()
        settings = {"PORT": str(port), "DATABASE_URL": database_url, "STORE_KEY": STORE_KEY, **settings}
        name = module[-1].rpartition(".")[2]
        process = (
            self.relay(module[1], database_url, **settings)
            if module[0] == "platform_relay.cli"
            else self.python(name, module, settings)
        )
        with process:
            listening(port, process)
            yield f"http://127.0.0.1:{port}", process

    def delay(self, seconds: float) -> None:
        """How long the Platform takes to answer."""
        self.platform.control("latency", seconds=seconds)


@contextmanager
def stage(scale: Scale) -> Iterator[Stage]:
    """Everything started; ended, and its files removed, with the block."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="relay-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # the server of a root user is somebody else, who must get through
        postgres = EmbeddedPostgres.start(folder / "postgres", settings=POSTGRES)
        stack.callback(postgres.stop)
        Stage.sql(postgres.url, f"CREATE DATABASE {TEMPLATE}")
        asyncio.run(_migrate(parse_url(postgres.url).set(database=TEMPLATE).render_as_string(hide_password=False)))
        platform = stack.enter_context(run("platform"))
        shop = stack.enter_context(run("shop"))
        yield Stage(scale, folder, postgres, platform, shop, stack.enter_context(_redis(folder)))


async def _migrate(url: str) -> None:
    engine = create_engine(url, application_name="benchmark", pool_size=1)
    try:
        await migrate.upgrade(engine)
    finally:
        await engine.dispose()


@contextmanager
def _redis(folder: Path) -> Iterator[str | None]:
    """Redis as its manual advises for data that matter: an append-only file, synced every second. None when absent."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with Process([*command, "--appendonly", "yes", "--appendfsync", "everysec"], {}, folder / "redis.log") as process:
        listening(port, process)
        yield f"redis://127.0.0.1:{port}/0"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def listening(port: int, process: Process) -> None:
    """Returns when the process serves requests; the relay answers 503 until it can use its database. Raises StageError when
    it does not or has ended."""

    def serves() -> bool:
        process.must_run()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status != 503
        except (TimeoutError, http.client.HTTPException):
            return True  # a contender that knows only its own path
        except OSError:
            return False
        finally:
            connection.close()

    until(serves, PATIENCE, f"nothing serves requests on port {port}")


def until(condition: Callable[[], bool], within: float, what: str, pause: float = 0.02) -> None:
    """Returns when `condition()` holds. Raises StageError, saying `what`, after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise StageError(f"{what} after {within:g} s")
        time.sleep(pause)
