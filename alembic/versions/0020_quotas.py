"""Add the counters of daily quotas, and indexes for proposals that were never accepted."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        "account_usage",
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("quota", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("used >= 0", name=op.f("ck_account_usage_used")),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_account_usage_owner")),
        sa.PrimaryKeyConstraint("owner", "quota", "day", name=op.f("pk_account_usage")),
    )
    op.create_index(op.f("ix_proposals_owner_stage"), "proposals", ["owner", "stage"])
    op.create_index(op.f("ix_proposals_stage_proposed"), "proposals", ["stage", "proposed"])


def downgrade() -> None:
    """Migrate back; counters begin at zero afterwards."""
    op.drop_index(op.f("ix_proposals_stage_proposed"), "proposals")
    op.drop_index(op.f("ix_proposals_owner_stage"), "proposals")
    op.drop_table("account_usage")
