"""Which call is to go wrong, and how. Pure: it decides, `wire.py` and `program.py` carry it out."""

from __future__ import annotations

import json
import random
import re
import time
from dataclasses import dataclass, field
from typing import Any

from .call import Call, Json

APPLIES = {
    "answer": False,
    "apply_then": True,
    "reset_before": False,
    "reset_after": True,
    "garbage": True,
    "noise": True,
    "not_http": True,
    "empty": True,
    "truncated": True,
    "slow_drip": True,
    "redirect": False,
    "gzip_bomb": True,
}
"""Every mode, and whether the call takes effect under it unless the rule's own `apply` says otherwise."""


KINDS: dict[str, type | tuple[type, ...]] = {
    "path": str, "method": str, "contains": str, "times": (int, type(None)), "skip": int, "rate": (int, float),
    "apply": (bool, type(None)), "status": (int, type(None)), "headers": dict, "delay": (int, float),
    "delay_before": (int, float), "size": int, "after": str,
}  # fmt: skip
"""The JSON types of a rule's fields."""


class RuleError(ValueError):
    """A rule that cannot be understood; the text says why."""


@dataclass(slots=True)
class Rule:
    """One scripted misbehaviour; the fields are those of `POST /_sim/next`, described in README.md."""

    path: str = ""
    method: str = ""
    contains: str = ""
    times: int | None = 1
    skip: int = 0
    rate: float = 1.0
    mode: str = "answer"
    apply: bool | None = None
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    delay_before: float = 0.0
    size: int = 50_000_000
    after: str = ""
    id: int = 0
    hits: int = 0

    @classmethod
    def parse(cls, given: dict[str, Any]) -> Rule:
        """A rule from a JSON object. `times: null` or `persistent: true` holds until cleared. Raises RuleError."""
        given = dict(given)
        if given.pop("persistent", False):
            given["times"] = None
        unknown = set(given) - (set(cls.__slots__) - {"id", "hits"})
        if unknown:
            raise RuleError(f"unknown field(s) {sorted(unknown)}")
        rule = cls(**given)
        if rule.mode not in APPLIES:
            raise RuleError(f"unknown mode {rule.mode!r}; one of {sorted(APPLIES)}")
        wrong = [name for name, kinds in KINDS.items() if not isinstance(getattr(rule, name), kinds)]
        if wrong:
            raise RuleError(f"wrong type of {wrong}")
        if rule.status is not None and not 200 <= rule.status <= 599:
            raise RuleError(f"status must be from 200 to 599, not {rule.status}")
        if rule.path.startswith("^"):
            try:
                re.compile(rule.path)
            except re.error as error:
                raise RuleError(f"path is no regular expression: {error}") from None
        rule.method = rule.method.upper()
        if rule.apply is None:
            rule.apply = APPLIES[rule.mode]
        return rule

    def body_bytes(self) -> bytes | None:
        """The scripted body: a text as it stands, anything else as JSON, None when the rule gives none."""
        if self.body is None:
            return None
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()

    def matches(self, call: Call) -> bool:
        """Whether the rule is about this call: method, path (prefix, or regex when it starts with ^), body text."""
        if self.method and self.method != call.method:
            return False
        if self.path.startswith("^"):
            if not re.search(self.path, call.path):
                return False
        elif not call.path.startswith(self.path):
            return False
        return not self.contains or self.contains.encode() in call.body

    def as_json(self) -> dict[str, Any]:
        """The rule as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


OUTAGE_MODES = ("503", "reset")


class Script:
    """The rules in their order, the outage, the latency and the rate limit."""

    def __init__(self, clock: Any = time.monotonic, seed: int = 1) -> None:
        self._clock = clock
        self._seed = seed
        self._rule_ids = 0
        self.clear()

    def clear(self) -> None:
        """No rules, no outage, no latency, no rate limit; the rng start anew."""
        self.rules: list[Rule] = []
        self._rng = random.Random(self._seed)
        self.outage_until: float | None = None
        self.outage_mode = "503"
        self.latency = 0.0
        self.jitter = 0.0
        self.rate_limit = 0.0
        self.retry_after: int | None = None
        self._tokens = 0.0
        self._refilled = 0.0
        self.quiet = True

    def _update(self) -> None:
        self.quiet = not (self.rules or self.latency or self.jitter or self.rate_limit or self.outage_until is not None)

    def add(self, rule: Rule) -> Rule:
        """Queue a rule behind the others."""
        self._rule_ids += 1
        rule.id = self._rule_ids
        self.rules.append(rule)
        self._update()
        return rule

    def remove(self, ids: list[int] | None) -> int:
        """Drop the rules with these ids, or all of them; gives how many went."""
        kept = [] if ids is None else [rule for rule in self.rules if rule.id not in ids]
        gone = len(self.rules) - len(kept)
        self.rules = kept
        self._update()
        return gone

    def set_outage(self, given: Json) -> object:
        """Begin an outage (`on`, for `seconds` or until ended, by `mode`) or end it. Raises RuleError on a bad mode."""
        on, seconds, mode = given.get("on", True), given.get("seconds"), given.get("mode", OUTAGE_MODES[0])
        if mode not in OUTAGE_MODES:
            raise RuleError(f"unknown outage mode {mode!r}; one of {list(OUTAGE_MODES)}")
        self.outage_mode = mode
        until = float("inf") if seconds is None else self._clock() + float(seconds)
        self.outage_until = until if on else None
        self._update()
        return self.as_json()["outage"]

    def set_latency(self, given: Json) -> object:
        """Every call's answer is held back `seconds`, plus a random part of `jitter` seconds."""
        self.latency, self.jitter = float(given.get("seconds", 0)), float(given.get("jitter", 0))
        self._update()
        return self.as_json()["latency"]

    def set_rate_limit(self, given: Json) -> object:
        """Above `per_second` calls (a bucket of one second's worth) the answer is 429; 0 lifts the limit."""
        self.rate_limit, self.retry_after = float(given.get("per_second", 0)), given.get("retry_after")
        self._tokens, self._refilled = max(self.rate_limit, 1.0), self._clock()
        self._update()
        return self.as_json()["rate_limit"]

    def wait_before_answer(self) -> float:
        """Seconds this answer is held back by the general latency."""
        return self.latency + (self._rng.random() * self.jitter if self.jitter else 0.0)

    def decide(self, call: Call) -> Rule | None:
        """What is to happen to this call: a rule, or None for the honest answer."""
        if self.outage_until is not None:
            if self._clock() < self.outage_until:
                if self.outage_mode == "reset":
                    return Rule(mode="reset_before", apply=False)
                return Rule(status=503, body={"message": "Service Unavailable"}, apply=False)
            self.outage_until = None
            self._update()
        for rule in self.rules:
            if not rule.matches(call):
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            if rule.rate < 1.0 and self._rng.random() >= rule.rate:
                continue
            rule.hits += 1
            if rule.times is not None and rule.hits >= rule.times:
                self.rules.remove(rule)
                self._update()
            return rule
        return self._throttle()

    def _throttle(self) -> Rule | None:
        if not self.rate_limit:
            return None
        now = self._clock()
        room = max(self.rate_limit, 1.0)
        self._tokens = min(room, self._tokens + (now - self._refilled) * self.rate_limit)
        self._refilled = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return None
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return Rule(status=429, body={"message": "Too Many Requests"}, headers=headers, apply=False)

    def as_json(self) -> dict[str, Any]:
        """The script as it stands."""
        left = None if self.outage_until is None else max(0.0, self.outage_until - self._clock())
        return {
            "rules": [rule.as_json() for rule in self.rules],
            "outage": {
                "on": bool(left), "seconds_left": None if left == float("inf") else left, "mode": self.outage_mode
            },
            "latency": {"seconds": self.latency, "jitter": self.jitter},
            "rate_limit": {"per_second": self.rate_limit, "retry_after": self.retry_after},
        }  # fmt: skip
