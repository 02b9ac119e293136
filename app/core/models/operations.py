"""The tables of alerts, polling, imports, reconciliation, API keys and the audit."""

from datetime import datetime, timedelta
from typing import Any  # Any: JSON columns have no fixed type
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from platform_relay.core.models.base import Base


class Alert(Base):
    """Something that an operator has to look at. Only one alert of a code and subject is open at a time."""

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
    first_facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """Those with which it was raised; null while `facts` has not changed."""
    noted_at: Mapped[datetime | None]
    """When a process last saw it; null for an alert that another rule ends."""
    resolved_at: Mapped[datetime | None]
    notified_at: Mapped[datetime | None]
    """When the chat (ALERT_WEBHOOK_URL) accepted it."""
    next_notify_at: Mapped[datetime | None]
    """Until then the process that sends it is the only one to do so."""
    notify_attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    """How often it was sent."""


class DatabaseHistory(Base):
    """The histories of PostgreSQL that this database was used on, the newest last: a failover or a restored backup begins one."""

    __tablename__ = "database_history"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Counted up under a lock."""
    system: Mapped[int] = mapped_column(BigInteger)
    """The cluster's system identifier."""
    timeline: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[datetime]
    """When the first process found the database there."""
    lost_since: Mapped[datetime | None]
    """Commits from then until `seen_at` may be missing; null when none are."""


class PollCursor(Base):
    """How far a store's list was read. `leased_until`: until then one replica reads it, and the others do not."""

    __tablename__ = "poll_cursor"

    source: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime | None]
    leased_until: Mapped[datetime]


class BackgroundRead(Base):
    """A kind of read that the workers make without a job, such as the poll of a list: whether it fails, and when it may be
    tried next. A read without a row has not failed yet."""

    __tablename__ = "background_read"

    name: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    """Failures without a success in between."""
    failing_since: Mapped[datetime | None]
    next_at: Mapped[datetime]
    reason_code: Mapped[str | None]
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class ImportRun(Base):
    """One import of a file or of a store's list, and how far it got, so that it can be resumed. It stores no rows."""

    __tablename__ = "import_run"
    __table_args__ = (
        UniqueConstraint("digest", "kind", "mapping"),
        Index(None, "created_at"),
        Index("ix_import_run_unfinished", "heartbeat_at", postgresql_where=text("state IN ('running', 'stopped')")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes]
    """SHA-256 of the file; of a store's list a random one."""
    kind: Mapped[str]
    mapping: Mapped[str]
    """How the file is read: mapping, version and `Reading` as JSON with sorted names, or the SHA-256 of a long one."""
    name: Mapped[str]
    source: Mapped[str] = mapped_column(server_default="file")
    """file, http, console or store."""
    since: Mapped[datetime | None]
    """Of a store's list: only what changed since then."""
    actor: Mapped[str]
    state: Mapped[str]
    """running, stopped, cancelled, done or failed; running without a recent heartbeat counts as stopped."""
    size: Mapped[int] = mapped_column(BigInteger)
    """In bytes; of a store's list the number of entities, 0 if unknown."""
    position: Mapped[int] = mapped_column(BigInteger)
    """Bytes of the file, or entities, that were processed."""
    last_row: Mapped[int] = mapped_column(BigInteger)
    """Number of the last row that was processed. Some rows are joined, so it can exceed `rows`."""
    rows: Mapped[int] = mapped_column(BigInteger)
    accepted: Mapped[int] = mapped_column(BigInteger)
    duplicates: Mapped[int] = mapped_column(BigInteger)
    newer: Mapped[int] = mapped_column(BigInteger)
    """Rows that were left out because a newer version had arrived."""
    rejected: Mapped[int] = mapped_column(BigInteger)
    problems: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """The first rejected rows: number and reason."""
    columns: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """What was found in each column of the file: counts and numbers of rows, no values."""
    notes: Mapped[list[str]] = mapped_column(JSONB)
    """What was decided about the whole file."""
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    """The last heartbeat."""
    finished_at: Mapped[datetime | None]
    cancelled_by: Mapped[str | None]
    """Who asked to cancel it. Its process sees that when it stores its progress."""
    upload_id: Mapped[UUID | None]
    """The file, as long as the relay keeps it."""
    fencing_token: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Counts the claims. Only the process with the last one may write."""
    claimed_at: Mapped[datetime | None]
    claimed_rows: Mapped[int] = mapped_column(BigInteger, server_default="0")
    claimed_position: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Where the last claim began, for the rate."""


class ImportUpload(Base):
    """A file that was uploaded to be imported. It is deleted after its import, and at the latest after a day."""

    __tablename__ = "import_upload"
    __table_args__ = (Index(None, "expires_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    file_format: Mapped[str]
    kind: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]
    choices: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """What was stated about reading it (`choices.Choices`)."""
    as_of: Mapped[datetime | None]
    complete: Mapped[bool] = mapped_column(Boolean)
    """Whether all of its chunks are stored."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    """It is deleted then, unless it is being imported. An erasure sets it to now."""


class ImportChunk(Base):
    """A part of an uploaded file, encrypted like a message's body."""

    __tablename__ = "import_chunk"

    upload_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    encrypted_with: Mapped[str | None]
    data: Mapped[bytes]


class Reconciliation(Base):
    """One comparison of the store's entities with those that were received and delivered."""

    __tablename__ = "reconciliation"
    __table_args__ = (Index(None, "started_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    actor: Mapped[str]
    state: Mapped[str]
    """waiting (for a worker), running, done, failed or cancelled; running without a recent heartbeat counts as stopped."""
    kind: Mapped[str | None]
    """The kind that is compared; null: all."""
    since: Mapped[datetime | None]
    grace: Mapped[timedelta | None]
    """Entities that the store changed within this time were left out; null: the default."""
    heartbeat_at: Mapped[datetime | None]
    """The last heartbeat."""
    compared: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """kind -> compared entities."""
    difference_counts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """cause class -> differences."""
    notes: Mapped[list[Any]] = mapped_column(JSONB)
    store_counts: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    """kind -> how many entities the store counted before and after the list was read."""
    unreadable: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    """kind -> entities of the list that could not be read."""
    complete: Mapped[bool] = mapped_column(Boolean, server_default="false")
    """All kinds were compared, and everything that was to be read could be read."""
    error: Mapped[str | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    repaired_at: Mapped[datetime | None]


class Difference(Base):
    """One entity that differs between the store and the relay or the Platform. `version` is the store's time of it."""

    __tablename__ = "difference"
    __table_args__ = (Index(None, "kind", "entity_id"),)

    reconciliation_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    entity_id: Mapped[str] = mapped_column(primary_key=True)
    cause: Mapped[str]
    detail: Mapped[str]
    version: Mapped[datetime | None]
    job_id: Mapped[UUID | None]
    """The dead job of a rejected entity."""
    fields: Mapped[list[Any]] = mapped_column(JSONB, server_default="[]")
    """The names of the fields that differ, if they are known. No values."""
    repair: Mapped[str | None]
    """What the repair did: message:<id>, job:<id>, or what it noted."""
    repair_message_id: Mapped[UUID | None]
    """The message whose job reads the entity from the store."""


class SetupRecord(Base):
    """The newest of each thing that operators do on the page *Set-up*. The audit has the earlier ones."""

    __tablename__ = "setup_record"

    name: Mapped[str] = mapped_column(primary_key=True)
    """test_coupon, test_alert, backup or finished."""
    at: Mapped[datetime]
    actor: Mapped[str]
    leased_until: Mapped[datetime | None]
    """Of a test coupon that may be in the store: until then one process works on it. Null: there is none."""
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)


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
    """With a precision of a few minutes."""


class ConsoleSession(Base):
    """A session of the console that has not ended."""

    __tablename__ = "console_session"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    hash: Mapped[bytes] = mapped_column(unique=True)
    """SHA-256 of the secret in the cookie."""
    key_hash: Mapped[bytes]
    """SHA-256 of the key that opened it."""
    name: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    """With a precision of a few minutes."""


class RefusedRequest(Base):
    """A request that an endpoint refused, or several within a second that it refused for the same reason."""

    __tablename__ = "refused_request"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    requests: Mapped[int]
    key_name: Mapped[str | None]
    """The name of the API key; null if the caller was not authenticated."""
    method: Mapped[str]
    route: Mapped[str]
    """The template of the path, because the path can contain a secret."""
    status: Mapped[int]
    problem: Mapped[str]
    fields: Mapped[list[str]] = mapped_column(JSONB)
    """The fields with an error; unknown names are masked."""
    size: Mapped[int | None]
    body_shape: Mapped[Any | None] = mapped_column(JSONB)
    """The body without its values (`access.body_shapes`)."""


class SignInLink(Base):
    """A link that opens a session of the console once. It is deleted when it is used."""

    __tablename__ = "sign_in_link"

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    """SHA-256 of the secret in the link."""
    key_hash: Mapped[bytes]
    """SHA-256 of the key that created it."""
    name: Mapped[str]
    expires_at: Mapped[datetime]


class Trial(Base):
    """Whether the relay is in its trial (`trial.mode`): one row, made at the first start."""

    __tablename__ = "trial"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    started_at: Mapped[datetime | None]
    """Null: the relay was live from its first start."""
    live_at: Mapped[datetime | None]
    """When it went live; null while the trial runs. It never changes again."""
    resend_since: Mapped[datetime | None]
    """From when on the events of the trial are sent after the switch; null: none."""
    resent_to: Mapped[str | None]
    """The last lane whose newest event was enqueued again; null when all were."""


class Audit(Base):
    """Who did what and when. Each entry's hash covers the entry before (`audit.hash_chain`)."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"), Index(None, "subject", "at"), UniqueConstraint("seq"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    """1, 2, 3, … without gaps."""
    hash: Mapped[bytes]
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
