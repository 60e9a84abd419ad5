"""Add planned flows of portfolios, and what was decided about their dates."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

DECISIONS, PORTFOLIOS = "flow_decisions", "portfolios"


def upgrade() -> None:
    """Migrate to this revision; portfolios have no planned flows yet."""
    with op.batch_alter_table(PORTFOLIOS) as batch:
        batch.add_column(
            sa.Column("flow_plan", sa.JSON(none_as_null=True), nullable=False, server_default="{}")
        )
        batch.add_column(
            sa.Column("flows_automatic", sa.Boolean(), nullable=False, server_default=sa.false())
        )
    op.create_table(
        DECISIONS,
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("flow", sa.Uuid(), nullable=False),
        sa.Column("scheduled", sa.Date(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("decided", Moment(), nullable=False),
        sa.Column("entry", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('booked', 'matched', 'skipped')", name=op.f(f"ck_{DECISIONS}_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f(f"fk_{DECISIONS}_portfolio")
        ),
        sa.ForeignKeyConstraint(
            ["portfolio", "entry"],
            ["ledger_entries.portfolio", "ledger_entries.id"],
            name=op.f(f"fk_{DECISIONS}_portfolio_entry"),
        ),
        sa.PrimaryKeyConstraint("portfolio", "flow", "scheduled", name=op.f(f"pk_{DECISIONS}")),
        sa.UniqueConstraint("portfolio", "entry", name=op.f(f"uq_{DECISIONS}_portfolio_entry")),
    )


def downgrade() -> None:
    """Migrate back; planned flows are lost, and entries that they booked stay."""
    op.drop_table(DECISIONS)
    with op.batch_alter_table(PORTFOLIOS) as batch:
        batch.drop_column("flows_automatic")
        batch.drop_column("flow_plan")
