"""Whether refused requests slow accepted ones down: the p99 of a steady load of accepted events, with and without a flood of
refused ones, in turns, at one web process.

The flood has a bounded rate, because any requests, refused or not, take processor time from the web process: at the rate that it
just bears, everything waits. Beside it the same flood with REFUSED_REQUESTS=false: what differs is the price of keeping them.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from benchmarks.figures import interleaved, medians, ratio
from benchmarks.load import Answers, Load
from benchmarks.results import Detail, Result
from benchmarks.stage import Stage, StageError

CONNECTIONS: Final = 16
"""Of the accepted load, and of the flood."""
LEAST: Final = 0.8
"""The share of its rate that the flood must reach."""


def run(stage: Stage) -> list[Result]:
    scale = stage.scale
    floods: list[Answers] = []
    with (
        stage.web(["platform_relay.cli", "web"], stage.database()) as (keeping, _),
        stage.web(["platform_relay.cli", "web"], stage.database(), REFUSED_REQUESTS="false") as (dropping, _),
        ThreadPoolExecutor(1) as beside,
    ):

        def accepted(url: str) -> float:
            load = Load(url, next(stage.series), CONNECTIONS, scale.flood_seconds, 400, rate=scale.load_rate)
            return load.run().p99

        def flooded(url: str) -> float:
            # The flood ends later than the load, as the load's program has to start as well.
            seconds = scale.flood_seconds * 1.1 + 1
            load = Load(url, next(stage.series), CONNECTIONS, seconds, 400, rate=scale.flood_rate, wrong=True)
            running = beside.submit(load.run)
            p99 = accepted(url)
            flood = running.result()
            if flood.per_second < LEAST * scale.flood_rate:
                raise StageError(f"the flood had {flood.per_second:.0f} requests/s instead of {scale.flood_rate:g}")
            if url == keeping:
                floods.append(flood)
            return p99

        figures = interleaved(
            scale.rounds,
            {
                "without": partial(accepted, keeping),
                "flood": partial(flooded, keeping),
                "flood, not kept": partial(flooded, dropping),
                "without, not kept": partial(accepted, dropping),
            },
        )
    middle = medians(figures)
    shown = {f"{name} p99 ms": round(value, 2) for name, value in middle.items()}
    rate = sum(flood.events for flood in floods) / sum(flood.seconds for flood in floods)
    refused = sum(flood.events for flood in floods)
    kept = Detail("REFUSED_REQUESTS=true", ratio(figures["flood"], figures["without"]), shown)
    dropped = Detail("REFUSED_REQUESTS=false", ratio(figures["flood, not kept"], figures["without, not kept"]))
    note = (
        f"{scale.load_rate:g} accepted requests/s beside {rate:,.0f} refused ones/s (422), {refused:,} in all;"
        f" the value is p99 with the flood / p99 without"
    )
    assert isinstance(kept.value, float)  # noqa: S101  # a ratio
    return [Result("refused_flood", kept.value, (kept, dropped), note)]
