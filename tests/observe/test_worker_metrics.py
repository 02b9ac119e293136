"""A worker that runs alone tells its own counts on METRICS_PORT, and only when asked to."""

import os
import signal
import socket
import subprocess
import sys
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.inbox.events import CustomerEvent
from platform_relay.inbox.messages import incoming
from simulators.process import run
from tests.database.engine_room import accept
from tests.helpers import eventually, free_port


def started(database_url: str, **settings: str) -> subprocess.Popen[bytes]:
    """`relay worker` with nothing else in its environment."""
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url, **settings}
    return subprocess.Popen(
        [sys.executable, "-m", "platform_relay.cli", "worker"], env=environment, stderr=subprocess.PIPE
    )


async def test_what_it_does_is_told_and_it_ends_with_the_worker(database_url: str, engine: AsyncEngine) -> None:
    address = f"http://127.0.0.1:{(port := free_port())}/metrics"
    with run("platform") as platform:
        far = {"PLATFORM__URL": platform.url, "PLATFORM__API_KEY": "sim-platform-key"}
        worker = started(database_url, METRICS_PORT=str(port), **far)
        try:
            raw = b'{"id": "42", "email": "ada@example.com"}'
            await accept(engine, incoming(CustomerEvent.parse(raw), raw, message_id=str(uuid4())))

            async def counted() -> bool:
                try:
                    async with httpx.AsyncClient(trust_env=False) as client:
                        result = (await client.get(address)).text
                except httpx.TransportError:
                    return False
                return 'relay_jobs_settled_total{kind="forward_customer",state="done"} 1.0' in result

            await eventually(counted, 30)
        finally:
            worker.send_signal(signal.SIGTERM)
            _, said = worker.communicate(timeout=30)
        assert worker.returncode == 0, said.decode()


@pytest.mark.parametrize("asked", [True, False])
def test_a_port_that_is_taken_matters_only_to_who_asked_for_it(database_url: str, asked: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        worker = started(database_url, **({"METRICS_PORT": port} if asked else {"PORT": port}))
        try:
            if asked:
                _, said = worker.communicate(timeout=30)
                assert worker.returncode == 2, said.decode()
                assert b"METRICS_PORT" in said
            else:
                assert worker.stderr is not None
                assert any(b"worker_started" in line for line in worker.stderr)
        finally:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
                worker.communicate(timeout=30)
