"""The circuit breaker: stops the calls to a destination that is failing or rejects the relay, and probes it later.

Its state is the destination's row (`destinations.py`), which all workers share. A destination is `open` while it may
be called. A closed one (`blocked`, `tripped`) is called by one job at a time, the probe, until a probe succeeds.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

import structlog

from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Retry, Unknown, Wait
from platform_relay.core.reasons import Reason
from platform_relay.queue.decide import Verdict
from platform_relay.queue.destinations import DestinationState, DestinationStates
from platform_relay.queue.jobs import Job

log: Final = structlog.get_logger(__name__)


@dataclass
class FailureWindow:
    """The last outcomes of a destination: decides when so many failed that the destination must be the cause. Pure.

    This is so when at least `share` of the last `size` outcomes are failures, of at least `lanes` lanes. Only the first two
    attempts of a job count: an order that always gets a 500 does not make the destination fail. A rejected payload is not a
    failure.
    """

    size: int = 20
    lanes: int = 8
    share: float = 0.8
    _outcomes: deque[tuple[str, bool]] = field(default_factory=deque)

    def record(self, job: Job, outcome: Outcome) -> bool:
        """Add an outcome; true when the destination should be closed."""
        failed = isinstance(outcome, Retry | Unknown)
        if failed and job.attempt > 2:  # see above
            return False
        self._outcomes.append((job.lane, failed))
        if len(self._outcomes) > self.size:
            self._outcomes.popleft()
        if not failed:
            return False
        lanes = {lane for lane, lane_failed in self._outcomes if lane_failed}
        failures = sum(lane_failed for _, lane_failed in self._outcomes)
        return len(lanes) >= self.lanes and failures >= self.share * len(self._outcomes)

    def clear(self) -> None:
        self._outcomes.clear()


class CircuitBreaker:
    """One worker's circuit breaker of a destination."""

    def __init__(self, name: str, destinations: DestinationStates) -> None:
        self._name = name
        self._destinations = destinations
        self._closed = False
        self._window = FailureWindow()
        self._probe: tuple[str, int] | None = None

    @property
    def probing(self) -> bool:
        """A job of this worker is the probe."""
        return self._probe is not None

    def update(self, destination: DestinationState) -> None:
        """Take the state from the destination's row."""
        self._closed = destination.state != "open"

    async def may_probe(self, lease: float) -> bool:
        """True when this worker may run one job although the destination is closed."""
        return await self._destinations.may_probe(self._name, lease)

    def start_probe(self, job: Job) -> None:
        """`job` is the probe: its outcome opens the destination or keeps it closed."""
        self._probe = job.lane, job.fencing_token

    async def record(self, job: Job, verdict: Verdict | None) -> None:
        """Use an attempt's verdict; None: the job was decided without a call. Raises the database's errors."""
        probing = self._probe == (job.lane, job.fencing_token)
        if probing:
            self._probe = None
        match verdict:
            case Blocked():
                await self._close("blocked", verdict.reason, probing=probing)
            case Retry() | Unknown():
                await self._record_failure(job, verdict, probing=probing)
            case Done() | Reject() | Wait() if isinstance(verdict, Done) or verdict.evidence.status is not None:
                await self._record_response(job, verdict, probing=probing)
            case _ if probing:
                await self._destinations.probe_again(self._name)
            case _:
                pass

    async def _record_failure(self, job: Job, outcome: Retry | Unknown, *, probing: bool) -> None:
        if isinstance(outcome, Retry) and outcome.after is not None and outcome.evidence.status is None:
            if probing:  # the rate limiter allowed no call
                await self._destinations.probe_again(self._name)
            return
        if self._window.record(job, outcome) or probing:
            self._window.clear()
            await self._close("tripped", outcome.reason, probing=probing)

    async def _record_response(self, job: Job, outcome: Done | Reject | Wait, *, probing: bool) -> None:
        if not probing:
            self._window.record(job, outcome)
            return
        await self._destinations.open(self._name)
        self._window.clear()
        self._closed = False
        log.info("destination_open", destination=self._name)

    async def _close(self, state: Literal["blocked", "tripped"], reason: Reason, *, probing: bool) -> None:
        if self._closed and not probing:
            return
        self._closed = True
        if await self._destinations.close(self._name, state, reason, probing=probing):
            log.error(
                "destination_closed", destination=self._name, state=state, reason_code=reason.code, text=reason.text
            )
