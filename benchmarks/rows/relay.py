"""Claim, call, settle with attempts: one worker, 64 in flight, beside bare clients and beside the peers."""

from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import Final

from benchmarks.drain import Contender, Relay
from benchmarks.figures import Measure, Rounds, interleaved, medians, ratio
from benchmarks.results import Detail, Result, lowest
from benchmarks.scale import DELAY
from benchmarks.stage import Stage, StageError

CLIENT: Final = Contender("client", "bare_client")
TRANSPORT: Final = Contender("transport", "bare_transport")
AIOHTTP: Final = Contender("aiohttp", "bare_aiohttp")
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
    """The named values are those of a Platform that answers at once; the slow one's are shown beside them."""
    client, aiohttp = [], []
    slow = []
    for size in stage.scale.sizes:
        figures = interleaved(stage.scale.rounds, _measures(stage, relay, stage.scale.jobs, size, 0.0))
        shown = _shown(figures)
        client.append(Detail(f"{size / 1000:g} KB", ratio(figures["relay"], figures["client"]), shown))
        aiohttp.append(Detail(f"{size / 1000:g} KB", ratio(figures["relay"], figures["aiohttp"]), shown))
        figures = interleaved(1, _measures(stage, relay, stage.scale.delayed_jobs, size, DELAY))
        slow.append(
            f"with {1000 * DELAY:g} ms and {size / 1000:g} KB: {ratio(figures['relay'], figures['client']):.2f}"
            f" ({', '.join(f'{name} {value:,.0f}' for name, value in _shown(figures).items())})"
        )
    return [lowest("relay_vs_client", client, "; ".join(slow)), lowest("relay_vs_aiohttp", aiohttp)]


def _measures(stage: Stage, relay: Relay, jobs: int, size: int, delay: float) -> Mapping[str, Measure]:
    return {"relay": partial(relay.drain, stage, jobs, size, delay)} | {
        contender.name: partial(contender.drain, stage, jobs, size, delay)
        for contender in (CLIENT, TRANSPORT, AIOHTTP)
    }


def _peers(stage: Stage, relay: Relay) -> Result:
    notes = [missing for peer in PEERS if (missing := peer.missing(stage))]
    present = [peer for peer in PEERS if not peer.missing(stage)]
    details = []
    for size in stage.scale.sizes:
        for delay in (0.0, DELAY):
            rates: Rounds = {}
            ours = _attempt(partial(relay.drain, stage, stage.scale.delayed_jobs, size, delay), stage.scale.rounds)
            for peer in present:
                try:
                    measure = partial(peer.drain, stage, stage.scale.peer_jobs, size, delay)
                    rates[peer.name] = _attempt(measure, max(1, stage.scale.rounds - 1))
                except StageError as error:
                    notes.append(f"{peer.name} failed: {error}")
            best = max(rates, key=lambda name: median(rates[name]))
            value = median(ours) / median(rates[best])
            variant = f"{size / 1000:g} KB, {1000 * delay:g} ms, best: {best}"
            details.append((delay, Detail(variant, value, _shown({"relay": ours, **rates}))))
    named = lowest("relay_vs_best_peer", [detail for delay, detail in details if not delay])
    slow = tuple(detail for delay, detail in details if delay)
    return Result(named.name, named.value, named.details + slow, "; ".join(notes))


def _attempt(measure: Measure, rounds: int) -> list[float]:
    return [measure() for _ in range(rounds)]


def _shown(figures: Rounds) -> dict[str, float]:
    return {f"{name} /s": round(value) for name, value in medians(figures).items()}
