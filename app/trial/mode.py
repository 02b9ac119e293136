"""Whether the trial runs. The database decides, so all processes agree; MODE only decides at the very first start.

A relay is in trial from its first start until `relay shadow go-live`, or never: there is no way back into a trial. So what a
process remembers can only be older than the truth in one direction, and then it changes nothing.

A job belongs to the trial if it was created before the switch, by the database's clock. A redemption belongs to the trial if
any webhook about its code was received before the switch, whatever created the job.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.audit.record import audit
from platform_relay.core.database import single_statement
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.messages import JobKind
from platform_relay.queue.jobs import Job

log: Final = structlog.get_logger(__name__)

Mode = Literal["live", "shadow"]
MARGIN: Final = 60.0
"""Seconds. A job that was created this long after the switch needs no query to show that."""
OTHER_CONNECTOR_LIMIT: Final = timedelta(days=1)
"""The other connector may have sent orders that were created until this long after the switch."""

_READ: Final = text("""
SELECT started_at, live_at, CAST(extract(epoch FROM clock_timestamp() - live_at) AS float8) AS live_for FROM trial
""")
_FIRST: Final = text("""
INSERT INTO trial (id, started_at, live_at)
SELECT 1, CASE WHEN first.shadow THEN now() END, CASE WHEN NOT first.shadow THEN now() END
FROM (SELECT CAST(:shadow AS boolean) AND NOT EXISTS (SELECT FROM entity WHERE exists_remotely) AS shadow) AS first
ON CONFLICT DO NOTHING RETURNING started_at
""")
_IS_BEFORE: Final = text("""
SELECT job.created_at < trial.live_at FROM job CROSS JOIN trial WHERE job.id = :job
""")
_IS_REDEEMED_BEFORE: Final = text("""
SELECT EXISTS (SELECT FROM message WHERE id = :message AND received_at < trial.live_at)
    OR EXISTS (SELECT FROM message WHERE coupon_ref = :code AND source = 'platform' AND received_at < trial.live_at)
FROM trial
""")


@dataclass(frozen=True, slots=True)
class Trial:
    """`runs`: nothing may be changed. `started_at` None: the relay was live from its first start, or was never started.
    `live_for`: seconds since the switch, when this was read."""

    runs: bool
    started_at: datetime | None = None
    live_at: datetime | None = None
    live_for: float | None = None


class OperatingMode:
    """The mode of this process. It is a `http.WriteGuard`, and the `runner.Trial` of the worker.

    `setting` is MODE. `offline`: it decides while the database cannot be read (`relay check`); otherwise
    nothing is changed then.
    """

    def __init__(self, engine: AsyncEngine, setting: Mode, *, offline: bool = False) -> None:
        self.setting: Final = setting
        self._engine = engine
        self._offline = offline
        self._live: Trial | None = None
        self._read_at = 0.0

    async def read(self) -> Trial:
        """What the database has; before the relay's first start, the setting. Raises the database's errors."""
        if self._live is not None:
            return self._live
        async with single_statement(self._engine) as connection:
            row = (await connection.execute(_READ)).one_or_none()
        if row is None:
            return Trial(runs=self.setting == "shadow")
        trial = Trial(row.live_at is None, row.started_at, row.live_at, row.live_for)
        if not trial.runs:
            self._live, self._read_at = trial, time.monotonic()
        return trial

    async def establish(self) -> Trial:
        """At the start of a web server or worker: make the record if this is the first, and read it.

        Raises ValueError if MODE is shadow and the relay is live.
        """
        async with self._engine.begin() as connection:
            if (await connection.execute(_READ)).one_or_none() is None:
                first = await connection.execute(_FIRST, {"shadow": self.setting == "shadow"})
                if first.scalar() is not None:
                    await audit(connection, "relay", "trial.start", "trial", {})
        trial = await self.read()
        if self.setting == "shadow" and not trial.runs:
            since = f"{trial.live_at:%Y-%m-%d %H:%M} UTC"
            raise ValueError(
                f"MODE is shadow, but this relay has been live since {since}, and a live relay cannot go back into a trial. Remove"
                " MODE, or use another database for the trial (docs/trial.md)"
            )
        if trial.runs:
            log.warning("trial_runs", since=str(trial.started_at), mode=self.setting)
        return trial

    async def refusal(self) -> Reason | None:
        """See `http.WriteGuard`."""
        if self._live is not None:
            return None
        try:
            runs = (await self.read()).runs
        except Exception as error:  # noqa: BLE001  # whatever it is: without the record nothing may be changed
            if self._offline:
                return because(ReasonCode.TRIAL_RUNS) if self.setting == "shadow" else None
            log.warning("trial_unknown", error=type(error).__name__)
            return because(ReasonCode.DATABASE_UNAVAILABLE)
        return because(ReasonCode.TRIAL_RUNS) if runs else None

    async def is_shadow(self, job: Job) -> bool:
        """Whether the job belongs to the trial. Raises the database's errors."""
        trial = await self.read()
        if trial.runs:
            return True
        if trial.started_at is None or trial.live_for is None:
            return False
        if job.kind == JobKind.ISSUE_COUPON:
            parameters = {"message": job.message_id, "code": job.params.get("code")}
            async with single_statement(self._engine) as connection:
                if (await connection.execute(_IS_REDEEMED_BEFORE, parameters)).scalar():
                    return True
        if job.age + MARGIN < trial.live_for + time.monotonic() - self._read_at:
            return False
        async with single_statement(self._engine) as connection:
            return bool((await connection.execute(_IS_BEFORE, {"job": job.id})).scalar())

    def sent_by_another(self, created_at: datetime | None) -> bool:
        """Whether the connector beside which the trial ran may have sent an order that was created then."""
        live = self._live
        if live is None or live.started_at is None or live.live_at is None:
            return False
        return created_at is None or created_at < live.live_at + OTHER_CONNECTOR_LIMIT
