"""What a row gives, and what it was to reach."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

Value = float | dict[str, float]


@dataclass(frozen=True, slots=True)
class Detail:
    """One variant of a row: its own value, and the figures that it was made of (`{"relay /s": 5200.0}`)."""

    variant: str
    value: Value
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """`value` is the worst variant's, so that a target met is met by all. None: the row failed, `note` says why.

    `judged` is what the target is about where that is not the value itself. `shortened`: measured for less time than
    the target asks for, so that meeting it proves it only so far.
    """

    name: str
    value: Value | None
    details: tuple[Detail, ...] = ()
    note: str = ""
    judged: float | None = None
    shortened: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """What the named value is to reach: `least`, or `most` (of each member where the value has several)."""

    least: float | None = None
    most: float | Mapping[str, float] | None = None
    of: str = ""
    """What the numbers are multiples of, in words."""
    long: bool = False
    """Measured by `make bench-long` only."""

    def met(self, value: Value) -> bool:
        if isinstance(self.most, Mapping):
            return isinstance(value, dict) and all(value[name] <= most for name, most in self.most.items())
        if isinstance(value, dict):
            return False
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        if isinstance(self.most, Mapping):
            return ", ".join(f"{name} ≤ {most:g}" for name, most in self.most.items())
        return f"≥ {self.least:g}{self.of}" if self.least is not None else f"≤ {self.most:g}{self.of}"


TARGETS: Final[Mapping[str, Target]] = {
    "ingest_vs_null": Target(least=0.90),
    "ingest_vs_naive": Target(least=8),
    "batch_ingest_per_s": Target(least=4, of=" × the single endpoint"),
    "relay_vs_client": Target(least=1.2),
    "relay_vs_client_50_ms": Target(least=0.95),
    "relay_vs_best_peer": Target(least=1.5),
    "relay_vs_best_peer_50_ms": Target(least=1.25),
    "relay_vs_best_peer_same_client": Target(least=1.2),
    "relay_vs_best_peer_same_client_50_ms": Target(least=1.25),
    "relay_cpu_ratio": Target(most=1.6),
    "postgres_cpu_us": Target(most=70),
    "wal_bytes": Target(most=2450),
    "relay_vs_aiohttp": Target(least=0.35),
    "relay_with_history": Target(least=0.90),
    "relay_held_snapshot": Target(least=0.80, long=True),
    "pickup_ms": Target(most={"p50": 10, "p99": 50}),
    "redeem_ms": Target(most={"p99": 150}),
    "two_workers": Target(least=1.95),
    "encrypted_vs_plain": Target(least=0.90),
    "refused_flood": Target(most=1.10, long=True),
    "longest_hold_ms": Target(most={"event": 100, "webhook": 100, "batch": 100}),
    "rss_mb": Target(most={"web": 90, "worker": 90, "drift_percent": 5}, long=True),
}


def lowest(name: str, details: list[Detail], note: str = "") -> Result:
    """The result whose value is the lowest of its variants'."""
    return Result(
        name, min(detail.value for detail in details if isinstance(detail.value, float)), tuple(details), note
    )


def highest_of(name: str, details: list[Detail], note: str = "") -> Result:
    """The result whose value is the highest of its variants'."""
    return Result(
        name, max(detail.value for detail in details if isinstance(detail.value, float)), tuple(details), note
    )


def highest(name: str, details: list[Detail], note: str = "") -> Result:
    """The result whose every member is the highest of its variants'."""
    values = [detail.value for detail in details if isinstance(detail.value, dict)]
    return Result(name, {member: max(value[member] for value in values) for member in values[0]}, tuple(details), note)


def with_details(result: Result, more: Iterable[Detail]) -> Result:
    """The same named value, with variants that are shown beside it."""
    return replace(result, details=(*result.details, *more))
