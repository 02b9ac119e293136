"""The NDJSON door: events per second of one web process, beside its single door."""

from functools import partial

from benchmarks.figures import interleaved, medians, ratio
from benchmarks.load import Load
from benchmarks.results import Detail, Result, lowest
from benchmarks.stage import Stage

AT_ONCE = 4
"""Batches in flight."""


def run(stage: Stage) -> list[Result]:
    scale = stage.scale
    rates, ratios = [], []
    with stage.web(["app.cli", "web"], stage.database()) as (url, _):

        def measure(connections: int, lines: int, size: int) -> float:
            return Load(url, next(stage.series), connections, scale.seconds, size, lines).run().per_second

        for size in scale.sizes:
            figures = interleaved(
                scale.rounds,
                {
                    "batch": partial(measure, AT_ONCE, scale.batch_lines, size),
                    "single": partial(measure, max(scale.connections), 0, size),
                },
            )
            middle = medians(figures)
            shown = {f"{name} /s": round(value) for name, value in middle.items()}
            rates.append(Detail(f"{size / 1000:g} KB", round(middle["batch"]) * 1.0, shown))
            ratios.append(Detail(f"{size / 1000:g} KB", ratio(figures["batch"], figures["single"]), shown))
    note = f"{scale.batch_lines} lines a batch, {AT_ONCE} batches at once"
    return [lowest("batch_ingest_per_s", rates, note), lowest("batch_vs_single", ratios)]
