"""The ledger: what was redeemed, and what became of it, per currency and from one snapshot.

    redeemed = active + used + held + retired + given_back

`held` is everything not yet settled (pending too). Percentages, free shipping and free products have no amount and are
counted, not summed; so is a redemption that nobody knows the value of yet. What the fuse holds is held at its value,
which is known by then. Refused redemptions never were any.
"""

from decimal import Decimal
from typing import Final

from pydantic import Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.jobs.views import View

_LEDGER: Final = text("""
WITH entry AS (
    SELECT CASE WHEN kind IN ('fixed_amount', 'gift_card') THEN coalesce(currency, 'unknown') END AS currency, kind,
           CASE WHEN kind IN ('fixed_amount', 'gift_card') THEN value ELSE 0 END AS value,
           CASE state WHEN 'pending' THEN 'held' ELSE state END AS place
    FROM coupon WHERE state <> 'refused'
)
SELECT currency, CASE WHEN currency IS NULL THEN coalesce(kind, 'not valued yet') END AS kind,
       count(*) AS coupons, sum(value) AS redeemed,
       coalesce(sum(value) FILTER (WHERE place = 'active'), 0) AS active,
       coalesce(sum(value) FILTER (WHERE place = 'used'), 0) AS used,
       coalesce(sum(value) FILTER (WHERE place = 'held'), 0) AS held,
       coalesce(sum(value) FILTER (WHERE place = 'retired'), 0) AS retired,
       coalesce(sum(value) FILTER (WHERE place = 'given_back'), 0) AS given_back,
       jsonb_build_object('active', count(*) FILTER (WHERE place = 'active'),
                          'used', count(*) FILTER (WHERE place = 'used'),
                          'held', count(*) FILTER (WHERE place = 'held'),
                          'retired', count(*) FILTER (WHERE place = 'retired'),
                          'given_back', count(*) FILTER (WHERE place = 'given_back')) AS counts
FROM entry GROUP BY 1, 2 ORDER BY 1, 2
""")


class CouponCounts(View):
    active: int
    used: int
    held: int
    retired: int
    given_back: int


class CurrencyLine(View):
    """Amounts in `currency`: redeemed = active + used + held + retired + given_back."""

    currency: str = Field(description="ISO 4217; `unknown` where neither the Platform nor a setting tells it.")
    coupons: int
    redeemed: Decimal
    active: Decimal
    used: Decimal
    held: Decimal = Field(description="Pending and held: owed to the customer, not usable yet.")
    retired: Decimal
    given_back: Decimal
    counts: CouponCounts


class KindLine(View):
    """Coupons without an amount of money."""

    kind: str = Field(description="`not valued yet`: held, since nobody knows what it is worth.")
    coupons: int
    counts: CouponCounts


class Ledger(View):
    currencies: list[CurrencyLine]
    kinds: list[KindLine]
    balanced: bool = Field(description="In every currency the parts add up to what was redeemed.")


async def read_ledger(connection: AsyncConnection) -> Ledger:
    """All coupons, in one statement."""
    rows = (await connection.execute(_LEDGER)).mappings().all()
    currencies = [CurrencyLine(**row) for row in rows if row["currency"] is not None]
    kinds = [KindLine(**row) for row in rows if row["currency"] is None]
    return Ledger(
        currencies=currencies, kinds=kinds, balanced=all(map(balanced, currencies)) and all(map(balanced, kinds))
    )


def balanced(line: CurrencyLine | KindLine) -> bool:
    """Whether the parts add up."""
    counts = line.counts
    placed = counts.active + counts.used + counts.held + counts.retired + counts.given_back
    if isinstance(line, KindLine):
        return placed == line.coupons
    parts = line.active + line.used + line.held + line.retired + line.given_back
    return placed == line.coupons and parts == line.redeemed
