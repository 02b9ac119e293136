"""The coupons: each transition is one idempotent statement that names the states it may start from.

pending ──▶ active ──▶ used        pending: owed to the shopper, not yet proven in the shop
   ▲ │        │  ▲                 held: a person (or a rule) has to settle something, `reason` says what
   │ ▼        ▼  │                 active: read back from the shop, value and all
  held ──▶ retired, refused        used: seen in an order; retired: unusable in the shop; refused: never to be made
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Float, cast, extract, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.models import Coupon
from app.platform.rewards import Redemption, Valued

SOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "pending": ("pending", "held"),
    "held": ("pending", "held"),
    "active": ("pending", "held", "active"),
    "used": ("pending", "held", "active", "used"),
    "retired": ("pending", "held", "active", "retired"),
    "refused": ("pending", "held", "refused"),
}
"""State -> the states it may be reached from. A coupon of the shop that is used before it was read back is used."""


@dataclass(frozen=True, slots=True)
class CouponRecord:
    """A coupon as the table has it. `unchanged_for` is in seconds, by the database's clock.

    `kind` None: no value was found yet. `store_id` of a pending coupon: the shop said it made it, nobody has looked.
    """

    code: str
    state: str
    redemption_id: str | None
    customer_ref: str | None
    kind: str | None
    value: Decimal | None
    reason: str | None
    store_id: str | None
    created_at: datetime
    unchanged_for: float


_COLUMNS: Final = (
    Coupon.code,
    Coupon.state,
    Coupon.redemption_id,
    Coupon.customer_ref,
    Coupon.kind,
    Coupon.value,
    Coupon.reason,
    Coupon.store_id,
    Coupon.created_at,
    cast(extract("epoch", func.now() - Coupon.updated_at), Float).label("unchanged_for"),
)


class Coupons:
    """The table, on one cell's engine. Transitions give the coupon as it is then; None where its state forbids them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def open(self, redemption: Redemption, message_id: UUID) -> CouponRecord:
        """The coupon of a redemption: a new pending one, or the one that its code already has."""
        new = insert(Coupon).values(
            code=redemption.code,
            message_id=message_id,
            redemption_id=redemption.id,
            customer_ref=redemption.customer_ref,
            rule_id=redemption.rule_id,
            points=redemption.points,
            state="pending",
            created_at=func.now(),
            updated_at=func.now(),
        )
        async with self._engine.begin() as connection:
            await connection.execute(new.on_conflict_do_nothing())
            found = await connection.execute(select(*_COLUMNS).where(Coupon.code == redemption.code))
            return CouponRecord(**found.mappings().one())

    async def price(self, code: str, valued: Valued) -> CouponRecord | None:
        """pending or held -> pending, with its value and where it comes from: from now on the shop may hold it."""
        return await self._move(
            code,
            "pending",
            reason=None,
            store_id=None,
            kind=valued.kind.value,
            value=valued.value,
            currency=valued.currency,
            value_source=valued.because,
            rule_id=valued.rule_id,
            rule_version=valued.rule_version,
        )

    async def issued(self, code: str, store_id: str) -> CouponRecord | None:
        """The shop says that it made it; it does not count before it was read back."""
        return await self._move(code, "pending", store_id=store_id, reason=None)

    async def hold(self, code: str, reason: str) -> CouponRecord | None:
        """A person or a rule has to settle `reason` first."""
        return await self._move(code, "held", reason=reason)

    async def activate(self, code: str, store_id: str) -> CouponRecord | None:
        """Read back from the shop and found right."""
        return await self._move(
            code, "active", reason=None, store_id=store_id, active_at=func.coalesce(Coupon.active_at, func.now())
        )

    async def use(self, code: str, reason: str) -> CouponRecord | None:
        """Seen in an order, which `reason` names."""
        return await self._move(code, "used", reason=reason)

    async def retire(self, code: str, reason: str) -> CouponRecord | None:
        """Made unusable in the shop."""
        return await self._move(code, "retired", reason=reason)

    async def refuse(self, code: str, reason: str) -> CouponRecord | None:
        """Never to be made: the redemption is not genuine."""
        return await self._move(code, "refused", reason=reason)

    async def find(self, code: str) -> CouponRecord | None:
        """The coupon with exactly this code."""
        found = await self._select(Coupon.code == code)
        return found[0] if found else None

    async def find_all(self, codes: Sequence[str]) -> tuple[CouponRecord, ...]:
        """Our coupons among what shoppers typed: as typed, and all in lower or in upper case."""
        spellings = {spelling for code in codes for spelling in (code, code.lower(), code.upper())}
        return await self._select(Coupon.code.in_(spellings)) if spellings else ()

    async def _select(self, where: ColumnElement[bool]) -> tuple[CouponRecord, ...]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(select(*_COLUMNS).where(where).order_by(Coupon.code))
            return tuple(CouponRecord(**row) for row in rows.mappings())

    async def _move(self, code: str, state: str, **values: object) -> CouponRecord | None:
        statement = (
            update(Coupon)
            .where(Coupon.code == code, Coupon.state.in_(SOURCES[state]))
            .values(state=state, updated_at=func.now(), **values)
            .returning(*_COLUMNS)
        )
        async with self._engine.begin() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else CouponRecord(**row)
