"""Add checkpoints of ledgers, and an index of entries by proposal."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_OF_PROPOSAL = sa.text("proposal IS NOT NULL")


def upgrade() -> None:
    """Migrate to this revision; ledgers get their checkpoints when they are next changed."""
    op.create_table(
        "ledger_checkpoints",
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f("fk_ledger_checkpoints_portfolio")
        ),
        sa.PrimaryKeyConstraint("portfolio", "last", name=op.f("pk_ledger_checkpoints")),
    )
    op.create_index(
        "ix_ledger_entries_proposal",
        "ledger_entries",
        ["proposal", "portfolio"],
        sqlite_where=_OF_PROPOSAL,
        postgresql_where=_OF_PROPOSAL,
    )


def downgrade() -> None:
    """Migrate back."""
    op.drop_index("ix_ledger_entries_proposal", "ledger_entries")
    op.drop_table("ledger_checkpoints")
