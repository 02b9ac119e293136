"""One code, however it is written: most stores take AB12 and ab12 for one code, some for two.

A claim to another spelling is either the same redemption sent twice or an altered copy of a webhook. Two rows would be
two coupons in a store that tells them apart, and one coupon counted twice in all others: so only one spelling of a code
is ever given away, until that coupon is out of the world.
"""

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.database import advisory_lock
from platform_relay.core.reasons import Reason, ReasonCode, because

_LOCK: Final = advisory_lock("'coupon:' || lower(:code)")
TAKEN: Final = text("""
SELECT code, redemption_id FROM coupon
WHERE lower(code) = lower(:code) AND code <> :code AND admitted_at IS NOT NULL
  AND state NOT IN ('retired', 'given_back', 'refused')
LIMIT 1
""")


OUT_OF_THE_WORLD: Final = ("retired", "given_back", "refused")


class Spelled(Protocol):
    @property
    def code(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def priced(self) -> bool: ...


S = TypeVar("S", bound=Spelled)


async def taken_in_another_spelling(connection: AsyncConnection, code: str) -> Reason | None:
    """Why the code is not given away: another spelling is. None: there is none, nor will be before the transaction
    ends."""
    await connection.execute(_LOCK, {"code": code})
    row = (await connection.execute(TAKEN, {"code": code})).one_or_none()
    if row is None:
        return None
    return because(ReasonCode.SIMILAR_CODE, code=code, other=row.code, redemption=row.redemption_id)


def usable(coupons: Sequence[S]) -> tuple[S, ...]:
    """Of the coupons of one code in several spellings those that a customer can have used: one that was given away and is
    not out of the world, else one that was given away, else all."""
    best: dict[str, tuple[bool, bool]] = {}
    for coupon in coupons:
        spelling = coupon.code.lower()
        best[spelling] = max(best.get(spelling, (False, False)), _likely(coupon))
    return tuple(coupon for coupon in coupons if _likely(coupon) == best[coupon.code.lower()])


def _likely(coupon: Spelled) -> tuple[bool, bool]:
    return coupon.priced, coupon.state not in OUT_OF_THE_WORLD
