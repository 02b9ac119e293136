"""The whole service as processes: web, worker and Postgres, with both destinations simulated. Any of them may be killed."""

import json
import os
import random
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from simulators.process import Simulator, start
from tests.faults.pooler import Pooler
from tests.faults.proxy import Proxy
from tests.faults.server import PostgresServer
from tests.helpers import eventually, free_port

STORE_KEY: Final = "store-key-of-the-fault-rig"
OPERATOR_KEY: Final = "operator-key-of-the-fault-rig"
WEBHOOK_SECRET: Final = "webhook-secret-of-the-rig"
PLATFORM_KEY: Final = "sim-platform-key"
STARTS_WITHIN: Final = 120.0
"""Seconds until a process must be up. No promise: on a machine that is busy Python's imports alone take long."""
LEASE: Final = 12.0
"""Seconds; the service's own."""


ROOT: Final = Path(__file__).parents[2]


@dataclass
class Process:
    """`relay <role>` as a child; its output goes to `log`. `code` is the folder of the release that it runs."""

    role: str
    environment: Mapping[str, str]
    log: Path
    code: Path = ROOT
    child: "subprocess.Popen[bytes] | None" = None
    options: tuple[str, ...] = ()

    def start(self, more: Mapping[str, str] | None = None, module: str | None = None) -> None:
        """The program `relay` of that release, or `module`, which runs it in its own way."""
        if self.running:
            self.kill()
        program = ["-m", module] if module else ["-c", self._entry()]
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(
                [
                    sys.executable,
                    *program,
                    self.role,
                    *self.options,
                ],  # both put the working directory first on the path
                env={**os.environ, **self.environment, **(more or {})},
                cwd=self.code,
                stdout=output,
                stderr=output,
            )

    def _entry(self) -> str:
        project = tomllib.loads((self.code / "pyproject.toml").read_text())["project"]
        module, _, function = project["scripts"]["relay"].partition(":")
        return f"import sys; sys.argv[0] = 'relay'; from {module} import {function}; {function}()"

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self.child is not None
        self.child.send_signal(number)

    def stop(self, within: float = 15.0) -> int:
        """SIGTERM; the exit code."""
        assert self.child is not None
        self.child.terminate()
        return self.child.wait(within)

    async def up(self, since: int, within: float = STARTS_WITHIN) -> None:
        """Wait for the worker's own word that it runs, written to the log behind `since` bytes."""

        def said() -> bool:
            with self.log.open("rb") as log:
                log.seek(since)
                return b"worker_started" in log.read()

        await eventually(said, within)

    def records(self) -> list[dict[str, Any]]:
        """What it logged, line by line, without what is not JSON."""
        found: list[dict[str, Any]] = []
        for line in self.log.read_text(errors="replace").splitlines() if self.log.exists() else ():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found


@dataclass
class Rig:
    folder: Path
    server: PostgresServer
    platform: Simulator
    shop: Simulator
    database_url: str
    proxy: Proxy | None = None
    pooler: Pooler | None = None
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    more: list[Process] = field(default_factory=list)
    code: Path = ROOT
    """Of the release that it begins with."""
    urls: list[str] = field(default_factory=list)
    """Where the load goes: to each at times."""

    def __post_init__(self) -> None:
        self.environment = {
            "DATA_DIR": str(self.folder / "data"),
            "DATABASE_URL": self.database_url,
            "PORT": str(self.port),
            "STORE_KEY": STORE_KEY,
            "OPERATOR_KEY": OPERATOR_KEY,
            "PLATFORM__URL": self.platform.url,
            "PLATFORM__API_KEY": PLATFORM_KEY,
            "PLATFORM__LAUNCHER_URL": self.platform.url,
            "PLATFORM__SHOP_KEY": "sim-shop",
            "PLATFORM__WEBHOOK_SECRET": WEBHOOK_SECRET,
            "PLATFORM__TIMEOUT": "3",
            "STORE__ADAPTER": "woocommerce",
            "STORE__TIMEOUT": "3",
            "WOOCOMMERCE__URL": self.shop.url,
            "WOOCOMMERCE__CONSUMER_KEY": "ck_simulator_key",
            "WOOCOMMERCE__CONSUMER_SECRET": "cs_simulator_key",
            "RETRY__INITIAL_DELAY": "0.2",
            "RETRY__MAX_DELAY": "2",
            **self.settings,
        }
        self.web = Process("web", self.environment, self.folder / "web.log", self.code)
        self.worker = Process("worker", self.environment, self.folder / "worker.log", self.code)
        self.urls = [self.url]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def webhook_url(self) -> str:
        return f"{self.url}/v1/webhooks/platform/{WEBHOOK_SECRET}"

    async def ready(self, within: float = STARTS_WITHIN) -> None:
        """Wait until the web process can do its work."""
        async with httpx.AsyncClient(trust_env=False) as client:
            await eventually(lambda: self._answers(client), within)

    def moved_to(self, web: Process, worker: Process) -> None:
        """These are the service from now on; the load goes there alone."""
        self.web, self.worker = web, worker
        self.port = int(web.environment["PORT"])
        self.urls = [self.url]

    async def ready_or_dead(self, within: float = STARTS_WITHIN) -> None:
        """As `ready`, and content with a web process that ended on the way there."""
        async with httpx.AsyncClient(trust_env=False) as client:

            async def either() -> bool:
                return not self.web.running or await self._answers(client)

            await eventually(either, within)

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        with suppress(httpx.HTTPError):
            return (await client.get(f"{self.url}/readyz", timeout=2)).status_code == 200
        return False

    async def kill_something(self, rng: random.Random) -> str:
        """SIGKILL web, worker or a process of Postgres, and start it again at once; which it was."""
        victim = rng.choice(("web", "worker", "postgres"))
        if victim == "postgres":
            await self.server.restart(signal.SIGKILL)
        else:
            process = self.web if victim == "web" else self.worker
            process.kill()
            process.start()
        return victim

    def another(self, role: str, name: str, **settings: str) -> Process:
        """One more process of the service, not started; it is ended with the rig."""
        port = {"PORT": str(free_port())}
        process = Process(role, {**self.environment, **port, **settings}, self.folder / f"{name}.log")
        self.more.append(process)
        return process

    def revived(self) -> list[str]:
        """Start again the processes that ended without being stopped. Returns a text for each."""
        result = []
        for process in (self.web, self.worker):
            if process.child is not None and (code := process.child.poll()) is not None:
                errors = [line for line in process.log.read_text(errors="replace").splitlines() if "Error" in line]
                result.append(f"{process.role} ended with code {code}: {errors[-1][:300] if errors else 'no word'}")
                process.start()
        return result

    def end(self) -> None:
        """Kill every process of the service."""
        for process in (self.web, self.worker, *self.more):
            if process.running:
                process.signal(signal.SIGCONT)
                process.kill()


@asynccontextmanager
async def rig(
    folder: Path,
    server: PostgresServer,
    *,
    database_url: str | None = None,
    proxy: Proxy | None = None,
    code: Path = ROOT,
    **settings: str,
) -> AsyncIterator[Rig]:
    """The service running on `server`, its files in `folder`; every process is ended with the block."""
    platform: Simulator | None = None
    shop: Simulator | None = None
    stack: Rig | None = None
    try:
        # The harshest Platform: what is posted twice exists twice.
        platform, shop = _far_sides()
        url = server.url() if database_url is None else database_url
        stack = Rig(folder, server, platform, shop, url, proxy, settings=settings, code=code)
        stack.web.start()
        await stack.ready()
        stack.worker.start()
        await stack.worker.up(0)
        yield stack
    finally:
        if stack is not None:
            stack.end()
        for simulator in (platform, shop):
            if simulator is not None:
                simulator.stop()


def _far_sides() -> tuple[Simulator, Simulator]:
    return (
        start("platform", "--set", "second_order_post=duplicate", patience=STARTS_WITHIN),
        start("shop", patience=STARTS_WITHIN),
    )


@asynccontextmanager
async def server(folder: Path, **settings: str) -> AsyncIterator[PostgresServer]:
    """A new Postgres server in `folder/postgres`."""
    postgres = PostgresServer(folder / "postgres", settings)
    try:
        await postgres.create()
        yield postgres
    finally:
        postgres.end()
