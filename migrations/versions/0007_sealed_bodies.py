"""Bodies may be encrypted: under which key, and what a customer's e-mail address is found by."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("message", sa.Column("sealed_by", sa.Text(), nullable=True))
    op.add_column("message", sa.Column("email_mark", sa.LargeBinary(), nullable=True))
    for column in ("email_mark", "sealed_by"):
        op.create_index(
            f"ix_message_{column}",
            "message",
            [column, "id"],
            postgresql_where=sa.text(f"{column} IS NOT NULL AND body IS NOT NULL"),
        )
