"""Add what synchronizing with providers remembers: quotas, states of symbols, scheduled tasks."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATES = "state IN ('waiting', 'running', 'done', 'failed')"


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        "provider_quotas",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.CheckConstraint("used >= 0", name=op.f("ck_provider_quotas_used")),
        sa.PrimaryKeyConstraint("provider", "period", name=op.f("pk_provider_quotas")),
    )
    op.create_table(
        "sync_states",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("through", sa.Date(), nullable=True),
        sa.Column("checked", Moment(), nullable=True),
        sa.Column("failed", Moment(), nullable=True),
        sa.Column("fault", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("symbol", name=op.f("pk_sync_states")),
    )
    op.create_table(
        "scheduled_tasks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("due", Moment(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started", Moment(), nullable=True),
        sa.Column("finished", Moment(), nullable=True),
        sa.Column("alive", Moment(), nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(STATES, name=op.f("ck_scheduled_tasks_state")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_scheduled_tasks")),
    )


def downgrade() -> None:
    """Migrate back; assets are synchronized again afterwards."""
    op.drop_table("scheduled_tasks")
    op.drop_table("sync_states")
    op.drop_table("provider_quotas")
