"""Add snapshots of the value of portfolios over time."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision; snapshots are taken when portfolios are next read."""
    op.create_table(
        "history_snapshots",
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("snapshot", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f("fk_history_snapshots_portfolio")
        ),
        sa.PrimaryKeyConstraint("portfolio", name=op.f("pk_history_snapshots")),
    )


def downgrade() -> None:
    """Migrate back."""
    op.drop_table("history_snapshots")
