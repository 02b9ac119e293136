"""Cells: the work shared by entity among several databases, or schemas of one. Where there is one, nothing here runs.

    customers, guests, their coupons   the cell of `customer:<id or e-mail>`
    orders                             the cell of `order:<id>`, since an order's buyer may change, its id never does
    products                           the cell of `product:<id>`

A cell is a relay of its own: its own tables, channels, pace and workers; no statement spans two of them. What belongs
to nobody's entity (keys, rules, imports, cursors) is kept in the first, and copied to the others (`operations.homes`).

A coupon keeps the cell of its first redemption, whatever a later webhook says: its lane's name is bound once, and jobs
that come up elsewhere are handed over (`handlers.at_home`).
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import is_unavailable
from app.engine.operator import DeadJobs, Operator
from app.errors import DatabaseAway
from app.inbox import Inbox, Item, Receipt
from app.messages import Incoming, coupon_lane, customer_lane

log: Final = structlog.get_logger(__name__)

HASHED: Final = ("customer:", "order:", "product:")
"""Lanes whose key tells their cell."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell's parts. `number` counts from 1; `listen_url` is a direct address. `on_work` is called with a channel
    that got work there."""

    number: int
    listen_url: str
    engine: AsyncEngine
    inbox: Inbox
    operator: Operator
    on_work: list[Callable[[str], None]] = field(default_factory=list)


def place(key: str, cells: int) -> int:
    """The cell, from 0, of whatever has this key. Never changes: what is stored was placed by it."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % cells


def elsewhere(lane: str) -> str:
    """What a lane waits for that waits for `lane` of another cell."""
    return f"elsewhere:{lane}"


def entity_of(message: Incoming) -> str:
    """What decides about a message's cell."""
    if message.order_ref:
        return f"order:{message.order_ref}"
    if message.product_ref:
        return f"product:{message.product_ref}"
    if message.customer_ref:
        return customer_lane(message.customer_ref)
    if message.coupon_ref:
        return coupon_lane(message.coupon_ref)
    return message.jobs[0].lane if message.jobs else message.dedupe_key


class Waker:
    """Tells other cells what was delivered here, for the orders there that wait for it. A hint: they look again anyway."""

    def __init__(self, others: Sequence[Operator]) -> None:
        self._others = others
        self._lanes: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def delivered(self, lane: str) -> None:
        """Returns at once; call it from the event loop's thread."""
        self._lanes.add(lane)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._wake())

    async def _wake(self) -> None:
        while self._lanes:
            lanes, self._lanes = [elsewhere(lane) for lane in sorted(self._lanes)], set()
            for other in self._others:
                try:
                    await other.wake(lanes)
                except Exception as error:
                    if not is_unavailable(error):
                        raise
                    log.debug("cell_not_woken", error=type(error).__name__)


class CellsInbox(Inbox):
    """Hands each message to the inbox of its entity's cell."""

    def __init__(self, inboxes: Sequence[Inbox]) -> None:
        self._inboxes = inboxes

    async def accept(self, message: Incoming, message_id: UUID) -> Receipt:
        return await self._inboxes[place(entity_of(message), len(self._inboxes))].accept(message, message_id)

    async def accept_many(self, items: Sequence[Item]) -> list[Receipt]:
        told = await self.accept_each(items)
        for receipt in told:
            if isinstance(receipt, DatabaseAway):
                raise receipt
        return [receipt for receipt in told if isinstance(receipt, Receipt)]

    async def accept_each(self, items: Sequence[Item]) -> list[Receipt | DatabaseAway]:
        shares: dict[int, list[Item]] = {}
        for item in items:
            shares.setdefault(place(entity_of(item[1]), len(self._inboxes)), []).append(item)
        results = await asyncio.gather(
            *(self._inboxes[number].accept_many(share) for number, share in shares.items()), return_exceptions=True
        )
        told: dict[UUID, Receipt | DatabaseAway] = {}
        for share, result in zip(shares.values(), results, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, DatabaseAway):
                raise result
            of_each = repeat(result) if isinstance(result, DatabaseAway) else result
            told.update(zip((message_id for message_id, _ in share), of_each, strict=False))
        if all(isinstance(result, DatabaseAway) for result in results):
            raise DatabaseAway
        return [told[message_id] for message_id, _ in items]


class CellsOperator(Operator):
    """Acts in every cell: ids, lanes and keys of others are nothing there. Where one is away the others act all the same;
    then DatabaseAway is raised, unless everything meant was in them."""

    def __init__(self, operators: Sequence[Operator]) -> None:
        self._operators = operators

    async def retry(self, ids: Sequence[UUID], by: str) -> int:
        return await self._sum(lambda each: each.retry(ids, by), len(ids))

    async def count_matching(self, which: DeadJobs) -> int:
        return sum([await each.count_matching(which) for each in self._operators])

    async def retry_matching(self, which: DeadJobs, by: str) -> int:
        return await self._sum(lambda each: each.retry_matching(which, by))

    async def drop(self, ids: Sequence[UUID], by: str, why: str) -> int:
        return await self._sum(lambda each: each.drop(ids, by, why), len(ids))

    async def wake(self, keys: Sequence[str]) -> int:
        return await self._sum(lambda each: each.wake(keys))

    async def pause(self, channel: str, why: str, by: str) -> bool:
        return await self._sum(lambda each: each.pause(channel, why, by)) > 0

    async def resume(self, channel: str, by: str) -> bool:
        return await self._sum(lambda each: each.resume(channel, by)) > 0

    async def _sum(self, act: Callable[[Operator], Awaitable[int]], meant: int | None = None) -> int:
        """Of all that was done. `meant`: so much can be done at the most."""
        done, away = 0, list[int]()
        for number, each in enumerate(self._operators, 1):
            try:
                done += await act(each)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                away.append(number)
        if away and (meant is None or done < meant):
            raise DatabaseAway(
                f"The relay cannot reach its cell {away[0]} at the moment. The other cells have done it."
            )
        return done
