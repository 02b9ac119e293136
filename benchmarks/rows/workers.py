"""Two worker processes beside one, at a Platform that takes 50 ms."""

from functools import partial
from typing import Final

from benchmarks.drain import Relay
from benchmarks.figures import interleaved, rates, ratio
from benchmarks.results import Detail, Result, lowest
from benchmarks.stage import Stage

DELAY: Final = 0.05
"""Seconds."""


def run(stage: Stage) -> list[Result]:
    database_url, details = stage.database(), []
    for size in stage.scale.sizes:
        figures = interleaved(
            stage.scale.few_rounds,
            {
                "one": partial(Relay(database_url).drain, stage, stage.scale.delayed_jobs, size, DELAY),
                "two": partial(Relay(database_url, 2).drain, stage, 2 * stage.scale.delayed_jobs, size, DELAY),
            },
        )
        shown = rates(figures)
        details.append(Detail(f"{size / 1000:g} KB, 50 ms", ratio(figures["two"], figures["one"]), shown))
    return [lowest("two_workers", details)]
