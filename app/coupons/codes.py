"""Coupon codes that differ only in upper and lower case: most stores treat AB12 and ab12 as one code, some as two.

A claim to another spelling is either the same redemption sent twice or an altered copy of a webhook. Two rows would be two
coupons in a store that distinguishes them, and one coupon counted twice in all others. So only one spelling of a code is
admitted at a time, until its coupon can never be used again.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ARRAY, ColumnElement, Text, any_, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.database import advisory_lock
from platform_relay.core.models import Coupon
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.coupons.records import UNUSABLE, CouponRecord

_LOCK: Final = advisory_lock("'coupon:' || lower(:code)")
SIMILAR_CODE: Final = text(f"""
SELECT code, redemption_id FROM coupon
WHERE lower(code) = lower(:code) AND code <> :code AND admitted_at IS NOT NULL
  AND state NOT IN {UNUSABLE}
LIMIT 1
""")  # noqa: S608  # constants only


async def find_similar_code(connection: AsyncConnection, code: str) -> Reason | None:
    """The reason if another spelling of the code is admitted, else None. Locks all spellings until the transaction ends."""
    await connection.execute(_LOCK, {"code": code})
    row = (await connection.execute(SIMILAR_CODE, {"code": code})).one_or_none()
    if row is None:
        return None
    return because(ReasonCode.SIMILAR_CODE, code=code, other=row.code, redemption=row.redemption_id)


def has_any_spelling_of(codes: Sequence[str]) -> ColumnElement[bool]:
    """The condition that a coupon has one of `codes` in any upper or lower case. The codes are one parameter: an array."""
    entered = func.unnest(cast(codes, ARRAY(Text))).column_valued("entered")
    lowered = select(func.lower(entered)).scalar_subquery()
    return func.lower(Coupon.code) == any_(func.array(lowered))


def most_usable(coupons: Sequence[CouponRecord]) -> tuple[CouponRecord, ...]:
    """Of each code in several spellings, the coupons that a customer can have used: the admitted ones that are still
    usable, else the admitted ones, else all."""
    best: dict[str, tuple[bool, bool]] = {}
    for coupon in coupons:
        spelling = coupon.code.lower()
        best[spelling] = max(best.get(spelling, (False, False)), _usability(coupon))
    return tuple(coupon for coupon in coupons if _usability(coupon) == best[coupon.code.lower()])


def _usability(coupon: CouponRecord) -> tuple[bool, bool]:
    return coupon.admitted, coupon.state not in UNUSABLE
