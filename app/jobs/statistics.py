"""Current statistics: by destination, by minute, and the orders and coupons that wait. Reads only open or recent rows."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core import exact_json
from platform_relay.core.database import is_data_error, key_ring_of
from platform_relay.core.encryption import decrypted_or_none, event_or_body
from platform_relay.core.reasons import Reason, stored

MAX_ORDERS: Final = 50_000
"""At most so many waiting orders are sum_by_currency up; if there are more, the sum is incomplete."""
HOUR: Final = timedelta(hours=1)
SLICE: Final = timedelta(minutes=10)
UNSETTLED: Final = timedelta(minutes=3)
"""The counts of a minute may change for so long, because an attempt is stored when it ends."""
BUDGET: Final = 1.0
"""Seconds that one call of `LastHour.read` may spend on older minutes; later calls read the rest."""

DESTINATIONS: Final = text("""
WITH open_jobs AS (
    SELECT destination, count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE state = 'running') AS running,
           CAST(extract(epoch FROM now() - min(created_at) FILTER (WHERE state = 'waiting')) AS float8) AS oldest
    FROM job WHERE open GROUP BY destination
), dead_jobs AS (
    SELECT destination, count(*) AS dead FROM job WHERE dead GROUP BY destination
), recent AS (
    SELECT destination, count(*) FILTER (WHERE outcome IN ('done', 'skip')) AS delivered, count(*) AS tries FROM (
        SELECT job.destination, attempt.outcome FROM attempt JOIN job ON job.id = attempt.job_id
        WHERE attempt.started_at > now() - interval '1 minute'
        UNION ALL
        SELECT destination, 'done' FROM job WHERE duration_ms IS NOT NULL AND finished_at > now() - interval '1 minute'
          AND finished_at <= now() AND finished_at - make_interval(secs => duration_ms / 1000.0) > now() - interval '1 minute'
    ) AS began GROUP BY destination
)
SELECT name, state, reason_code, facts, since, retry_at, rate_limit, coalesce(waiting, 0), coalesce(running, 0), oldest,
       CAST(coalesce(delivered, 0) / 60.0 AS float8), CAST(coalesce(tries, 0) / 60.0 AS float8), coalesce(dead, 0)
FROM destination LEFT JOIN open_jobs ON open_jobs.destination = name LEFT JOIN recent ON recent.destination = name
LEFT JOIN dead_jobs ON dead_jobs.destination = name ORDER BY name
""")
MINUTES: Final = text("""
SELECT destination, date_trunc('minute', started_at) AS minute,
       count(*) FILTER (WHERE outcome IN ('done', 'skip')) AS delivered,
       count(*) FILTER (WHERE outcome NOT IN ('done', 'skip', 'wait', 'interrupted')) AS failed
FROM (
    SELECT job.destination, attempt.started_at, attempt.outcome FROM attempt JOIN job ON job.id = attempt.job_id
    UNION ALL
    SELECT destination, finished_at - make_interval(secs => duration_ms / 1000.0), 'done' FROM job
    WHERE duration_ms IS NOT NULL AND finished_at >= CAST(:since AS timestamptz)
      AND finished_at < CAST(:until AS timestamptz) + interval '3 minutes'
) AS began
WHERE started_at >= :since AND started_at < :until GROUP BY 1, 2 ORDER BY 1, 2
""")
"""An attempt ends within UNSETTLED. The one that succeeded is found by its end, `finished_at`."""
_WAITING_ORDERS: Final = """
WITH newest AS (
    SELECT DISTINCT ON (lane) message_id FROM job
    WHERE open AND destination = 'platform' AND kind = 'forward_order' ORDER BY lane, seq DESC LIMIT :most
), stored AS MATERIALIZED (
    SELECT message.id, message.encrypted_with, coalesce(event, body) AS event,
           message.event IS NOT NULL AS translated
    FROM newest JOIN message ON message.id = newest.message_id WHERE message.kind = 'orders'
)"""
"""The newest waiting version of each order. The endpoint has checked that it is JSON with both members."""
_ORDERS: Final = text(f"""
{_WAITING_ORDERS}, plain AS MATERIALIZED (
    SELECT CAST(convert_from(event, 'UTF8') AS json) AS event FROM stored WHERE encrypted_with IS NULL
)
SELECT event ->> 'currency' AS currency, count(*) AS orders, sum(CAST(event ->> 'totalPrice' AS numeric)) AS total
FROM plain GROUP BY 1 ORDER BY 2 DESC, 1
""")  # noqa: S608  # constants only
_BODIES: Final = text(f"""
{_WAITING_ORDERS}
SELECT id, encrypted_with, event, translated FROM stored WHERE CAST(:plain AS boolean) OR encrypted_with IS NOT NULL
""")  # noqa: S608  # constants only
_COUPONS: Final = text("""
SELECT count(*) FILTER (WHERE state = 'pending') AS pending, count(*) FILTER (WHERE state = 'held') AS held,
       count(DISTINCT customer_ref) AS customers, CAST(coalesce(sum(points), 0) AS bigint) AS points
FROM coupon WHERE state IN ('pending', 'held')
""")
_NOW: Final = text("SELECT now()")


@dataclass(frozen=True, slots=True)
class DestinationStatistics:
    """The state and load of one destination.

    `oldest` is the age in seconds of the oldest waiting job, whatever it waits for; None if no job waits. `delivery_rate`
    and `attempt_rate` are per second, over the last minute. `rate_limit` is in calls per second; None if calls are not
    limited.
    """

    name: str
    state: str
    reason: Reason | None
    since: datetime
    retry_at: datetime | None
    rate_limit: float | None
    waiting: int
    running: int
    oldest: float | None
    delivery_rate: float
    attempt_rate: float
    dead: int

    @property
    def is_used(self) -> bool:
        """Whether it has jobs, was called within the last minute, or is not open."""
        return bool(self.state != "open" or self.waiting or self.running or self.dead or self.attempt_rate)


@dataclass(frozen=True, slots=True)
class Minute:
    """The attempts at one destination that began in one minute."""

    destination: str
    minute: datetime
    delivered: int
    failed: int


@dataclass(frozen=True, slots=True)
class OrderTotals:
    currency: str | None
    orders: int
    total: Decimal | None


@dataclass(frozen=True, slots=True)
class BusinessImpact:
    """The orders and coupons that wait.

    `orders` are sum_by_currency up by currency; `complete` is False if there are more than MAX_ORDERS. `customers` is the number of
    customers who wait for `pending` and `held` coupons; they spent `points` on them.
    """

    orders: Sequence[OrderTotals]
    complete: bool
    pending: int
    held: int
    customers: int
    points: int

    @property
    def order_count(self) -> int:
        return sum(totals.orders for totals in self.orders)


async def read_destinations(connection: AsyncConnection) -> list[DestinationStatistics]:
    return [
        DestinationStatistics(name, state, stored(code, facts), *rest)
        for name, state, code, facts, *rest in await connection.execute(DESTINATIONS)
    ]


async def read_minutes(connection: AsyncConnection, since: datetime, until: datetime) -> list[Minute]:
    """Minutes without attempts are left out."""
    return [Minute(*row) for row in await connection.execute(MINUTES, {"since": since, "until": until})]


class LastHour:
    """The minutes of the last hour. They are read step by step, within a time budget, and kept."""

    def __init__(self) -> None:
        self._minutes: dict[tuple[str, datetime], Minute] = {}
        self._known: tuple[datetime, datetime] | None = None
        """The range of minutes that were read."""

    async def read(self, connection: AsyncConnection, now: datetime) -> list[Minute]:
        """The minutes that have been read so far. The newest are read first."""
        current = now.replace(second=0, microsecond=0)
        oldest = current - HOUR
        started = time.monotonic()
        since, until = self._known or (current, current)
        minutes = await read_minutes(connection, max(oldest, until - UNSETTLED), now)
        while since > oldest and time.monotonic() - started < BUDGET:
            earlier = max(oldest, since - SLICE)
            minutes += await read_minutes(connection, earlier, since)
            since = earlier
        self._known = (max(since, oldest), current)
        kept = (minute for minute in self._minutes.values() if minute.minute >= oldest)
        self._minutes = {(minute.destination, minute.minute): minute for minute in (*kept, *minutes)}
        return list(self._minutes.values())


async def read_business_impact(connection: AsyncConnection) -> BusinessImpact:
    orders, plain = list[OrderTotals](), False
    try:
        async with connection.begin_nested():
            orders = [OrderTotals(*row) for row in await connection.execute(_ORDERS, {"most": MAX_ORDERS})]
    except DBAPIError as error:
        if not is_data_error(error):
            raise
        plain = (
            True  # Python's JSON parser accepted a body that PostgreSQL's rejects, such as NaN under a repeated name
        )
    if plain or key_ring_of(connection).current is not None:
        orders = sum_by_currency(orders, await _read_orders(connection, plain=plain))
    coupons = (await connection.execute(_COUPONS)).one()
    complete = sum(totals.orders for totals in orders) < MAX_ORDERS
    return BusinessImpact(orders, complete, coupons.pending, coupons.held, coupons.customers, coupons.points)


async def _read_orders(connection: AsyncConnection, *, plain: bool) -> list[OrderTotals]:
    """The orders with encrypted bodies; with `plain` all of them."""
    ring, orders = key_ring_of(connection), list[OrderTotals]()
    for row in await connection.execute(_BODIES, {"most": MAX_ORDERS, "plain": plain}):
        purpose = event_or_body(translated=row.translated)
        body = decrypted_or_none(partial(ring.decrypt, row.id, row.encrypted_with, row.event, purpose))
        order = exact_json.loads_any_number(body) if body else None
        currency = exact_json.text(exact_json.member(order, "currency"))
        orders.append(OrderTotals(currency, 1, exact_json.number(exact_json.member(order, "totalPrice"))))
    return orders


def sum_by_currency(*parts: Sequence[OrderTotals]) -> list[OrderTotals]:
    """The sums by currency, the currency with the most orders first."""
    counts, totals = Counter[str | None](), dict[str | None, Decimal]()
    for entry in chain(*parts):
        counts[entry.currency] += entry.orders
        if entry.total is not None:
            totals[entry.currency] = totals.get(entry.currency, Decimal(0)) + entry.total
    ordered = sorted(counts, key=lambda currency: (-counts[currency], currency or ""))
    return [OrderTotals(currency, counts[currency], totals.get(currency)) for currency in ordered]


async def database_time(connection: AsyncConnection) -> datetime:
    now = (await connection.execute(_NOW)).scalar_one()
    assert isinstance(now, datetime)  # noqa: S101  # gives mypy the type of now()
    return now
