"""Let ledgers hold several currencies, corporate actions and more kinds of entries.

Servers of the previous version can continue until the first entry of a new kind or in another
currency. On Postgres it reads no table; 0010 checks existing rows.
"""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Exact, Moment

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

OLD_KINDS = ("deposit", "withdrawal", "buy", "sell", "fee", "dividend")
NEW_KINDS = (
    "interest",
    "tax",
    "return_of_capital",
    "exchange",
    "split",
    "rename",
    "spin_off",
    "merger",
)

_MOVED = (
    "CASE WHEN kind IN ('buy', 'sell') OR kind IN ('deposit', 'withdrawal') AND symbol IS NOT NULL"
    " THEN symbol IS NOT NULL AND price IS NOT NULL AND CAST(quantity AS NUMERIC) > 0"
)
_MONEY = " ELSE price IS NULL AND CAST(quantity AS NUMERIC) = 0 AND CAST(amount AS NUMERIC) > 0 END"
OLD_MOVED = _MOVED + _MONEY
NEW_MOVED = (
    _MOVED + " WHEN kind IN ('split', 'rename', 'spin_off', 'merger') THEN symbol IS NOT NULL AND"
    " price IS NULL AND CAST(quantity AS NUMERIC) = 0" + _MONEY
)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"


ENTRY_CHECKS = {
    **{
        name: f"CAST({name} AS NUMERIC) >= 0"
        for name in ("withheld", "ratio", "cost_share", "cost_basis", "counter_amount")
    },
    "currency": "length(currency) = 3",
    "counter_currency": "length(counter_currency) = 3",
    "exchanged": "(kind = 'exchange') = (counter_amount IS NOT NULL)",
}
PORTFOLIO_CHECKS = {
    "corporate_actions": _one_of("corporate_actions", ("automatic", "confirm")),
    "conversions": _one_of("conversions", ("automatic", "listed")),
}


def upgrade() -> None:
    """Migrate to this revision."""
    later = {"postgresql_not_valid": True}
    with op.batch_alter_table("portfolios", copy_from=_portfolios()) as portfolios:
        for column in _portfolio_columns():
            portfolios.add_column(column)
        for name, check in PORTFOLIO_CHECKS.items():
            portfolios.create_check_constraint(op.f(f"ck_portfolios_{name}"), check, **later)
    with op.batch_alter_table("ledger_entries", copy_from=_entries()) as entries:
        for column in _entry_columns():
            entries.add_column(column)
        for name in ("kind", "moved"):
            entries.drop_constraint(op.f(f"ck_ledger_entries_{name}"), type_="check")
        for name, check in {
            "kind": _one_of("kind", (*OLD_KINDS, *NEW_KINDS)),
            "moved": NEW_MOVED,
            **ENTRY_CHECKS,
        }.items():
            entries.create_check_constraint(op.f(f"ck_ledger_entries_{name}"), check, **later)


def downgrade() -> None:
    """Migrate back; entries of new kinds or in other currencies are lost.

    `rebalancer db check` then names portfolios whose stored positions followed from them.
    """
    op.execute(
        f"DELETE FROM ledger_entries WHERE {_one_of('kind', NEW_KINDS)} OR currency IS NOT NULL"
    )
    with op.batch_alter_table("ledger_entries", copy_from=_entries(newer=True)) as entries:
        for name in ("kind", "moved", *ENTRY_CHECKS):
            entries.drop_constraint(op.f(f"ck_ledger_entries_{name}"), type_="check")
        entries.create_check_constraint(op.f("ck_ledger_entries_kind"), _one_of("kind", OLD_KINDS))
        entries.create_check_constraint(op.f("ck_ledger_entries_moved"), OLD_MOVED)
        for column in _entry_columns():
            entries.drop_column(column.name)
    with op.batch_alter_table("portfolios", copy_from=_portfolios(newer=True)) as portfolios:
        for name in PORTFOLIO_CHECKS:
            portfolios.drop_constraint(op.f(f"ck_portfolios_{name}"), type_="check")
        for column in _portfolio_columns():
            portfolios.drop_column(column.name)


def _portfolio_columns() -> list[sa.Column]:
    return [
        sa.Column("foreign_cash", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("corporate_actions", sa.Text(), nullable=False, server_default="automatic"),
        sa.Column("conversions", sa.Text(), nullable=False, server_default="automatic"),
        sa.Column("booked_actions", sa.Text()),
    ]


def _entry_columns() -> list[sa.Column]:
    return [
        sa.Column("currency", sa.Text()),
        sa.Column("withheld", Exact(), nullable=False, server_default="0"),
        sa.Column("ratio", Exact()),
        sa.Column("other", sa.Text()),
        sa.Column("cost_share", Exact()),
        sa.Column("cost_basis", Exact()),
        sa.Column("counter_amount", Exact()),
        sa.Column("counter_currency", sa.Text()),
        sa.Column("action", sa.Text()),
    ]


def _checks(table: str, checks: dict[str, str]) -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint(check, name=op.f(f"ck_{table}_{name}")) for name, check in checks.items()
    ]


def _portfolios(*, newer: bool = False) -> sa.Table:
    """Describe the existing table, which SQLite replaces by a copy."""
    checks = {
        "cash": "CAST(cash AS NUMERIC) >= 0",
        "uninvested": "CAST(uninvested AS NUMERIC) >= 0",
        "currency": "length(currency) = 3",
        "version": "version >= 1",
        "finite": "CAST(cash AS NUMERIC) < 1E30",
        "invested": "CAST(uninvested AS NUMERIC) <= CAST(cash AS NUMERIC)",
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
        *(_portfolio_columns() if newer else []),
        *_checks("portfolios", checks | (PORTFOLIO_CHECKS if newer else {})),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_portfolios_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portfolios")),
        sa.Index("ix_portfolios_owner_created_id", "owner", "created", "id"),
    )


def _entries(*, newer: bool = False) -> sa.Table:
    checks = {
        "kind": _one_of("kind", (*OLD_KINDS, *NEW_KINDS) if newer else OLD_KINDS),
        **{
            name: f"CAST({name} AS NUMERIC) >= 0"
            for name in ("amount", "quantity", "price", "cost")
        },
        "finite": "CAST(amount AS NUMERIC) < 1E16 AND CAST(quantity AS NUMERIC) < 1E16"
        " AND CAST(cost AS NUMERIC) < 1E16 AND (price IS NULL OR CAST(price AS NUMERIC) < 1E16)",
        "moved": NEW_MOVED if newer else OLD_MOVED,
        "voids": "voids <> id",
    }
    return sa.Table(
        "ledger_entries",
        sa.MetaData(),
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
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
        sa.Column("voids", sa.Uuid()),
        sa.Column("partial", sa.Boolean(), nullable=False, server_default=sa.false()),
        *(_entry_columns() if newer else []),
        *_checks("ledger_entries", checks | (ENTRY_CHECKS if newer else {})),
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
    )
