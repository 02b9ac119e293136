"""One reading of what happens now, shared by everybody who looks, and as rare as it is expensive."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from app.api.services import Services
from app.operations.alerts.raised import AlertRecord, open_alerts
from app.operations.books import reading
from app.operations.pulse import (
    ChannelPulse,
    Minute,
    ShopTerms,
    database_time,
    read_channels,
    read_minutes,
    read_shop_terms,
)

EVERY: Final = 2.0
"""Seconds between two readings."""
SHARE: Final = 0.1
"""A reading of 1 s is kept for 10 s: the console never costs the database more than this share of its time."""
HOUR: Final = timedelta(hours=1)
SLICE: Final = timedelta(minutes=10)
UNSETTLED: Final = timedelta(minutes=3)
"""An attempt is written when it ends; its minute may still change for so long."""
BUDGET: Final = 1.0
"""Seconds that filling the last hour's chart may take at a time; the rest follows with the next readings."""


@dataclass(frozen=True, slots=True)
class Chart:
    """The last hour of one channel, minute by minute: `since` is the first minute, in seconds since 1970."""

    channel: str
    since: int
    delivered: Sequence[int]
    failed: Sequence[int]


@dataclass(frozen=True, slots=True)
class Picture:
    at: datetime
    channels: Sequence[ChannelPulse]
    charts: Sequence[Chart]
    shop: ShopTerms
    alerts: Sequence[AlertRecord]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The picture in one sentence. `closed`: a channel that is not called, the one with the most waiting first;
    `drained_in`: seconds until what waits is delivered, counted from its opening when it is closed; None: not known.
    `stuck`: something waits for a person."""

    tone: Literal["good", "warn", "bad"]
    closed: ChannelPulse | None
    drained_in: float | None
    stuck: bool
    dead: int


def outlook(picture: Picture) -> Outlook:
    """Pure. A closed channel is expected to go on at the best pace of the last hour, an open one at its present rate."""
    channels, shop = picture.channels, picture.shop
    best = {chart.channel: max(chart.delivered, default=0) / 60 for chart in picture.charts}
    closed = max((one for one in channels if one.state != "open"), key=lambda one: one.waiting, default=None)
    dead = sum(channel.dead for channel in channels)
    stuck = bool(dead or shop.held or picture.alerts)
    busy = [closed] if closed else [one for one in channels if one.waiting > shop.held * (one.name == "store")]
    times = [one.waiting / pace if (pace := best[one.name] if closed else one.rate) else None for one in busy]
    known = [time for time in times if time is not None]
    drained_in = max(known) if known and len(known) == len(times) else None
    waits = bool(busy or shop.order_count or shop.customers)
    tone: Literal["good", "warn", "bad"] = "bad" if closed else "warn" if stuck or waits else "good"
    return Outlook(tone, closed, drained_in, stuck, dead)


Learn = Callable[[datetime, datetime], Awaitable[Sequence[Minute]]]


class Live:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._reading = asyncio.Lock()
        self._picture: Picture | None = None
        self._fresh_until = 0.0
        self._minutes: dict[tuple[str, datetime], Minute] = {}
        self._known: tuple[datetime, datetime] | None = None
        """From when until when the minutes are known."""

    async def picture(self, *, fresh: bool = False) -> Picture:
        """The newest picture; `fresh`: read again, since the caller has just changed something. Raises DatabaseAway."""
        async with self._reading:
            if self._picture is None or fresh or time.monotonic() >= self._fresh_until:
                started = time.monotonic()
                self._picture = await self._read()
                took = time.monotonic() - started
                self._fresh_until = started + max(EVERY, took / SHARE)
            return self._picture

    async def _read(self) -> Picture:
        async with reading(self._services.engine) as connection:
            now = await database_time(connection)
            channels = await read_channels(connection)
            await self._fill(lambda since, until: read_minutes(connection, since, until), now)
            shop = await read_shop_terms(connection)
            alerts = await open_alerts(connection)
        return Picture(now, channels, [self._chart(channel.name, now) for channel in channels], shop, alerts)

    async def _fill(self, learn: Learn, now: datetime) -> None:
        this = now.replace(second=0, microsecond=0)
        oldest = this - HOUR
        begun = time.monotonic()
        since, until = self._known or (this, this)
        found = list(await learn(max(oldest, until - UNSETTLED), now))
        while since > oldest and time.monotonic() - begun < BUDGET:
            earlier = max(oldest, since - SLICE)
            found += await learn(earlier, since)
            since = earlier
        self._known = (max(since, oldest), this)
        kept = (minute for minute in self._minutes.values() if minute.minute >= oldest)
        self._minutes = {(minute.channel, minute.minute): minute for minute in (*kept, *found)}

    def _chart(self, channel: str, now: datetime) -> Chart:
        first = now.replace(second=0, microsecond=0) - HOUR
        found = [self._minutes.get((channel, first + timedelta(minutes=number))) for number in range(61)]
        return Chart(
            channel,
            int(first.timestamp()),
            [minute.delivered if minute else 0 for minute in found],
            [minute.failed if minute else 0 for minute in found],
        )
