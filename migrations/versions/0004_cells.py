"""Cells: which one this schema is, and where lanes are at home whose key does not tell it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "cell",
        sa.Column("number", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("cells", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_cell")),
    )
    op.create_table(
        "home",
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("cell", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_home")),
    )
