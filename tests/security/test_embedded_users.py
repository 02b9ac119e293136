"""The embedded PostgreSQL of a root user, and the other users of the machine."""

import os
import pwd
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg
import psutil
import pytest

from platform_relay.core.embedded import EmbeddedPostgres, EmbeddedPostgresError, _programs
from tests.helpers import eventually_sync, free_port

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users")
NOBODY: Final = pwd.getpwnam("nobody")
DAEMON: Final = pwd.getpwnam("daemon")

PSQL: Final = _programs() / "psql"
ATTACK: Final = """
folder=$1 socket=$2 port=$3 psql=$4
for host in "$socket" 127.0.0.1; do
    for password in '' postgres; do
        PGPASSWORD=$password "$psql" -w -h "$host" -p "$port" -U postgres -c 'SELECT 1' >/dev/null 2>&1 && echo "connected: $host"
    done
done
for name in users.lock start.lock keeper.lock password pg_hba.conf server.log pgdata pgdata/PG_VERSION; do
    cat "$folder/$name" >/dev/null 2>&1 && echo "read: $name"
    flock --nonblock "$folder/$name" true 2>/dev/null && echo "locked: $name"
done
echo end
"""


@pytest.fixture
def parent() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="relay-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@contextmanager
def started(folder: Path, port: int | None = None) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres.start(folder, port=port, settings={"fsync": "off"})
    try:
        yield server
    finally:
        server.stop()


def play_attack(user: pwd.struct_passwd, server: EmbeddedPostgres, socket: Path, port: int) -> str:
    """What the user reached, and `end`."""
    attack = subprocess.run(
        ["sh", "-c", ATTACK, "attack", str(server.data_dir), str(socket), str(port), str(PSQL)],
        user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/", env={"PATH": os.defpath},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert attack.returncode == 0, attack.stderr
    return attack.stdout


def socket_folder(server: EmbeddedPostgres) -> Path:
    """Where the running server listens, as the system reports it."""
    assert server.pid is not None
    [path] = {Path(str(one.laddr)) for one in psutil.Process(server.pid).net_connections("unix") if str(one.laddr)}
    return path.parent


def test_the_attack_succeeds_where_it_is_allowed(parent: Path) -> None:
    """The server's own user reads everything, and with the password it connects."""
    with started(parent / "data") as server:
        assert server.pid is not None
        (server.data_dir / "pg_hba.conf").write_text("local all all trust\n")
        os.kill(server.pid, signal.SIGHUP)  # reads the file again
        process = psutil.Process(server.pid)
        numbers = (process.uids().real, process.gids().real)
        itself = pwd.struct_passwd(("", "", *numbers, "", "", ""))

        def reached() -> bool:
            result = play_attack(itself, server, socket_folder(server), 5432)
            return "connected:" in result and "read: pgdata/PG_VERSION" in result and "locked: pg_hba.conf" in result

        eventually_sync(reached, 10)


@pytest.mark.parametrize("path", ["data", f"{'long' * 20}/{'path' * 20}"], ids=["a short path", "a long path"])
async def test_another_user_gets_no_connection_and_no_lock(parent: Path, path: str) -> None:
    port = free_port()
    with started(parent / path, port=port) as server:
        socket = socket_folder(server)
        assert socket.stat().st_mode & 0o777 == 0o700
        assert play_attack(NOBODY, server, socket, port) == "end\n"
        socket.chmod(0o777)  # even if the socket could be reached, it needs the password
        (socket / f".s.PGSQL.{port}").chmod(0o777)
        assert play_attack(NOBODY, server, socket, port) == "end\n"
        connection = await asyncpg.connect(server.url.replace("+asyncpg", ""))
        await connection.close()


async def test_the_server_has_a_user_of_its_own_and_no_capability(parent: Path) -> None:
    with started(parent / ("long" * 20) / ("path" * 20)) as server:
        assert server.pid is not None
        process = psutil.Process(server.pid)
        for number in (*process.uids(), *process.gids()):
            assert number not in (0, NOBODY.pw_uid)
        with pytest.raises(KeyError):
            pwd.getpwuid(process.uids().real)
        status = _status(server.pid)
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert f"{kind}:\t0000000000000000\n" in status
        connection = await asyncpg.connect(server.url.replace("+asyncpg", ""))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT pg_read_file('/etc/shadow')")
        await connection.close()


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


async def test_the_owner_of_the_folder_runs_the_server_and_can_use_it(parent: Path) -> None:
    folder = parent / "data"
    folder.mkdir()
    os.chown(folder, DAEMON.pw_uid, DAEMON.pw_gid)
    with started(folder) as server:
        assert server.pid is not None
        assert psutil.Process(server.pid).uids().real == DAEMON.pw_uid
        assert play_attack(NOBODY, server, socket_folder(server), 5432) == "end\n"
        for name in ("users.lock", "start.lock", "keeper.lock", "password"):
            status = (folder / name).stat()
            assert (status.st_uid, status.st_mode & 0o777) == (DAEMON.pw_uid, 0o600), name


async def test_data_of_nobody_get_a_user_of_their_own(parent: Path) -> None:
    """Data that belong to an account of other programs: also with a configuration that asks for no password."""
    folder = parent / "data"
    with started(folder):
        pass
    (folder / "pgdata" / "pg_hba.conf").write_text("local all all trust\n")
    for path in (folder / "pgdata", *(folder / "pgdata").rglob("*"), folder / "password"):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    with started(folder) as server:
        assert server.pid is not None
        assert psutil.Process(server.pid).uids().real != NOBODY.pw_uid
        assert play_attack(NOBODY, server, socket_folder(server), 5432) == "end\n"


def test_a_folder_that_only_root_can_enter_is_refused_with_what_to_do(parent: Path) -> None:
    parent.chmod(0o700)
    with pytest.raises(EmbeddedPostgresError, match=rf"cannot enter {parent}.*set DATA_DIR"):
        EmbeddedPostgres.start(parent / "data")


def test_a_socket_folder_of_another_user_is_refused(parent: Path) -> None:
    """The attack: another user makes the folder in the temporary directory, whose name is known, before the relay does."""
    folder = parent / ("long" * 20) / ("path" * 20)
    with started(folder) as server:
        socket = socket_folder(server)
    socket.mkdir(mode=0o777)
    try:
        os.chown(socket, NOBODY.pw_uid, NOBODY.pw_gid)
        with pytest.raises(EmbeddedPostgresError, match="another user created it"):
            EmbeddedPostgres.start(folder)
    finally:
        socket.rmdir()
