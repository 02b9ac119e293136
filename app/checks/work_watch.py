"""Watches what a process commits: probes what failed, logs and raises alerts, and notes that a worker works.

    accept or settle failed ──▶ probe every second ──▶ works again: ready, without traffic
                                                  └──▶ fails for 3 s: not ready, log line, alert

Claims need no probe: an idle worker claims, too.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import end_unnoted, note_alert
from platform_relay.checks.work_probe import probe
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.core.work import Failing, Operation, StaleWork, Work
from platform_relay.queue.destinations import DATABASE_ERRORS, display_name
from platform_relay.queue.last_work import NOTED_EVERY, note_work, stale_work

log: Final = structlog.get_logger(__name__)

EVERY: Final = 1.0
ALERTS_EVERY: Final = 5.0
STALE_AFTER: Final = 20.0
"""Seconds without a claim of any worker, although work has been due for as long."""
SEEN_FOR: Final = 10.0
"""Seconds for which a process must have seen that: after a complete stop, the web processes may start before the workers."""
TIME_LIMIT: Final = 5.0
ENDS_AFTER: Final = 15.0
"""Seconds after which an alert ends that no process notes any more: each that sees it does so every ALERTS_EVERY. The process that
raised it may have died, and others may still see it."""
_ACTIONS: Final = {
    Operation.ACCEPT: "accept events",
    Operation.CLAIM: "claim jobs",
    Operation.SETTLE: "store the results of jobs",
}


def failing_reason(failing: Failing) -> Reason:
    """Why a process is not ready. It names the statement and its SQLSTATE, and nothing of the error's text."""
    destination = {"destination": display_name(failing.destination)} if failing.destination else {}
    state = {"sqlstate": failing.failure.sqlstate} if failing.failure.sqlstate else {}
    return because(
        ReasonCode.WORK_FAILING,
        action=_ACTIONS[failing.operation],
        statement=failing.failure.statement,
        **destination,
        **state,
    )


def stale_reason(stale: StaleWork) -> Reason:
    """Why the workers need attention."""
    return because(
        ReasonCode.NO_WORKER,
        destination=display_name(stale.destination),
        action=_ACTIONS[stale.operation],
        seconds=round(stale.seconds),
    )


class WorkWatch:
    """One per process. `worker_alive` is None where no worker runs. `stale_after` and `seen_for` in seconds."""

    def __init__(
        self,
        engine: AsyncEngine,
        work: Work,
        worker_alive: Callable[[], bool] | None = None,
        *,
        stale_after: float = STALE_AFTER,
        seen_for: float = SEEN_FOR,
    ) -> None:
        self._engine = engine
        self._work = work
        self._worker_alive = worker_alive
        self._stale_after = stale_after
        self._seen_for = seen_for
        self._logged: dict[str, Failing] = {}
        self._seen: dict[str, float] = {}
        self._next_note = self._next_alerts = 0.0

    async def run(self) -> None:
        """Watch without end. No error of the database ends it."""
        while True:
            failed = [
                record
                for record in self._work.records()
                if record.failure is not None and record.operation is not Operation.CLAIM
            ]
            if failed:
                await probe(self._engine, failed)
            self._log()
            now = time.monotonic()
            try:
                async with asyncio.timeout(TIME_LIMIT):
                    if now >= self._next_note and self._worker_alive is not None and self._worker_alive():
                        self._next_note = now + NOTED_EVERY / 2
                        await self._note()
                    if now >= self._next_alerts:
                        self._next_alerts = now + ALERTS_EVERY
                        await self._alert()
            except DATABASE_ERRORS as error:
                log.debug("work_not_watched", error=type(error).__name__)
            await asyncio.sleep(EVERY)

    def _log(self) -> None:
        failing = {f"{work.operation} {work.destination}".strip(): work for work in self._work.failing()}
        for subject in failing.keys() - self._logged.keys():
            work = failing[subject]
            log.error(
                "work_failing",
                operation=work.operation.value,
                destination=work.destination or None,
                statement=work.failure.statement,
                sqlstate=work.failure.sqlstate,
                error=work.failure.error,
                seconds=round(work.seconds, 1),
            )
            self._next_alerts = 0.0
        for subject in self._logged.keys() - failing.keys():
            work = self._logged[subject]
            log.info("work_succeeds_again", operation=work.operation.value, destination=work.destination or None)
            self._next_alerts = 0.0
        self._logged = failing

    async def _note(self) -> None:
        working = [record for record in self._work.records() if record.failing() is None]
        claims = [record.destination for record in working if record.operation is Operation.CLAIM]
        settles = [record.destination for record in working if record.operation is Operation.SETTLE]
        if claims or settles:
            await note_work(self._engine, claims=claims, settles=settles)

    async def _alert(self) -> None:
        """Note the alerts, and end those that no process notes. While the database accepts no writes, log and metrics report the
        failure."""
        self._look(await stale_work(self._engine, self._stale_after))
        seen = [(failing_reason(failing), subject) for subject, failing in self._logged.items()]
        seen += [(stale_reason(stale), stale.destination) for stale in self._work.stale]
        if seen:
            async with self._engine.begin() as connection:
                for reason, subject in sorted(seen, key=lambda alert: (alert[0].code, alert[1])):  # one order for all
                    await note_alert(connection, reason, subject)
        await end_unnoted(self._engine, (ReasonCode.WORK_FAILING, ReasonCode.NO_WORKER), ENDS_AFTER)

    def _look(self, stale: list[StaleWork]) -> None:
        now = time.monotonic()
        self._seen = {work.destination: self._seen.get(work.destination, now) for work in stale}
        self._work.stale = [work for work in stale if now - self._seen[work.destination] >= self._seen_for]
