"""The transitions of coupons. Each is one idempotent transaction that names the states it may start from.

pending ──▶ active ──▶ used        pending: not yet read back from the store
   ▲ │        │  ▲                 held: waits for an operator, a rule or a setting; see `reason`
   │ ▼        ▼  │                 active: read back from the store, with the right value
  held ──▶ retired                 used: an order used it; retired: unusable in the store
   ▲ │        │
   │ ▼        ▼
 refused   points_returned         the points were returned to the customer; only for a retired coupon

refused: no claim to the code is genuine, and nothing was sent to the store. A genuine claim, or an operator's approval,
continues it. Every change of what the customer has (active, used, retired, points_returned) is written to the audit.

Webhooks are unsigned, so several messages may claim one code. The row belongs to the first claim until one claim is
admitted. From then on the code, with what was held against it, belongs to the admitted claim alone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final  # Any: JSON columns
from uuid import UUID

from sqlalchemy import func, null, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.alerts.alerts import resolve_alert
from platform_relay.audit.record import audit
from platform_relay.core.database import is_one_of
from platform_relay.core.models import Coupon
from platform_relay.core.reasons import REFUSALS, Reason, ReasonCode, because
from platform_relay.coupons import issuance_limits
from platform_relay.coupons.codes import find_similar_code, has_any_spelling_of, most_usable
from platform_relay.coupons.issuance_limits import LimitReached
from platform_relay.coupons.records import COLUMNS, CouponRecord, RedemptionClaim, read_coupon, read_coupons, record
from platform_relay.coupons.valuation_rules import RewardValue
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import AMOUNTS
from platform_relay.setting_groups import IssuanceLimitSettings

ALLOWED_FROM: Final[Mapping[str, tuple[str, ...]]] = {
    "pending": ("pending", "held", "refused"),
    "held": ("pending", "held", "refused"),
    "active": ("pending", "held", "active"),
    "used": ("pending", "held", "active", "used"),
    "retired": ("pending", "held", "refused", "active", "retired"),
    "points_returned": ("retired", "points_returned"),
    "refused": ("pending", "held", "refused"),
}
"""State -> the states it may be reached from. A coupon can be used in the store before it was read back."""
AUDITED: Final = ("active", "used", "retired", "points_returned")
RELAY: Final = "relay"
"""The actor in the audit when the relay itself acted."""
FAILED: Final = "failed"
"""The `verification` of a row whose claim is not genuine. Another claim may take over the row."""


class Coupons:
    """The coupon table. A transition returns the changed coupon, or None where the coupon's state does not allow it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._limits_lock = asyncio.Lock()

    async def open(self, redemption: Redemption, message_id: UUID) -> CouponRecord:
        """The coupon of a redemption: a new pending one, or the existing one with its code.

        `received_at` is that of this message, unless the code already belongs to another claim.
        """
        claim = RedemptionClaim(redemption, message_id)
        new = insert(Coupon).values(
            code=redemption.code,
            rule_edited=False,
            email_changed=False,
            state="pending",
            created_at=func.now(),
            updated_at=func.now(),
            **claim.columns,
        )
        existing = select(*COLUMNS, claim.received_at.label("claimed_at")).where(Coupon.code == redemption.code)
        async with self._engine.begin() as connection:
            await connection.execute(new.on_conflict_do_nothing())
            row = dict((await connection.execute(existing)).mappings().one())
        claimed_at = row.pop("claimed_at")
        coupon = record(row)
        can_take_over = not coupon.admitted and coupon.message_id != message_id
        return replace(coupon, received_at=claimed_at) if can_take_over else coupon

    async def admit(
        self,
        claim: RedemptionClaim,
        value: RewardValue,
        *,
        verification: str = "secret",
        rule_edited: bool = False,
        email_changed: bool = False,
        issued_spec: Mapping[str, Any] | None = None,  # Any: JSON
        limits: IssuanceLimitSettings | None = None,
    ) -> CouponRecord | LimitReached | Reason | None:
        """pending or held -> pending, with its value and where the value comes from. From now on the store may have the
        coupon, and the code belongs to this claim alone, in every spelling.

        None: the code belongs to another claim, or the coupon must not be issued. A Reason: another claim has the code in
        another spelling. With `limits`, the issuance limits are checked; an admitted coupon is not counted twice.
        """
        code = claim.redemption.code
        # The limits are checked one coupon at a time. This lock keeps those that wait from holding connections.
        async with nullcontext() if limits is None else self._limits_lock, self._engine.begin() as connection:
            locked = select(Coupon.message_id, Coupon.decision, Coupon.admitted_at).where(Coupon.code == code)
            row = (await connection.execute(locked.with_for_update())).one_or_none()
            if row is None or (row.decision or {}).get("retire"):
                return None
            taken_over = row.message_id != claim.message_id
            if taken_over and (row.admitted_at is not None or row.decision is not None):
                return None
            if row.admitted_at is None and (similar := await find_similar_code(connection, code)) is not None:
                return similar
            if limits is not None and row.admitted_at is None:
                amount = value.value if value.kind in AMOUNTS and value.value is not None else Decimal(0)
                customer = claim.redemption.customer_ref
                reached = await issuance_limits.check_limits(connection, code, customer, amount, limits)
                if reached is not None:
                    return reached
            values = (claim.columns if taken_over else {}) | _value_columns(value)
            values |= {
                "store_id": None,
                "rule_edited": rule_edited,
                "email_changed": email_changed,
                "verification": verification,
                "issued_spec": issued_spec,
                "admitted_at": func.coalesce(Coupon.admitted_at, func.clock_timestamp()),
            }
            coupon = await transition(connection, code, "pending", values=values)
            if coupon is not None and taken_over:
                await audit(connection, RELAY, "coupon.take_over", code, {"redemption": claim.redemption.id})
            return coupon

    async def mark_created(self, code: str, store_id: str) -> CouponRecord | None:
        """The store reported the coupon as created. It becomes active when it was read back."""
        async with self._engine.begin() as connection:
            return await transition(connection, code, "pending", values={"store_id": store_id})

    async def hold(self, code: str, reason: Reason) -> CouponRecord | None:
        """Hold the coupon until an operator, a rule or a setting settles `reason`."""
        async with self._engine.begin() as connection:
            return await transition(connection, code, "held", reason=reason)

    async def hold_claim(
        self, claim: RedemptionClaim, reason: Reason, *, rejected: bool, value: RewardValue | None = None
    ) -> CouponRecord | None:
        """Hold the coupon for one of possibly several claims, or refuse it if the claim is not genuine (`REFUSALS`) and the
        code was never admitted. The row is about the first claim until that is refused, then about the next one that is
        not rejected. `value`: the claim is verified and has this value. None when the row is about another claim, or where
        `hold` returns None."""
        code, refused = claim.redemption.code, rejected and reason.code in REFUSALS
        async with self._engine.begin() as connection:
            columns = Coupon.message_id, Coupon.admitted_at, Coupon.decision, Coupon.verification
            locked = select(*columns).where(Coupon.code == code).with_for_update()
            row = (await connection.execute(locked)).one_or_none()
            if row is None:
                return None
            values: dict[str, object] = {}
            if row.message_id != claim.message_id:
                if rejected or row.verification != FAILED or row.decision is not None:
                    return None
                values |= claim.columns
            if row.admitted_at is None:
                values |= {"verification": FAILED if refused else None, **_value_columns(value)}
            state = "refused" if refused and row.admitted_at is None else "held"
            return await transition(connection, code, state, reason=reason, values=values)

    async def activate(self, code: str, store_id: str) -> CouponRecord | None:
        """The coupon was read back from the store and matches its spec."""
        async with self._engine.begin() as connection:
            values = {"store_id": store_id, "active_at": func.coalesce(Coupon.active_at, func.now())}
            return await transition(connection, code, "active", values=values)

    async def use(self, code: str, order: str) -> CouponRecord | None:
        """An order used the coupon."""
        async with self._engine.begin() as connection:
            reason = because(ReasonCode.COUPON_USED, order=order)
            return await transition(connection, code, "used", reason=reason)

    async def retire(self, code: str, reason: Reason) -> CouponRecord | None:
        """The coupon is unusable in the store."""
        async with self._engine.begin() as connection:
            return await transition(connection, code, "retired", reason=reason)

    async def mark_points_returned(self, code: str, points: int) -> CouponRecord | None:
        """The Platform returned the points to the customer."""
        async with self._engine.begin() as connection:
            reason = because(ReasonCode.POINTS_RETURNED, points=points)
            return await mark_points_returned(connection, code, RELAY, reason)

    async def note_order(self, code: str, order_id: str, status: str) -> CouponRecord | None:
        """Record that an order used the code, with the order's newest financial status."""
        orders = func.coalesce(Coupon.orders, text("'{}'::jsonb")).op("||")(
            func.jsonb_build_object(order_id, status, type_=JSONB)
        )
        statement = update(Coupon).where(Coupon.code == code).values(orders=orders).returning(*COLUMNS)
        async with self._engine.begin() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else record(row)

    async def find(self, code: str) -> CouponRecord | None:
        """The coupon with exactly this code."""
        async with self._engine.connect() as connection:
            return await read_coupon(connection, code)

    async def find_all(self, codes: Sequence[str]) -> tuple[CouponRecord, ...]:
        """The relay's coupons among the codes that customers entered, in any upper or lower case. Of several spellings, the
        one that can have been used."""
        if not codes:
            return ()
        async with self._engine.connect() as connection:
            return most_usable(await read_coupons(connection, has_any_spelling_of(codes)))


async def mark_points_returned(
    connection: AsyncConnection, code: str, actor: str, reason: Reason
) -> CouponRecord | None:
    """The customer certainly has the points again. Runs in the caller's transaction."""
    await resolve_alert(connection, ReasonCode.POINTS_IN_DOUBT, code)
    return await transition(connection, code, "points_returned", actor, reason=reason)


async def transition(
    connection: AsyncConnection,
    code: str,
    state: str,
    actor: str = RELAY,
    *,
    reason: Reason | None = None,
    values: Mapping[str, object] | None = None,
) -> CouponRecord | None:
    """One transition in the caller's transaction, with its audit line where one is due."""
    before = None
    if state in AUDITED:
        before = (await connection.execute(select(Coupon.state).where(Coupon.code == code).with_for_update())).scalar()
    statement = (
        update(Coupon)
        .where(Coupon.code == code, is_one_of(Coupon.state, ALLOWED_FROM[state]))
        .values(
            state=state,
            updated_at=func.now(),
            reason_code=reason and reason.code.value,
            facts=null() if reason is None else dict(reason.facts),
            **(values or {}),
        )
        .returning(*COLUMNS)
    )
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        return None
    coupon = record(row)
    if state in AUDITED and before != state:
        await audit(connection, actor, f"coupon.{state}", code, _audit_detail(coupon))
    return coupon


def _value_columns(value: RewardValue | None) -> dict[str, object]:
    """The columns of the coupon's value; None: the value is unknown."""
    return {
        "kind": value and value.kind.value,
        "value": value and value.value,
        "currency": value and value.currency,
        "value_source": value and value.derivation,
        "rule_version": value and value.rule_version,
    }


def _audit_detail(coupon: CouponRecord) -> dict[str, object]:
    detail = {
        "kind": coupon.kind,
        "value": None if coupon.value is None else f"{coupon.value:f}",
        "currency": coupon.currency,
        "rule_version": coupon.rule_version,
        "verification": coupon.verification,
        "store_id": coupon.store_id,
        "redemption": coupon.redemption_id,
        "reason_code": coupon.reason and coupon.reason.code.value,
        "facts": dict(coupon.reason.facts) if coupon.reason and coupon.reason.facts else None,
    }
    return {name: value for name, value in detail.items() if value is not None}
