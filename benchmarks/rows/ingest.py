"""Durable accept (202 after the commit), one web process, beside the same route without a store and a naive one."""

from functools import partial

from benchmarks.figures import interleaved, rates, ratio
from benchmarks.load import Load
from benchmarks.results import Detail, Result, lowest
from benchmarks.stage import Stage


def run(stage: Stage) -> list[Result]:
    scale = stage.scale
    null_details, naive_details, shares = [], [], []
    with (
        stage.web(["platform_relay.cli", "web"], stage.database()) as (relay, _),
        stage.web(["benchmarks.servers.null"], stage.database()) as (null, _),
        stage.web(["benchmarks.servers.naive"], stage.database(empty=True)) as (naive, _),
    ):

        def measure(url: str, connections: int, size: int) -> float:
            answers = Load(url, next(stage.series), connections, scale.seconds, size).run()
            if url == null:
                shares.append(answers.cpu)
            return answers.per_second

        for size in scale.sizes:
            for connections in scale.connections:
                figures = interleaved(
                    scale.rounds,
                    {
                        name: partial(measure, url, connections, size)
                        for name, url in (("null", null), ("relay", relay), ("naive", naive))
                    },
                )
                variant = f"{connections} connections, {size / 1000:g} KB"
                middle = rates(figures)
                null_details.append(Detail(variant, ratio(figures["relay"], figures["null"]), middle))
                naive_details.append(Detail(variant, ratio(figures["relay"], figures["naive"]), middle))
    note = f"the load generator took {100 * max(shares):.0f} % of a core at most"
    return [lowest("ingest_vs_null", null_details, note), lowest("ingest_vs_naive", naive_details)]
