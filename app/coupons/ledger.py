"""The ledger: what was redeemed and the states of the coupons, per currency and from one snapshot.

    redeemed = active + used + held + retired + points_returned

`held` includes pending coupons. Percentages, free shipping and free products have no amount: they are counted and not
summed, and so are redemptions without a known value. A coupon that an issuance limit holds has a known value. `refused`
redemptions are not genuine, so they are counted apart and are in no sum.
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
    FROM coupon
)
SELECT currency, CASE WHEN currency IS NULL THEN coalesce(kind, 'not valued yet') END AS kind,
       count(*) FILTER (WHERE place <> 'refused') AS coupons, sum(value) FILTER (WHERE place <> 'refused') AS redeemed,
       coalesce(sum(value) FILTER (WHERE place = 'active'), 0) AS active,
       coalesce(sum(value) FILTER (WHERE place = 'used'), 0) AS used,
       coalesce(sum(value) FILTER (WHERE place = 'held'), 0) AS held,
       coalesce(sum(value) FILTER (WHERE place = 'retired'), 0) AS retired,
       coalesce(sum(value) FILTER (WHERE place = 'points_returned'), 0) AS points_returned,
       jsonb_build_object('active', count(*) FILTER (WHERE place = 'active'),
                          'used', count(*) FILTER (WHERE place = 'used'),
                          'held', count(*) FILTER (WHERE place = 'held'),
                          'retired', count(*) FILTER (WHERE place = 'retired'),
                          'points_returned', count(*) FILTER (WHERE place = 'points_returned')) AS counts,
       count(*) FILTER (WHERE place = 'refused') AS refused
FROM entry GROUP BY 1, 2 ORDER BY 1, 2
""")


class CouponCounts(View):
    active: int
    used: int
    held: int
    retired: int
    points_returned: int


class CurrencyTotals(View):
    """Amounts in `currency`: redeemed = active + used + held + retired + points_returned."""

    currency: str = Field(description="ISO 4217; `unknown` where neither the Platform nor a setting names it.")
    coupons: int
    redeemed: Decimal
    active: Decimal
    used: Decimal
    held: Decimal = Field(description="Pending and held coupons: not usable yet.")
    retired: Decimal
    points_returned: Decimal
    counts: CouponCounts


class KindTotals(View):
    """Coupons without an amount of money, by kind."""

    kind: str = Field(description="`not valued yet`: held, because its value is unknown.")
    coupons: int
    counts: CouponCounts


class Ledger(View):
    currencies: list[CurrencyTotals]
    kinds: list[KindTotals]
    refused: int = Field(description="Codes of which every redemption was refused as not genuine. They are in no sum.")
    balanced: bool = Field(description="Whether the parts add up to what was redeemed, in every currency.")


async def read_ledger(connection: AsyncConnection) -> Ledger:
    """All coupons, in one statement."""
    rows = (await connection.execute(_LEDGER)).mappings().all()
    totals = [row for row in rows if row["coupons"]]
    currencies = [CurrencyTotals(**row) for row in totals if row["currency"] is not None]
    kinds = [KindTotals(**row) for row in totals if row["currency"] is None]
    balanced = all(map(_balanced, currencies)) and all(map(_balanced, kinds))
    refused = sum(row["refused"] for row in rows)
    return Ledger(currencies=currencies, kinds=kinds, refused=refused, balanced=balanced)


def _balanced(totals: CurrencyTotals | KindTotals) -> bool:
    """Whether the parts add up."""
    counts = totals.counts
    counted = counts.active + counts.used + counts.held + counts.retired + counts.points_returned
    if isinstance(totals, KindTotals):
        return counted == totals.coupons
    parts = totals.active + totals.used + totals.held + totals.retired + totals.points_returned
    return counted == totals.coupons and parts == totals.redeemed
