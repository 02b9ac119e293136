"""One reading of what happens now, shared by everybody who looks, and as rare as it is expensive."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.alerts.alerts import AlertRecord, open_alerts
from platform_relay.api.dependencies import Services
from platform_relay.jobs.queries import reading
from platform_relay.jobs.statistics import (
    HOUR,
    DestinationStatistics,
    LastHour,
    Minute,
    ShopTerms,
    database_time,
    read_destinations,
    read_shop_terms,
)

EVERY: Final = 2.0
"""Seconds between two readings."""
SHARE: Final = 0.1
"""A reading of 1 s is kept for 10 s: the console never costs the database more than this share of its time."""


@dataclass(frozen=True, slots=True)
class Chart:
    """The last hour of one destination, minute by minute: `since` is the first minute, in seconds since 1970."""

    destination: str
    since: int
    delivered: Sequence[int]
    failed: Sequence[int]


@dataclass(frozen=True, slots=True)
class Picture:
    at: datetime
    destinations: Sequence[DestinationStatistics]
    charts: Sequence[Chart]
    shop: ShopTerms
    alerts: Sequence[AlertRecord]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The picture in one sentence. `closed`: a destination that is not called, the one with the most waiting first;
    `drained_in`: seconds until what waits is delivered, counted from its opening when it is closed; None: not known.
    `stuck`: something waits for a person."""

    tone: Literal["good", "warn", "bad"]
    closed: DestinationStatistics | None
    drained_in: float | None
    stuck: bool
    dead: int


def outlook(picture: Picture) -> Outlook:
    """Pure. A closed destination is expected to go on at the best pace of the last hour, an open one at its present rate."""
    destinations, shop = picture.destinations, picture.shop
    best = {chart.destination: max(chart.delivered, default=0) / 60 for chart in picture.charts}
    closed = max((one for one in destinations if one.state != "open"), key=lambda one: one.waiting, default=None)
    dead = sum(destination.dead for destination in destinations)
    stuck = bool(dead or shop.held or picture.alerts)
    busy = [closed] if closed else [one for one in destinations if one.waiting > shop.held * (one.name == "store")]
    times = [one.waiting / pace if (pace := best[one.name] if closed else one.rate) else None for one in busy]
    known = [time for time in times if time is not None]
    drained_in = max(known) if known and len(known) == len(times) else None
    waits = bool(busy or shop.order_count or shop.customers)
    tone: Literal["good", "warn", "bad"] = "bad" if closed else "warn" if stuck or waits else "good"
    return Outlook(tone, closed, drained_in, stuck, dead)


class Live:
    def __init__(self, services: Services) -> None:
        self._engine = services.engine
        self._hour = LastHour()
        self._reading = asyncio.Lock()
        self._picture: Picture | None = None
        self._fresh_until = 0.0

    async def picture(self, *, fresh: bool = False) -> Picture:
        """The newest picture; `fresh`: read again, since the caller has just changed something. Raises DatabaseAway."""
        async with self._reading:
            if self._picture is None or fresh or time.monotonic() >= self._fresh_until:
                started = time.monotonic()
                async with reading(self._engine) as connection:
                    connected = time.monotonic()
                    self._picture = await self._read(connection)
                    took = time.monotonic() - connected
                self._fresh_until = started + max(EVERY, took / SHARE)
            return self._picture

    async def _read(self, connection: AsyncConnection) -> Picture:
        now = await database_time(connection)
        destinations = await read_destinations(connection)
        minutes = await self._hour.read(connection, now)
        charts = [_chart(now, minutes, destination.name) for destination in destinations]
        return Picture(now, destinations, charts, await read_shop_terms(connection), await open_alerts(connection))


def _chart(now: datetime, minutes: Sequence[Minute], destination: str) -> Chart:
    first = now.replace(second=0, microsecond=0) - HOUR
    known = {minute.minute: minute for minute in minutes if minute.destination == destination}
    found = [known.get(first + timedelta(minutes=number)) for number in range(61)]
    return Chart(
        destination,
        int(first.timestamp()),
        [minute.delivered if minute else 0 for minute in found],
        [minute.failed if minute else 0 for minute in found],
    )
