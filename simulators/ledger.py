"""What a simulator received, and what of it took effect: the ground truth tests and benchmarks compare with.

Everything is kept in memory; the counts are kept while recording, so a summary costs the same after 100,000 calls.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Entry:
    """One received call. `seq` numbers receipts, `applied_seq` numbers effects: the two orders may differ."""

    seq: int
    at: float
    method: str
    path: str
    query: str
    body: bytes
    kind: str
    entity: str
    headers: dict[str, str] | None = None
    applied_seq: int | None = None
    applied_at: float | None = None
    duplicate: bool = False
    status: int | None = None
    fault: str = ""

    def as_json(self, with_body: bool) -> dict[str, Any]:
        """The entry as a JSON object; the body parsed when it is JSON, else as text."""
        seen: dict[str, Any] = {
            "seq": self.seq, "at": self.at, "method": self.method, "path": self.path, "query": self.query,
            "kind": self.kind, "entity": self.entity, "applied": self.applied_seq is not None,
            "applied_seq": self.applied_seq, "applied_at": self.applied_at, "duplicate": self.duplicate,
            "status": self.status, "fault": self.fault,
        }  # fmt: skip
        if with_body:
            seen["body"] = _readable(self.body)
        if self.headers is not None:
            seen["headers"] = self.headers
        return seen


@dataclass(slots=True)
class Tally:
    """Counts of one kind, or of one entity within a kind."""

    received: int = 0
    applied: int = 0
    duplicates: int = 0
    refused: int = 0
    faults: int = 0

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return {name: getattr(self, name) for name in Tally.__slots__}


class Ledger:
    """The record. `once` are the kinds that ought to take effect once per entity and are counted per entity."""

    def __init__(self, once: frozenset[str]) -> None:
        self._once = once
        self.clear()

    def clear(self) -> None:
        """Forget everything; numbers start at 1 again."""
        self.entries: list[Entry] = []
        self.kinds: dict[str, Tally] = {}
        self.repeats: dict[str, dict[str, Tally]] = {kind: {} for kind in sorted(self._once)}
        self._effects = 0

    def _tallies(self, entry: Entry) -> tuple[Tally, ...]:
        kind = self.kinds.get(entry.kind)
        if kind is None:
            kind = self.kinds[entry.kind] = Tally()
        if entry.kind not in self._once:
            return (kind,)
        return kind, self.repeats[entry.kind].setdefault(entry.entity, Tally())

    def received(
        self, method: str, path: str, query: str, body: bytes, kind: str, entity: str, headers: dict[str, str] | None
    ) -> Entry:
        """Record a call as it arrives."""
        entry = Entry(len(self.entries) + 1, time.monotonic(), method, path, query, body, kind, entity, headers)
        self.entries.append(entry)
        for tally in self._tallies(entry):
            tally.received += 1
        return entry

    def applied(self, entry: Entry) -> None:
        """Record that the call took effect, now."""
        self._effects += 1
        entry.applied_seq = self._effects
        entry.applied_at = time.monotonic()
        for tally in self._tallies(entry):
            tally.applied += 1

    def duplicate(self, entry: Entry) -> None:
        """Record that the call asked for an effect that was already there."""
        entry.duplicate = True
        for tally in self._tallies(entry):
            tally.duplicates += 1

    def answered(self, entry: Entry, status: int | None, fault: str) -> None:
        """Record the answer: `status` None when none was given, `fault` the scripted mode or empty."""
        entry.status = status
        entry.fault = fault
        if fault:
            for tally in self._tallies(entry):
                tally.faults += 1
        elif status is not None and status >= 400:
            for tally in self._tallies(entry):
                tally.refused += 1

    def select(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """Entries after `since` (a seq), at most `limit`, of one `kind` or `entity`; `applied=1`: effects, in their
        order; `body=0` leaves the bodies out."""
        chosen: list[Entry] = self.entries[int(query.get("since") or 0) :]
        if query.get("kind"):
            chosen = [entry for entry in chosen if entry.kind == query["kind"]]
        if query.get("entity"):
            chosen = [entry for entry in chosen if entry.entity == query["entity"]]
        if query.get("applied") == "1":
            effects = [(entry.applied_seq, entry) for entry in chosen if entry.applied_seq is not None]
            chosen = [entry for _, entry in sorted(effects, key=lambda pair: pair[0])]
        if query.get("limit"):
            chosen = chosen[: int(query["limit"])]
        return [entry.as_json(query.get("body") != "0") for entry in chosen]

    def summary(self, full: bool) -> dict[str, Any]:
        """Counts per kind, and per once-only kind the entities asked for or applied too often (`full`: all of them)."""
        total = Tally()
        for tally in self.kinds.values():
            for name in Tally.__slots__:
                setattr(total, name, getattr(total, name) + getattr(tally, name))
        repeated = {
            kind: {
                entity: tally.as_json()
                for entity, tally in tallies.items()
                if full or tally.duplicates or tally.applied > 1
            }
            for kind, tallies in self.repeats.items()
        }
        entities = {
            kind: {"entities": len(tallies), "applied_more_than_once": sum(t.applied > 1 for t in tallies.values())}
            for kind, tallies in self.repeats.items()
        }
        return {
            "last_seq": len(self.entries),
            "effects": self._effects,
            "total": total.as_json(),
            "kinds": {kind: tally.as_json() for kind, tally in sorted(self.kinds.items())},
            "once": entities,
            "repeated": repeated,
        }


def _readable(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "backslashreplace")
