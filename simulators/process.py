"""Start a simulator as a process of its own, steer it, read its ledger: for tests, benchmarks and the demo.

with run("platform", "--set", "second_order_post=upsert") as platform:
    platform.script(path="/v1/customers", mode="reset_after")
    ...
    assert platform.summary()["kinds"]["customer.put"]["applied"] == 1
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx


class SimulatorError(RuntimeError):
    """The simulator did not start, or refused a control call; the text says why."""


class Simulator:
    """A running simulator. `url` is its base URL; `client` an httpx client for it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self._process = process
        self.url = url
        self.pid = process.pid
        self.client = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def control(self, route: str, **fields: Any) -> Any:
        """POST `/_sim/{route}` with these fields; gives the JSON answer. Raises SimulatorError when refused."""
        return self._checked(self.client.post(f"/_sim/{route}", json=fields))

    def inspect(self, route: str, **parameters: Any) -> Any:
        """GET `/_sim/{route}` with these query parameters; gives the JSON answer."""
        return self._checked(self.client.get(f"/_sim/{route}", params=parameters))

    @staticmethod
    def _checked(answer: httpx.Response) -> Any:
        if answer.is_error:
            raise SimulatorError(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}")
        return answer.json()

    def script(self, **rule: Any) -> Any:
        """Queue a misbehaviour: the fields of `POST /_sim/next`."""
        return self.control("next", **rule)

    def ledger(self, **parameters: Any) -> list[dict[str, Any]]:
        """The recorded calls: `since`, `limit`, `kind`, `entity`, `applied=1`, `body=0`."""
        entries: list[dict[str, Any]] = self.inspect("ledger", **parameters)["entries"]
        return entries

    def summary(self, full: bool = False) -> Any:
        """The counts; `full` lists every entity of the once-only kinds."""
        return self.inspect("summary", full=int(full))

    def state(self, kind: str, identifier: str | None = None) -> Any:
        """What it holds: one entity, or all of a kind."""
        return self.inspect("state", kind=kind, **({} if identifier is None else {"id": identifier}))

    def config(self, **settings: Any) -> Any:
        """Change settings by name; gives all of them."""
        return self.control("config", **settings)

    def reset(self, config: bool = False) -> None:
        """Forget ledger, script and state; with `config` the settings too."""
        self.control("reset", config=config)

    def outage(self, on: bool = True, seconds: float | None = None, mode: str = "503") -> None:
        """Begin or end an outage."""
        self.control("outage", on=on, seconds=seconds, mode=mode)

    def stop(self, patience: float = 5.0) -> None:
        """SIGTERM, then after `patience` seconds SIGKILL, to this process only."""
        self.client.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def start(name: str, *arguments: str, patience: float = 20.0) -> Simulator:
    """Start `python -m simulators NAME ARGUMENTS…` and wait for its line. It ends with the process that started it.

    Raises SimulatorError when the line does not come within `patience` seconds.
    """
    package = __package__ or "simulators"  # `platform_relay.simulators` where it is installed
    root = Path(__file__).resolve().parents[package.count(".") + 1]
    process = subprocess.Popen(
        [sys.executable, "-m", package, name, "--with-parent", *arguments],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        url = _address(process, patience)
    except BaseException:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        raise
    return Simulator(process, url)


def _address(process: subprocess.Popen[bytes], patience: float) -> str:
    if process.stdout is None:
        raise SimulatorError("the simulator was started without a pipe for its standard output")
    line, deadline = b"", time.monotonic() + patience
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(process.stdout.fileno(), 1024) if readable else b""
        if not part:
            said = f"ended with {process.wait()}" if readable else f"said nothing for {patience} s"
            raise SimulatorError(f"the simulator {said} before it was listening; its own words are on stderr")
        line += part
    return line.decode().removeprefix("listening on ").strip()


@contextlib.contextmanager
def run(name: str, *arguments: str) -> Iterator[Simulator]:
    """A running simulator ("platform", "shop" or "corner") for the length of a with-block."""
    simulator = start(name, *arguments)
    try:
        yield simulator
    finally:
        simulator.stop()
