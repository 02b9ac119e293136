"""What the console shows of all cells: what those have that answer, and which are away. With one cell it is that cell's.

A sum for programs is not told without a cell (`asking`); here a person reads beside it which one is missing.
"""

import heapq
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.operations import piles
from app.operations.alerts.raised import AlertRecord, open_alerts
from app.operations.asking import Engines, ask_present
from app.operations.audit.lines import AuditLine, list_audit
from app.operations.books import list_jobs_by_id
from app.operations.piles import PILES, Pile, PileCount, State
from app.operations.pulse import (
    ChannelPulse,
    LastHour,
    Minute,
    ShopTerms,
    database_time,
    read_channels,
    read_shop_terms,
    summed,
)
from app.operations.views import JobView

# ----------------------------------------------------------------------------------------------- now


@dataclass(frozen=True, slots=True)
class Present:
    """This moment. `took` is how long reading it kept a database busy, in seconds."""

    at: datetime
    channels: Sequence[ChannelPulse]
    minutes: Sequence[Minute]
    shop: ShopTerms
    alerts: Sequence[AlertRecord]
    took: float
    away: Sequence[int] = ()


class Overview:
    """Keeps what it has learned of each cell's last hour."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._hours = {engine: LastHour() for engine in engines}

    async def read(self) -> Present:
        """Raises DatabaseAway when no cell answers."""
        told, away = await ask_present(self._engines, self._read)
        return replace(_together(told) if len(told) > 1 else next(iter(told.values())), away=away)

    async def _read(self, connection: AsyncConnection) -> Present:
        began = time.monotonic()
        now = await database_time(connection)
        channels = await read_channels(connection)
        minutes = await self._hours[connection.engine].read(connection, now)
        shop = await read_shop_terms(connection)
        alerts = await open_alerts(connection)
        return Present(now, channels, minutes, shop, alerts, time.monotonic() - began)


def _together(told: Mapping[int, Present]) -> Present:
    """Of several cells. Pure."""
    channels = defaultdict[str, dict[int, ChannelPulse]](dict)
    minutes: dict[tuple[str, datetime], Minute] = {}
    for number, each in told.items():
        for channel in each.channels:
            channels[channel.name][number] = channel
        for minute in each.minutes:
            seen = minutes.get(at := (minute.channel, minute.minute), Minute(*at, 0, 0))
            minutes[at] = Minute(*at, seen.delivered + minute.delivered, seen.failed + minute.failed)
    return Present(
        max(each.at for each in told.values()),
        [_channel(of_cells) for of_cells in channels.values()],
        list(minutes.values()),
        _terms([each.shop for each in told.values()]),
        sorted((alert for each in told.values() for alert in each.alerts), key=lambda alert: alert.at),
        max(each.took for each in told.values()),
    )


def _channel(of_cells: Mapping[int, ChannelPulse]) -> ChannelPulse:
    """Open when it is in every cell; else as in the first where it is not. `pace` is that of the cells that are slowed."""
    closed = [(number, each) for number, each in of_cells.items() if each.state != "open"]
    all_cells = list(of_cells.values())
    shown = closed[0][1] if closed else all_cells[0]
    if closed and len(closed) < len(all_cells):
        shown = replace(shown, reason=f"cell {closed[0][0]}: {shown.reason or shown.state}")
    paces = [each.pace for each in all_cells if each.pace is not None]
    return replace(
        shown,
        pace=sum(paces) if paces else None,
        waiting=sum(each.waiting for each in all_cells),
        running=sum(each.running for each in all_cells),
        oldest=max((each.oldest for each in all_cells if each.oldest is not None), default=None),
        rate=sum(each.rate for each in all_cells),
        tries=sum(each.tries for each in all_cells),
        dead=sum(each.dead for each in all_cells),
    )


def _terms(told: Sequence[ShopTerms]) -> ShopTerms:
    """A customer's coupons are in one cell, so that nobody is counted twice."""
    return ShopTerms(
        summed(*(each.orders for each in told)),
        all(each.complete for each in told),
        sum(each.pending for each in told),
        sum(each.held for each in told),
        sum(each.customers for each in told),
        sum(each.points for each in told),
    )


# ----------------------------------------------------------------------------------------------- dead and held


@dataclass(frozen=True, slots=True)
class Piles:
    """The largest first. `more`: there are more than are told."""

    piles: Sequence[PileCount]
    more: bool
    away: Sequence[int]


@dataclass(frozen=True, slots=True)
class OpenPile:
    """How many jobs are in it, at which moment, and the first of them."""

    total: int
    moment: datetime
    jobs: Sequence[JobView]
    away: Sequence[int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some jobs of a pile, by the number of the cell that holds them; each cell that answers is named."""

    jobs: Mapping[int, Sequence[UUID]]
    away: Sequence[int]

    @property
    def ids(self) -> list[UUID]:
        """In their order."""
        return sorted(job for jobs in self.jobs.values() for job in jobs)


async def list_piles(engines: Engines, state: State) -> Piles:
    """As `piles.list_piles`."""
    told, away = await ask_present(engines, lambda connection: piles.list_piles(connection, state))
    merged: dict[Pile, PileCount] = {}
    for found, _ in told.values():
        for each in found:
            seen = merged.get(each.pile, each)
            jobs = each.jobs if seen is each else seen.jobs + each.jobs
            merged[each.pile] = PileCount(each.pile, jobs, min(seen.first, each.first), max(seen.last, each.last))
    ordered = sorted(merged.values(), key=lambda each: each.jobs, reverse=True)
    return Piles(ordered[:PILES], len(ordered) > PILES or any(more for _, more in told.values()), away)


async def open_pile(engines: Engines, pile: Pile, examples: int) -> OpenPile:
    async def look(connection: AsyncConnection) -> tuple[int, datetime, list[JobView]]:
        total, moment = await piles.count_pile(connection, pile)
        ids = await piles.jobs_of(connection, pile, None, None, examples)
        return total, moment, await list_jobs_by_id(connection, ids)

    told, away = await ask_present(engines, look)
    jobs = sorted((job for _, _, found in told.values() for job in found), key=lambda job: job.id)
    total, moment = sum(count for count, _, _ in told.values()), max(at for _, at, _ in told.values())
    return OpenPile(total, moment, jobs[:examples], away)


async def next_jobs(engines: Engines, pile: Pile, before: datetime, cursor: UUID | None, limit: int) -> Chunk:
    """As `piles.jobs_of`: ids sort by time in all cells."""
    told, away = await ask_present(engines, lambda connection: piles.jobs_of(connection, pile, before, cursor, limit))
    chosen = set(heapq.nsmallest(limit, (job for jobs in told.values() for job in jobs)))
    return Chunk({number: [job for job in jobs if job in chosen] for number, jobs in told.items()}, away)


# ----------------------------------------------------------------------------------------------- audit


@dataclass(frozen=True, slots=True)
class AuditPage:
    """`lines` with the number of their cell, the newest first. `more`: where each cell's next lines begin; None: there
    are no more."""

    lines: Sequence[tuple[int, AuditLine]]
    more: Sequence[int | None] | None
    away: Sequence[int]


async def list_lines(engines: Engines, subject: str | None, before: Sequence[int | None], limit: int) -> AuditPage:
    """`before` is the last page's `more`; empty: the newest. Each cell's lines keep the order of its chain."""
    begin = dict(zip(engines, [*before, *([None] * len(engines))], strict=False))
    told, away = await ask_present(
        engines,
        lambda connection: list_audit(connection, subject=subject, before=begin[connection.engine], limit=limit),
    )
    numbered = [[(number, line) for line in lines] for number, lines in told.items()]
    merged = list(heapq.merge(*numbered, key=lambda each: each[1].at, reverse=True))
    lines = merged[:limit]
    if len(merged) < limit:
        return AuditPage(lines, None, away)
    reached = {number: line.seq for number, line in lines}
    following = [reached.get(number, begin[engine]) for number, engine in enumerate(engines, 1)]
    return AuditPage(lines, following, away)
