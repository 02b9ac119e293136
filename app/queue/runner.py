"""Runs one job: checks it, calls its handler, decides. A handler's exception becomes `Crashed`."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from platform_relay.core.database import is_unavailable
from platform_relay.core.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry, Skip, Unknown, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.core.time_limit import Attempt, TimeLimit
from platform_relay.queue.decide import Crashed, Interrupted, Undecided, Verdict, before, decide, lane_failed
from platform_relay.queue.destinations import display_name
from platform_relay.queue.jobs import Handler, Job
from platform_relay.queue.queue import Settlement
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.states import dead

log: Final = structlog.get_logger(__name__)

OUTCOME_NAMES: Final[Mapping[type, str]] = {
    Done: "done",
    Skip: "skip",
    Retry: "retry",
    Unknown: "unknown",
    Reject: "reject",
    Blocked: "blocked",
    Wait: "wait",
    Crashed: "crashed",
    Interrupted: "interrupted",
    Undecided: "wait",
}
"""The outcome in an attempt's record."""


class Runner:
    """Runs jobs of any kind.

    `time_limit` (seconds) bounds a whole attempt, `longest_wait` (seconds) a job's age; `random` returns a number in [0, 1).
    `rehearse` returns the outcome of a job of the trial, before anything else is decided about it; None for a live job.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        policy: RetryPolicy,
        *,
        time_limit: float,
        longest_wait: float,
        random: Callable[[], float],
        rehearse: Callable[[Job], Awaitable[Outcome | None]] | None = None,
    ) -> None:
        self._handlers = handlers
        self._rehearse = rehearse
        self._policy = policy
        self._time_limit = time_limit
        self._limit = TimeLimit(time_limit)
        self._attempts: dict[int, Attempt] = {}
        """Those that run, by the fencing token of their claim."""
        self._ended: set[int] = set()
        """The tokens of attempts whose claim was lost."""
        self._longest_wait = longest_wait
        self._random = random

    def end(self, fencing_token: int) -> None:
        """End the attempt of a claim that this worker has lost: it makes no further call. Its call in flight may still arrive."""
        if (attempt := self._attempts.get(fencing_token)) is not None and fencing_token not in self._ended:
            self._ended.add(fencing_token)
            attempt.expire()

    async def run(self, job: Job) -> tuple[Settlement, Verdict | None]:
        """Run a job. Returns its settlement and the verdict (None: the handler was not called)."""
        if self._rehearse is not None and (rehearsed := await self._rehearsed(self._rehearse, job)) is not None:
            return rehearsed
        try:
            decided = before(job, self._policy, self._longest_wait)
        except Exception as error:
            log.exception("decision_failed", job=str(job.id), kind=job.kind, lane=job.lane)
            fault = Crashed(because(ReasonCode.INTERNAL_ERROR, error=type(error).__name__))
            return self.settlement(job, fault, 0.0), fault
        if decided is not None:
            return Settlement(job, decided, None), None
        handler = self._handlers.get(job.kind)
        if handler is None:
            return Settlement(job, dead("rejected", because(ReasonCode.NO_HANDLER, kind=job.kind)), None), None
        started = time.perf_counter()
        verdict: Verdict
        try:
            with self._limit.attempt() as attempt:
                self._attempts[job.fencing_token] = attempt
                verdict = await handler(job)
        except TimeoutError:
            limit = because(ReasonCode.TIMED_OUT, destination=display_name(job.destination), seconds=self._time_limit)
            verdict = Unknown(because(ReasonCode.LEASE_LOST) if job.fencing_token in self._ended else limit)
        except asyncio.CancelledError:
            verdict = Interrupted(sent=True)
        except Exception as error:
            if is_unavailable(error):
                log.warning("handler_lost_database", job=str(job.id), kind=job.kind, error=type(error).__name__)
                verdict = Crashed(because(ReasonCode.DATABASE_UNAVAILABLE))
            else:
                log.exception("handler_raised", job=str(job.id), kind=job.kind, lane=job.lane)
                verdict = Crashed(because(ReasonCode.INTERNAL_ERROR, error=type(error).__name__))
        finally:
            self._attempts.pop(job.fencing_token, None)
            self._ended.discard(job.fencing_token)
        return self.settlement(job, verdict, time.perf_counter() - started), verdict

    async def _rehearsed(
        self, rehearse: Callable[[Job], Awaitable[Outcome | None]], job: Job
    ) -> tuple[Settlement, Verdict] | None:
        started = time.perf_counter()
        verdict: Verdict | None
        try:
            with self._limit.attempt():
                verdict = await rehearse(job)
        except TimeoutError:
            limit = because(ReasonCode.TIMED_OUT, destination=display_name(job.destination), seconds=self._time_limit)
            verdict = Wait(limit, "trial", self._time_limit)
        except asyncio.CancelledError:
            verdict = Interrupted(sent=False)
        return None if verdict is None else (self.settlement(job, verdict, time.perf_counter() - started), verdict)

    def settlement(self, job: Job, verdict: Verdict, seconds: float) -> Settlement:
        """What is to be written for a verdict."""
        reason = verdict.reason if not isinstance(verdict, Done | Interrupted) else None
        evidence = Evidence() if isinstance(verdict, Skip | Crashed | Interrupted) else verdict.evidence
        return Settlement(
            job,
            decide(verdict, job, self._policy, self._random()),
            None if verdict == Interrupted(sent=False) else OUTCOME_NAMES[type(verdict)],
            reason,
            evidence,
            round(seconds * 1000),
            lane_failed(verdict),
        )
