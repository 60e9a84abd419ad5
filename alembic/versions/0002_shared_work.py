"""Add durable jobs, shared batch runs, market data and reports.

It only adds, so that servers of the previous version continue meanwhile. On Postgres it neither
rewrites nor reads a table; 0004 checks existing rows.
"""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATES = ("queued", "running", "succeeded", "failed")
COUNTED = "spared >= 0 AND spared <= attempts"
MORE = (*STATES, "cancelled", "dead")


def upgrade() -> None:
    """Migrate to this revision."""
    with op.batch_alter_table("jobs", copy_from=_jobs(STATES)) as jobs:
        jobs.alter_column("owner", existing_type=sa.Uuid(), nullable=True)
        jobs.add_column(
            sa.Column("due", Moment(), nullable=False, server_default="1970-01-01 00:00:00")
        )
        for name in ("attempts", "spared"):
            jobs.add_column(sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
        jobs.add_column(sa.Column("alive", Moment()))
        jobs.add_column(
            sa.Column("cancelling", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        jobs.drop_constraint(op.f("ck_jobs_state"), type_="check")
        later = {"postgresql_not_valid": True}
        jobs.create_check_constraint(op.f("ck_jobs_state"), _one_of(MORE), **later)
        jobs.create_check_constraint(op.f("ck_jobs_attempts"), COUNTED, **later)

    with op.batch_alter_table("proposals", copy_from=_proposals()) as proposals:
        proposals.create_check_constraint(
            op.f("ck_proposals_executed"), "(stage = 'executed') = (executed IS NOT NULL)", **later
        )

    _compress("lz4")

    op.create_table(
        "batch_chunks",
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("after", sa.Uuid()),
        sa.Column("until", sa.Uuid()),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("proposed", sa.Integer(), nullable=False),
        sa.Column("nothing_to_do", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.CheckConstraint("CAST(failed AS NUMERIC) >= 0", name=op.f("ck_batch_chunks_failed")),
        sa.CheckConstraint(
            "CAST(nothing_to_do AS NUMERIC) >= 0", name=op.f("ck_batch_chunks_nothing_to_do")
        ),
        sa.CheckConstraint("CAST(proposed AS NUMERIC) >= 0", name=op.f("ck_batch_chunks_proposed")),
        sa.ForeignKeyConstraint(["run"], ["batch_runs.id"], name=op.f("fk_batch_chunks_run")),
        sa.PrimaryKeyConstraint("run", "number", name=op.f("pk_batch_chunks")),
    )
    op.create_index(
        "ix_batch_chunks_run_done_taken_number",
        "batch_chunks",
        ["run", "done", "taken", "number"],
    )

    op.create_table(
        "price_years",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("days", sa.LargeBinary(), nullable=False),
        sa.Column("close", sa.LargeBinary(), nullable=False),
        sa.Column("open", sa.LargeBinary()),
        sa.Column("high", sa.LargeBinary()),
        sa.Column("low", sa.LargeBinary()),
        sa.Column("volume", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("symbol", "year", name=op.f("pk_price_years")),
    )

    op.create_table(
        "instruments",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("instrument", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", name=op.f("pk_instruments")),
    )

    op.create_table(
        "revisions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_revisions")),
    )

    op.create_table(
        "reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("schema", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("series", sa.LargeBinary()),
        sa.CheckConstraint("schema >= 1", name=op.f("ck_reports_schema")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
    )
    op.create_index("ix_reports_kind_subject_created", "reports", ["kind", "subject", "created"])


def downgrade() -> None:
    """Migrate back; jobs without owner, and states that older tables lack, are lost."""
    _compress("default")
    for table in ("reports", "revisions", "instruments", "price_years", "batch_chunks"):
        op.drop_table(table)
    with op.batch_alter_table("proposals", copy_from=_proposals(checked=True)) as proposals:
        proposals.drop_constraint(op.f("ck_proposals_executed"), type_="check")
    op.execute("DELETE FROM jobs WHERE owner IS NULL")
    op.execute("UPDATE jobs SET state = 'failed' WHERE state IN ('cancelled', 'dead')")
    with op.batch_alter_table("jobs", copy_from=_jobs(MORE, newer=True)) as jobs:
        jobs.drop_constraint(op.f("ck_jobs_attempts"), type_="check")
        jobs.drop_constraint(op.f("ck_jobs_state"), type_="check")
        jobs.create_check_constraint(op.f("ck_jobs_state"), _one_of(STATES))
        for column in ("cancelling", "alive", "spared", "attempts", "due"):
            jobs.drop_column(column)
        jobs.alter_column("owner", existing_type=sa.Uuid(), nullable=False)


def _compress(how: str) -> None:
    """Set the compression of proposals' documents, most of the cost of writing them, on Postgres.

    Existing rows stay as they are. A server built without lz4 keeps its default.
    """
    if op.get_bind().dialect.name != "postgresql":
        return
    columns = ", ".join(
        f"ALTER COLUMN {column} SET COMPRESSION {how}" for column in ("proposal", "seen")
    )
    op.execute(
        f"DO $$ BEGIN ALTER TABLE proposals {columns};"
        " EXCEPTION WHEN feature_not_supported THEN NULL; END $$"
    )


def _one_of(states: tuple[str, ...]) -> str:
    listed = ", ".join(f"'{state}'" for state in states)
    return f"state IN ({listed})"


def _jobs(states: tuple[str, ...], *, newer: bool = False) -> sa.Table:
    """Describe the existing table, which SQLite replaces by a copy."""
    parts: list[sa.schema.SchemaItem] = [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=newer),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.Text()),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("finished", Moment()),
        sa.CheckConstraint(_one_of(states), name=op.f("ck_jobs_state")),
        sa.CheckConstraint("progress >= 0 AND progress <= 1", name=op.f("ck_jobs_progress")),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_jobs_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.Index("ix_jobs_state_created", "state", "created"),
    ]
    if newer:
        parts += [
            sa.Column("due", Moment(), nullable=False, server_default="1970-01-01 00:00:00"),
            sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("spared", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("alive", Moment()),
            sa.Column("cancelling", sa.Boolean(), nullable=False, server_default=sa.false()),
            sa.CheckConstraint(COUNTED, name=op.f("ck_jobs_attempts")),
        ]
    return sa.Table("jobs", sa.MetaData(), *parts)


def _proposals(*, checked: bool = False) -> sa.Table:
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
            "stage IN ('proposed', 'nothing_to_do', 'accepted', 'rejected', 'expired', 'executed')",
            name=op.f("ck_proposals_stage"),
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
    if checked:
        parts.append(
            sa.CheckConstraint(
                "(stage = 'executed') = (executed IS NOT NULL)",
                name=op.f("ck_proposals_executed"),
            )
        )
    return sa.Table("proposals", sa.MetaData(), *parts)
