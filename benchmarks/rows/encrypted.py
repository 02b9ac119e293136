"""Bodies encrypted at rest (BODY_KEYS) beside bodies as they arrive: accepted by one web process, relayed by one worker."""

import base64
from functools import partial
from typing import Final

from benchmarks.drain import Relay
from benchmarks.figures import interleaved, rates, ratio
from benchmarks.load import Load
from benchmarks.results import Detail, Result, lowest
from benchmarks.stage import Stage

SETTINGS: Final = {"BODY_KEYS": f"bench:{base64.b64encode(bytes(range(32))).decode()}"}


def run(stage: Stage) -> list[Result]:
    details = []
    for size in stage.scale.sizes:
        details += [_accepted(stage, size), _relayed(stage, size)]
    return [lowest("encrypted_vs_plain", details)]


def _accepted(stage: Stage, size: int) -> Detail:
    connections = max(stage.scale.connections)
    with (
        stage.web(["platform_relay.cli", "web"], stage.database()) as (plain, _),
        stage.web(["platform_relay.cli", "web"], stage.database(), **SETTINGS) as (encrypted, _),
    ):

        def measure(url: str) -> float:
            return Load(url, next(stage.series), connections, stage.scale.seconds, size).run().per_second

        figures = interleaved(
            stage.scale.few_rounds, {"plain": partial(measure, plain), "encrypted": partial(measure, encrypted)}
        )
    shown = rates(figures)
    return Detail(
        f"accepted, {connections} connections, {size / 1000:g} KB", ratio(figures["encrypted"], figures["plain"]), shown
    )


def _relayed(stage: Stage, size: int) -> Detail:
    plain, encrypted = Relay(stage.database()), Relay(stage.database(), settings=SETTINGS)
    jobs = stage.scale.delayed_jobs
    figures = interleaved(
        stage.scale.few_rounds,
        {"plain": partial(plain.drain, stage, jobs, size), "encrypted": partial(encrypted.drain, stage, jobs, size)},
    )
    shown = rates(figures)
    return Detail(f"relayed, {size / 1000:g} KB, 0 ms", ratio(figures["encrypted"], figures["plain"]), shown)
