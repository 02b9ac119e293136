"""The tables of coupons."""

from datetime import datetime
from decimal import Decimal
from typing import Any  # Any: JSON columns have no fixed type
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Index, Integer, Numeric, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from platform_relay.core.models.base import Base


class Coupon(Base):
    """The coupon of one redemption."""

    __tablename__ = "coupon"
    __table_args__ = (
        CheckConstraint(
            "state IN ('pending', 'held', 'active', 'used', 'retired', 'points_returned', 'refused')", name="state"
        ),
        Index(None, "state", "created_at"),
        Index(None, "customer_ref"),
        Index("ix_coupon_admitted", "admitted_at", postgresql_include=["value"]),
        Index("ix_coupon_spelling", text("lower(code)")),
        Index("ix_coupon_drift_check", "drift_checked_at", postgresql_where=text("active_at IS NOT NULL")),
    )

    code: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[UUID]
    redemption_id: Mapped[str | None]
    customer_ref: Mapped[str | None]
    kind: Mapped[str | None]
    value: Mapped[Decimal | None] = mapped_column(Numeric)
    currency: Mapped[str | None]
    value_source: Mapped[str | None]
    """Where the value comes from, for people: the rule, its version and the calculation."""
    rule_id: Mapped[str | None]
    rule_version: Mapped[int | None] = mapped_column(Integer)
    rule_edited: Mapped[bool] = mapped_column(Boolean)
    """The rule was edited between the redemption and the issue."""
    email_changed: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """The customer's e-mail address at the Platform was not the webhook's when the coupon was admitted."""
    verification: Mapped[str | None]
    """The level that the redemption reached: secret, source, known, confirmed, or operator (approved); failed: not genuine."""
    decision: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """The operator's decision, as `coupons.records.Decision`."""
    issued_spec: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """The coupon spec that was sent to the store, without the customer. The drift check compares the store with it."""
    orders: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """The orders that used the code: id -> financial status."""
    points: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str]
    reason_code: Mapped[str | None]
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    store_id: Mapped[str | None]
    received_at: Mapped[datetime]
    """When the webhook was stored; the rule of that moment counts."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    admitted_at: Mapped[datetime | None]
    """When the code was first given to this redemption, within the issuance limits."""
    active_at: Mapped[datetime | None]
    drift_checked_at: Mapped[datetime | None]


class IssuanceLimit(Base):
    """An issuance limit that was reached: for all coupons (key "") or for one customer. It holds coupons until it is released."""

    __tablename__ = "issuance_limit"

    key: Mapped[str] = mapped_column(primary_key=True)
    reached_at: Mapped[datetime | None]
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """Which limit was reached: the facts of `issuance_limit_reached`."""
    released_at: Mapped[datetime | None]
    """Coupons issued before this time are not counted."""
    released_by: Mapped[str | None]


class RewardRule(Base):
    """What a redeem rule is worth, as an operator defined it. All versions are kept; the highest one applies."""

    __tablename__ = "reward_rule"

    id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    definition: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """null: the rule was deleted with this version."""
    created_at: Mapped[datetime]
    created_by: Mapped[str]
