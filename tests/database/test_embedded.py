"""The embedded Postgres: taken up again after every kind of death, shared by processes, never left behind."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest

from platform_relay.core.database import create_engine
from platform_relay.core.embedded import CHECKOUT, EmbeddedPostgres, EmbeddedPostgresError
from tests.helpers import eventually_sync, free_port

FAST = {"fsync": "off"}

# Another program that uses the server of a folder until it is killed or its input ends.
USER_PROGRAM = """
import sys
from pathlib import Path
from platform_relay.core.embedded import EmbeddedPostgres
server = EmbeddedPostgres.start(Path(sys.argv[1]), settings={"fsync": "off"})
print(server.pid, flush=True)
sys.stdin.read()
server.stop()
"""


def test_the_keeper_of_a_checkout_starts_where_the_package_can_be_imported() -> None:
    """The benchmarks run in an environment in which the package is not installed."""
    assert (CHECKOUT / "platform_relay" / "core" / "embedded.py").is_file()


@pytest.fixture
def parent() -> Iterator[Path]:
    """A folder that the user of a root user's server can enter."""
    with tempfile.TemporaryDirectory(prefix="relay-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def folder(parent: Path) -> Path:
    return parent / "data"


@contextmanager
def started(folder: Path, port: int | None = None) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres.start(folder, port=port, settings=FAST)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def another_process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process using `folder`, and the pid of the server it found."""
    command = [sys.executable, "-c", USER_PROGRAM, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


async def execute(url: str, statement: str) -> object:
    """The single value that `statement` gives."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_starts_on_a_socket_only_and_stops(folder: Path) -> None:
    with started(folder) as server:
        assert str(await execute(server.url, "SHOW server_version")).startswith("18")
        assert await execute(server.url, "SHOW listen_addresses") == ""
        assert await execute(server.url, "SHOW max_connections") == "200"
        pid = server.pid
        assert pid is not None
    assert server.pid is None
    assert ended(pid)
    server.stop()  # once more does no harm


async def test_opens_a_tcp_port_when_asked(folder: Path) -> None:
    with started(folder, port=free_port()) as server:
        assert await execute(server.tcp_url, "SELECT 1") == 1
        engine = create_engine(server.url, application_name="tests")
        async with engine.connect() as connection:
            assert (await connection.exec_driver_sql("SELECT 2")).scalar() == 2
        await engine.dispose()


async def test_a_killed_server_comes_back_with_its_data(folder: Path) -> None:
    with started(folder) as server:
        await execute(server.url, "CREATE TABLE kept AS SELECT 42 AS value")
        killed = server.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        with started(folder) as again:
            assert again.pid != killed
            assert await execute(again.url, "SELECT value FROM kept") == 42


async def test_a_folder_left_by_the_death_of_everything_is_taken_up_again(folder: Path) -> None:
    with another_process(folder) as (user, pid):
        keeper = psutil.Process(pid).ppid()
        for process in (keeper, pid, user.pid):
            os.kill(process, signal.SIGKILL)
    assert (folder / "pgdata" / "postmaster.pid").exists()
    with started(folder) as server:
        assert await execute(server.url, "SELECT 1") == 1


async def test_a_stale_pid_file_that_names_a_living_process_is_not_believed(folder: Path) -> None:
    with started(folder):
        pid_file = (folder / "pgdata" / "postmaster.pid").read_text().splitlines()
    pid_file[0] = str(os.getpid())
    (folder / "pgdata" / "postmaster.pid").write_text("\n".join(pid_file))
    with started(folder) as server:
        assert await execute(server.url, "SELECT 1") == 1


async def test_two_processes_share_one_server_and_the_last_one_stops_it(folder: Path) -> None:
    with started(folder) as server:
        pid = server.pid
        with another_process(folder) as (user, seen):
            assert seen == pid
            server.stop()
            assert server.pid == pid, "the other process still uses it"
            assert user.stdin is not None
            user.stdin.close()
            assert user.wait(10) == 0
        assert server.pid is None


def test_the_server_ends_when_its_only_user_is_killed(folder: Path) -> None:
    with another_process(folder) as (user, pid):
        user.kill()
        eventually_sync(lambda: ended(pid), within=10)


def test_the_server_ends_when_its_folder_is_deleted(folder: Path, parent: Path) -> None:
    with started(folder) as server:
        pid = server.pid
        assert pid is not None
        folder.rename(parent / "elsewhere")
        eventually_sync(lambda: ended(pid), within=10)


async def test_a_path_too_long_for_a_socket(parent: Path) -> None:
    with started(parent / ("long" * 20) / ("path" * 20)) as server:
        assert await execute(server.url, "SELECT 1") == 1


def test_says_why_it_cannot_start(folder: Path) -> None:
    with started(folder):
        pass
    (folder / "pgdata" / "postgresql.conf").write_text("max_connections = many\n")
    with pytest.raises(EmbeddedPostgresError, match="did not start"):
        EmbeddedPostgres.start(folder)
    (folder / "pgdata" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match="created by PostgreSQL 16, but this is PostgreSQL 18"):
        EmbeddedPostgres.start(folder)
