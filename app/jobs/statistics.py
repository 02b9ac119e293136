"""What happens now: per destination, by the minute, and in the store's own terms. Reads only what is open or recent."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.database import is_data_error, keys_of
from platform_relay.core.encryption import readable
from platform_relay.core.reasons import Reason, stored

MOST_ORDERS: Final = 50_000
"""So many waiting orders are read for their money; when there are more, the sum is told as "more than"."""
HOUR: Final = timedelta(hours=1)
SLICE: Final = timedelta(minutes=10)
UNSETTLED: Final = timedelta(minutes=3)
"""An attempt is written when it ends; its minute may still change for so long."""
BUDGET: Final = 1.0
"""Seconds that learning the last hour may take at a time; the rest follows with the next looks."""

_CHANNELS: Final = text("""
WITH owed AS (
    SELECT destination, count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE state = 'running') AS running,
           CAST(extract(epoch FROM now() - min(created_at) FILTER (WHERE state = 'waiting')) AS float8) AS oldest
    FROM job WHERE open GROUP BY destination
), given_up AS (
    SELECT destination, count(*) AS dead FROM job WHERE dead GROUP BY destination
), tried AS (
    SELECT job.destination, count(*) FILTER (WHERE attempt.outcome IN ('done', 'skip')) AS delivered, count(*) AS tries
    FROM attempt JOIN job ON job.id = attempt.job_id
    WHERE attempt.started_at > now() - interval '1 minute' GROUP BY job.destination
)
SELECT name, state, reason_code, facts, since, retry_at, pace, coalesce(waiting, 0), coalesce(running, 0), oldest,
       CAST(coalesce(delivered, 0) / 60.0 AS float8), CAST(coalesce(tries, 0) / 60.0 AS float8), coalesce(dead, 0)
FROM destination LEFT JOIN owed ON owed.destination = name LEFT JOIN tried ON tried.destination = name
LEFT JOIN given_up ON given_up.destination = name ORDER BY name
""")
_MINUTES: Final = text("""
SELECT job.destination, date_trunc('minute', attempt.started_at) AS minute,
       count(*) FILTER (WHERE attempt.outcome IN ('done', 'skip')) AS delivered,
       count(*) FILTER (WHERE attempt.outcome NOT IN ('done', 'skip', 'wait', 'interrupted')) AS failed
FROM attempt JOIN job ON job.id = attempt.job_id
WHERE attempt.started_at >= :since AND attempt.started_at < :until GROUP BY 1, 2 ORDER BY 1, 2
""")
_OWED: Final = """
WITH owed AS (
    SELECT DISTINCT ON (lane) message_id FROM job
    WHERE open AND destination = 'platform' AND kind = 'forward_order' ORDER BY lane, seq DESC LIMIT :most
), told AS MATERIALIZED (
    SELECT message.id, message.encrypted_with, coalesce(event, body) AS event
    FROM owed JOIN message ON message.id = owed.message_id WHERE message.kind = 'orders'
)"""
"""The newest waiting version of each order; what the endpoint let in is JSON with both members."""
_ORDERS: Final = text(f"""
{_OWED}, read AS MATERIALIZED (
    SELECT CAST(convert_from(event, 'UTF8') AS json) AS event FROM told WHERE encrypted_with IS NULL
)
SELECT event ->> 'currency' AS currency, count(*) AS orders, sum(CAST(event ->> 'totalPrice' AS numeric)) AS total
FROM read GROUP BY 1 ORDER BY 2 DESC, 1
""")  # noqa: S608  # constants only
_BODIES: Final = text(f"""
{_OWED} SELECT id, encrypted_with, event FROM told WHERE CAST(:plain AS boolean) OR encrypted_with IS NOT NULL
""")  # noqa: S608  # constants only
_COUPONS: Final = text("""
SELECT count(*) FILTER (WHERE state = 'pending') AS pending, count(*) FILTER (WHERE state = 'held') AS held,
       count(DISTINCT customer_ref) AS customers, CAST(coalesce(sum(points), 0) AS bigint) AS points
FROM coupon WHERE state IN ('pending', 'held')
""")
_NOW: Final = text("SELECT now()")


@dataclass(frozen=True, slots=True)
class DestinationStatistics:
    """`oldest` is the age in seconds of the oldest waiting job, whatever it waits for; None: nothing waits.

    `rate` is deliveries and `tries` attempts per second, over the last minute; `pace` calls per second, None: not slowed.
    """

    name: str
    state: str
    reason: Reason | None
    since: datetime
    retry_at: datetime | None
    pace: float | None
    waiting: int
    running: int
    oldest: float | None
    rate: float
    tries: float
    dead: int


@dataclass(frozen=True, slots=True)
class Minute:
    """The attempts that began in one minute, on one destination."""

    destination: str
    minute: datetime
    delivered: int
    failed: int


@dataclass(frozen=True, slots=True)
class OrderMoney:
    currency: str | None
    orders: int
    total: Decimal | None


@dataclass(frozen=True, slots=True)
class ShopTerms:
    """What the store and its customers wait for. `orders` by currency; `complete` False: there are more than MOST_ORDERS.

    `customers` wait for `pending` and `held` coupons, for which they gave `points`.
    """

    orders: Sequence[OrderMoney]
    complete: bool
    pending: int
    held: int
    customers: int
    points: int

    @property
    def order_count(self) -> int:
        return sum(each.orders for each in self.orders)


async def read_destinations(connection: AsyncConnection) -> list[DestinationStatistics]:
    return [
        DestinationStatistics(name, state, stored(code, facts), *rest)
        for name, state, code, facts, *rest in await connection.execute(_CHANNELS)
    ]


async def read_minutes(connection: AsyncConnection, since: datetime, until: datetime) -> list[Minute]:
    """Minutes in which nothing was tried are left out."""
    return [Minute(*row) for row in await connection.execute(_MINUTES, {"since": since, "until": until})]


class LastHour:
    """The minutes of the last hour, learned little by little and kept."""

    def __init__(self) -> None:
        self._minutes: dict[tuple[str, datetime], Minute] = {}
        self._known: tuple[datetime, datetime] | None = None
        """From when until when the minutes are known."""

    async def read(self, connection: AsyncConnection, now: datetime) -> list[Minute]:
        """What is known by now: the newest minutes are learned first."""
        this = now.replace(second=0, microsecond=0)
        oldest = this - HOUR
        begun = time.monotonic()
        since, until = self._known or (this, this)
        found = await read_minutes(connection, max(oldest, until - UNSETTLED), now)
        while since > oldest and time.monotonic() - begun < BUDGET:
            earlier = max(oldest, since - SLICE)
            found += await read_minutes(connection, earlier, since)
            since = earlier
        self._known = (max(since, oldest), this)
        kept = (minute for minute in self._minutes.values() if minute.minute >= oldest)
        self._minutes = {(minute.destination, minute.minute): minute for minute in (*kept, *found)}
        return list(self._minutes.values())


async def read_shop_terms(connection: AsyncConnection) -> ShopTerms:
    orders, plain = list[OrderMoney](), False
    try:
        async with connection.begin_nested():
            orders = [OrderMoney(*row) for row in await connection.execute(_ORDERS, {"most": MOST_ORDERS})]
    except DBAPIError as error:
        if not is_data_error(error):
            raise
        plain = True  # some body is JSON to the endpoint and none to Postgres: NaN under a name that comes again, say
    if plain or keys_of(connection).first is not None:
        orders = summed(orders, await _read_orders(connection, plain=plain))
    coupons = (await connection.execute(_COUPONS)).one()
    complete = sum(each.orders for each in orders) < MOST_ORDERS
    return ShopTerms(orders, complete, coupons.pending, coupons.held, coupons.customers, coupons.points)


async def _read_orders(connection: AsyncConnection, *, plain: bool) -> list[OrderMoney]:
    """The sealed ones; with `plain` the others too."""
    ring, found = keys_of(connection), list[OrderMoney]()
    for row in await connection.execute(_BODIES, {"most": MOST_ORDERS, "plain": plain}):
        body = readable(partial(ring.open, row.id, row.encrypted_with, row.event))
        order = json.loads(body, parse_float=str) if body else {}
        total = order.get("totalPrice")
        found.append(OrderMoney(order.get("currency"), 1, None if total is None else Decimal(total)))
    return found


def summed(*parts: Sequence[OrderMoney]) -> list[OrderMoney]:
    """Summed up by currency, the most orders first."""
    counts, totals = Counter[str | None](), dict[str | None, Decimal]()
    for each in (each for part in parts for each in part):
        counts[each.currency] += each.orders
        if each.total is not None:
            totals[each.currency] = totals.get(each.currency, Decimal(0)) + each.total
    ordered = sorted(counts, key=lambda currency: (-counts[currency], currency or ""))
    return [OrderMoney(currency, counts[currency], totals.get(currency)) for currency in ordered]


async def database_time(connection: AsyncConnection) -> datetime:
    now = (await connection.execute(_NOW)).scalar_one()
    assert isinstance(now, datetime)  # noqa: S101  # tells mypy what Postgres' now() is
    return now
