"""The first tables.

Tables with many updates are vacuumed and analysed early, and leave room for heap-only updates: a claim changes each row of a
page, so more than half of a page of `lane` and `job` is free at first.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    _create_tables_from_alert()
    _create_tables_from_import_run()
    _create_other_tables()
    for table, fillfactor in {
        "lane": 45,
        "job": 48,
        "entity": 85,
        "message": 100,
        "attempt": 100,
        "dedupe_digest": 100,
    }.items():
        op.execute(
            f"ALTER TABLE {table} SET (fillfactor = {fillfactor}, autovacuum_vacuum_scale_factor = 0.02,"
            " autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_scale_factor = 0.05,"
            " autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 500, autovacuum_vacuum_cost_delay = 0)"
        )
    for destination in ("platform", "store", "store_loyalty"):
        columns = "name, state, since, failures, next_call_at"
        opened = sa.text(f"INSERT INTO destination ({columns}) VALUES (:name, 'open', now(), 0, now())")  # noqa: S608  # constants
        op.execute(opened.bindparams(name=destination))


def _create_tables_from_alert() -> None:
    op.create_table(
        "database_history",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("system", sa.BigInteger(), nullable=False),
        sa.Column("timeline", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lost_since", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_database_history")),
    )
    op.create_table(
        "alert",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("first_facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_notify_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notify_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    op.create_index(op.f("ix_alert_at"), "alert", ["at"], unique=False)
    op.create_index(
        "ix_alert_open", "alert", ["code", "subject"], unique=True, postgresql_where=sa.text("resolved_at IS NULL")
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_key_hash")),
    )
    op.create_table(
        "attempt",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("excerpt", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "fencing_token", name=op.f("pk_attempt")),
    )
    op.create_index(
        op.f("ix_attempt_started_at"),
        "attempt",
        ["started_at"],
        unique=False,
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on", "pages_per_range": 16},
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sa.UniqueConstraint("seq", name=op.f("uq_audit_seq")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_subject_at"), "audit", ["subject", "at"], unique=False)
    op.create_table(
        "console_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_console_session")),
        sa.UniqueConstraint("hash", name=op.f("uq_console_session_hash")),
    )
    op.create_table(
        "coupon",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("redemption_id", sa.Text(), nullable=True),
        sa.Column("customer_ref", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("value", sa.Numeric(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("value_source", sa.Text(), nullable=True),
        sa.Column("rule_id", sa.Text(), nullable=True),
        sa.Column("rule_version", sa.Integer(), nullable=True),
        sa.Column("rule_edited", sa.Boolean(), nullable=False),
        sa.Column("email_changed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("verification", sa.Text(), nullable=True),
        sa.Column("decision", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("issued_spec", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("orders", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("points", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("store_id", sa.Text(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("admitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("active_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("drift_checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'held', 'active', 'used', 'retired', 'points_returned', 'refused')",
            name=op.f("ck_coupon_state"),
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_coupon")),
    )
    op.create_index("ix_coupon_admitted", "coupon", ["admitted_at"], unique=False, postgresql_include=["value"])
    op.create_index(op.f("ix_coupon_customer_ref"), "coupon", ["customer_ref"], unique=False)
    op.create_index(
        "ix_coupon_drift_check",
        "coupon",
        ["drift_checked_at"],
        unique=False,
        postgresql_where=sa.text("active_at IS NOT NULL"),
    )
    op.create_index("ix_coupon_spelling", "coupon", [sa.literal_column("lower(code)")], unique=False)
    op.create_index(op.f("ix_coupon_state_created_at"), "coupon", ["state", "created_at"], unique=False)
    op.create_table(
        "destination",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probe_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_call_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rate_limit", sa.Double(), nullable=True),
        sa.Column("rate_limited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('open', 'paused', 'blocked', 'tripped')", name=op.f("ck_destination_state")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_destination")),
    )
    op.create_table(
        "difference",
        sa.Column("reconciliation_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("version", sa.DateTime(timezone=True), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("fields", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("repair", sa.Text(), nullable=True),
        sa.Column("repair_message_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("reconciliation_id", "kind", "entity_id", name=op.f("pk_difference")),
    )
    op.create_index(op.f("ix_difference_kind_entity_id"), "difference", ["kind", "entity_id"], unique=False)
    op.create_table(
        "entity",
        sa.Column("version", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exists_remotely", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("destination", "key", name=op.f("pk_entity")),
    )


def _create_tables_from_import_run() -> None:
    op.create_table(
        "import_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("mapping", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), server_default="file", nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("last_row", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("newer", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("problems", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("columns", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("notes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_by", sa.Text(), nullable=True),
        sa.Column("upload_id", sa.Uuid(), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_rows", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("claimed_position", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_run")),
        sa.UniqueConstraint("digest", "kind", "mapping", name=op.f("uq_import_run_digest_kind_mapping")),
    )
    op.create_index(op.f("ix_import_run_created_at"), "import_run", ["created_at"], unique=False)
    op.create_index(
        "ix_import_run_unfinished",
        "import_run",
        ["heartbeat_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('running', 'stopped')"),
    )
    op.create_table(
        "import_upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("file_format", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("choices", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=True),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_upload")),
    )
    op.create_index(op.f("ix_import_upload_expires_at"), "import_upload", ["expires_at"], unique=False)
    op.create_table(
        "import_chunk",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("encrypted_with", sa.Text(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "number", name=op.f("pk_import_chunk")),
    )
    # The data are encrypted or small; compressing them would only take time.
    op.execute("ALTER TABLE import_chunk ALTER COLUMN data SET STORAGE EXTERNAL")
    op.create_table(
        "issuance_limit",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_issuance_limit")),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("depends_on", sa.Text(), nullable=True),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("collapse", sa.Boolean(), nullable=False),
        sa.Column("uncertain", sa.Boolean(), nullable=False),
        sa.Column("dead", sa.Boolean(), sa.Computed("state = 'dead'", persisted=True), nullable=False),
        sa.Column("disposition", sa.Text(), nullable=True),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("open", sa.Boolean(), sa.Computed("state IN ('waiting', 'running')", persisted=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'skipped', 'superseded', 'dead', 'dropped')",
            name=op.f("ck_job_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index("ix_job_dead", "job", ["id"], unique=False, postgresql_where=sa.text("dead"))
    op.create_index(op.f("ix_job_message_id"), "job", ["message_id"], unique=False)
    op.create_index(
        "ix_job_open", "job", ["destination", "lane", "seq"], unique=False, postgresql_where=sa.text("open")
    )
    op.create_table(
        "lane",
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open_jobs", sa.Integer(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("has_dependents", sa.Boolean(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("waits_for", sa.Text(), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased", sa.Boolean(), nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key", "destination", name=op.f("pk_lane")),
    )
    op.create_index(
        "ix_lane_due",
        "lane",
        ["destination", "priority", "run_at"],
        unique=False,
        postgresql_where=sa.text("open_jobs > 0"),
    )
    op.create_index("ix_lane_idle", "lane", ["run_at"], unique=False, postgresql_where=sa.text("open_jobs = 0"))
    op.create_index(
        "ix_lane_waits_for", "lane", ["waits_for"], unique=False, postgresql_where=sa.text("waits_for IS NOT NULL")
    )
    op.create_table(
        "message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dedupe_key", sa.Text(collation="C"), nullable=False),
        sa.Column("version_mark", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("event", sa.LargeBinary(), nullable=True),
        sa.Column("encrypted_with", sa.Text(), nullable=True),
        sa.Column("email_mark", sa.LargeBinary(), nullable=True),
        sa.Column("customer_ref", sa.Text(), nullable=True),
        sa.Column("order_ref", sa.Text(), nullable=True),
        sa.Column("product_ref", sa.Text(), nullable=True),
        sa.Column("coupon_ref", sa.Text(), nullable=True),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
    )
    op.create_index("ix_message_body", "message", ["id"], unique=False, postgresql_where=sa.text("body IS NOT NULL"))
    op.create_index(
        op.f("ix_message_coupon_ref_id"),
        "message",
        ["coupon_ref", "id"],
        unique=False,
        postgresql_where=sa.text("coupon_ref IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_message_customer_ref_id"),
        "message",
        ["customer_ref", "id"],
        unique=False,
        postgresql_where=sa.text("customer_ref IS NOT NULL"),
    )
    op.create_index(
        "ix_message_email",
        "message",
        [
            sa.literal_column(
                "lower(\"left\"(split_part(split_part(encode(coalesce(event, body), 'escape'), '\"email\"', 2), '\"', 2), 255))"
            ),
            "id",
        ],
        unique=False,
        postgresql_where=sa.text("kind = 'customers' AND body IS NOT NULL"),
    )
    op.create_index(
        "ix_message_email_mark",
        "message",
        ["email_mark", "id"],
        unique=False,
        postgresql_where=sa.text("email_mark IS NOT NULL AND body IS NOT NULL"),
    )
    op.create_index(
        "ix_message_encrypted_with",
        "message",
        ["encrypted_with", "id"],
        unique=False,
        postgresql_where=sa.text("encrypted_with IS NOT NULL AND body IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_message_order_ref_id"),
        "message",
        ["order_ref", "id"],
        unique=False,
        postgresql_where=sa.text("order_ref IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_message_product_ref_id"),
        "message",
        ["product_ref", "id"],
        unique=False,
        postgresql_where=sa.text("product_ref IS NOT NULL"),
    )
    op.create_table(
        "poll_cursor",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "kind", name=op.f("pk_poll_cursor")),
    )
    op.create_table(
        "background_read",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_background_read")),
    )
    op.create_table(
        "reconciliation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("grace", sa.Interval(), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("compared", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("difference_counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("notes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("store_counts", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("unreadable", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("complete", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("repaired_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation")),
    )
    op.create_index(op.f("ix_reconciliation_started_at"), "reconciliation", ["started_at"], unique=False)
    op.create_table(
        "reward_rule",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", "version", name=op.f("pk_reward_rule")),
    )


def _create_other_tables() -> None:
    op.execute("CREATE SEQUENCE fencing_token")
    op.create_index(
        op.f("ix_job_finished_at"),
        "job",
        ["finished_at"],
        unique=False,
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on", "pages_per_range": 16},
    )
    op.create_index(
        op.f("ix_message_version_mark"),
        "message",
        ["version_mark"],
        unique=False,
        postgresql_where=sa.text("version_mark IS NOT NULL"),
    )
    op.create_index(
        "ix_message_topic", "message", ["kind"], unique=False, postgresql_where=sa.text("source = 'platform'")
    )
    op.create_table(
        "dedupe_digest",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("body_digest", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_dedupe_digest")),
    )
    op.create_table(
        "history_count",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "state", "reason_code", name=op.f("pk_history_count")),
    )
    op.create_table(
        "history_export",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("customers", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_history_export")),
    )
    op.create_table(
        "setup_record",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_setup_record")),
    )
    op.create_table(
        "trial",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("live_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resend_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resent_to", sa.Text(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_trial_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial")),
    )
    op.create_table(
        "refused_request",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("key_name", sa.Text(), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("fields", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("body_shape", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refused_request")),
    )
    op.create_table(
        "sign_in_link",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_sign_in_link")),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward: restore the backup made before, or write the next one")
