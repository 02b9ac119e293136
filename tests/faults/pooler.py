"""PgBouncer in transaction mode, between the service and its database."""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from tests.faults.server import ROLE, PostgresServer
from tests.helpers import free_port


class Missing(Exception):  # noqa: N818  # not an error: a fact about the machine
    """This machine cannot play this fault; the message says why."""


class Pooler:
    def __init__(self, folder: Path, postgres: PostgresServer) -> None:
        self.port = free_port()
        self._folder = folder / "pgbouncer"
        self._folder.mkdir()
        users, self._settings = self._folder / "users.txt", self._folder / "pgbouncer.ini"
        users.write_text(f'"{ROLE}" ""\n')
        self._rest = (
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\n"
            "pool_mode = transaction\ndefault_pool_size = 8\nmax_client_conn = 200\nserver_login_retry = 1\n"
        )
        self._write(postgres)
        self._child: subprocess.Popen[bytes] | None = None

    def _write(self, postgres: PostgresServer) -> None:
        self._settings.write_text(f"[databases]\n{ROLE} = host=127.0.0.1 port={postgres.port}\n{self._rest}")

    def lead_to(self, postgres: PostgresServer) -> None:
        """New server connections go there, as after a change of the settings and RELOAD. Those in use stay."""
        self._write(postgres)
        if self._child is not None:
            self._child.send_signal(signal.SIGHUP)

    def start(self) -> None:
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if program is None:
            raise Missing("PgBouncer is not installed (Debian: apt install pgbouncer)")
        command = [program, str(self._settings)]
        if os.geteuid() == 0:
            anonymous = pwd.getpwnam("nobody")
            identity = [f"--reuid={anonymous.pw_uid}", f"--regid={anonymous.pw_gid}", "--clear-groups"]
            rights = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
            command = ["setpriv", *identity, *rights, "--", *command]
        with (self._folder / "log").open("ab") as log:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
