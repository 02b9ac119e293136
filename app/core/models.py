"""The tables. Words as in the package docstring; states as in docs/states.md, reason codes as in docs/reason-codes.md.

Everything that happens to one entity happens under the lock of its lane's row: `last_seq` numbers the jobs in the
order of their commits, `claim` is the fence, `waiting` counts the jobs that are not finished. Ids come from the
application (uuid7, so they sort by time); there are no triggers and no database sequences.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar  # Any: JSON columns hold what the outside world sent
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

JOB_STATES = ("waiting", "running", "done", "skipped", "superseded", "dead", "dropped")
OPEN_STATES = ("waiting", "running")

FIRST_EMAIL = (
    """lower("left"(split_part(split_part(encode(coalesce(event, body), 'escape'), '"email"', 2), '"', 2), 255))"""
)
"""The first e-mail address in a message's body, for whoever asks by it; gone with the body. (A regular expression would
cost 100 µs for each customer that is accepted; this costs 2.)"""


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True), str: Text(), bytes: LargeBinary()}


class Message(Base):
    """What arrived, byte for byte, with who sent it and when."""

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("source", "dedupe_key"),
        Index(None, "customer_ref", "id", postgresql_where=text("customer_ref IS NOT NULL")),
        Index(None, "order_ref", "id", postgresql_where=text("order_ref IS NOT NULL")),
        Index(None, "product_ref", "id", postgresql_where=text("product_ref IS NOT NULL")),
        Index(None, "coupon_ref", "id", postgresql_where=text("coupon_ref IS NOT NULL")),
        Index("ix_message_body", "id", postgresql_where=text("body IS NOT NULL")),
        Index(
            "ix_message_email",
            text(FIRST_EMAIL),
            "id",
            postgresql_where=text("kind = 'customers' AND body IS NOT NULL"),
        ),
        Index(
            "ix_message_email_mark",
            "email_mark",
            "id",
            postgresql_where=text("email_mark IS NOT NULL AND body IS NOT NULL"),
        ),
        Index(
            "ix_message_encrypted_with",
            "encrypted_with",
            "id",
            postgresql_where=text("encrypted_with IS NOT NULL AND body IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    source: Mapped[str]
    kind: Mapped[str]
    dedupe_key: Mapped[str]
    body: Mapped[bytes | None]
    event: Mapped[bytes | None]
    """The typed event that a store's native webhook was translated into; null where the body is one itself."""
    encrypted_with: Mapped[str | None]
    """The key under which `body` and `event` are encrypted (`platform_relay.core.encryption`); null: they are as they arrived."""
    email_mark: Mapped[bytes | None]
    """What FIRST_EMAIL is to a plain body of a customer; gone with the body."""
    body_hash: Mapped[bytes]
    customer_ref: Mapped[str | None]
    order_ref: Mapped[str | None]
    product_ref: Mapped[str | None]
    coupon_ref: Mapped[str | None]
    received_at: Mapped[datetime]


class Job(Base):
    """What we owe because of a message: one effect at one destination.

    Indexes look at `open` and `dead`, never at `state`: so the step from waiting to running touches no indexed
    column and stays a heap-only update. There is no foreign key to message: both are written by one statement, and
    the check would cost a look-up and a row lock for each.
    """

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(f"state IN {JOB_STATES}", name="state"),
        Index("ix_job_open", "destination", "lane", "seq", postgresql_where=text("open")),
        Index("ix_job_dead", "id", postgresql_where=text("dead")),
        Index(None, "message_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    message_id: Mapped[UUID]
    kind: Mapped[str]
    destination: Mapped[str]
    lane: Mapped[str]
    seq: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str]
    open: Mapped[bool] = mapped_column(Computed("state IN ('waiting', 'running')", persisted=True))
    dead: Mapped[bool] = mapped_column(Computed("state = 'dead'", persisted=True))
    disposition: Mapped[str | None]
    """How the last attempt ended, where the state alone does not tell: retry, parked, exhausted … (docs/states.md)."""
    reason_code: Mapped[str | None]
    """Why the job is in its state: a `reasons.ReasonCode` (docs/reason-codes.md)."""
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """What the text of `reason_code` is made from."""
    version: Mapped[datetime | None]
    """The store's own time of this version of the entity (`updatedAt`)."""
    after: Mapped[str | None]
    """A lane whose first delivery this job needs."""
    collapse: Mapped[bool] = mapped_column(Boolean)
    """A newer job of the lane replaces this one while it waits."""
    params: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    attempts: Mapped[int] = mapped_column(Integer)
    uncertain: Mapped[bool] = mapped_column(Boolean)
    """An earlier attempt may have reached the destination: probe before acting."""
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class Lane(Base):
    """The ordered queue of one entity in one destination. Workers claim lanes, not jobs."""

    __tablename__ = "lane"
    __table_args__ = (
        Index("ix_lane_due", "destination", "priority", "run_at", postgresql_where=text("waiting > 0")),
        Index("ix_lane_waits_for", "waits_for", postgresql_where=text("waits_for IS NOT NULL")),
        Index("ix_lane_idle", "run_at", postgresql_where=text("waiting = 0")),
    )

    key: Mapped[str] = mapped_column(primary_key=True)
    """First in the primary key, so that no plan can look for due lanes of a destination there instead of in ix_lane_due."""
    destination: Mapped[str] = mapped_column(primary_key=True)
    run_at: Mapped[datetime]
    """When it may be claimed next. While claimed: when the lease ends."""
    claim: Mapped[int] = mapped_column(BigInteger)
    """The fence: goes up with every claim, never down."""
    leased: Mapped[bool] = mapped_column(Boolean)
    priority: Mapped[int] = mapped_column(SmallInteger)
    """0 live, 1 backfill."""
    waiting: Mapped[int] = mapped_column(Integer)
    """Jobs of this lane that are waiting or running."""
    last_seq: Mapped[int] = mapped_column(BigInteger)
    waits_for: Mapped[str | None]
    """What wakes it: another lane's key, or a name such as `reward-rule:7`."""
    awaited: Mapped[bool] = mapped_column(Boolean)
    """Some lane waits for this one."""


class Attempt(Base):
    """One try of a job: when, how long, what came back."""

    __tablename__ = "attempt"
    __table_args__ = (
        # Attempts are added in about the order of their time, so ranges of pages serve, and cost next to nothing.
        Index(
            None, "started_at", postgresql_using="brin", postgresql_with={"autosummarize": "on", "pages_per_range": 16}
        ),
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    claim: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime]
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    outcome: Mapped[str]
    status: Mapped[int | None] = mapped_column(Integer)
    reason_code: Mapped[str | None]
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    excerpt: Mapped[str | None]


class Entity(Base):
    """What the destination is known to hold of one entity; the key is its lane's."""

    __tablename__ = "entity"

    destination: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    known: Mapped[bool] = mapped_column(Boolean)
    version: Mapped[datetime | None]
    digest: Mapped[bytes | None]


class Destination(Base):
    """A destination and whether we may call it now."""

    __tablename__ = "destination"
    __table_args__ = (CheckConstraint("state IN ('open', 'paused', 'blocked', 'tripped')", name="state"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    reason_code: Mapped[str | None]
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    since: Mapped[datetime]
    retry_at: Mapped[datetime | None]
    """blocked or tripped: when one lane may try again."""
    failures: Mapped[int] = mapped_column(Integer)
    """Consecutive closings without a success between: lengthens the next pause."""
    next_at: Mapped[datetime]
    """When the next paced call may leave."""
    pace: Mapped[float | None] = mapped_column(Double)
    """Calls per second, lowered by 429s; null: only the configured rate counts."""
    slowed_at: Mapped[datetime | None]


class Coupon(Base):
    """One redemption's coupon, from the Platform's promise to the store's proof."""

    __tablename__ = "coupon"
    __table_args__ = (
        CheckConstraint(
            "state IN ('pending', 'held', 'active', 'used', 'retired', 'given_back', 'refused')", name="state"
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
    """embedded | rule | launcher | body, and of which rule and version."""
    rule_id: Mapped[str | None]
    rule_version: Mapped[int | None] = mapped_column(Integer)
    rule_edited: Mapped[bool] = mapped_column(Boolean)
    """The rule was edited between the redemption and the issue."""
    proof: Mapped[str | None]
    """How well the redemption is proven: door, source, known, confirmed, or operator."""
    decision: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """What an operator decided about it: `by`, `why`, and `approve`, `retire`, `kind` with `value`."""
    ordered: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """What the store was told to make, without the customer: what the patrol compares with."""
    orders: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """The orders that carried the code: id -> financial status."""
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
    """When it first got through the fuse."""
    active_at: Mapped[datetime | None]
    drift_checked_at: Mapped[datetime | None]


class IssuanceLimit(Base):
    """A fuse that has blown: of all coupons (key "") or of one customer's. Tripped until released after that."""

    __tablename__ = "issuance_limit"

    key: Mapped[str] = mapped_column(primary_key=True)
    tripped_at: Mapped[datetime | None]
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """Which limit was reached: the facts of `issuance_limit_reached`."""
    released_at: Mapped[datetime | None]
    """What was issued before is not counted any more."""
    released_by: Mapped[str | None]


class Alert(Base):
    """Something that a person has to look at; one of a code and subject is open at a time."""

    __tablename__ = "alert"
    __table_args__ = (
        Index("ix_alert_open", "code", "subject", unique=True, postgresql_where=text("resolved_at IS NULL")),
        Index(None, "at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    code: Mapped[str]
    """A `reasons.ReasonCode`."""
    subject: Mapped[str]
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    resolved_at: Mapped[datetime | None]
    notified_at: Mapped[datetime | None]
    """When the chat (ALERT_WEBHOOK_URL) took it."""
    next_notify_at: Mapped[datetime | None]
    """Until then whoever tries to tell it is alone with it."""
    notify_attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    """Tries to tell it."""


class RewardRule(Base):
    """What a redeem rule is worth, by the operator's word. Versions are kept; the highest one counts."""

    __tablename__ = "reward_rule"

    id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    definition: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """null: deleted with this version."""
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class PollCursor(Base):
    """How far a store's list was read. `leased_until`: another replica reads it until then."""

    __tablename__ = "poll_cursor"

    source: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime | None]
    leased_until: Mapped[datetime]


class ImportRun(Base):
    """One file being taken in: how far, so that it goes on there after a kill. No rows of the file are kept."""

    __tablename__ = "import_run"
    __table_args__ = (UniqueConstraint("digest", "kind", "mapping"), Index(None, "created_at"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes]
    """SHA-256 of the file."""
    kind: Mapped[str]
    mapping: Mapped[str]
    """JSON with sorted names: field -> column."""
    name: Mapped[str]
    actor: Mapped[str]
    state: Mapped[str]
    """running, done or failed; running without a sign of life is stopped."""
    size: Mapped[int] = mapped_column(BigInteger)
    position: Mapped[int] = mapped_column(BigInteger)
    """Bytes of the file that are dealt with."""
    rows: Mapped[int] = mapped_column(BigInteger)
    accepted: Mapped[int] = mapped_column(BigInteger)
    duplicates: Mapped[int] = mapped_column(BigInteger)
    newer: Mapped[int] = mapped_column(BigInteger)
    """Rows left out because something newer had arrived."""
    rejected: Mapped[int] = mapped_column(BigInteger)
    problems: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """The first rejected rows: number and reason."""
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    """The last sign of life."""
    finished_at: Mapped[datetime | None]


class Reconciliation(Base):
    """One comparison of what the store has with what was received and delivered."""

    __tablename__ = "reconciliation"
    __table_args__ = (Index(None, "started_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    actor: Mapped[str]
    state: Mapped[str]
    """waiting (for a worker), running, done or failed; running without a sign of life is stopped."""
    since: Mapped[datetime | None]
    grace: Mapped[timedelta | None]
    """What changed in the store so shortly before was left out; null: as usual."""
    heartbeat_at: Mapped[datetime | None]
    """The last sign of life."""
    compared: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """kind -> entities looked at."""
    found: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """cause class -> differences."""
    notes: Mapped[list[Any]] = mapped_column(JSONB)
    error: Mapped[str | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    repaired_at: Mapped[datetime | None]


class Difference(Base):
    """One entity that is not where it should be. `version` is the store's time of it."""

    __tablename__ = "difference"
    __table_args__ = (Index(None, "kind", "entity_id"),)

    reconciliation_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    entity_id: Mapped[str] = mapped_column(primary_key=True)
    cause: Mapped[str]
    detail: Mapped[str]
    version: Mapped[datetime | None]
    job_id: Mapped[UUID | None]
    """The dead job of what was rejected."""
    repair: Mapped[str | None]
    """What the repair did: message:<id>, job:<id>, or why nothing."""


class ApiKey(Base):
    __tablename__ = "api_key"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """To the nearest few minutes."""


class Audit(Base):
    """Who did what, when, to what. Each line's hash covers the line before (`engine.chain`)."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"), Index(None, "subject", "at"), UniqueConstraint("seq"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    """1, 2, 3 … without gaps."""
    hash: Mapped[bytes]
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
