"""Alerts go to a chat: when each was told, and when it is tried again."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("alert", sa.Column("told_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("alert", sa.Column("tell_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("alert", sa.Column("tells", sa.Integer(), nullable=False, server_default="0"))
