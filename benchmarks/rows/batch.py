"""The NDJSON endpoint: events per second of one web process, beside its single endpoint."""

from dataclasses import replace
from functools import partial

from benchmarks.figures import interleaved, medians, ratio
from benchmarks.load import Load
from benchmarks.results import Detail, Result, lowest
from benchmarks.stage import Stage

AT_ONCE = 4
"""Batches in flight."""


def run(stage: Stage) -> list[Result]:
    scale = stage.scale
    details, times = [], []
    with stage.web(["platform_relay.cli", "web"], stage.database()) as (url, _):

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
            times.append(ratio(figures["batch"], figures["single"]))
            shown = {f"{name} /s": round(value) for name, value in middle.items()} | {
                "times the single endpoint": times[-1]
            }
            details.append(Detail(f"{size / 1000:g} KB", float(round(middle["batch"])), shown))
    note = f"{scale.batch_lines} lines a batch, {AT_ONCE} batches at once; {min(times):.1f} times the single endpoint"
    return [replace(lowest("batch_ingest_per_s", details, note), judged=min(times))]
