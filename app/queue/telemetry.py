"""Logs and counts every settled job."""

from typing import Final

from platform_relay.core.logs import log_attempt
from platform_relay.core.metrics import Metrics
from platform_relay.queue.queue import Settlement
from platform_relay.queue.states import Again, Finish, GiveBack

LOGGED_FACTS: Final = frozenset(
    {
        "attempts",
        "days",
        "destination",
        "entity",
        "error",
        "field",
        "kind",
        "limit",
        "request",
        "rule",
        "seconds",
        "setting",
        "status",
    }
)
"""The facts of reasons that are logged. Others may quote a destination or an operator, or name a customer or a coupon."""


class AttemptTelemetry:
    """The observer of the loops (`queue.loop.Observer`)."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def settled(self, settlement: Settlement) -> None:
        job, to = settlement.job, settlement.transition
        state = to.state if isinstance(to, Finish) else "waiting"
        reason = settlement.reason or to.reason
        if isinstance(to, Finish):
            self._metrics.settled(job.kind, to.state)
        if settlement.outcome is not None:
            code = settlement.reason.code if settlement.reason else None
            self._metrics.attempt(job.kind, job.destination, settlement.outcome, settlement.duration_ms / 1000, code)
        log_attempt(
            job.id,
            job.message_id,
            kind=job.kind,
            destination=job.destination,
            attempt=job.attempt,
            fencing_token=job.fencing_token,
            outcome=settlement.outcome or "not tried",
            state=state,
            milliseconds=settlement.duration_ms,
            status=settlement.evidence.status,
            reason_code=reason.code if reason else None,
            facts={name: fact for name, fact in reason.facts.items() if name in LOGGED_FACTS} if reason else None,
            delay=to.delay if isinstance(to, Again | GiveBack) else None,
        )

    def lost(self, settlement: Settlement) -> None:
        self._metrics.attempt(settlement.job.kind, settlement.job.destination, "lease_lost", 0.0)
