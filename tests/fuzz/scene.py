"""The service under fire: a real `relay serve` with its worker, both simulators, and a Postgres of its own."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final  # Any: OpenAPI documents are free-form JSON
from urllib.parse import urlsplit

import asyncpg
import httpx

from platform_relay.core.embedded import EmbeddedPostgres
from simulators.process import run
from simulators.scene import relay_process
from tests.fuzz.cases import Target
from tests.helpers import eventually, free_port

SETTINGS: Final = {
    "STORE_KEY": "store-key-under-fire-0123",
    "OPERATOR_KEY": "operator-key-under-fire-0123",
    "PLATFORM__WEBHOOK_SECRET": "webhook-secret-under-fire",
    "STORE__ADAPTER": "woocommerce",
    "BODY_LIMIT": str(4 << 20),  # so that a million elements are read, and not refused for their size
    "RETRY__INITIAL_DELAY": "0.2",
    "LOG_LEVEL": "WARNING",
}
SCRATCH: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
DRAIN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Scene:
    target: Target
    url: str
    document: dict[str, Any]
    database_url: str
    log: Path
    pid: int
    """Of the service."""

    async def findings(self) -> list[str]:
        """What the service itself says of its faults, once the worker is through: jobs whose handler crashed, requests
        that ended in an incident, tasks that died."""
        connection = await asyncpg.connect(self.database_url)
        key = {"authorization": f"Bearer {self.target.operator_key}"}
        try:
            async with httpx.AsyncClient(base_url=self.url, timeout=20, trust_env=False, headers=key) as client:
                for destination in ("platform", "store"):  # some request may have paused it
                    (await client.post(f"/v1/destinations/{destination}/resume")).raise_for_status()
            waiting = (
                "SELECT NOT EXISTS (SELECT FROM lane WHERE open_jobs > 0 AND waits_for IS NULL AND run_at < now())"
            )
            try:
                await eventually(lambda: connection.fetchval(waiting), within=DRAIN_SECONDS)
            except AssertionError:
                pending = await connection.fetch(
                    "SELECT lane.destination, key, run_at - now() AS due, leased, priority, state, disposition,"
                    " reason_code, facts, attempts FROM lane"
                    " JOIN job ON job.destination = lane.destination AND lane = key AND open"
                    " WHERE open_jobs > 0 AND waits_for IS NULL AND run_at < now() LIMIT 5"
                )
                return [f"the worker is not through after {DRAIN_SECONDS:g} s: {[dict(row) for row in pending]}"]
            crashed = await connection.fetch(
                "SELECT job.kind, attempt.reason_code, attempt.facts, count(*) AS times,"
                " min(job.message_id::text) AS message FROM attempt"
                " JOIN job ON job.id = job_id WHERE outcome = 'crashed' GROUP BY 1, 2, 3"
            )
        finally:
            await connection.close()
        result = [
            f"{row['times']} × {row['kind']} crashed: {row['reason_code']} {row['facts']} (message {row['message']})"
            for row in crashed
        ]
        faults = ("request failed", "Traceback", "never retrieved", "Exception in")
        lines = await asyncio.to_thread(lambda: self.log.read_text("utf-8", "replace").splitlines())
        return (
            result
            + [f"log: {line[:300]} … {line[-1500:]}" for line in lines if any(fault in line for fault in faults)][:20]
        )


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """Everything started, and stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="relay-fuzz-"))
    folder.chmod(0o711)  # noqa: ASYNC240  # before anything runs; the server of a root user is somebody else, who must get through
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = EmbeddedPostgres.start(folder / "postgres", port=free_port(), settings=SCRATCH)
        stack.callback(server.stop)
        platform, shop = (stack.enter_context(run(name)) for name in ("platform", "shop"))
        config, shop_config = platform.inspect("config"), shop.inspect("config")
        settings = {
            **SETTINGS,
            "DATABASE_URL": server.url,
            "PLATFORM__URL": platform.url,
            "PLATFORM__API_KEY": config["api_key"],
            "PLATFORM__LAUNCHER_URL": platform.url,
            "PLATFORM__SHOP_KEY": config["shop_key"],
            "WOOCOMMERCE__URL": shop.url,
            "WOOCOMMERCE__CONSUMER_KEY": shop_config["consumer_key"],
            "WOOCOMMERCE__CONSUMER_SECRET": shop_config["consumer_secret"],
        }
        process, url, log = stack.enter_context(relay_process(settings))
        stack.callback(log.unlink, missing_ok=True)
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            document = (await client.get("/openapi.json")).json()
            signed_in = await client.post(
                "/console/login", data={"key": SETTINGS["OPERATOR_KEY"], "next": "/console"}, headers={"origin": url}
            )
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        target = Target(
            parts.hostname,
            parts.port,
            SETTINGS["STORE_KEY"],
            SETTINGS["OPERATOR_KEY"],
            SETTINGS["PLATFORM__WEBHOOK_SECRET"],
            signed_in.cookies["relay_console"],
            tuple((method.upper(), path) for path, item in document["paths"].items() for method in item),
        )
        yield Scene(target, url, document, server.tcp_url.replace("postgresql+asyncpg", "postgresql"), log, process.pid)
