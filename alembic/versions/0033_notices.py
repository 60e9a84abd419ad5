"""Add notices to the owners of portfolios."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        "notices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("portfolio", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("parameters", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("read", Moment(), nullable=True),
        sa.Column("resolved", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_notices_owner")),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f("fk_notices_portfolio")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("owner", "key", name=op.f("uq_notices_owner_key")),
    )
    op.create_index(op.f("ix_notices_created"), "notices", ["created"])
    op.create_index(op.f("ix_notices_owner_created_id"), "notices", ["owner", "created", "id"])
    op.create_index(
        op.f("ix_notices_portfolio_created_id"), "notices", ["portfolio", "created", "id"]
    )
    op.create_index(
        "ix_notices_unread",
        "notices",
        ["owner"],
        sqlite_where=sa.text("read IS NULL"),
        postgresql_where=sa.text("read IS NULL"),
    )


def downgrade() -> None:
    """Migrate back."""
    op.drop_table("notices")
