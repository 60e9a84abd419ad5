"""Add targets by groups, and the asset classes of funds, to portfolios."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Exact, Moment

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision."""
    with _changed(_portfolios()) as portfolios:
        for column in _columns():
            portfolios.add_column(column)


def downgrade() -> None:
    """Migrate back; portfolios keep the targets by symbol that follow from their groups."""
    with _changed(_portfolios(*_columns())) as portfolios:
        for column in _columns():
            portfolios.drop_column(column.name)


def _columns() -> list[sa.Column]:
    return [
        sa.Column("target_groups", sa.JSON(none_as_null=True)),
        sa.Column("look_through", sa.JSON(), nullable=False, server_default="{}"),
    ]


def _changed(table):
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table(
        "portfolios", copy_from=table, recreate="always" if recreates else "never"
    )


def _portfolios(*more: sa.Column) -> sa.Table:
    """Return the table before this revision, with more columns."""
    checks = {
        "cash": "CAST(cash AS NUMERIC) >= 0",
        "uninvested": "CAST(uninvested AS NUMERIC) >= 0",
        "currency": "length(currency) = 3",
        "version": "version >= 1",
        "finite": "CAST(cash AS NUMERIC) < 1E30",
        "invested": "CAST(uninvested AS NUMERIC) <= CAST(cash AS NUMERIC)",
        "corporate_actions": "corporate_actions IN ('automatic', 'confirm')",
        "conversions": "conversions IN ('automatic', 'listed')",
    }
    return sa.Table(
        "portfolios",
        sa.MetaData(),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("targets", sa.JSON(), nullable=False),
        sa.Column("risk_profile", sa.Text()),
        sa.Column("preferences", sa.JSON(), nullable=False),
        sa.Column("acknowledge_limits", sa.Boolean(), nullable=False),
        sa.Column("cash", Exact(), nullable=False),
        sa.Column("holdings", sa.JSON(), nullable=False),
        sa.Column("uninvested", Exact(), nullable=False),
        sa.Column("last_rebalance", sa.Date()),
        sa.Column("last_entry", sa.Date()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("changed", Moment(), nullable=False),
        sa.Column("closed", Moment()),
        sa.Column("foreign_cash", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("corporate_actions", sa.Text(), nullable=False, server_default="automatic"),
        sa.Column("conversions", sa.Text(), nullable=False, server_default="automatic"),
        sa.Column("booked_actions", sa.Text()),
        *more,
        *(
            sa.CheckConstraint(check, name=op.f(f"ck_portfolios_{name}"))
            for name, check in checks.items()
        ),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_portfolios_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portfolios")),
        sa.Index("ix_portfolios_owner_created_id", "owner", "created", "id"),
    )
