"""Claim, call, settle with attempts: one worker, 64 in flight, beside bare clients and beside the peers."""

from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import Final

from benchmarks.drain import Contender, Relay
from benchmarks.figures import Measure, interleaved, rates, ratio
from benchmarks.results import Detail, Result, lowest, with_details
from benchmarks.stage import Stage, StageError

CLIENT: Final = Contender("client", "bare_client", stores=False)
TRANSPORT: Final = Contender("transport", "bare_transport", stores=False)
AIOHTTP: Final = Contender("aiohttp", "bare_aiohttp", stores=False)
PEERS: Final = (
    Contender("Procrastinate", "procrastinate_worker", needs="procrastinate"),
    Contender("PGQueuer", "pgqueuer_worker", needs="pgqueuer"),
    Contender("Celery", "celery_worker", needs="celery", redis=True),
    Contender("naive loop", "naive_loop"),
)


def run(stage: Stage) -> list[Result]:
    relay = Relay(stage.database())
    return [*_clients(stage, relay), _peers(stage, relay)]


def _clients(stage: Stage, relay: Relay) -> list[Result]:
    """The named values are those of a Platform that answers at once; a slow one's stand beside them."""
    named: dict[str, list[Detail]] = {"client": [], "aiohttp": []}
    slow: dict[str, list[Detail]] = {"client": [], "aiohttp": []}
    for size in stage.scale.sizes:
        for delay in stage.scale.delays:
            jobs = stage.scale.delayed_jobs if delay else stage.scale.jobs
            measures = {"relay": partial(relay.drain, stage, jobs, size, delay)} | {
                contender.name: partial(contender.drain, stage, jobs, size, delay)
                for contender in (CLIENT, TRANSPORT, AIOHTTP)
            }
            figures = interleaved(1 if delay else stage.scale.rounds, measures)
            for name in named:
                detail = Detail(_variant(size, delay), ratio(figures["relay"], figures[name]), rates(figures))
                (slow if delay else named)[name].append(detail)
    return [with_details(lowest(f"relay_vs_{name}", details), slow[name]) for name, details in named.items()]


def _peers(stage: Stage, relay: Relay) -> Result:
    """A peer that fails in some round is left out of the comparison, and the note says why."""
    absent = {peer.name: missing for peer in PEERS if (missing := peer.missing(stage))}
    notes = list(absent.values())
    named: list[Detail] = []
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
            } | {peer.name: partial(attempt, peer, size, delay) for peer in PEERS if peer.name not in absent}
            figures = interleaved(1 if delay else stage.scale.few_rounds, measures)
            figures = {name: values for name, values in figures.items() if min(values) > 0}
            best = max(figures.keys() - {"relay"}, key=lambda name: median(figures[name]))
            variant = f"{_variant(size, delay)}, best: {best}"
            detail = Detail(variant, ratio(figures["relay"], figures[best]), rates(figures))
            (slow if delay else named).append(detail)
    return with_details(lowest("relay_vs_best_peer", named, "; ".join(notes)), slow)


def _variant(size: int, delay: float) -> str:
    return f"{size / 1000:g} KB, {1000 * delay:g} ms"
