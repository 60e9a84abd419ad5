"""Let the database enforce rules of the domain: finite numbers, complete entries.

On Postgres it reads no table; 0004 checks existing rows.
"""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Exact, Moment

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CHECKS = {
    "users": {"lower_case": "email = lower(email)"},
    "portfolios": {
        "finite": "CAST(cash AS NUMERIC) < 1E30",
        "invested": "CAST(uninvested AS NUMERIC) <= CAST(cash AS NUMERIC)",
    },
    "ledger_entries": {
        "finite": "CAST(amount AS NUMERIC) < 1E16 AND CAST(quantity AS NUMERIC) < 1E16"
        " AND CAST(cost AS NUMERIC) < 1E16 AND (price IS NULL OR CAST(price AS NUMERIC) < 1E16)",
        "moved": "CASE WHEN kind IN ('buy', 'sell') OR kind IN ('deposit', 'withdrawal') AND"
        " symbol IS NOT NULL THEN symbol IS NOT NULL AND price IS NOT NULL AND"
        " CAST(quantity AS NUMERIC) > 0 ELSE price IS NULL AND CAST(quantity AS NUMERIC) = 0 AND"
        " CAST(amount AS NUMERIC) > 0 END",
    },
}


def upgrade() -> None:
    """Migrate to this revision."""
    for table in _tables():
        with op.batch_alter_table(table.name, copy_from=table) as changed:
            for name, check in CHECKS[table.name].items():
                changed.create_check_constraint(
                    op.f(f"ck_{table.name}_{name}"), check, postgresql_not_valid=True
                )


def downgrade() -> None:
    """Migrate back."""
    for table in _tables(checked=True):
        with op.batch_alter_table(table.name, copy_from=table) as changed:
            for name in CHECKS[table.name]:
                changed.drop_constraint(op.f(f"ck_{table.name}_{name}"), type_="check")


def _tables(*, checked: bool = False) -> list[sa.Table]:
    """Describe the existing table, which SQLite replaces by a copy."""
    found = sa.MetaData()
    tables = [
        sa.Table(
            "users",
            found,
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("email", sa.Text(), nullable=False),
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("password", sa.Text(), nullable=False),
            sa.Column("created", Moment(), nullable=False),
            sa.Column("assessment", sa.JSON()),
            sa.Column("assessed", Moment()),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
            sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        ),
        sa.Table(
            "portfolios",
            found,
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
            *_not_negative("portfolios", "cash", "uninvested"),
            sa.CheckConstraint("length(currency) = 3", name=op.f("ck_portfolios_currency")),
            sa.CheckConstraint("version >= 1", name=op.f("ck_portfolios_version")),
            sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_portfolios_owner")),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_portfolios")),
            sa.Index("ix_portfolios_owner_created_id", "owner", "created", "id"),
        ),
        sa.Table(
            "ledger_entries",
            found,
            sa.Column(
                "sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
            ),
            sa.Column("portfolio", sa.Uuid(), nullable=False),
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("kind", sa.Text(), nullable=False),
            sa.Column("day", sa.Date(), nullable=False),
            sa.Column("recorded", Moment(), nullable=False),
            sa.Column("amount", Exact(), nullable=False),
            sa.Column("symbol", sa.Text()),
            sa.Column("quantity", Exact(), nullable=False),
            sa.Column("price", Exact()),
            sa.Column("cost", Exact(), nullable=False),
            sa.Column("proposal", sa.Uuid()),
            sa.Column("note", sa.Text(), nullable=False),
            sa.CheckConstraint(
                "kind IN ('deposit', 'withdrawal', 'buy', 'sell', 'fee', 'dividend')",
                name=op.f("ck_ledger_entries_kind"),
            ),
            *_not_negative("ledger_entries", "amount", "quantity", "price", "cost"),
            sa.ForeignKeyConstraint(
                ["portfolio"], ["portfolios.id"], name=op.f("fk_ledger_entries_portfolio")
            ),
            sa.ForeignKeyConstraint(
                ["proposal"], ["proposals.id"], name=op.f("fk_ledger_entries_proposal")
            ),
            sa.PrimaryKeyConstraint("sequence", name=op.f("pk_ledger_entries")),
            sa.UniqueConstraint("portfolio", "id", name=op.f("uq_ledger_entries_portfolio_id")),
            sa.Index("ix_ledger_entries_portfolio_sequence", "portfolio", "sequence"),
            sqlite_autoincrement=True,
        ),
    ]
    if checked:
        for table in tables:
            for name, check in CHECKS[table.name].items():
                table.append_constraint(
                    sa.CheckConstraint(check, name=op.f(f"ck_{table.name}_{name}"))
                )
    return tables


def _not_negative(table: str, *columns: str) -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint(f"CAST({name} AS NUMERIC) >= 0", name=op.f(f"ck_{table}_{name}"))
        for name in columns
    ]
