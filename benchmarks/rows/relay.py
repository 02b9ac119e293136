"""Claim, call, settle with attempts: one worker, 64 in flight, beside bare clients and beside the peers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Final

from benchmarks.drain import Contender, Relay
from benchmarks.figures import Measure, interleaved, rates, ratio
from benchmarks.results import Detail, Result, lowest, with_details
from benchmarks.stage import Stage, StageError
from benchmarks.usage import processor_seconds

CLIENT: Final = Contender("client", "bare_client", stores=False)
TRANSPORT: Final = Contender("transport", "bare_transport", stores=False)
AIOHTTP: Final = Contender("aiohttp", "bare_aiohttp", stores=False)
PEERS: Final = (
    Contender("Procrastinate", "procrastinate_worker", needs="procrastinate", client="aiohttp"),
    Contender("PGQueuer", "pgqueuer_worker", needs="pgqueuer", client="aiohttp"),
    Contender("PGQueuer with httpx", "pgqueuer_worker", needs="pgqueuer", client="httpx"),
    Contender("Celery", "celery_worker", needs="celery", redis=True, client="aiohttp"),
    Contender("naive loop", "naive_loop", client="aiohttp"),
)
"""With the client that their users would choose."""
SAME_CLIENT: Final = tuple(replace(peer, client="relay") for peer in PEERS if peer.client != "httpx")


def clients(stage: Stage) -> list[Result]:
    """The Platform answers at once, and, in the row of its own, after 50 ms."""
    relay = Relay(stage.database())
    fast: dict[str, list[Detail]] = {"client": [], "aiohttp": []}
    slow: dict[str, list[Detail]] = {"client": [], "aiohttp": []}
    for size in stage.scale.sizes:
        for delay in stage.scale.delays:
            jobs = stage.scale.delayed_jobs if delay else stage.scale.jobs
            measures = {"relay": partial(relay.drain, stage, jobs, size, delay)} | {
                contender.name: partial(contender.drain, stage, jobs, size, delay)
                for contender in (CLIENT, TRANSPORT, AIOHTTP)
            }
            figures = interleaved(1 if delay else stage.scale.rounds, measures)
            for name in fast:
                detail = Detail(_variant(size, delay), ratio(figures["relay"], figures[name]), rates(figures))
                (slow if delay else fast)[name].append(detail)
    return [
        lowest("relay_vs_client", fast["client"]),
        *([lowest("relay_vs_client_50_ms", slow["client"])] if slow["client"] else []),
        with_details(lowest("relay_vs_aiohttp", fast["aiohttp"]), slow["aiohttp"]),
    ]


def peers(stage: Stage) -> list[Result]:
    return _peers(stage, "relay_vs_best_peer", PEERS)


def peers_with_our_client(stage: Stage) -> list[Result]:
    return _peers(stage, "relay_vs_best_peer_same_client", SAME_CLIENT)


def _peers(stage: Stage, name: str, peers: Sequence[Contender]) -> list[Result]:
    """A peer that fails in some round is left out of the comparison, and the note says why."""
    relay = Relay(stage.database())
    absent = {peer.name: missing for peer in peers if (missing := peer.missing(stage))}
    notes = list(absent.values())
    fast: list[Detail] = []
    slow: list[Detail] = []

    def attempt(peer: Contender, size: int, delay: float) -> float:
        try:
            return peer.drain(stage, stage.scale.peer_jobs, size, delay)
        except StageError as error:
            notes.append(f"{peer.name} failed: {error}")
            return 0.0

    for size in stage.scale.sizes:
        for delay in stage.scale.delays:
            measures: Mapping[str, Measure] = {
                "relay": partial(relay.drain, stage, stage.scale.delayed_jobs, size, delay)
            } | {peer.name: partial(attempt, peer, size, delay) for peer in peers if peer.name not in absent}
            used, began = processor_seconds(stage.platform.pid), time.monotonic()
            figures = interleaved(1 if delay else stage.scale.few_rounds, measures)
            share = (processor_seconds(stage.platform.pid) - used) / (time.monotonic() - began)
            figures = {name: values for name, values in figures.items() if min(values) > 0}
            best = max(figures.keys() - {"relay"}, key=lambda name: median(figures[name]))
            variant = f"{_variant(size, delay)}, best: {best}"
            shown = rates(figures) | {"simulator, % of a core": round(100 * share)}
            (slow if delay else fast).append(Detail(variant, ratio(figures["relay"], figures[best]), shown))
    return [
        lowest(row, details, "; ".join(notes)) for row, details in ((name, fast), (f"{name}_50_ms", slow)) if details
    ]


def _variant(size: int, delay: float) -> str:
    return f"{size / 1000:g} KB, {1000 * delay:g} ms"
