"""One reading of what happens now, shared by everybody who looks, and as rare as it is expensive."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from app.api.services import Services
from app.operations.alerts.raised import AlertRecord
from app.operations.overview import Overview, Present
from app.operations.pulse import HOUR, ChannelPulse, ShopTerms

EVERY: Final = 2.0
"""Seconds between two readings."""
SHARE: Final = 0.1
"""A reading of 1 s is kept for 10 s: the console never costs the database more than this share of its time."""


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
    away: Sequence[int]
    """The cells that are missing in it."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The picture in one sentence. `closed`: a channel that is not called, the one with the most waiting first;
    `drained_in`: seconds until what waits is delivered, counted from its opening when it is closed; None: not known.
    `stuck`: something waits for a person. `away`: cells that are missing in it."""

    tone: Literal["good", "warn", "bad"]
    closed: ChannelPulse | None
    drained_in: float | None
    stuck: bool
    dead: int
    away: Sequence[int]


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
    tone: Literal["good", "warn", "bad"] = "bad" if closed or picture.away else "warn" if stuck or waits else "good"
    return Outlook(tone, closed, drained_in, stuck, dead, picture.away)


class Live:
    def __init__(self, services: Services) -> None:
        self._overview = Overview(services.engines)
        self._reading = asyncio.Lock()
        self._picture: Picture | None = None
        self._fresh_until = 0.0

    async def picture(self, *, fresh: bool = False) -> Picture:
        """The newest picture; `fresh`: read again, since the caller has just changed something. Raises DatabaseAway."""
        async with self._reading:
            if self._picture is None or fresh or time.monotonic() >= self._fresh_until:
                started = time.monotonic()
                present = await self._overview.read()
                self._picture = _picture(present)
                self._fresh_until = started + max(EVERY, present.took / SHARE)
            return self._picture


def _picture(present: Present) -> Picture:
    charts = [_chart(present, channel.name) for channel in present.channels]
    return Picture(present.at, present.channels, charts, present.shop, present.alerts, present.away)


def _chart(present: Present, channel: str) -> Chart:
    first = present.at.replace(second=0, microsecond=0) - HOUR
    known = {minute.minute: minute for minute in present.minutes if minute.channel == channel}
    found = [known.get(first + timedelta(minutes=number)) for number in range(61)]
    return Chart(
        channel,
        int(first.timestamp()),
        [minute.delivered if minute else 0 for minute in found],
        [minute.failed if minute else 0 for minute in found],
    )
