"""`python -m benchmarks.scaling [--tiny] [--write-docs]`: events per second with 1, 2, 4 and 8 workers, at a Platform that
takes 50 ms. A table, and as the last line one JSON object: concurrency -> workers -> events per second."""

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
CONCURRENCY: Final = (8, 64)
DELAY: Final = 0.05
"""Seconds."""
SECONDS: Final = 10.0
"""How long a drain takes where the concurrency limits it."""
CORE_BOUND: Final = 4000.0
"""Events per second above which a backlog need not be longer for that."""
BODY: Final = 400
POOL: Final = "8"
"""Connections of a worker; eight workers have to fit into PostgreSQL's hundred."""


def curve(place: Stage, concurrency: int) -> dict[int, float]:
    """Workers -> events per second, the median of the rounds."""
    database_url, tiny = place.database(), place.scale is TINY

    def drain(workers: int) -> float:
        jobs = 200 if tiny else round(SECONDS * min(ceiling(workers, concurrency), CORE_BOUND))
        relay = Relay(database_url, workers, {"CONCURRENCY": str(concurrency), "DATABASE_POOL_SIZE": POOL})
        return relay.drain(place, jobs, BODY, DELAY)

    counts = WORKERS[:2] if tiny else WORKERS
    figures = interleaved(place.scale.rounds, {str(workers): partial(drain, workers) for workers in counts})
    return {int(workers): value for workers, value in medians(figures).items()}


def ceiling(workers: int, concurrency: int) -> float:
    """Calls per second that the concurrency allows."""
    return workers * concurrency / DELAY


def table(measured: dict[int, dict[int, float]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield (
        "| workers | " + " | ".join(f"concurrency {limit}: events/s | of the maximum" for limit in CONCURRENCY) + " |"
    )
    yield "|---|" + "---|---|" * len(CONCURRENCY)
    for workers in measured[CONCURRENCY[0]]:
        cells = []
        for concurrency in CONCURRENCY:
            value = measured[concurrency][workers]
            cells += [f"{value:,.0f}", f"{value / ceiling(workers, concurrency):.0%}"]
        yield f"| {workers} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="in seconds; the figures mean nothing")
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/scaling.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as Ctrl-C does, so that no process is left
    on = machine()
    with stage(TINY if options.tiny else NORMAL) as place:
        measured = {concurrency: curve(place, concurrency) for concurrency in CONCURRENCY}
    lines = list(table(measured))
    print(*lines, sep="\n")
    if options.write_docs:
        before, rest = PAGE.read_text().split(BEGIN)
        body = "\n".join([f"Last run: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {on}.", "", *lines])
        PAGE.write_text(f"{before}{BEGIN}\n{body}\n{END}{rest.split(END)[1]}")
    print(
        json.dumps(
            {
                concurrency: {workers: round(each) for workers, each in line.items()}
                for concurrency, line in measured.items()
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
