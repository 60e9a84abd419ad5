"""Let entries void others, and accepted proposals be filled in parts and cancelled.

Servers of the previous version can continue until the first entry is voided: they would count a
void entry and the one that voids it. On Postgres it reads no table; 0007 checks existing rows.
"""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Exact, Moment

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STAGES = ("proposed", "nothing_to_do", "accepted", "rejected", "expired", "executed")
CANCELLED = "(stage = 'cancelled') = (cancelled IS NOT NULL)"

IS_VOID = (
    "EXISTS (SELECT 1 FROM ledger_entries AS other WHERE other.portfolio = ledger_entries.portfolio"
    " AND other.voids = ledger_entries.id)"
)
HAS_TRADES = "EXISTS (SELECT 1 FROM ledger_entries WHERE ledger_entries.proposal = proposals.id)"


def upgrade() -> None:
    """Migrate to this revision."""
    later = {"postgresql_not_valid": True}
    with op.batch_alter_table("ledger_entries", copy_from=_entries()) as entries:
        entries.add_column(sa.Column("voids", sa.Uuid()))
        entries.add_column(
            sa.Column("partial", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        entries.create_check_constraint(op.f("ck_ledger_entries_voids"), "voids <> id", **later)
    with op.batch_alter_table("proposals", copy_from=_proposals()) as proposals:
        proposals.add_column(sa.Column("cancelled", Moment()))
        proposals.drop_constraint(op.f("ck_proposals_stage"), type_="check")
        proposals.create_check_constraint(
            op.f("ck_proposals_stage"), _one_of((*STAGES, "cancelled")), **later
        )
        proposals.create_check_constraint(op.f("ck_proposals_cancelled"), CANCELLED, **later)


def downgrade() -> None:
    """Migrate back; void entries are lost, and proposals with trades count as executed.

    `rebalancer db check` then names portfolios whose stored positions followed from parts of a
    proposal's trades.
    """
    op.execute(f"DELETE FROM ledger_entries WHERE voids IS NULL AND {IS_VOID}")
    op.execute("DELETE FROM ledger_entries WHERE voids IS NOT NULL")
    op.execute(
        "UPDATE proposals SET stage = 'executed', executed = decided, cancelled = NULL"
        f" WHERE stage IN ('accepted', 'cancelled') AND {HAS_TRADES}"
    )
    op.execute(
        "UPDATE proposals SET stage = 'rejected', cancelled = NULL WHERE stage = 'cancelled'"
    )
    with op.batch_alter_table("proposals", copy_from=_proposals(newer=True)) as proposals:
        proposals.drop_constraint(op.f("ck_proposals_cancelled"), type_="check")
        proposals.drop_constraint(op.f("ck_proposals_stage"), type_="check")
        proposals.create_check_constraint(op.f("ck_proposals_stage"), _one_of(STAGES))
        proposals.drop_column("cancelled")
    with op.batch_alter_table("ledger_entries", copy_from=_entries(newer=True)) as entries:
        entries.drop_constraint(op.f("ck_ledger_entries_voids"), type_="check")
        entries.drop_column("partial")
        entries.drop_column("voids")


def _one_of(stages: tuple[str, ...]) -> str:
    listed = ", ".join(f"'{stage}'" for stage in stages)
    return f"stage IN ({listed})"


def _proposals(*, newer: bool = False) -> sa.Table:
    """Describe the existing table, which SQLite replaces by a copy."""
    parts: list[sa.schema.SchemaItem] = [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("proposal", sa.JSON(), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.Column("proposed", Moment(), nullable=False),
        sa.Column("expires", Moment(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("decided", Moment()),
        sa.Column("executed", Moment()),
        sa.Column("remark", sa.Text(), nullable=False),
        sa.Column("run", sa.Uuid()),
        sa.CheckConstraint(
            _one_of((*STAGES, "cancelled") if newer else STAGES), name=op.f("ck_proposals_stage")
        ),
        sa.CheckConstraint(
            "(stage = 'executed') = (executed IS NOT NULL)", name=op.f("ck_proposals_executed")
        ),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_proposals_owner")),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f("fk_proposals_portfolio")
        ),
        sa.ForeignKeyConstraint(["run"], ["batch_runs.id"], name=op.f("fk_proposals_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
        sa.Index("ix_proposals_owner_proposed_id", "owner", "proposed", "id"),
        sa.Index("ix_proposals_portfolio_proposed_id", "portfolio", "proposed", "id"),
    ]
    if newer:
        parts.append(sa.Column("cancelled", Moment()))
        parts.append(sa.CheckConstraint(CANCELLED, name=op.f("ck_proposals_cancelled")))
    return sa.Table("proposals", sa.MetaData(), *parts)


def _entries(*, newer: bool = False) -> sa.Table:
    parts: list[sa.schema.SchemaItem] = [
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
        sa.CheckConstraint(
            "kind IN ('deposit', 'withdrawal', 'buy', 'sell', 'fee', 'dividend')",
            name=op.f("ck_ledger_entries_kind"),
        ),
        *(
            sa.CheckConstraint(
                f"CAST({name} AS NUMERIC) >= 0", name=op.f(f"ck_ledger_entries_{name}")
            )
            for name in ("amount", "quantity", "price", "cost")
        ),
        sa.CheckConstraint(
            "CAST(amount AS NUMERIC) < 1E16 AND CAST(quantity AS NUMERIC) < 1E16"
            " AND CAST(cost AS NUMERIC) < 1E16 AND (price IS NULL OR CAST(price AS NUMERIC) <"
            " 1E16)",
            name=op.f("ck_ledger_entries_finite"),
        ),
        sa.CheckConstraint(
            "CASE WHEN kind IN ('buy', 'sell') OR kind IN ('deposit', 'withdrawal') AND"
            " symbol IS NOT NULL THEN symbol IS NOT NULL AND price IS NOT NULL AND"
            " CAST(quantity AS NUMERIC) > 0 ELSE price IS NULL AND CAST(quantity AS NUMERIC) = 0"
            " AND CAST(amount AS NUMERIC) > 0 END",
            name=op.f("ck_ledger_entries_moved"),
        ),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f("fk_ledger_entries_portfolio")
        ),
        sa.ForeignKeyConstraint(
            ["proposal"], ["proposals.id"], name=op.f("fk_ledger_entries_proposal")
        ),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint("portfolio", "id", name=op.f("uq_ledger_entries_portfolio_id")),
        sa.Index("ix_ledger_entries_portfolio_sequence", "portfolio", "sequence"),
    ]
    if newer:
        parts += [
            sa.Column("voids", sa.Uuid()),
            sa.Column("partial", sa.Boolean(), nullable=False, server_default=sa.false()),
            sa.CheckConstraint("voids <> id", name=op.f("ck_ledger_entries_voids")),
        ]
    return sa.Table("ledger_entries", sa.MetaData(), *parts, sqlite_autoincrement=True)
