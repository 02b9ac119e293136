"""The tables of the inbox and the queue.

Columns that never change come first, and those that change together are next to each other, at the end: PostgreSQL writes what lies
between the first and the last byte that an update changes to its log.

All changes to one entity happen under the lock of its lane's row: `last_seq` numbers the jobs in the order of their
commits, `fencing_token` fences workers that lost their lease, `open_jobs` counts the jobs that are not finished.
"""

from datetime import datetime
from typing import Any, Final  # Any: JSON columns have no fixed type
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    Double,
    Index,
    Integer,
    Sequence,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from platform_relay.core.models.base import Base

JOB_STATES = ("waiting", "running", "done", "skipped", "superseded", "dead", "dropped")

FIRST_EMAIL = (
    """lower("left"(split_part(split_part(encode(coalesce(event, body), 'escape'), '"email"', 2), '"', 2), 255))"""
)
"""The first e-mail address in a message's body, to find a customer by it; deleted with the body. A regular expression would
cost 100 µs for each accepted customer; this costs 2."""


class Message(Base):
    """What arrived, byte for byte, with its sender and time."""

    __tablename__ = "message"
    __table_args__ = (
        Index(None, "version_mark", postgresql_where=text("version_mark IS NOT NULL")),
        Index(None, "customer_ref", "id", postgresql_where=text("customer_ref IS NOT NULL")),
        Index(None, "order_ref", "id", postgresql_where=text("order_ref IS NOT NULL")),
        Index(None, "product_ref", "id", postgresql_where=text("product_ref IS NOT NULL")),
        Index(None, "coupon_ref", "id", postgresql_where=text("coupon_ref IS NOT NULL")),
        Index("ix_message_topic", "kind", postgresql_where=text("source = 'platform'")),
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
    dedupe_key: Mapped[str] = mapped_column(Text(collation="C"))
    """Unique per source, by the table `dedupe_digest`. Compared byte by byte."""
    version_mark: Mapped[int | None] = mapped_column(BigInteger)
    """Equal for the versions of an entity with one time of change (`messages.SameTime`); null if they are not compared."""
    body: Mapped[bytes | None]
    event: Mapped[bytes | None]
    """The typed event that a store's native webhook was translated into; null if the body is a typed event."""
    encrypted_with: Mapped[str | None]
    """The key under which `body` and `event` are encrypted (`platform_relay.core.encryption`); null: they are not encrypted."""
    email_mark: Mapped[bytes | None]
    """Of an encrypted body, what FIRST_EMAIL is of a plain one: a keyed digest of the address; deleted with the body."""
    customer_ref: Mapped[str | None]
    order_ref: Mapped[str | None]
    product_ref: Mapped[str | None]
    coupon_ref: Mapped[str | None]
    reason_code: Mapped[str | None]
    """Why the message requires no job, why its entity cannot be read, or that fields were left out: a `reasons.ReasonCode`."""
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """The facts from which the text of `reason_code` is rendered."""
    received_at: Mapped[datetime]


KEY_DIGEST = """CAST(encode(substr(sha256(convert_to(source || E'\n' || dedupe_key, 'UTF8')), 1, 16), 'hex') AS uuid)"""
"""The key of a message's row in `dedupe_digest`, as `messages.key_digest` computes it."""


class DedupeDigest(Base):
    """Which dedupe keys were received. Decides about duplicates for DEDUPE, also after the message left the history.

    The row is narrow, because it lives longest: digests instead of the key and the body. `message_id` contains the time of
    the first receipt (uuid7). There is no index for the time: a sweep in the order of the pages finds old rows
    (`platform_relay.history`).
    """

    __tablename__ = "dedupe_digest"

    key: Mapped[UUID] = mapped_column(primary_key=True)
    """The first 128 bits of the SHA-256 of source and dedupe key."""
    message_id: Mapped[UUID]
    body_digest: Mapped[int] = mapped_column(BigInteger)
    """The first 64 bits of the SHA-256 of the body, which show that a strict message came again with another body."""


class HistoryCount(Base):
    """How many rows left the history, so that the counts stay complete."""

    __tablename__ = "history_count"

    kind: Mapped[str] = mapped_column(primary_key=True)
    """The kind of the jobs; empty: the messages."""
    state: Mapped[str] = mapped_column(primary_key=True)
    reason_code: Mapped[str] = mapped_column(primary_key=True)
    """Empty if they had none."""
    rows: Mapped[int] = mapped_column(BigInteger)


class HistoryExport(Base):
    """A file with rows that left the history (HISTORY_EXPORT)."""

    __tablename__ = "history_export"

    name: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    messages: Mapped[int] = mapped_column(BigInteger)
    customers: Mapped[bytes | None]
    """A Bloom filter of the customers in the file (`platform_relay.history.customers`). It shows which files may hold a
    customer's rows, and contains no customer. Null until the file is complete: it may hold every customer."""


class Job(Base):
    """One effect at one destination that a message requires.

    Indexes use `open` and `dead`, never `state`: the transition from waiting to running changes no indexed column, so it
    is a heap-only update. There is no foreign key to message: one statement writes both, and the check would cost a
    look-up and a row lock for each job.
    """

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(f"state IN {JOB_STATES}", name="state"),
        Index("ix_job_open", "destination", "lane", "seq", postgresql_where=text("open")),
        Index("ix_job_dead", "id", postgresql_where=text("dead")),
        Index(None, "message_id"),
        # As for attempts: a few pages are read for the last minutes.
        Index(
            None, "finished_at", postgresql_using="brin", postgresql_with={"autosummarize": "on", "pages_per_range": 16}
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    message_id: Mapped[UUID]
    seq: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    version: Mapped[datetime | None]
    """The store's own time of this version of the entity (`updatedAt`)."""
    kind: Mapped[str]
    destination: Mapped[str]
    lane: Mapped[str]
    depends_on: Mapped[str | None]
    """A lane whose first delivery this job needs."""
    params: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    collapse: Mapped[bool] = mapped_column(Boolean)
    """A newer job of the lane replaces this one while it waits."""
    uncertain: Mapped[bool] = mapped_column(Boolean)
    """An earlier attempt may have reached the destination: probe before acting."""
    dead: Mapped[bool] = mapped_column(Computed("state = 'dead'", persisted=True))
    disposition: Mapped[str | None]
    """How the last attempt ended, if the state does not imply it: retry, parked, exhausted, … (docs/states.md)."""
    reason_code: Mapped[str | None]
    """Why the job is in its state: a `reasons.ReasonCode` (docs/reason-codes.md)."""
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """The facts from which the text of `reason_code` is rendered."""
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    open: Mapped[bool] = mapped_column(Computed("state IN ('waiting', 'running')", persisted=True))
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(Integer)
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    """Of the attempt that succeeded, with `status`: such an attempt has no row of its own (`platform_relay.queue.attempts`)."""
    status: Mapped[int | None] = mapped_column(Integer)
    finished_at: Mapped[datetime | None]


class Lane(Base):
    """The ordered queue of one entity in one destination. Workers claim lanes, not jobs."""

    __tablename__ = "lane"
    __table_args__ = (
        Index("ix_lane_due", "destination", "priority", "run_at", postgresql_where=text("open_jobs > 0")),
        Index("ix_lane_waits_for", "waits_for", postgresql_where=text("waits_for IS NOT NULL")),
        Index("ix_lane_idle", "run_at", postgresql_where=text("open_jobs = 0")),
    )

    last_seq: Mapped[int] = mapped_column(BigInteger)
    run_at: Mapped[datetime]
    """When the lane may be claimed next. A claim does not change it, so that it changes no index."""
    open_jobs: Mapped[int] = mapped_column(Integer)
    """Jobs of this lane that are waiting or running."""
    priority: Mapped[int] = mapped_column(SmallInteger)
    """0: live, 1: backfill."""
    has_dependents: Mapped[bool] = mapped_column(Boolean)
    """Another lane waits for this one."""
    key: Mapped[str] = mapped_column(primary_key=True)
    """First in the primary key, so that no plan can use it, instead of ix_lane_due, to find the due lanes of a destination."""
    destination: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str | None]
    """Lanes of one owner share the workers' concurrency with other owners as one; null: the lane is its own owner."""
    waits_for: Mapped[str | None]
    """What the lane waits for: another lane's key, or a named event such as `reward-rule:7`."""
    failed_at: Mapped[datetime | None]
    """When its last call failed; null after a success. Probes prefer lanes that have not failed."""
    leased: Mapped[bool] = mapped_column(Boolean)
    fencing_token: Mapped[int] = mapped_column(BigInteger)
    """Unique for each claim, of all lanes, and grows from claim to claim; a settle must name it."""
    lease_until: Mapped[datetime | None]
    """While it is claimed: when the lease ends. Without an index, so that claims and renewals are heap-only updates."""


FENCING_TOKEN: Final = Sequence("fencing_token", metadata=Base.metadata)
"""Numbers the claims. A lane that is removed and comes back never repeats a token, so that a worker that lost a lease long ago
cannot settle."""


class Attempt(Base):
    """One attempt of a job: its time, duration and result. The one that succeeded is in the job's row (`Job.duration_ms`)."""

    __tablename__ = "attempt"
    __table_args__ = (
        # Attempts are added in about the order of their time, so an index of page ranges is enough, and costs very little.
        Index(
            None, "started_at", postgresql_using="brin", postgresql_with={"autosummarize": "on", "pages_per_range": 16}
        ),
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    fencing_token: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    started_at: Mapped[datetime]
    number: Mapped[int] = mapped_column(Integer)
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    status: Mapped[int | None] = mapped_column(Integer)
    outcome: Mapped[str]
    reason_code: Mapped[str | None]
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    excerpt: Mapped[str | None]


class Entity(Base):
    """What the destination is known to have of one entity; the key is its lane's."""

    __tablename__ = "entity"

    version: Mapped[datetime | None]
    """The newest version that was delivered, or may have been."""
    exists_remotely: Mapped[bool] = mapped_column(Boolean)
    """A delivery succeeded."""
    digest: Mapped[bytes | None]
    """The digest of what was last delivered."""
    destination: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)


class Destination(Base):
    """A destination, and whether it may be called now."""

    __tablename__ = "destination"
    __table_args__ = (CheckConstraint("state IN ('open', 'paused', 'blocked', 'tripped')", name="state"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    reason_code: Mapped[str | None]
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    since: Mapped[datetime]
    retry_at: Mapped[datetime | None]
    """blocked or tripped: when a job of a lane that failed may probe the destination."""
    probe_at: Mapped[datetime | None]
    """blocked or tripped: when jobs of lanes that did not fail may probe it."""
    failures: Mapped[int] = mapped_column(Integer)
    """How often it was closed without a success in between: the next pause is longer each time."""
    next_call_at: Mapped[datetime]
    """The time of the next call that is not reserved, if a rate limit applies."""
    rate_limit: Mapped[float | None] = mapped_column(Double)
    """Calls per second, as lowered by 429 responses; null: only the configured rate applies."""
    rate_limited_at: Mapped[datetime | None]
    """When a 429 last lowered it."""
    claimed_at: Mapped[datetime | None]
    """When a worker could last claim, to some seconds (`queue.last_work`)."""
    settled_at: Mapped[datetime | None]
    """When a worker could last settle, likewise."""
