"""One code, however it is written: most shops take AB12 and ab12 for one code, some for two.

A claim to another spelling is either the same redemption told twice or an altered copy of a webhook. Two rows would be
two coupons in a shop that tells them apart, and one coupon counted twice in all others: so only one spelling of a code
is ever given away, until that coupon is out of the world.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import advisory_lock

_LOCK: Final = advisory_lock("'coupon:' || lower(:code)")
TWIN: Final = text("""
SELECT code, redemption_id FROM coupon
WHERE lower(code) = lower(:code) AND code <> :code AND priced_at IS NOT NULL
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


@dataclass(frozen=True, slots=True)
class Twin:
    """The spelling of a code that some claim has for good."""

    code: str
    redemption_id: str | None

    @property
    def why(self) -> str:
        """Why the other one is not made, and what to do."""
        return (
            f"its code is {self.code} in other letters, upper or lower case, and that one belongs to redemption"
            f" {self.redemption_id}: most shops take both for one. Look which is genuine, and retire the other"
        )


async def twin(connection: AsyncConnection, code: str) -> Twin | None:
    """Another spelling that is given away already; None: there is none, nor will be before the transaction ends."""
    await connection.execute(_LOCK, {"code": code})
    row = (await connection.execute(TWIN, {"code": code})).one_or_none()
    return None if row is None else Twin(row.code, row.redemption_id)


def usable(found: Sequence[S]) -> tuple[S, ...]:
    """Of the coupons of one code in several spellings those that a shopper can have used: one that was given away and is
    not out of the world, else one that was given away, else all."""
    best: dict[str, tuple[bool, bool]] = {}
    for each in found:
        best[each.code.lower()] = max(best.get(each.code.lower(), (False, False)), _likely(each))
    return tuple(each for each in found if _likely(each) == best[each.code.lower()])


def _likely(coupon: Spelled) -> tuple[bool, bool]:
    return coupon.priced, coupon.state not in OUT_OF_THE_WORLD
