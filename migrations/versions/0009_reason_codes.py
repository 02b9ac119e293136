"""Reason codes and their facts take the place of sentences; older rows keep their sentence as a fact.

Releases before this one do not work on these tables (`migrations.OLDEST`): stop them before the upgrade.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ALERT_CODES: Final[Mapping[str, str]] = {
    "channel_closed": "destination_closed",
    "work_waits": "work_waiting",
    "coupon_late": "coupon_overdue",
    "coupon_fuse": "issuance_limit_reached",
    "coupon_over_used": "coupon_overused",
    "coupon_patrol": "coupon_drift",
    "cannot_confirm": "setting_missing",
    "reconciliation": "reconciliation_differences",
    "store_webhook_off": "store_webhooks_off",
}


def upgrade() -> None:
    op.alter_column("job", "reason", new_column_name="disposition")
    for table, sentence in (("job", "detail"), ("attempt", "detail"), ("channel", "reason"), ("coupon", "reason")):
        op.add_column(table, sa.Column("reason_code", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
        op.execute(
            f"UPDATE {table} SET reason_code = 'unspecified', facts = jsonb_build_object('text', {sentence})"  # noqa: S608  # constants
            f" WHERE {sentence} IS NOT NULL"
        )
        op.drop_column(table, sentence)
    op.execute("UPDATE job SET disposition = NULL WHERE state IN ('skipped', 'superseded', 'dropped')")
    op.add_column("coupon_fuse", sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.execute("UPDATE coupon_fuse SET facts = jsonb_build_object('explanation', reason) WHERE reason IS NOT NULL")
    op.drop_column("coupon_fuse", "reason")
    op.alter_column("alert", "kind", new_column_name="code")
    op.execute(
        "ALTER TABLE alert ALTER code DROP NOT NULL, ALTER code SET NOT NULL"
    )  # PostgreSQL 18 names it by the column
    op.add_column(
        "alert", sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False, server_default="{}")
    )
    op.alter_column("alert", "facts", server_default=None)
    op.execute("UPDATE alert SET facts = jsonb_build_object('explanation', detail)")
    for before, after in ALERT_CODES.items():
        op.execute(
            sa.text("UPDATE alert SET code = :after WHERE code = :before").bindparams(before=before, after=after)
        )
    op.drop_column("alert", "detail")
    op.drop_column("alert", "first_action")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward: restore the backup made before, or write the next one")
