"""`python -m benchmarks.imports [ROWS]`: how fast a file of customers is accepted, and how much memory that takes.

`relay import` as its user starts it, on a durable Postgres of its own. Ends with 1 when 100,000 rows would take a minute
or more, or the memory grew with the file.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psutil

from benchmarks.stage import POSTGRES, Process
from platform_relay.core.embedded import EmbeddedPostgres

ROWS: Final = 100_000
SECONDS_PER_100_000: Final = 60.0
GROWTH: Final = 32.0
"""MiB that the second half may take beyond the first."""
MEBIBYTE: Final = 1 << 20


def main() -> int:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    folder = Path(tempfile.mkdtemp(prefix="relay-import-"))
    folder.chmod(0o711)  # the server of a root user is somebody else, who must get through
    try:
        server = EmbeddedPostgres.start(folder / "postgres", settings=POSTGRES)
        try:
            return _measure(rows, folder, server.url)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(rows: int, folder: Path, url: str) -> int:
    file = folder / "customers.csv"
    with file.open("w", encoding="utf-8") as out:
        out.write("Customer ID,First Name,Last Name,Email,Phone,Tags,Updated At\n")
        out.writelines(
            f"{n},Ada {n},Example,ada{n}@example.com,+49 30 {n},vip;newsletter,2026-01-01 10:00:00 +0000\n"
            for n in range(rows)
        )
    started, readings = time.monotonic(), list[float]()
    command = [sys.executable, "-m", "platform_relay.cli", "import", "customers", str(file)]
    with Process(command, {"DATABASE_URL": url}, folder / "import.log") as process:
        while not process.ended():
            try:
                readings.append(psutil.Process(process.pid).memory_info().rss / MEBIBYTE)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.1)
        process.finish(60)
        print(process.said().splitlines()[-1])
    seconds = time.monotonic() - started
    middle = len(readings) // 2
    growth = max(readings[middle:]) - max(readings[:middle])
    print(
        f"{rows:,} customers of {file.stat().st_size / MEBIBYTE:.1f} MiB in {seconds:.1f} s, start included:"
        f" {rows / seconds:,.0f} per second; peak {max(readings):.0f} MiB, {growth:+.0f} MiB in the second half"
    )
    return int(seconds * 100_000 / rows >= SECONDS_PER_100_000 or growth > GROWTH)


if __name__ == "__main__":
    sys.exit(main())
