"""The whole service as processes: web, worker and Postgres, with both far sides simulated. Any of them may be killed."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from app.embedded import EmbeddedPostgres
from simulators.process import Simulator, start
from tests.helpers import eventually, free_port

STORE_KEY = "store-key-of-the-rig"
OPERATOR_KEY = "operator-key-of-the-rig"
DOOR = "door-secret-of-the-rig"


@dataclass
class Process:
    """`relay <role>` as a child; its output goes to `log`."""

    role: str
    environment: Mapping[str, str]
    log: Path
    child: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "app.cli", self.role],
                env={**os.environ, **self.environment},
                cwd=Path(__file__).parents[2],
                stdout=output,
                stderr=output,
            )

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    def stop(self, within: float = 15.0) -> int:
        """SIGTERM; the exit code."""
        assert self.child is not None
        self.child.terminate()
        return self.child.wait(within)


@dataclass
class Rig:
    folder: Path
    postgres: EmbeddedPostgres
    platform: Simulator
    shop: Simulator
    port: int
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        environment = {
            "DATABASE_URL": self.postgres.url,
            "PORT": str(self.port),
            "STORE_KEY": STORE_KEY,
            "OPERATOR_KEY": OPERATOR_KEY,
            "PLATFORM__URL": self.platform.url,
            "PLATFORM__API_KEY": "sim-platform-key",
            "PLATFORM__LAUNCHER_URL": self.platform.url,
            "PLATFORM__SHOP_KEY": "sim-shop",
            "PLATFORM__DOOR_SECRET": DOOR,
            "STORE__ADAPTER": "woocommerce",
            "WOOCOMMERCE__URL": self.shop.url,
            "WOOCOMMERCE__CONSUMER_KEY": "ck_simulator_key",
            "WOOCOMMERCE__CONSUMER_SECRET": "cs_simulator_key",
            "RETRY__FIRST": "0.2",
            "RETRY__LONGEST": "2",
            **self.settings,
        }
        self.web = Process("web", environment, self.folder / "web.log")
        self.worker = Process("worker", environment, self.folder / "worker.log")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def door(self) -> str:
        return f"{self.url}/v1/webhooks/platform/{DOOR}"

    async def ready(self, within: float = 40.0) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:

            async def answers() -> bool:
                with suppress(httpx.HTTPError):
                    return (await client.get(f"{self.url}/readyz", timeout=2)).status_code == 200
                return False

            await eventually(answers, within)

    def kill_something(self, dice: random.Random) -> str:
        """SIGKILL web, worker or Postgres; what is not Postgres is started again at once (a keeper does that for it)."""
        victim = dice.choice(("web", "worker", "postgres"))
        if victim == "postgres":
            if (pid := self.postgres.pid) is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        else:
            process = self.web if victim == "web" else self.worker
            process.kill()
            process.start()
        return victim


@asynccontextmanager
async def rig(folder: Path, **settings: str) -> AsyncIterator[Rig]:
    """A running stack in `folder`; every process is ended with the block."""
    os.chmod(folder, 0o711)  # noqa: S103  # the server of a root user is somebody else, who must get through
    postgres = EmbeddedPostgres.start(folder / "postgres", settings={"fsync": "off", "max_connections": "60"})
    platform: Simulator | None = None
    shop: Simulator | None = None
    stack: Rig | None = None
    try:
        platform, shop = start("platform"), start("shop")
        stack = Rig(folder, postgres, platform, shop, free_port(), settings)
        platform.config(webhook_url=stack.door)
        stack.web.start()
        await stack.ready()
        stack.worker.start()
        yield stack
    finally:
        for process in (stack.web, stack.worker) if stack is not None else ():
            if process.child is not None and process.child.poll() is None:
                process.kill()
        for simulator in (platform, shop):
            if simulator is not None:
                simulator.stop()
        postgres.stop()
