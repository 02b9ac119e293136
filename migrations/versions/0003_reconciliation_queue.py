"""A reconciliation may be asked for and done elsewhere: how it is to be done, and its last sign of life."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("reconciliation", sa.Column("grace", sa.Interval(), nullable=True))
    op.add_column("reconciliation", sa.Column("beat_at", sa.DateTime(timezone=True), nullable=True))
