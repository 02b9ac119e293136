"""A process that starts before its database waits for it, says so, and can be stopped meanwhile."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from platform_relay.core.database_url import parse_url
from tests.faults.requests import RequestProxy
from tests.faults.rig import STARTS_WITHIN, Process
from tests.helpers import eventually, free_port

KEY = "store-key-for-tests-012345"
CUSTOMER = {"id": "42", "email": "ada@example.com"}


@pytest.fixture
def database_port() -> int:
    return free_port()


@pytest.fixture
def settings(empty_database_url: str, database_port: int, tmp_path: Path) -> dict[str, str]:
    """Settings with the address at which the database is later."""
    later = parse_url(empty_database_url).set(host="127.0.0.1", port=database_port, query={"sslmode": "disable"})
    return {
        "DATABASE_URL": later.render_as_string(hide_password=False),
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "STORE_KEY": KEY,
        "HEARTBEAT_FILE": str(tmp_path / "heartbeat"),
    }


@pytest.fixture
def start(settings: dict[str, str], tmp_path: Path) -> Iterator[list[Process]]:
    """The processes of the test, which are killed at its end."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        if process.running:
            process.kill()


def waiting_lines(process: Process) -> list[dict[str, object]]:
    return [record for record in process.records() if record.get("event") == "database_waiting"]


async def test_the_web_server_waits_and_answers_health_checks(
    start: list[Process], settings: dict[str, str], empty_database_url: str, database_port: int, tmp_path: Path
) -> None:
    process = Process("serve", settings, tmp_path / "serve.log")
    start.append(process)
    process.start()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{settings['PORT']}", trust_env=False, headers={"authorization": f"Bearer {KEY}"}
    ) as client:

        async def status(path: str) -> int:
            try:
                return (await client.get(path)).status_code
            except httpx.TransportError:
                return 0

        async def waits() -> bool:
            response = await client.get("/readyz") if await status("/healthz") == 200 else None
            return response is not None and response.json()["checks"][0].get("code") == "database_unreachable"

        await eventually(waits, STARTS_WITHIN)
        response = await client.get("/readyz")
        [check] = response.json()["checks"]
        assert response.status_code == 503
        assert f"127.0.0.1:{database_port}" in check["text"]
        assert "DATABASE_URL" in check["next_step"]
        refused = await client.post("/v1/events/customers", json=CUSTOMER)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:platform-relay:problem:database-away")
        assert int(refused.headers["retry-after"]) > 0
        assert "relay_database_up 0.0" in (await client.get("/metrics")).text
        await eventually(lambda: len(waiting_lines(process)) >= 2, 30)
        assert waiting_lines(process)[0]["reason_code"] == "database_unreachable"
        assert (tmp_path / "heartbeat").exists()
        with RequestProxy(empty_database_url, port=database_port).running():

            async def ready() -> bool:
                return await status("/readyz") == 200

            await eventually(ready, STARTS_WITHIN)
            assert (await client.post("/v1/events/customers", json=CUSTOMER)).status_code == 202
            assert process.stop() == 0


@pytest.mark.parametrize(
    ("role", "name"), [("web", signal.SIGTERM), ("worker", signal.SIGINT), ("serve", signal.SIGTERM)]
)
async def test_a_waiting_process_stops_within_ten_seconds(
    start: list[Process], settings: dict[str, str], tmp_path: Path, role: str, name: signal.Signals
) -> None:
    process = Process(role, settings, tmp_path / "process.log")
    start.append(process)
    process.start()
    await eventually(lambda: waiting_lines(process), STARTS_WITHIN)
    process.signal(name)
    assert process.child is not None
    assert process.child.wait(10) == 0
    assert "Traceback" not in process.log.read_text()


async def test_several_processes_wait_and_stop(start: list[Process], settings: dict[str, str], tmp_path: Path) -> None:
    process = Process("serve", settings, tmp_path / "process.log", options=("--processes", "2"))
    start.append(process)
    process.start()
    await eventually(lambda: len(waiting_lines(process)) >= 2, STARTS_WITHIN)
    assert process.stop(30) == 0
    assert not [line for line in process.log.read_text().splitlines() if "Traceback" in line]


async def test_a_host_that_is_not_known_yet(start: list[Process], settings: dict[str, str], tmp_path: Path) -> None:
    settings["DATABASE_URL"] = "postgresql://relay:secret@db.invalid/relay"
    process = Process("worker", settings, tmp_path / "process.log")
    start.append(process)
    process.start()
    [line, *_] = await eventually(lambda: waiting_lines(process), STARTS_WITHIN)
    assert line["reason_code"] == "database_host_unknown"
    assert "db.invalid" in str(line["text"])
    assert "secret" not in process.log.read_text()
    assert process.stop(10) == 0


def test_the_environment_of_the_tests_has_no_database() -> None:
    assert "DATABASE_URL" not in os.environ
