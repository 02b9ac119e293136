"""Rounds, medians and ratios. Pure, but for the measurements that are passed in."""

from collections.abc import Callable, Mapping
from statistics import median

Measure = Callable[[], float]
Rounds = dict[str, list[float]]


def interleaved(rounds: int, contenders: Mapping[str, Measure]) -> Rounds:
    """Every contender's figures, measured A B C, C B A, A B C …, so that a drift of the machine meets all alike."""
    figures: Rounds = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        for name in order:
            figures[name].append(contenders[name]())
        order.reverse()
    return figures


def ratio(over: list[float], under: list[float]) -> float:
    """The median of the ratios of the same round."""
    return median(a / b for a, b in zip(over, under, strict=True))


def medians(figures: Rounds) -> dict[str, float]:
    return {name: median(values) for name, values in figures.items()}


def rates(figures: Rounds) -> dict[str, float]:
    """The medians of events per second, named and rounded as a table shows them."""
    return {f"{name} /s": round(value) for name, value in medians(figures).items()}


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` (0 to 1) of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
