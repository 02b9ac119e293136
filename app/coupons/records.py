"""A row of the coupon table, an operator's decision on it, and a redemption claim to its code."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal  # Any: JSON columns
from uuid import UUID

from sqlalchemy import ColumnElement, Float, cast, extract, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.models import Coupon, Message
from platform_relay.core.reasons import Reason, stored
from platform_relay.platform.redemptions import Redemption

CouponState = Literal["pending", "held", "active", "used", "retired", "points_returned", "refused"]
UNUSABLE: Final = ("retired", "points_returned")
"""The states of coupons that can never be used again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What an operator decided about a coupon.

    `approve`: issue it without verification and without issuance limits; with `kind`, its value is `value`. `retire`: do
    not issue it any more. `return_points`: its points are to be returned.
    """

    by: str
    why: str
    approve: bool = False
    retire: bool = False
    return_points: bool = False
    kind: str | None = None
    value: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RedemptionClaim:
    """A message that claims a coupon code for a redemption."""

    redemption: Redemption
    message_id: UUID

    @property
    def columns(self) -> dict[str, object]:
        """The columns of the coupon's row that come from the claim."""
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
    """A row of the coupon table. `unchanged_for` and `age` are in seconds, by the database's clock.

    `admitted`: the code belongs to one claim permanently. While it is False, a `kind` is that of a claim which an issuance
    limit holds. `email_changed`: the customer's current e-mail address is not the webhook's. `store_id` of a pending
    coupon: the store reported it as created, and it was not read back yet. `orders`: the orders that used the code, with
    their financial status.
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
    email_changed: bool
    verification: str | None
    reason: Reason | None
    store_id: str | None
    points: int | None
    issued_spec: Mapping[str, Any] | None  # Any: JSON
    orders: Mapping[str, str] | None
    decision: Decision | None
    admitted: bool
    received_at: datetime
    created_at: datetime
    unchanged_for: float
    age: float


COLUMNS: Final = (
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
    Coupon.email_changed,
    Coupon.verification,
    Coupon.reason_code,
    Coupon.facts,
    Coupon.store_id,
    Coupon.points,
    Coupon.issued_spec,
    Coupon.orders,
    Coupon.decision,
    Coupon.admitted_at.is_not(None).label("admitted"),
    Coupon.received_at,
    Coupon.created_at,
    cast(extract("epoch", func.now() - Coupon.updated_at), Float).label("unchanged_for"),
    cast(extract("epoch", func.now() - Coupon.created_at), Float).label("age"),
)


def record(row: Mapping[Any, Any]) -> CouponRecord:  # Any: as a RowMapping is typed
    """The record of a row of COLUMNS."""
    values = dict(row)
    decision = values["decision"]
    if decision is not None:
        value = decision.get("value")
        values["decision"] = Decision(**{**decision, "value": None if value is None else Decimal(value)})
    reason = stored(values.pop("reason_code"), values.pop("facts"))
    return CouponRecord(reason=reason, **values)


async def read_coupons(connection: AsyncConnection, where: ColumnElement[bool]) -> tuple[CouponRecord, ...]:
    """The coupons that match, by code."""
    rows = await connection.execute(select(*COLUMNS).where(where).order_by(Coupon.code))
    return tuple(record(row) for row in rows.mappings())


async def read_coupon(connection: AsyncConnection, code: str) -> CouponRecord | None:
    """The coupon with exactly this code."""
    coupons = await read_coupons(connection, Coupon.code == code)
    return coupons[0] if coupons else None
