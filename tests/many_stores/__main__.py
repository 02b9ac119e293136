"""`python -m tests.many_stores [--stores 20] [--seconds 60] [--events 100000]`: many relays on one PostgreSQL, and one of them
moves to another server. `make many-stores` runs it.

It prints a table. Exit code 1 if something of one store was seen in another, or if the move lost or repeated something.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.many_stores.move import move
from tests.many_stores.run import play

WAITING = 200
"""Orders that wait while the store moves."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.many_stores", description=__doc__)
    parser.add_argument("--stores", type=int, default=20, help="how many relays (20)")
    parser.add_argument("--seconds", type=float, default=60, help="how long they are idle (60)")
    parser.add_argument("--events", type=int, default=100_000, help="messages of the store that moves (100,000)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relay-stores-") as folder:
        Path(folder).chmod(0o755)
        report = asyncio.run(play(Path(folder), chosen.stores, chosen.seconds))
        moved = asyncio.run(move(Path(folder), chosen.events, WAITING))
    say("| | |", "|---|---|", *report.rows(), moved.row(), *report.findings)
    kept = (moved.posted, moved.posted_twice) == (WAITING, 0)
    if not kept:
        say(f"The move: {moved.posted} of {WAITING} orders were posted, {moved.posted_twice} more than once.")
    return int(bool(report.findings) or not kept)


def say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


raise SystemExit(main())
