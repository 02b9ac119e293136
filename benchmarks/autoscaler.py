"""The HorizontalPodAutoscaler's arithmetic, with the target and the behaviour of deploy/kubernetes/base/autoscaler.yaml. Pure.

Source: Kubernetes documentation, "Horizontal Pod Autoscaling" (algorithm details, configurable scaling behavior), and
pkg/controller/podautoscaler of Kubernetes 1.32: for an external metric with a target of the type Value,
desired = ceil(ready pods x value / target), nothing changes within 10 % of the target, then the recommendations of the
stabilization window, the policies, and the limits apply, in this order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self  # Any: YAML

import yaml

MANIFEST: Final = Path(__file__).parents[1] / "deploy" / "kubernetes" / "base" / "autoscaler.yaml"
SYNC_PERIOD: Final = 15.0
"""Seconds between two decisions (--horizontal-pod-autoscaler-sync-period)."""
TOLERANCE: Final = 0.1
DEFAULT_UP: Final = {
    "stabilizationWindowSeconds": 0,
    "policies": [
        {"type": "Percent", "value": 100, "periodSeconds": 15},
        {"type": "Pods", "value": 4, "periodSeconds": 15},
    ],
}
DEFAULT_DOWN: Final = {
    "stabilizationWindowSeconds": 300,
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


@dataclass(frozen=True, slots=True)
class Policy:
    """At most `value` pods, or `value` percent of them, in `period` seconds."""

    percent: bool
    value: int
    period: float


@dataclass(frozen=True, slots=True)
class Direction:
    """One half of `behavior`. Of several policies the one with the largest change counts."""

    window: float
    policies: Sequence[Policy]

    @classmethod
    def read(cls, given: Mapping[str, Any], default: Mapping[str, Any]) -> Self:
        merged = {**default, **given}
        policies = [
            Policy(each["type"] == "Percent", each["value"], float(each["periodSeconds"]))
            for each in merged["policies"]
        ]
        return cls(float(merged["stabilizationWindowSeconds"]), policies)


@dataclass(slots=True)
class Autoscaler:
    """Decides about one deployment. Call `desired` every SYNC_PERIOD; times in seconds."""

    target: float
    least: int
    most: int
    up: Direction
    down: Direction
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)

    @classmethod
    def from_manifest(cls, manifest: Path = MANIFEST, *, least: int | None = None, most: int | None = None) -> Self:
        """As the manifest has it; `least` and `most` instead of its numbers of replicas."""
        spec = yaml.safe_load(manifest.read_text())["spec"]
        [metric] = spec["metrics"]
        behavior = spec.get("behavior", {})
        return cls(
            float(metric["external"]["target"]["value"]),
            spec["minReplicas"] if least is None else least,
            spec["maxReplicas"] if most is None else most,
            Direction.read(behavior.get("scaleUp", {}), DEFAULT_UP),
            Direction.read(behavior.get("scaleDown", {}), DEFAULT_DOWN),
        )

    def desired(self, now: float, current: int, ready: int, value: float | None) -> int:
        """The number of replicas from now on. `value` None: the metric could not be read, so nothing changes."""
        if value is None:
            return current
        ratio = value / self.target
        wanted = current if abs(1 - ratio) <= TOLERANCE else math.ceil(ratio * ready)
        chosen = self._limited(now, current, self._stable(now, current, wanted))
        chosen = max(self.least, min(self.most, chosen))
        if chosen != current:
            self._changes.append((now, chosen - current))
        return chosen

    def _stable(self, now: float, current: int, wanted: int) -> int:
        if not self._recommended:
            self._recommended.append((now, current))
        window = max(self.up.window, self.down.window)
        self._recommended = [(at, each) for at, each in self._recommended if at > now - window]
        highest = max([wanted, *(each for at, each in self._recommended if at > now - self.down.window)])
        lowest = min([wanted, *(each for at, each in self._recommended if at > now - self.up.window)])
        self._recommended.append((now, wanted))
        return lowest if current < lowest else min(current, highest)

    def _limited(self, now: float, current: int, wanted: int) -> int:
        if wanted > current:
            return min(wanted, max(self._after(now, current, each, 1) for each in self.up.policies))
        return max(wanted, min(self._after(now, current, each, -1) for each in self.down.policies))

    def _after(self, now: float, current: int, policy: Policy, sign: int) -> int:
        recent = sum(change for at, change in self._changes if at > now - policy.period and change * sign > 0)
        start = current - recent
        if policy.percent:
            limit = start * (1 + sign * policy.value / 100)
            return math.ceil(limit) if sign > 0 else math.floor(limit)
        return start + sign * policy.value


def turns(replicas: Sequence[int]) -> int:
    """How often the number of replicas changed its direction, from growing to shrinking or back."""
    changes = [after - before for before, after in pairwise(replicas) if after != before]
    return sum(1 for before, after in pairwise(changes) if (before > 0) != (after > 0))
