"""A store's double as a process of its own: `python -m tests.contract.doubles.<shop>`.

A double is a simulator (`simulators.program.Service`): its routes are behind real HTTP, every call is written down, and
`/_sim/` scripts its faults.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from simulators.__main__ import SERVICES, main
from simulators.process import Simulator, SimulatorError
from simulators.program import Service

ROOT = Path(__file__).parents[3]


def serve(name: str, service: Callable[[], Service]) -> None:
    """Be the double `name` until standard input is closed."""
    SERVICES[name] = service  # type: ignore[assignment]  # the table names the two classes that it has by itself
    sys.exit(main([name, *sys.argv[1:]]))


@contextmanager
def run(name: str) -> Iterator[Simulator]:
    """The running double of `tests/contract/doubles/<name>.py`."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.contract.doubles.{name}", "--with-parent"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    line = process.stdout.readline().decode() if process.stdout else ""
    if not line.startswith("listening on "):
        process.kill()
        process.wait()
        raise SimulatorError(f"the double {name} did not start; its own words are on stderr")
    double = Simulator(process, line.removeprefix("listening on ").strip())
    try:
        yield double
    finally:
        double.stop()
