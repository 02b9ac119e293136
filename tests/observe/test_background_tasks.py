"""The tasks of a process that nobody awaits go on after an error, and a worker is alive while its database is prepared."""

import asyncio
import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from platform_relay import serve, wiring, worker
from platform_relay.checks.work_watch import WorkWatch
from platform_relay.core import background
from platform_relay.core.database import advisory_lock, servers_of
from platform_relay.core.database_servers import Servers
from platform_relay.queue import loop
from platform_relay.setting_groups import PlatformSettings
from platform_relay.settings import Settings
from platform_relay.worker import Worker
from tests.api.served import OPERATOR_KEY, STORE_KEY
from tests.helpers import eventually

ALIVE = 0.3


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=tmp_path,
        store_key=SecretStr(STORE_KEY),
        operator_key=SecretStr(OPERATOR_KEY),
        platform=PlatformSettings.model_validate({"url": "http://127.0.0.1:1", "api_key": "sim-platform-key"}),
        heartbeat_file=tmp_path / "later" / "heartbeat",
        poll_interval=0.2,
    )


async def test_the_watch_of_the_servers_goes_on_after_an_error(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.01)
    starts: list[Servers] = []

    async def broken(servers: Servers) -> None:
        starts.append(servers)
        raise LookupError("unexpected")

    monkeypatch.setattr(wiring, "watch_servers", broken)
    with capture_logs() as logs:
        async with wiring.services(settings, database_url, "web") as parts:
            await eventually(lambda: len(starts) > 1)
            assert starts[0] is servers_of(parts.engine)
    assert ("background_task_failed", "watch_servers") in [(line["event"], line.get("task")) for line in logs]


async def test_the_watch_of_the_work_and_the_heartbeat_go_on_after_an_error(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.01)
    starts: list[WorkWatch] = []

    async def broken(watch: WorkWatch) -> None:
        starts.append(watch)
        raise LookupError("unexpected")

    monkeypatch.setattr(WorkWatch, "run", broken)
    heartbeat = settings.heartbeat_file
    assert heartbeat is not None
    with capture_logs() as logs:
        process = asyncio.create_task(serve.run(settings, database_url, web=False, worker=True, bound=None))
        try:
            await eventually(lambda: len(starts) > 1, 20)
            heartbeat.parent.mkdir()  # until now it could not be written
            await eventually(heartbeat.exists)
            assert not process.done()
        finally:
            process.cancel()
            await asyncio.gather(process, return_exceptions=True)
    failed = {line["task"] for line in logs if line["event"] == "background_task_failed"}
    assert failed == {"watch_work", "heartbeat"}


async def test_a_worker_is_alive_while_the_jobs_are_marked_after_a_failover(
    settings: Settings, database_url: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process marks them: it has the lock."""
    monkeypatch.setattr(loop, "ALIVE_SECONDS", ALIVE)
    monkeypatch.setattr(worker, "ALIVE_SECONDS", ALIVE)
    async with wiring.services(settings, database_url, "worker") as parts, wiring.clients(parts) as clients:
        servers, background_worker = servers_of(parts.engine), Worker(parts, clients)
        async with engine.begin() as other:
            await other.execute(advisory_lock("'database_history'"))
            running = asyncio.create_task(background_worker.run())
            try:
                await eventually(lambda: servers.seconds_since_preparation() == 0)
                since = time.monotonic()
                await eventually(lambda: time.monotonic() - since > 2 * ALIVE)
                assert background_worker.alive()
                assert not running.done()
            finally:
                await other.rollback()
        await eventually(lambda: servers.seconds_since_preparation() > 0)
        background_worker.stop()
        await running
