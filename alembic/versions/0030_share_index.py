"""Add the index of encrypted addresses to shares of portfolios."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

INDEX = "ix_portfolio_shares_email_index"


def upgrade() -> None:
    """Migrate to this revision."""
    with _changed(_shares()) as shares:
        shares.add_column(_column())
        shares.create_index(op.f(INDEX), ["email_index"])


def downgrade() -> None:
    """Migrate back; encrypted addresses were decrypted before, see revision 0017."""
    with _changed(_shares(_column(), sa.Index(INDEX, "email_index"))) as shares:
        shares.drop_index(op.f(INDEX))
        shares.drop_column("email_index")


def _column() -> sa.Column:
    return sa.Column("email_index", sa.Text())


def _changed(table):
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table(
        "portfolio_shares", copy_from=table, recreate="always" if recreates else "never"
    )


def _shares(*more: sa.Column | sa.Index) -> sa.Table:
    """Return the table before this revision, with more columns and indexes."""
    name = "portfolio_shares"
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("granted", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Uuid()),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("accepted", Moment()),
        *more,
        sa.CheckConstraint("granted IN ('read', 'propose')", name=op.f(f"ck_{name}_granted")),
        sa.CheckConstraint(
            "accepted IS NULL OR recipient IS NOT NULL", name=op.f(f"ck_{name}_accepted")
        ),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f(f"fk_{name}_portfolio")
        ),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f(f"fk_{name}_owner")),
        sa.ForeignKeyConstraint(["recipient"], ["users.id"], name=op.f(f"fk_{name}_recipient")),
        sa.Index(f"ix_{name}_portfolio_created_id", "portfolio", "created", "id"),
        sa.Index(f"ix_{name}_recipient_created_id", "recipient", "created", "id"),
        sa.Index(f"ix_{name}_owner", "owner"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
    )
