"""`python -m benchmarks.scaling [--tiny] [--write-docs]`: events per second with 1, 2, 4 and 8 workers, at a Platform that
takes 50 ms. A table, and as the last line one JSON object: slots -> workers -> events per second."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.drain import Relay
from benchmarks.figures import interleaved, medians
from benchmarks.record import machine
from benchmarks.scale import NORMAL, TINY
from benchmarks.stage import Stage, stage

PAGE: Final = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- figures: written by `python -m benchmarks.scaling --write-docs` -->", "<!-- end of figures -->"
WORKERS: Final = (1, 2, 4, 8)
SLOTS: Final = (8, 64)
DELAY: Final = 0.05
"""Seconds."""
SECONDS: Final = 10.0
"""How long a drain takes where the slots bound it."""
CORE_BOUND: Final = 4000.0
"""Events per second above which a backlog need not be longer for that."""
BODY: Final = 400
POOL: Final = "8"
"""Connections of a worker; eight workers have to fit into PostgreSQL's hundred."""


def curve(place: Stage, slots: int) -> dict[int, float]:
    """Workers -> events per second, the median of the rounds."""
    database_url, tiny = place.database(), place.scale is TINY

    def drain(workers: int) -> float:
        jobs = 200 if tiny else round(SECONDS * min(ceiling(workers, slots), CORE_BOUND))
        relay = Relay(database_url, workers, {"SLOTS": str(slots), "DATABASE_POOL": POOL})
        return relay.drain(place, jobs, BODY, DELAY)

    counts = WORKERS[:2] if tiny else WORKERS
    figures = interleaved(place.scale.rounds, {str(workers): partial(drain, workers) for workers in counts})
    return {int(workers): value for workers, value in medians(figures).items()}


def ceiling(workers: int, slots: int) -> float:
    """Calls per second that the slots allow."""
    return workers * slots / DELAY


def table(measured: dict[int, dict[int, float]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield (
        "| workers | " + " | ".join(f"{slots} slots each: events/s | of what the slots allow" for slots in SLOTS) + " |"
    )
    yield "|---|" + "---|---|" * len(SLOTS)
    for workers in measured[SLOTS[0]]:
        cells = []
        for slots in SLOTS:
            value = measured[slots][workers]
            cells += [f"{value:,.0f}", f"{value / ceiling(workers, slots):.0%}"]
        yield f"| {workers} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="in seconds; the figures mean nothing")
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/scaling.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as Ctrl-C does, so that no process is left
    on = machine()
    with stage(TINY if options.tiny else NORMAL) as place:
        measured = {slots: curve(place, slots) for slots in SLOTS}
    lines = list(table(measured))
    print(*lines, sep="\n")
    if options.write_docs:
        before, rest = PAGE.read_text().split(BEGIN)
        body = "\n".join([f"Last run: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {on}.", "", *lines])
        PAGE.write_text(f"{before}{BEGIN}\n{body}\n{END}{rest.split(END)[1]}")
    print(
        json.dumps(
            {slots: {workers: round(each) for workers, each in line.items()} for slots, line in measured.items()}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
