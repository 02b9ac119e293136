"""Who takes part in a demo: processes started here and stopped at the end, or what runs already.

The relay is a child process like any other; it gets all settings from its environment and reached over HTTP.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from .feed import LOOK, FeedError
from .process import run

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV", "DATABASE_URL")
"""Of the environment, what the relay gets to see: no setting of a real store may reach a demo."""
SECRETS: Final = ("STORE_KEY", "OPERATOR_KEY", "PLATFORM__WEBHOOK_SECRET")


@dataclass(frozen=True, slots=True)
class Scene:
    """The addresses and keys of all that takes part; the relay's process and log when it was started here."""

    relay: str
    platform: str
    shop: str
    store_key: str
    operator_key: str
    webhook_secret: str
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None

    @property
    def webhook_url(self) -> str:
        """Where the Platform posts to."""
        return f"{self.relay}/v1/webhooks/platform/{self.webhook_secret}"


@contextlib.contextmanager
def own_scene() -> Iterator[Scene]:
    """Everything started here, and stopped at the end. The relay's log is the caller's to remove.

    Raises SimulatorError or FeedError when a part does not start.
    """
    with contextlib.ExitStack() as stack:
        with undisturbed():  # a blocked signal stays so in the child: Ctrl-C is for the demo, which stops all in order
            platform, shop = (stack.enter_context(run(name)) for name in ("platform", "shop"))
        config, shop_config = platform.inspect("config"), shop.inspect("config")
        keys = {name: secrets.token_hex(32) for name in SECRETS}
        settings = {
            **keys,
            "PLATFORM__URL": platform.url,
            "PLATFORM__API_KEY": config["api_key"],
            "PLATFORM__LAUNCHER_URL": platform.url,
            "PLATFORM__SHOP_KEY": config["shop_key"],
            "STORE__ADAPTER": "woocommerce",
            "WOOCOMMERCE__URL": shop.url,
            "WOOCOMMERCE__CONSUMER_KEY": shop_config["consumer_key"],
            "WOOCOMMERCE__CONSUMER_SECRET": shop_config["consumer_secret"],
            "RETRY__INITIAL_DELAY": "0.5",
            "LOG_LEVEL": "WARNING",
        }
        with relay_process(settings) as (process, url, log):
            store, operator, webhook_endpoint = keys.values()
            yield Scene(url, platform.url, shop.url, store, operator, webhook_endpoint, process, log)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C takes effect afterwards."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextlib.contextmanager
def relay_process(settings: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """The relay, ready, with its address and its log. Its data go at the end, its log stays. Raises FeedError."""
    project = Path(__file__).resolve().parents[1]
    folder = Path(tempfile.mkdtemp(prefix="relay-demo-"))
    folder.chmod(0o711)  # started by root, the embedded Postgres is another user, who has to get through
    handle, name = tempfile.mkstemp(prefix="relay-demo-", suffix=".log")
    port = _free_port()
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment |= {**settings, "HOST": "127.0.0.1", "PORT": str(port), "DATA_DIR": str(folder / "data")}
    environment["PYTHONPATH"] = str(project)
    with os.fdopen(handle, "wb") as log:
        # In the folder, where no .env is; in a session of its own, so that Ctrl-C reaches the demo alone.
        process = subprocess.Popen(
            [sys.executable, "-m", "platform_relay.cli", "serve"],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _await_ready(process, url, Path(name))
        yield process, url, Path(name)
    except KeyboardInterrupt:
        Path(name).unlink(missing_ok=True)
        raise
    finally:
        _stop(process)
        _await_end_of_users(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    said: object = "nothing"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise FeedError(
                f"the relay ended with {process.returncode} while it started; its log {log}:\n{log.read_text()[-3000:]}"
            )
        try:
            answer = httpx.get(f"{url}/readyz", timeout=5, trust_env=False)
            if answer.is_success:
                return
            said = f"{answer.status_code} {answer.text[:500]}"
        except httpx.TransportError as error:
            said = repr(error)
        time.sleep(LOOK)
    raise FeedError(f"the relay is not ready after {START_SECONDS:.0f} s; {url}/readyz says {said}; its log: {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_end_of_users(folder: Path) -> None:
    """The embedded Postgres outlives a relay that was stopped while it started, for a moment; it names the folder."""
    deadline = time.monotonic() + STOP_SECONDS
    while users := [
        one for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or [])
    ]:
        if time.monotonic() > deadline:
            for user in users:
                with contextlib.suppress(psutil.Error):
                    user.terminate()
            return
        time.sleep(LOOK)


def _free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def given_scene(options: argparse.Namespace) -> Iterator[Scene]:
    """What runs already. Raises FeedError when an address or a key is missing."""
    urls = {f"--{name}-url": getattr(options, f"{name}_url") for name in ("relay", "platform", "shop")}
    keys = {name: os.environ.get(name, "") for name in SECRETS}
    if missing := [name for name, value in {**urls, **keys}.items() if not value]:
        raise FeedError(f"to play against a relay that runs already, {', '.join(missing)} is needed too")
    relay, platform, shop = (url.rstrip("/") for url in urls.values())
    store, operator, webhook_endpoint = keys.values()
    yield Scene(relay, platform, shop, store, operator, webhook_endpoint)
