"""What a reconciliation found: which job was given up, and a way from an entity to its differences."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("difference", sa.Column("job_id", sa.Uuid(), nullable=True))
    op.create_index(op.f("ix_difference_kind_entity_id"), "difference", ["kind", "entity_id"], unique=False)
