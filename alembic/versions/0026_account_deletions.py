"""Add deletions of accounts."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        "account_deletions",
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("requested", Moment(), nullable=False),
        sa.Column("due", Moment(), nullable=False),
        sa.Column("anonymized", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_account_deletions_owner")),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_account_deletions")),
    )
    op.create_index(op.f("ix_account_deletions_due"), "account_deletions", ["due"])


def downgrade() -> None:
    """Migrate back; deletions must be requested again."""
    op.drop_table("account_deletions")
