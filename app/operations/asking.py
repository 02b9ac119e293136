"""Questions to all cells at once, and their answers made one. With one cell it is that cell's answer.

An answer that lacks a cell would be a lie: where one is away, lists, sums and "there is none" raise DatabaseAway, while
what another cell has is given all the same.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.cells import Cell
from app.errors import DatabaseAway
from app.operations import books
from app.operations.alerts.raised import AlertRecord, open_alerts
from app.operations.audit.lines import AuditLine, list_audit
from app.operations.books import reading
from app.operations.coupons.desk import CouponDesk
from app.operations.coupons.ledger import CouponCounts, CurrencyLine, KindLine, Ledger, balanced, read_ledger
from app.operations.coupons.transitions import coupon_of
from app.operations.explain.gather import collect
from app.operations.explain.records import Key, Records
from app.operations.explain.story import Explanation, tell
from app.operations.oldest import OldestWaiting
from app.operations.people.erase import COUNTED, Receipt, erase
from app.operations.people.export import Export, export
from app.operations.people.person import find_person
from app.operations.views import Books, ChannelView, Counts, CouponPage, CouponView, JobDetail, JobPage, MessageView
from app.settings import CouponSettings
from app.telemetry import Backlog, Look

T = TypeVar("T")
Engines = Sequence[AsyncEngine]
Question = Callable[[AsyncConnection], Awaitable[T]]

_AMOUNTS: Final = ("redeemed", "active", "used", "held", "retired", "given_back")


async def ask(engines: Engines, question: Question[T]) -> list[T | DatabaseAway]:
    """Each cell's answer, or that it is away."""
    return await asyncio.gather(*(_ask(number, engine, question) for number, engine in enumerate(engines, 1)))


async def ask_all(engines: Engines, question: Question[T]) -> list[T]:
    """Each cell's answer. Raises DatabaseAway when one is away."""
    return _complete(await ask(engines, question))


async def ask_present(engines: Engines, question: Question[T]) -> tuple[dict[int, T], list[int]]:
    """The answers of the cells that answer, by the cell's number, and the numbers of the others. Raises DatabaseAway
    when none answers. Whoever shows it has to name the others."""
    answers = dict(enumerate(await ask(engines, question), 1))
    told = {number: answer for number, answer in answers.items() if not isinstance(answer, DatabaseAway)}
    if not told:
        _complete(answers.values())
    return told, [number for number in answers if number not in told]


async def find(engines: Engines, question: Question[T | None]) -> T | None:
    """What some cell has. Raises DatabaseAway when none of those that answer has it and one is away."""
    answers = await ask(engines, question)
    for answer in answers:
        if answer is not None and not isinstance(answer, DatabaseAway):
            return answer
    _complete(answers)
    return None


async def cell_of(cells: Sequence[Cell], question: Question[T | None]) -> Cell:
    """The cell that has it; the first one where none has. Raises as `find`."""
    answers = await ask([cell.engine for cell in cells], question) if len(cells) > 1 else ()
    for cell, answer in zip(cells, answers, strict=False):
        if answer is not None and not isinstance(answer, DatabaseAway):
            return cell
    _complete(answers)
    return cells[0]


async def _ask(number: int, engine: AsyncEngine, question: Question[T]) -> T | DatabaseAway:
    try:
        async with reading(engine) as connection:
            return await question(connection)
    except DatabaseAway as away:
        return away if number == 1 else _is_away(number)


def _is_away(number: int) -> DatabaseAway:
    return DatabaseAway(f"The relay cannot reach its cell {number} at the moment.")


def _complete(answers: Iterable[T | DatabaseAway]) -> list[T]:
    told = []
    for answer in answers:
        if isinstance(answer, DatabaseAway):
            raise answer
        told.append(answer)
    return told


# ----------------------------------------------------------------------------------------------- jobs, messages


async def find_message(engines: Engines, message_id: UUID) -> MessageView | None:
    return await find(engines, lambda connection: books.find_message(connection, message_id))


async def find_job(engines: Engines, job_id: UUID) -> JobDetail | None:
    return await find(engines, lambda connection: books.find_job(connection, job_id))


async def cell_of_job(cells: Sequence[Cell], job_id: UUID) -> Cell:
    """As `cell_of`."""
    return await cell_of(cells, lambda connection: books.find_job(connection, job_id))


async def list_jobs(
    engines: Engines,
    *,
    state: str | None = None,
    kind: str | None = None,
    lane: str | None = None,
    cursor: UUID | None = None,
    limit: int = 50,
) -> JobPage:
    """As `books.list_jobs`: ids sort by time in all cells."""
    pages = await ask_all(
        engines,
        lambda connection: books.list_jobs(connection, state=state, kind=kind, lane=lane, cursor=cursor, limit=limit),
    )
    items = sorted((job for page in pages for job in page.items), key=lambda job: job.id, reverse=True)
    more = len(items) > limit or any(page.next_cursor for page in pages)
    return JobPage(items=items[:limit], next_cursor=items[:limit][-1].id if more else None)


async def read_books(engines: Engines) -> Books:
    """As `books.read_books`, from one moment of each cell."""
    told = await ask_all(engines, books.read_books)
    if len(told) == 1:
        return told[0]
    by_kind: dict[str, Counter[str]] = {}
    for each in told:
        for kind, counts in each.by_kind.items():
            by_kind.setdefault(kind, Counter()).update(counts.model_dump())
    total: Counter[str] = Counter()
    for each in told:
        total.update(each.total.model_dump())
    return Books(
        messages=sum(each.messages for each in told),
        total=Counts(**total),
        by_kind={kind: Counts(**counts) for kind, counts in sorted(by_kind.items())},
        balanced=all(each.balanced for each in told),
    )


async def list_channels(engines: Engines) -> list[ChannelView]:
    """A channel is open when it is in every cell; else it is as in the first cell where it is not."""
    told = await ask_all(engines, books.list_channels)
    merged: dict[str, ChannelView] = {}
    for number, channels in enumerate(told, 1):
        for channel in channels:
            seen = merged.get(channel.name)
            here = channel
            if len(told) > 1 and channel.state != "open":
                here = channel.model_copy(update={"reason": f"cell {number}: {channel.reason or channel.state}"})
            kept = here if seen is None or (seen.state == "open" and channel.state != "open") else seen
            waiting = channel.waiting + (seen.waiting if seen else 0)
            merged[channel.name] = kept.model_copy(update={"waiting": waiting})
    return list(merged.values())


async def read_backlog(engines: Engines, oldest: OldestWaiting) -> tuple[Look, bool]:
    """Of the cells that answer, and whether all did. Raises DatabaseAway when none did."""
    told, away = await ask_present(engines, lambda connection: books.read_backlog(connection, oldest))
    merged: dict[str, Backlog] = {}
    alerts: Counter[str] = Counter()
    for look in told.values():
        alerts.update(look.alerts)
        for one in look.channels:
            seen = merged.get(one.channel, Backlog(one.channel, 0, 0.0, 0.0, 0, "open"))
            merged[one.channel] = Backlog(
                one.channel,
                seen.waiting + one.waiting,
                max(seen.oldest, one.oldest),
                max(seen.oldest_waiting, one.oldest_waiting),
                seen.dead + one.dead,
                one.state if seen.state == "open" else seen.state,
            )
    return Look([merged[name] for name in sorted(merged)], alerts), not away


# ----------------------------------------------------------------------------------------------- coupons


async def find_coupon(engines: Engines, code: str) -> CouponView | None:
    return await find(engines, lambda connection: books.find_coupon(connection, code))


async def list_coupons(
    engines: Engines,
    *,
    state: str | None = None,
    customer: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> CouponPage:
    """As `books.list_coupons`."""
    last: datetime | None = None
    if cursor is not None and len(engines) > 1:
        found = await find_coupon(engines, cursor)
        if found is None:
            return CouponPage(items=[])
        last = found.created_at
    pages = await ask_all(
        engines,
        lambda connection: books.list_coupons(
            connection, state=state, customer=customer, cursor=cursor, cursor_at=last, limit=limit
        ),
    )
    items = sorted(
        (coupon for page in pages for coupon in page.items),
        key=lambda coupon: (coupon.created_at, coupon.code),
        reverse=True,
    )
    more = len(items) > limit or any(page.next_cursor for page in pages)
    return CouponPage(items=items[:limit], next_cursor=items[:limit][-1].code if more else None)


class Desks:
    """The coupon desk of each cell."""

    def __init__(self, cells: Sequence[Cell], policy: CouponSettings) -> None:
        self._cells = cells
        self._desks = {cell.number: CouponDesk(cell.engine, cell.operator, policy) for cell in cells}

    async def of(self, code: str) -> CouponDesk:
        """The desk that has this coupon; some desk where none has. Raises DatabaseAway."""
        cell = await cell_of(self._cells, lambda connection: coupon_of(connection, code))
        return self._desks[cell.number]

    async def dismiss(self, code: str, by: str, why: str) -> int:
        """As `CouponDesk.dismiss`, in each cell."""
        return sum([await desk.dismiss(code, by, why) for desk in self._desks.values()])

    async def release_fuse(self, by: str, why: str, customer: str | None) -> tuple[int, int]:
        """As `CouponDesk.release_fuse`, in each cell: how many fuses, and how many coupons go on."""
        done = [await desk.release_fuse(by, why, customer) for desk in self._desks.values()]
        return sum(released for released, _ in done), sum(woken for _, woken in done)


async def ledger(engines: Engines) -> Ledger:
    """As `ledger.read_ledger`, from one moment of each cell."""
    told = await ask_all(engines, read_ledger)
    if len(told) == 1:
        return told[0]
    currencies: dict[str, CurrencyLine] = {}
    kinds: dict[str, KindLine] = {}
    for each in told:
        for line in each.currencies:
            seen = currencies.get(line.currency)
            currencies[line.currency] = line if seen is None else _sum_of_currency(seen, line)
        for other in each.kinds:
            known = kinds.get(other.kind)
            kinds[other.kind] = other if known is None else _sum_of_kind(known, other)
    lines = [currencies[name] for name in sorted(currencies)]
    others = [kinds[name] for name in sorted(kinds)]
    return Ledger(currencies=lines, kinds=others, balanced=all(map(balanced, lines)) and all(map(balanced, others)))


def _sum_of_currency(a: CurrencyLine, b: CurrencyLine) -> CurrencyLine:
    amounts = {name: getattr(a, name) + getattr(b, name) for name in _AMOUNTS}
    counts = _sum_of_counts(a.counts, b.counts)
    return CurrencyLine(currency=a.currency, coupons=a.coupons + b.coupons, counts=counts, **amounts)


def _sum_of_kind(a: KindLine, b: KindLine) -> KindLine:
    return KindLine(kind=a.kind, coupons=a.coupons + b.coupons, counts=_sum_of_counts(a.counts, b.counts))


def _sum_of_counts(a: CouponCounts, b: CouponCounts) -> CouponCounts:
    return CouponCounts(**{name: count + getattr(b, name) for name, count in a.model_dump().items()})


# ----------------------------------------------------------------------------------------------- people


async def known_as(engines: Engines, asked: str) -> frozenset[str]:
    """All ids and addresses that any cell knows of the person; none with one cell, which finds them by itself."""
    if len(engines) == 1:
        return frozenset()
    known = frozenset[str]()
    for _ in range(2):  # what one cell knows may lead to more in another
        told = await ask_all(engines, partial(find_person, asked=asked.strip(), known=known))
        known = frozenset(ref for person in told for ref in person.refs)
    return known


async def erase_everywhere(cells: Sequence[Cell], asked: str, by: str, patience: float) -> Receipt:
    """As `erase.erase`, cell after cell; the receipt is that of the first, with the sums of all."""
    known = await known_as([cell.engine for cell in cells], asked)
    receipts = [await erase(cell.engine, cell.operator, asked, by, patience=patience, known=known) for cell in cells]
    return receipts[0].model_copy(
        update={name: sum(getattr(receipt, name) for receipt in receipts) for name in COUNTED}
    )


async def export_everywhere(engines: Engines, asked: str, by: str) -> Export:
    """As `export.export`, from one moment of each cell."""
    known = await known_as(engines, asked)
    told = [await export(engine, asked, by, known) for engine in engines]
    lists = ("messages", "jobs", "attempts", "coupons", "delivered", "fuses", "differences")
    customer = sorted({name for each in told for name in each.customer})
    return told[0].model_copy(
        update={"customer": customer, **{name: [row for each in told for row in getattr(each, name)] for name in lists}}
    )


# ----------------------------------------------------------------------------------------------- who did what


async def alerts_of(engines: Engines, subject: str | None = None) -> list[AlertRecord]:
    """As `raised.open_alerts`: all that are open, or those about one subject, the oldest first."""
    told = await ask_all(engines, lambda connection: open_alerts(connection, subject))
    return sorted((alert for alerts in told for alert in alerts), key=lambda alert: alert.at)


async def acts_on(engines: Engines, subject: str) -> list[AuditLine]:
    """What was done to a job or a coupon, the newest first. It is written in the cell that holds it: others may be away."""
    told, _ = await ask_present(engines, lambda connection: list_audit(connection, subject=subject))
    return sorted((line for lines in told.values() for line in lines), key=lambda line: line.at, reverse=True)


# ----------------------------------------------------------------------------------------------- why


async def explain(engines: Engines, by: Key, key: str) -> Explanation:
    """As `explain.explain`, from what all cells hold. While one is away, what others hold is told with a note."""
    told, away = await ask_present(engines, lambda connection: collect(connection, by, key.strip()))
    story = tell(joined(list(told.values())))
    if away and not story.found:
        raise _is_away(away[0])
    missing = [f"Cell {number} cannot be reached; what it holds of this is missing here." for number in away]
    return story.model_copy(update={"notes": [*story.notes, *missing]})


def joined(told: Sequence[Records]) -> Records:
    """One cell's records or, of several, all that was found, as of the first that found something."""
    found = [each for each in told if each.messages or each.coupons] or told[:1]
    first = found[0]
    return replace(
        first,
        messages=tuple(sorted((one for each in found for one in each.messages), key=lambda one: one.id, reverse=True)),
        jobs=tuple(one for each in found for one in each.jobs),
        coupons=tuple(one for each in found for one in each.coupons),
        alerts=tuple(one for each in told for one in each.alerts),
        audit=tuple(sorted((one for each in found for one in each.audit), key=lambda one: one.at)),
        more=any(each.more for each in found),
    )
