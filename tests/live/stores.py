"""The real Medusa and the real Vendure: fetched once by npm into `.tools/live/`, run from a fresh folder each time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.helpers import eventually_sync

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
TOOLS: Final = ROOT / ".tools" / "live"
OLDEST_NODE: Final = 20
INSTALL_SECONDS: Final = 420.0
STEP_SECONDS: Final = 300.0
START_SECONDS: Final = 180.0
NO_NETWORK: Final = (
    "ENOTFOUND",
    "EAI_AGAIN",
    "ETIMEDOUT",
    "ECONNREFUSED",
    "ECONNRESET",
    "ENETUNREACH",
    "ERR_SOCKET_TIMEOUT",
)


class UnavailableError(Exception):
    """The store cannot be had on this machine; the text says why. Nothing is wrong with us."""


class BrokenShopError(Exception):
    """The store was there and a step failed; the text ends with its own words."""


@dataclass(frozen=True)
class Installed:
    """A store's packages."""

    name: str
    modules: Path

    def project(self, folder: Path, files: Mapping[Path, Path]) -> Path:
        """A fresh project in `folder`: its own files, and `files` (source -> place). The packages are linked."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "node_modules").symlink_to(self.modules, target_is_directory=True)
        for source in (HERE / self.name).iterdir():
            shutil.copy(source, folder / source.name)
        for source, place in files.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / place)
        return folder


def install(name: str) -> Installed:
    """The packages of `tests/live/<name>/package-lock.json`. Raises UnavailableError without Node or the network."""
    _check_node()
    folder = TOOLS / name
    folder.mkdir(parents=True, exist_ok=True)
    lock = HERE / name / "package-lock.json"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    stamp = folder / "installed"
    with (TOOLS / f"{name}.lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != digest:
            stamp.unlink(missing_ok=True)
            for source in (lock, lock.with_name("package.json")):
                shutil.copy(source, folder / source.name)
            # not `npm ci`: it refuses a lock that lacks packages of other platforms, as one made behind a mirror may
            command = ("npm", "install", "--no-audit", "--no-fund", "--prefer-offline")
            said = step(command, folder, {}, INSTALL_SECONDS, unavailable=NO_NETWORK)
            (folder / "npm.log").write_text(said)
            stamp.write_text(digest)
    return Installed(name, folder / "node_modules")


def _check_node() -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        raise UnavailableError("Node.js and npm are not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    if int(version.strip().lstrip("v").partition(".")[0]) < OLDEST_NODE:
        raise UnavailableError(f"Node.js {OLDEST_NODE} or newer is needed, this is {version.strip()}")


def step(
    command: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    within: float = STEP_SECONDS,
    unavailable: tuple[str, ...] = (),
) -> str:
    """Run a program to its end; what it said. Raises BrokenShopError, or UnavailableError for one of these words."""
    try:
        ran = subprocess.run(
            command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=within,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        if unavailable:
            raise UnavailableError(f"the packages could not be fetched within {within:.0f} s") from error
        raise BrokenShopError(f"{' '.join(command)} was not done after {within:.0f} s") from error
    said = ran.stdout + ran.stderr
    if ran.returncode == 0:
        return said
    if reason := next((word for word in unavailable if word in said), None):
        raise UnavailableError(f"the packages could not be fetched ({reason})")
    raise BrokenShopError(f"{' '.join(command)} ended with {ran.returncode}:\n{said[-3000:]}")


@contextmanager
def served(command: tuple[str, ...], folder: Path, environment: Mapping[str, str], health: str) -> Iterator[None]:
    """A server for the length of a with-block, from its first good answer at `health` on."""
    log = folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        with httpx.Client(trust_env=False, timeout=5) as client:

            def up() -> bool:
                if process.poll() is not None:
                    raise BrokenShopError(f"{folder.name} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
                try:
                    return client.get(health).status_code < 500
                except httpx.HTTPError:
                    return False

            started = time.monotonic()
            eventually_sync(up, START_SECONDS)
            (folder / "started").write_text(f"{time.monotonic() - started:.1f} s")
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
