"""Run by `make live-test` only (`pytest -m live`); skipped with a word where Node.js or the network is missing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from platform_relay.core.embedded import EmbeddedPostgres
from simulators.process import Simulator, run
from tests.helpers import free_port
from tests.live.postgres import Databases
from tests.live.relay import Relay


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "live: needs the real stores; run by `make live-test`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "live" in str(config.option.markexpr):
        return
    live = [item for item in items if item.get_closest_marker("live")]
    if live:
        config.hook.pytest_deselected(items=live)
        items[:] = [item for item in items if item not in live]


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Where projects and logs go, open to the server of a root user, which is somebody else. Kept when a test failed."""
    made = Path(tempfile.mkdtemp(prefix="relay-live-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def databases(folder: Path) -> Iterator[Databases]:
    """The embedded Postgres, open on a port, as Medusa needs."""
    data = folder / "postgres"
    data.mkdir()
    data.chmod(0o711)
    server = EmbeddedPostgres.start(data, port=free_port(), settings={"fsync": "off", "synchronous_commit": "off"})
    try:
        yield Databases(server.tcp_url)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def platform() -> Iterator[Simulator]:
    with run("platform") as simulator:
        yield simulator


@pytest.fixture(scope="module")
def relay(request: pytest.FixtureRequest, folder: Path, databases: Databases, platform: Simulator) -> Relay:
    """One for each store, not running yet."""
    name = str(request.module.__name__).rpartition(".")[2]
    own = folder / f"relay-{name}"
    own.mkdir()
    return Relay(own, databases.fresh(f"relay_{name}"), platform)
