"""Two worker processes beside one, at a Platform that takes 50 ms. Each makes 8 calls at a time, so that neither the machine's
cores nor the Platform limit them."""

from functools import partial
from typing import Final

from benchmarks.drain import Relay
from benchmarks.figures import interleaved, rates, ratio
from benchmarks.results import Detail, Result, lowest
from benchmarks.stage import Stage

DELAY: Final = 0.05
"""Seconds."""
SLOTS: Final = {"CONCURRENCY": "8"}
SHARE: Final = 8
"""A worker of 64 slots would have so many times the jobs."""


def run(stage: Stage) -> list[Result]:
    database_url, details = stage.database(), []
    jobs = max(16, stage.scale.delayed_jobs // SHARE)
    for size in stage.scale.sizes:
        figures = interleaved(
            stage.scale.few_rounds,
            {
                "one": partial(Relay(database_url, 1, SLOTS).drain, stage, jobs, size, DELAY),
                "two": partial(Relay(database_url, 2, SLOTS).drain, stage, 2 * jobs, size, DELAY),
            },
        )
        shown = rates(figures)
        details.append(Detail(f"{size / 1000:g} KB, 50 ms", ratio(figures["two"], figures["one"]), shown))
    return [lowest("two_workers", details)]
