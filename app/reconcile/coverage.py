"""How much of the store a reconciliation has read: only a complete one shows that nothing is missing. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.events import EventKind


@dataclass(frozen=True, slots=True)
class StoreCount:
    """How many entities the store counted before and after its list was read; None if it cannot count them."""

    before: int | None
    after: int | None


def list_problem(kind: EventKind, counted: StoreCount, listed: int, unreadable: int) -> Reason | None:
    """Why a list that was read to its end is not complete: it lacks entities, or contains some that cannot be read.

    `listed` counts each entity once, with those that cannot be read. Entities that are created or deleted during the reading
    change the count, so the list needs only as many as the smaller of the two counts.
    """
    counts = [count for count in (counted.before, counted.after) if count is not None]
    expected = min(counts) if counts else 0
    if listed >= expected and not unreadable:
        return None
    facts: dict[str, JsonValue] = {"unreadable": unreadable or None}
    if listed < expected:
        facts |= {"count": expected, "listed": listed}
    return because(ReasonCode.LIST_INCOMPLETE, kind=str(kind), **facts)


@dataclass(slots=True)
class Coverage:
    """What a reconciliation has read. `failures`: what could not be read or is not complete, by the name of the list."""

    every_kind: bool = True
    store_counts: dict[str, StoreCount] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    failures: dict[str, Reason] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all kinds were compared, and everything that was to be read was read."""
        return self.every_kind and not self.failures

    def alert_reason(self, reconciliation: str) -> Reason | None:
        """The reason of the alert; None if nothing failed."""
        if not self.failures:
            return None
        failures: dict[str, JsonValue] = {name: reason.as_fact() for name, reason in self.failures.items()}
        return because(ReasonCode.RECONCILIATION_INCOMPLETE, failures=failures, reconciliation=reconciliation)


def stored_counts(counts: Mapping[str, StoreCount]) -> dict[str, JsonValue]:
    """The counts as JSON."""
    return {kind: {"before": count.before, "after": count.after} for kind, count in counts.items()}
