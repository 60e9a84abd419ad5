"""Add mails that wait to be sent."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("expires", Moment(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", Moment(), nullable=True),
        sa.Column("closed", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.CheckConstraint("(due IS NULL) = (closed IS NOT NULL)", name=op.f("ck_outbox_closed")),
    )
    op.create_index(op.f("ix_outbox_due_id"), "outbox", ["due", "id"])
    op.create_index(op.f("ix_outbox_recipient_created"), "outbox", ["recipient", "created"])


def downgrade() -> None:
    """Migrate back; mails that wait are lost."""
    op.drop_table("outbox")
