"""The current state for the page *Now*: one snapshot, shared by all visitors of this process."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.alerts.alerts import AlertRecord, open_alerts
from platform_relay.api.dependencies import Services
from platform_relay.core.database import read_connection
from platform_relay.inbox.messages import STORE_LOYALTY
from platform_relay.jobs.statistics import (
    HOUR,
    BusinessImpact,
    DestinationStatistics,
    LastHour,
    Minute,
    database_time,
    read_business_impact,
    read_destinations,
)

EVERY: Final = 2.0
"""The minimum number of seconds between two snapshots."""
SHARE: Final = 0.1
"""The largest share of time that snapshots may keep the database busy: one that took 1 s is kept for 10 s."""


@dataclass(frozen=True, slots=True)
class Chart:
    """The last hour of one destination by minute. `since` is the first minute as a Unix timestamp."""

    destination: str
    since: int
    delivered: Sequence[int]
    failed: Sequence[int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    at: datetime
    destinations: Sequence[DestinationStatistics]
    charts: Sequence[Chart]
    impact: BusinessImpact
    alerts: Sequence[AlertRecord]


@dataclass(frozen=True, slots=True)
class Summary:
    """A snapshot in short. `closed` is the destination whose calls are stopped, with the most waiting jobs if there are several.

    `drained_in`: estimated seconds until the waiting jobs are delivered, counted from the moment calls are possible again;
    None when unknown. `needs_decision`: something waits for an operator.
    """

    tone: Literal["good", "warn", "bad"]
    closed: DestinationStatistics | None
    drained_in: float | None
    needs_decision: bool
    dead: int


def summarize(snapshot: Snapshot) -> Summary:
    """Pure. The estimate uses the best minute of the last hour for a closed destination, the current rate for open ones."""
    destinations, impact = snapshot.destinations, snapshot.impact
    best = {chart.destination: max(chart.delivered, default=0) / 60 for chart in snapshot.charts}
    closed = max((one for one in destinations if one.state != "open"), key=lambda one: one.waiting, default=None)
    dead = sum(destination.dead for destination in destinations)
    needs_decision = bool(dead or impact.held or snapshot.alerts)
    busy = [closed] if closed else [one for one in destinations if one.waiting > impact.held * (one.name == "store")]
    times = [one.waiting / rate if (rate := best[one.name] if closed else one.delivery_rate) else None for one in busy]
    drained_in = max((time for time in times if time is not None), default=None) if None not in times else None
    waits = bool(busy or impact.order_count or impact.customers)
    tone: Literal["good", "warn", "bad"] = "bad" if closed else "warn" if needs_decision or waits else "good"
    return Summary(tone, closed, drained_in, needs_decision, dead)


class Live:
    def __init__(self, services: Services) -> None:
        self._engine = services.engine
        self._hour = LastHour()
        self._reading = asyncio.Lock()
        self._snapshot: Snapshot | None = None
        self._fresh_until = 0.0

    async def snapshot(self, *, fresh: bool = False) -> Snapshot:
        """The latest snapshot. `fresh` reads again, for a caller that has just changed something. Raises DatabaseAway."""
        async with self._reading:
            if self._snapshot is None or fresh or time.monotonic() >= self._fresh_until:
                started = time.monotonic()
                async with read_connection(self._engine) as connection:
                    connected = time.monotonic()
                    self._snapshot = await self._read(connection)
                    took = time.monotonic() - connected
                self._fresh_until = started + max(EVERY, took / SHARE)
            return self._snapshot

    async def _read(self, connection: AsyncConnection) -> Snapshot:
        now = await database_time(connection)
        destinations = [one for one in await read_destinations(connection) if one.name != STORE_LOYALTY or one.is_used]
        minutes = await self._hour.read(connection, now)
        charts = [_chart(now, minutes, destination.name) for destination in destinations]
        return Snapshot(
            now, destinations, charts, await read_business_impact(connection), await open_alerts(connection)
        )


def _chart(now: datetime, minutes: Sequence[Minute], destination: str) -> Chart:
    first = now.replace(second=0, microsecond=0) - HOUR
    by_minute = {minute.minute: minute for minute in minutes if minute.destination == destination}
    hour = [by_minute.get(first + timedelta(minutes=number)) for number in range(61)]
    return Chart(
        destination,
        int(first.timestamp()),
        [minute.delivered if minute else 0 for minute in hour],
        [minute.failed if minute else 0 for minute in hour],
    )
