"""The rows about one order, customer, coupon or message, which `diagnose` and `explanation` work with. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from platform_relay.core.reasons import Reason

Key = Literal["order", "customer", "coupon", "message"]


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message. `body` is the event as it is sent; None if it was deleted (`pruned`) or is too large to be read. `reason`: why it
    requires no job, or which of its fields were left out."""

    id: UUID
    source: str
    kind: str
    received_at: datetime
    body_digest: int | None
    body: bytes | None
    pruned: bool
    customer_ref: str | None
    order_ref: str | None
    product_ref: str | None
    coupon_ref: str | None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    number: int
    started_at: datetime
    outcome: str
    status: int | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job with its lane's current columns (None if the lane was removed) and its attempts, the first attempt first."""

    id: UUID
    message_id: UUID
    kind: str
    destination: str
    lane: str
    seq: int
    state: str
    disposition: str | None
    reason: Reason | None
    version: datetime | None
    depends_on: str | None
    collapse: bool
    params: Mapping[str, str]
    uncertain: bool
    created_at: datetime
    finished_at: datetime | None
    run_at: datetime | None
    leased: bool | None
    lease_until: datetime | None
    waits_for: str | None
    priority: int | None
    attempts: tuple[AttemptRow, ...] = ()

    @property
    def open(self) -> bool:
        return self.state in ("waiting", "running")


@dataclass(frozen=True, slots=True)
class CouponRow:
    code: str
    message_id: UUID
    customer_ref: str | None
    state: str
    reason: Reason | None
    kind: str | None
    value: Decimal | None
    currency: str | None
    value_source: str | None
    points: int | None
    email_changed: bool
    created_at: datetime
    updated_at: datetime
    active_at: datetime | None


@dataclass(frozen=True, slots=True)
class DestinationRow:
    name: str
    state: str
    reason: Reason | None
    since: datetime
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class AlertRow:
    subject: str
    reason: Reason
    at: datetime


@dataclass(frozen=True, slots=True)
class AuditRow:
    at: datetime
    actor: str
    action: str
    subject: str
    why: str | None


@dataclass(frozen=True, slots=True)
class Records:
    """All rows about one query, read at about `now` (the database's time)."""

    by: Key
    key: str
    now: datetime
    messages: tuple[MessageRow, ...] = ()
    jobs: tuple[JobRow, ...] = ()
    coupons: tuple[CouponRow, ...] = ()
    destinations: Mapping[str, DestinationRow] = field(default_factory=dict)
    alerts: tuple[AlertRow, ...] = ()
    audit: tuple[AuditRow, ...] = ()
    searched: tuple[str, ...] = ()
    more: bool = False
    """There are older messages than these."""
    delivered: bool = False
    """Without messages: the Platform has the entity, so its messages left the history."""
    left: datetime | None = None
    """Without a message: when that with the queried id was received, if that is older than the history."""
