"""Keep when each price became known, its source and what it replaced; and corporate actions.

Bars from before count as known always, and as adjusted for splits and distributions.
"""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Exact, Moment

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision."""
    # SQLite reads the columns of a row in order: the short one comes before the long ones.
    place = {"insert_before": "days"} if op.get_bind().dialect.name == "sqlite" else {}
    with _changed(_price_years()) as years:
        years.add_column(
            sa.Column("adjusted", sa.Boolean(), nullable=False, server_default=sa.true()), **place
        )
        years.add_column(sa.Column("known", sa.LargeBinary()))
        years.add_column(sa.Column("source", sa.LargeBinary()))
        years.add_column(sa.Column("sources", sa.JSON()))
    op.create_table(
        "bar_changes",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("adjusted", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("days", sa.LargeBinary(), nullable=False),
        sa.Column("close", sa.LargeBinary(), nullable=False),
        *(sa.Column(name, sa.LargeBinary()) for name in ("open", "high", "low", "volume")),
        sa.Column("known", sa.LargeBinary()),
        sa.Column("source", sa.LargeBinary()),
        sa.Column("sources", sa.JSON()),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_bar_changes")),
    )
    op.create_index("ix_bar_changes_symbol_year", "bar_changes", ["symbol", "year"])
    op.create_table(
        "market_actions",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("ex_day", sa.Date(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("other", sa.Text(), nullable=False),
        sa.Column("known", Moment(), nullable=False),
        sa.Column("value", Exact(), nullable=False),
        sa.Column("currency", sa.Text()),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "symbol", "ex_day", "kind", "other", "known", name=op.f("pk_market_actions")
        ),
    )
    op.create_table(
        "verdicts",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("decided", Moment(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "day", "rule", name=op.f("pk_verdicts")),
    )


def downgrade() -> None:
    """Migrate back; corporate actions and bars as traded are lost.

    The older version would take such bars for adjusted ones.
    """
    for table in ("verdicts", "market_actions", "bar_changes"):
        op.drop_table(table)
    op.execute("DELETE FROM price_years WHERE NOT adjusted")
    op.execute("UPDATE revisions SET revision = revision + 1 WHERE name = 'bars'")
    with _changed(_price_years(newer=True)) as years:
        for name in ("sources", "source", "known", "adjusted"):
            years.drop_column(name)


def _changed(table):
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table(
        "price_years", copy_from=table, recreate="always" if recreates else "never"
    )


def _price_years(*, newer=False):
    """Describe the existing table, which SQLite replaces by a copy."""
    adjusted = sa.Column("adjusted", sa.Boolean(), nullable=False, server_default=sa.true())
    return sa.Table(
        "price_years",
        sa.MetaData(),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        *([adjusted] if newer else []),
        sa.Column("days", sa.LargeBinary(), nullable=False),
        sa.Column("close", sa.LargeBinary(), nullable=False),
        *(sa.Column(name, sa.LargeBinary()) for name in ("open", "high", "low", "volume")),
        *(sa.Column(name, sa.LargeBinary()) for name in (("known", "source") if newer else ())),
        *([sa.Column("sources", sa.JSON())] if newer else []),
        sa.PrimaryKeyConstraint("symbol", "year", name="pk_price_years"),
    )
