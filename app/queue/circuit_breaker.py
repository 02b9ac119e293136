"""The circuit breaker: stops the calls to a destination that is failing or rejects the relay, and probes it later.

Its state is the destination's row (`destinations.py`), which all workers share. A destination is `open` while it may be
called. A closed one (`blocked`, `tripped`) is called by a few jobs, the probes, until one of them succeeds:

- Up to 3 jobs of lanes that have not failed since their last success, every 2 seconds. A few entities that always fail
  cannot keep it closed: the next entity opens it.
- Only when no such lane is due: one job of a lane that did fail, after a pause that grows to 30 seconds.

What a worker knows about single lanes (`lane_failures`) is in its memory. It is lost with the process, and the other
workers do not have it: they need the same few responses again before they decide.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

import structlog

from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Retry, Unknown, Wait
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.queue.decide import Undecided, Verdict
from platform_relay.queue.destinations import DestinationState, DestinationStates
from platform_relay.queue.jobs import Job
from platform_relay.queue.lane_failures import LaneFailures
from platform_relay.queue.queue import Probes

log: Final = structlog.get_logger(__name__)


@dataclass
class FailureWindow:
    """The last outcomes of a destination: decides when so many failed that the destination must be the cause. Pure.

    This is so when at least `share` of the last `size` outcomes are failures, and calls of at least `lanes` lanes failed
    that started after every call that succeeded. Only the first two attempts of a job count: an order that always gets a
    500 does not make the destination fail. A rejected payload is not a failure.
    """

    size: int = 20
    lanes: int = 8
    share: float = 0.8
    _outcomes: deque[tuple[str, bool, float]] = field(default_factory=deque)
    _success_started: float = float("-inf")

    def record(self, job: Job, outcome: Outcome, started: float) -> bool:
        """Add the outcome of a job that started at `started` (monotonic seconds); true when the destination should be closed."""
        failed = isinstance(outcome, Retry | Unknown)
        if failed and job.attempt > 2:  # see above
            return False
        self._outcomes.append((job.lane, failed, started))
        if len(self._outcomes) > self.size:
            self._outcomes.popleft()
        if not failed:
            self._success_started = max(self._success_started, started)
            return False
        failures = [(lane, began) for lane, lane_failed, began in self._outcomes if lane_failed]
        lanes = {lane for lane, began in failures if began >= self._success_started}
        return len(lanes) >= self.lanes and len(failures) >= self.share * len(self._outcomes)

    def clear(self) -> None:
        self._outcomes.clear()


@dataclass(slots=True, eq=False)
class _Round:
    """Probes that were claimed together."""

    failed: bool
    """Their lanes had failed since their last success."""
    running: int
    called: bool = False


class CircuitBreaker:
    """One worker's circuit breaker of a destination. Times are monotonic seconds."""

    def __init__(self, name: str, destinations: DestinationStates) -> None:
        self._name = name
        self._destinations = destinations
        self._closed = False
        self._window = FailureWindow()
        self._lanes = LaneFailures()
        self._probes: dict[tuple[str, int], _Round] = {}

    def update(self, destination: DestinationState) -> None:
        """Take the state from the destination's row."""
        closed = destination.state != "open"
        if closed and not self._closed:
            self._lanes.closed()
        elif self._closed and not closed:
            self._opened()
        self._closed = closed

    def start_probes(self, probes: Probes) -> None:
        """These jobs are probes: one success opens the destination."""
        probe_round = _Round(probes.failed, len(probes.jobs))
        self._probes |= {(job.lane, job.fencing_token): probe_round for job in probes.jobs}

    def compare(self, job: Job, verdict: Verdict | None) -> Verdict | None:
        """The verdict with which the job is settled: another one only where a response names no cause. Changes nothing."""
        if not isinstance(verdict, Blocked) or verdict.certain or self._closed:
            return verdict
        evidence, facts = verdict.evidence, verdict.reason.facts
        facts = {name: facts.get(name) for name in ("destination", "status", "response")}
        match self._lanes.compare(job.lane, evidence.status, time.monotonic()):
            case "destination":
                return verdict
            case "lane":
                return Retry(because(ReasonCode.ENTITY_REFUSED, **facts), evidence=evidence)
            case "undecided":
                return Undecided(because(ReasonCode.REFUSAL_UNDECIDED, **facts), evidence)

    async def record(self, job: Job, verdict: Verdict | None, started: float) -> None:
        """Use the verdict of an attempt that started at `started`; None: the job was decided without a call. Raises the
        database's errors."""
        probe = self._probes.pop((job.lane, job.fencing_token), None)
        if probe is not None:
            probe.running -= 1
            probe.called = probe.called or _called(verdict)
        now = time.monotonic()
        match verdict:
            case Blocked():
                self._lanes.failed(job.lane, verdict.evidence.status, now, nameless=not verdict.certain)
                await self._record_blocked(verdict, probe)
            case Undecided():
                self._lanes.failed(job.lane, verdict.evidence.status, now, nameless=True, parked=True)
            case Retry() | Unknown() if _called(verdict):
                own = self._lanes.is_own(job.lane)
                self._lanes.failed(
                    job.lane, verdict.evidence.status, now, nameless=verdict.reason.code is ReasonCode.ENTITY_REFUSED
                )
                await self._record_failure(job, verdict, started, probe, own=own)
            case Done() | Reject() | Wait() if _called(verdict):
                await self._record_response(job, verdict, started, now, probe)
            case _:
                pass
        if probe is not None and probe.running == 0 and not probe.called:
            await self._destinations.probe_again(self._name, failed=probe.failed)

    async def _record_blocked(self, blocked: Blocked, probe: _Round | None) -> None:
        if (blocked.certain or probe is None) and await self._close("blocked", blocked.reason):
            return
        if probe is not None:
            state: Literal["blocked"] | None = "blocked" if blocked.certain else None
            await self._destinations.probe_failed(self._name, state, blocked.reason, failed=probe.failed)

    async def _record_failure(
        self, job: Job, outcome: Retry | Unknown, started: float, probe: _Round | None, *, own: bool
    ) -> None:
        if probe is not None:
            await self._destinations.probe_failed(self._name, "tripped", outcome.reason, failed=probe.failed)
        elif not own and self._window.record(job, outcome, started):
            self._window.clear()
            await self._close("tripped", outcome.reason)

    async def _record_response(
        self, job: Job, outcome: Done | Reject | Wait, started: float, now: float, probe: _Round | None
    ) -> None:
        self._window.record(job, outcome, started)
        if isinstance(outcome, Done) and self._lanes.succeeded(job.lane, started, now):
            await self._destinations.wake_doubtful(self._name)
        if probe is not None:
            opened = await self._destinations.open(self._name)
            self._opened()
            self._closed = False
            if opened:
                log.info("destination_open", destination=self._name)

    def _opened(self) -> None:
        self._window.clear()
        self._lanes.opened(time.monotonic())

    async def _close(self, state: Literal["blocked", "tripped"], reason: Reason) -> bool:
        """Close an open destination; true when this call did it."""
        if self._closed:
            return False
        self._closed = True
        self._lanes.closed()
        if not await self._destinations.close(self._name, state, reason):
            return False
        log.error(
            "destination_closed",
            destination=self._name,
            state=state,
            reason_code=reason.code,
            text=reason.without("response").text,
        )
        return True


def _called(verdict: Verdict | None) -> bool:
    """Whether the verdict follows a call, as far as it shows something about the destination."""
    match verdict:
        case Retry():
            return verdict.called
        case Unknown():
            return verdict.reason.code is not ReasonCode.LEASE_LOST  # the worker ended the attempt
        case Done() | Blocked() | Undecided():
            return True
        case Reject() | Wait():
            return verdict.evidence.status is not None
        case _:
            return False
