"""A real Postgres for every test that asks for one, and an environment without anybody's settings.

`database_url` is a fresh, migrated database of its own; `engine` is an engine on it; `empty_database_url` is one
without tables. They live on an embedded server of this test process, or on the server named by TEST_DATABASE_URL (whose
user must be allowed to create databases), which is how the suite runs on PostgreSQL 15.
"""

import fcntl
import logging
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import asyncpg
import hypothesis
import psutil
import pytest
import pytest_asyncio
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core import migrate
from platform_relay.core.database import create_engine, parse_url
from platform_relay.core.embedded import EmbeddedPostgres
from platform_relay.settings import Settings

# Not durable, and so fast: these data live for minutes. The log of changes stays small, for the folder can be in memory.
TEST_SERVER = {
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB",
    "max_wal_size": "128MB", "min_wal_size": "32MB",
}  # fmt: skip
MEMORY: Final = Path("/dev/shm")  # noqa: S108  # Linux's file system in memory
SERVER_START_SECONDS: Final = 60
"""A younger lock of a server may not be taken yet."""
MEMORY_BYTES: Final = 2 << 30
"""The test server is in memory if this much is free: there, creating a database costs a fifth of the processor time."""
TESTS: Final = Path(__file__).parent
ADAPTERS = Path(__file__).parents[1] / "app" / "stores"  # their settings begin with the store's name
# How long an example takes is the machine's affair. A failure prints what replays it.
hypothesis.settings.register_profile("relay", deadline=None, print_blob=True)
hypothesis.settings.load_profile("relay")
OUTSIDE = ("PG", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")  # read by asyncpg and httpx


def pytest_configure() -> None:
    # `kill` and a CI's time limit send SIGTERM: end as Ctrl-C does, through the fixtures, so that no process is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


LONG: Final = (
    "benchmarks/",
    "browser/",
    "cli/test_database_errors.py",
    "cli/test_init.py",
    "conformance/test_conformance.py::test_seeded_bugs_are_caught",
    "contract/test_conformance.py",
    "database/test_embedded.py",
    "database/test_schemas.py",
    "faults/test_interrupted_statements.py",
    "faults/test_read_only.py",
    "faults/test_short.py",
    "faults/test_start_without_database.py",
    "fuzz/test_short.py",
    "imports/test_import_command.py",
    "journeys/test_collapse.py",
    "journeys/test_pace.py",
    "many_stores/",
    "money/",
    "observe/test_readiness.py",
    "observe/test_worker_metrics.py",
    "reconcile/test_backups.py",
    "security/test_canary.py",
    "security/test_encryption_journey.py",
    "security/test_floods.py",
    "security/test_supply.py",
)
"""The tests of `make test-long`: paths in tests/, or the beginnings of node ids."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of which no test would be selected are not imported: each of the test processes would spend seconds on them."""
    place = collection_path.relative_to(TESTS).as_posix() + ("/" if collection_path.is_dir() else "")
    selection: str = config.option.markexpr
    if collection_path == TESTS:
        return None
    if "not long" in selection:
        return True if place in LONG else None
    if selection.startswith("long and"):
        return None if any(entry.startswith(place) or place.startswith(entry) for entry in LONG) else True
    return None


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(LONG):
            item.add_marker(pytest.mark.long)
    if seed := os.environ.get("TEST_ORDER"):  # a seed: the tests run in a random order, the same in all processes
        random.Random(seed).shuffle(items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """LONG_TESTS_UNTIL (Unix time): a long test that would start later is skipped, so that a slow machine ends in time."""
    until = os.environ.get("LONG_TESTS_UNTIL")
    if until and item.get_closest_marker("long") and time.time() > float(until):
        pytest.skip("there is no time left for this test in this run (LONG_TESTS_UNTIL); run `make test-long`")


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """No setting of the person who runs the tests reaches them (programs also read `.env`: start them elsewhere)."""
    settings = {name.upper() for name in Settings.model_fields}
    stores = tuple(f"{path.stem.upper()}_" for path in ADAPTERS.glob("[a-z]*"))
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.upper().split("__")[0] in settings or name.upper().startswith((*stores, *OUTSIDE)):
                environment.delenv(name)
        yield


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What a test configures (a command of the CLI configures logging) ends with the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configured = structlog.is_configured()
    yield
    root.setLevel(level)
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    if not configured:
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def server_url(clean_environment: None) -> Iterator[str]:
    """The administrator's address on the server that holds the tests' databases."""
    if outside := os.environ.get("TEST_DATABASE_URL"):
        yield outside
        return
    folder = Path(tempfile.mkdtemp(prefix="relay-test-", dir=_fast_folder()))
    folder.chmod(0o711)  # the server of a root user is somebody else, who must get through
    server = EmbeddedPostgres.start(folder, settings=TEST_SERVER)
    try:
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(folder)


def _fast_folder() -> Path | None:
    """The file system in memory, if there is one with enough space and memory; None: the temporary directory."""
    if not os.access(MEMORY, os.W_OK) or psutil.virtual_memory().available < MEMORY_BYTES:
        return None
    for lock in MEMORY.glob(
        "relay-test-*/users.lock"
    ):  # a server of a killed test process takes memory until it is removed
        with suppress(OSError), lock.open("rb") as users:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the server is used
            if time.time() - lock.stat().st_mtime > SERVER_START_SECONDS:
                shutil.rmtree(lock.parent, ignore_errors=True)
    return MEMORY if shutil.disk_usage(MEMORY).free >= MEMORY_BYTES else None


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template_database(server_url: str) -> AsyncIterator[str]:
    """The name of a database that was migrated once, to be copied."""
    async with temporary_database(server_url) as url:
        engine = create_engine(url, application_name="tests", pool_size=1)
        await migrate.upgrade(engine)
        await engine.dispose()  # a template is copied only while nobody is connected
        yield str(parse_url(url).database)


@pytest.fixture
async def database_url(server_url: str, template_database: str) -> AsyncIterator[str]:
    async with temporary_database(server_url, template_database) as url:
        yield url


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    async with temporary_database(server_url) as url:
        yield url


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url, application_name="tests")
    yield engine
    await engine.dispose()


@asynccontextmanager
async def temporary_database(server_url: str, template: str = "template1") -> AsyncIterator[str]:
    name = f"relay_test_{uuid4().hex[:12]}"
    await _administer(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield parse_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        await _administer(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _administer(server_url: str, statement: str) -> None:
    address = parse_url(server_url).set(drivername="postgresql")
    connection = await asyncpg.connect(address.render_as_string(hide_password=False))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
