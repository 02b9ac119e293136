"""The coupons: each transition is one idempotent transaction that names the states it may start from.

pending ──▶ active ──▶ used        pending: owed to the customer, not yet proven in the store
   ▲ │        │  ▲                 held: a person (or a rule) has to settle something, see `reason`
   │ ▼        ▼  │                 active: read back from the store, value and all
  held ──▶ retired, refused        used: seen in an order; retired: unusable in the store; refused: never to be made
              │
              ▼
          given_back               the points went back to the customer, which only happens to a retired coupon

What the customer gains or loses (active, used, retired, given_back) is a line of the audit's chain.

Webhooks are unsigned, so several messages may claim one code. The row is that of the claim which spoke first until one
is priced, which takes what it was held to: from then on the code is that claim's alone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final  # Any: JSON columns
from uuid import UUID

from sqlalchemy import ColumnElement, Float, cast, extract, func, null, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.alerts.alerts import resolve_alert
from platform_relay.core.models import Coupon, Message
from platform_relay.core.reasons import Reason, ReasonCode, because, stored
from platform_relay.coupons import issuance_limits
from platform_relay.coupons.codes import taken_in_another_spelling, usable
from platform_relay.coupons.issuance_limits import LimitReached
from platform_relay.jobs.actions import audit
from platform_relay.platform.rewards import Redemption, Valued
from platform_relay.platform.rules import AMOUNTS
from platform_relay.settings import IssuanceLimitSettings

SOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "pending": ("pending", "held"),
    "held": ("pending", "held"),
    "active": ("pending", "held", "active"),
    "used": ("pending", "held", "active", "used"),
    "retired": ("pending", "held", "active", "retired"),
    "given_back": ("retired", "given_back"),
    "refused": ("pending", "held", "refused"),
}
"""State -> the states it may be reached from. A coupon of the store that is used before it was read back is used."""
CHAINED: Final = ("active", "used", "retired", "given_back", "refused")
RELAY: Final = "relay"
"""Who is named in the audit where no person acted."""
REFUSED: Final = "none"
"""The proof of a claim that was looked at and found not genuine; another claim takes its row over."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What an operator decided: `approve` needs no further proof and no issuance_limits; with `kind` the value is `value`;
    `retire` means that it is not made any more, `give_back` that its points were asked to be given back."""

    by: str
    why: str
    approve: bool = False
    retire: bool = False
    give_back: bool = False
    kind: str | None = None
    value: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What one message says: this redemption has this code."""

    redemption: Redemption
    message_id: UUID

    @property
    def columns(self) -> dict[str, object]:
        """Those of the coupon's row that are the claim's word."""
        return {
            "message_id": self.message_id,
            "redemption_id": self.redemption.id,
            "customer_ref": self.redemption.customer_ref,
            "rule_id": self.redemption.rule_id,
            "points": self.redemption.points,
            "received_at": self.received_at,
        }

    @property
    def received_at(self) -> ColumnElement[datetime]:
        """When the message was stored."""
        received = select(Message.received_at).where(Message.id == self.message_id).scalar_subquery()
        return func.coalesce(received, func.now())


@dataclass(frozen=True, slots=True)
class CouponRecord:
    """A coupon as the table has it. `unchanged_for` and `age` are in seconds, by the database's clock.

    `priced` False: no claim has the code for good yet; a `kind` it has all the same is that of the claim which the issuance_limits
    holds. `store_id` of a pending coupon: the store reported it as created, and it was not read back.
    `orders`: the orders that carried it, with their financial status.
    """

    code: str
    state: str
    message_id: UUID
    redemption_id: str | None
    customer_ref: str | None
    kind: str | None
    value: Decimal | None
    currency: str | None
    rule_version: int | None
    rule_edited: bool
    proof: str | None
    reason: Reason | None
    store_id: str | None
    points: int | None
    ordered: Mapping[str, Any] | None  # Any: JSON
    orders: Mapping[str, str] | None
    decision: Decision | None
    priced: bool
    received_at: datetime
    created_at: datetime
    unchanged_for: float
    age: float


_COLUMNS: Final = (
    Coupon.code,
    Coupon.state,
    Coupon.message_id,
    Coupon.redemption_id,
    Coupon.customer_ref,
    Coupon.kind,
    Coupon.value,
    Coupon.currency,
    Coupon.rule_version,
    Coupon.rule_edited,
    Coupon.proof,
    Coupon.reason_code,
    Coupon.facts,
    Coupon.store_id,
    Coupon.points,
    Coupon.ordered,
    Coupon.orders,
    Coupon.decision,
    Coupon.admitted_at.is_not(None).label("priced"),
    Coupon.received_at,
    Coupon.created_at,
    cast(extract("epoch", func.now() - Coupon.updated_at), Float).label("unchanged_for"),
    cast(extract("epoch", func.now() - Coupon.created_at), Float).label("age"),
)


class Coupons:
    """The table. Transitions give the coupon as it is then; None where its state forbids them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._fuse = asyncio.Lock()

    async def open(self, redemption: Redemption, message_id: UUID) -> CouponRecord:
        """The coupon of a redemption: a new pending one, or the one that its code already has.

        `received_at` is this message's own, unless the code is another's for good.
        """
        claim = Claim(redemption, message_id)
        new = insert(Coupon).values(
            code=redemption.code,
            rule_edited=False,
            state="pending",
            created_at=func.now(),
            updated_at=func.now(),
            **claim.columns,
        )
        found = select(*_COLUMNS, claim.received_at.label("claimed_at")).where(Coupon.code == redemption.code)
        async with self._engine.begin() as connection:
            await connection.execute(new.on_conflict_do_nothing())
            row = dict((await connection.execute(found)).mappings().one())
        claimed_at = row.pop("claimed_at")
        coupon = _record(row)
        ours = not coupon.priced and coupon.message_id != message_id
        return replace(coupon, received_at=claimed_at) if ours else coupon

    async def price(
        self,
        claim: Claim,
        valued: Valued,
        *,
        proof: str = "door",
        rule_edited: bool = False,
        ordered: Mapping[str, Any] | None = None,  # Any: JSON
        limits: IssuanceLimitSettings | None = None,
    ) -> CouponRecord | LimitReached | Reason | None:
        """pending or held -> pending, with its value and where it comes from: from now on the store may hold it, and the
        code is this claim's alone, in any spelling. None when it is another's, or is not to be made; a Reason when
        another claim has the code in another spelling.

        With `limits` only when the issuance_limits lets it through; a coupon that was let through once is not counted again.
        """
        code = claim.redemption.code
        # The issuance_limits lets one through at a time anyway; those who wait for it hold no connection meanwhile.
        async with nullcontext() if limits is None else self._fuse, self._engine.begin() as connection:
            locked = select(Coupon.message_id, Coupon.decision, Coupon.admitted_at).where(Coupon.code == code)
            row = (await connection.execute(locked.with_for_update())).one_or_none()
            if row is None or (row.decision or {}).get("retire"):
                return None
            taken_over = row.message_id != claim.message_id
            if taken_over and (row.admitted_at is not None or row.decision is not None):
                return None
            if row.admitted_at is None and (similar := await taken_in_another_spelling(connection, code)) is not None:
                return similar
            if limits is not None and row.admitted_at is None:
                amount = valued.value if valued.kind in AMOUNTS and valued.value is not None else Decimal(0)
                blown = await issuance_limits.check_limits(
                    connection, code, claim.redemption.customer_ref, amount, limits
                )
                if blown is not None:
                    return blown
            priced = await self._move(
                connection,
                code,
                "pending",
                **(claim.columns if taken_over else {}),
                reason=None,
                store_id=None,
                **_worth(valued),
                rule_edited=rule_edited,
                proof=proof,
                ordered=ordered,
                admitted_at=func.coalesce(Coupon.admitted_at, func.clock_timestamp()),
            )
            if priced is not None and taken_over:
                await audit(connection, RELAY, "coupon.adopt", code, {"redemption": claim.redemption.id})
            return priced

    async def issued(self, code: str, store_id: str) -> CouponRecord | None:
        """The store reported it as created; it does not count before it was read back."""
        async with self._engine.begin() as connection:
            return await self._move(connection, code, "pending", store_id=store_id, reason=None)

    async def hold(self, code: str, reason: Reason) -> CouponRecord | None:
        """A person or a rule has to settle `reason` first."""
        async with self._engine.begin() as connection:
            return await self._move(connection, code, "held", reason=reason)

    async def hold_claim(
        self, claim: Claim, reason: Reason, *, refused: bool, valued: Valued | None = None
    ) -> CouponRecord | None:
        """As `hold`, by one of maybe several claims: the row is about the first one until it is refused, then about the
        next that is not. `valued`: the claim is proven, and this is what it is worth. None when the row is another
        claim's, or `hold` would give it."""
        code = claim.redemption.code
        async with self._engine.begin() as connection:
            locked = select(Coupon.message_id, Coupon.admitted_at, Coupon.decision, Coupon.proof).where(
                Coupon.code == code
            )
            row = (await connection.execute(locked.with_for_update())).one_or_none()
            if row is None:
                return None
            values: dict[str, object] = {}
            if row.message_id != claim.message_id:
                if refused or row.proof != REFUSED or row.decision is not None:
                    return None
                values |= claim.columns
            if row.admitted_at is None:
                values |= {"proof": REFUSED if refused else None, **_worth(valued)}
            return await self._move(connection, code, "held", reason=reason, **values)

    async def activate(self, code: str, store_id: str) -> CouponRecord | None:
        """Read back from the store and found right."""
        async with self._engine.begin() as connection:
            active_at = func.coalesce(Coupon.active_at, func.now())
            return await self._move(connection, code, "active", reason=None, store_id=store_id, active_at=active_at)

    async def use(self, code: str, order: str) -> CouponRecord | None:
        """Seen in an order."""
        async with self._engine.begin() as connection:
            reason = because(ReasonCode.COUPON_USED, order=order)
            return await self._move(connection, code, "used", reason=reason)

    async def retire(self, code: str, reason: Reason) -> CouponRecord | None:
        """Made unusable in the store."""
        async with self._engine.begin() as connection:
            return await self._move(connection, code, "retired", reason=reason)

    async def give_back(self, code: str, points: int) -> CouponRecord | None:
        """The Platform has returned the points to the customer."""
        async with self._engine.begin() as connection:
            return await given_back(connection, code, RELAY, because(ReasonCode.POINTS_RETURNED, points=points))

    async def refuse(self, code: str, reason: Reason) -> CouponRecord | None:
        """Never to be made: the redemption is not genuine."""
        async with self._engine.begin() as connection:
            return await self._move(connection, code, "refused", reason=reason)

    async def seen_in_order(self, code: str, order_id: str, status: str) -> CouponRecord | None:
        """Note that an order carries the code, with its newest financial status."""
        noted = func.coalesce(Coupon.orders, text("'{}'::jsonb")).op("||")(
            func.jsonb_build_object(order_id, status, type_=JSONB)
        )
        statement = update(Coupon).where(Coupon.code == code).values(orders=noted).returning(*_COLUMNS)
        async with self._engine.begin() as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else _record(row)

    async def find(self, code: str) -> CouponRecord | None:
        """The coupon with exactly this code."""
        coupons = await self._select(Coupon.code == code)
        return coupons[0] if coupons else None

    async def find_all(self, codes: Sequence[str]) -> tuple[CouponRecord, ...]:
        """Our coupons among what customers typed, in any spelling of upper and lower case: of several that one which can
        have been used."""
        spellings = [func.lower(code) for code in codes]
        return usable(await self._select(func.lower(Coupon.code).in_(spellings))) if spellings else ()

    async def _select(self, where: ColumnElement[bool]) -> tuple[CouponRecord, ...]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(select(*_COLUMNS).where(where).order_by(Coupon.code))
            return tuple(_record(row) for row in rows)

    @staticmethod
    async def _move(
        connection: AsyncConnection, code: str, state: str, *, reason: Reason | None, **values: object
    ) -> CouponRecord | None:
        return await move(connection, code, state, RELAY, reason=reason, **values)


async def given_back(connection: AsyncConnection, code: str, actor: str, reason: Reason) -> CouponRecord | None:
    """The customer has the points again, and that is certain. In the caller's transaction."""
    await resolve_alert(connection, ReasonCode.POINTS_IN_DOUBT, code)
    return await move(connection, code, "given_back", actor, reason=reason)


async def coupon_of(connection: AsyncConnection, code: str) -> CouponRecord | None:
    """The coupon with exactly this code."""
    row = (await connection.execute(select(*_COLUMNS).where(Coupon.code == code))).one_or_none()
    return None if row is None else _record(row)


async def move(
    connection: AsyncConnection, code: str, state: str, actor: str, *, reason: Reason | None, **values: object
) -> CouponRecord | None:
    """One transition in the caller's transaction, with its line of the audit where it is worth one."""
    before = None
    if state in CHAINED:
        before = (await connection.execute(select(Coupon.state).where(Coupon.code == code).with_for_update())).scalar()
    statement = (
        update(Coupon)
        .where(Coupon.code == code, Coupon.state.in_(SOURCES[state]))
        .values(
            state=state,
            updated_at=func.now(),
            reason_code=reason and reason.code.value,
            facts=null() if reason is None else dict(reason.facts),
            **values,
        )
        .returning(*_COLUMNS)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    record = _record(row)
    if state in CHAINED and before != state:
        await audit(connection, actor, f"coupon.{state}", code, _audited(record))
    return record


def _worth(valued: Valued | None) -> dict[str, object]:
    """The columns of what it is worth; None: nobody knows."""
    return {
        "kind": valued and valued.kind.value,
        "value": valued and valued.value,
        "currency": valued and valued.currency,
        "value_source": valued and valued.derivation,
        "rule_version": valued and valued.rule_version,
    }


def _audited(record: CouponRecord) -> dict[str, object]:
    detail = {
        "kind": record.kind,
        "value": None if record.value is None else f"{record.value:f}",
        "currency": record.currency,
        "rule_version": record.rule_version,
        "proof": record.proof,
        "store_id": record.store_id,
        "redemption": record.redemption_id,
        "reason_code": record.reason and record.reason.code.value,
        "facts": dict(record.reason.facts) if record.reason and record.reason.facts else None,
    }
    return {name: value for name, value in detail.items() if value is not None}


def _record(row: Any) -> CouponRecord:  # Any: a row of _COLUMNS, or its mapping
    values = dict(getattr(row, "_mapping", row))
    decision = values["decision"]
    if decision is not None:
        value = decision.get("value")
        values["decision"] = Decision(**{**decision, "value": None if value is None else Decimal(value)})
    reason = stored(values.pop("reason_code"), values.pop("facts"))
    return CouponRecord(reason=reason, **values)
