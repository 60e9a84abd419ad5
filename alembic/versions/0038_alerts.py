"""Add alerts and automation of portfolios, and the origin of automatic proposals."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

ALERTS, EPISODES = "portfolio_alerts", "alert_episodes"
STOPS, ACCEPTANCES = "automation_stops", "automatic_acceptances"


STAGES = (
    "stage IN ('proposed', 'nothing_to_do', 'accepted', 'rejected', 'expired', 'executed', "
    "'cancelled')"
)


def upgrade() -> None:
    """Migrate to this revision."""
    with _changed(_proposals()) as proposals:
        proposals.add_column(sa.Column("origin", sa.Text()))
    op.create_table(
        ALERTS,
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("changed", Moment(), nullable=False),
        sa.Column("due", Moment(), nullable=False),
        *(
            sa.Column(name, sa.JSON(none_as_null=True), nullable=False)
            for name in ("settings", "automation", "state", "progress")
        ),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("market", sa.Text(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("worker", sa.Uuid(), nullable=True),
        sa.Column("leased", Moment(), nullable=True),
        *_owned(ALERTS),
        sa.PrimaryKeyConstraint("portfolio", name=op.f(f"pk_{ALERTS}")),
    )
    op.create_table(
        EPISODES,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("began", Moment(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("limit", sa.Float(), nullable=False),
        sa.Column("ended", Moment(), nullable=True),
        *_owned(EPISODES),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{EPISODES}")),
        sa.UniqueConstraint(
            *("portfolio", "kind", "subject", "number"),
            name=op.f(f"uq_{EPISODES}_portfolio_kind_subject_number"),
        ),
    )
    op.create_table(
        STOPS,
        sa.Column("scope", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("since", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f(f"fk_{STOPS}_owner")),
        sa.PrimaryKeyConstraint("scope", name=op.f(f"pk_{STOPS}")),
    )
    op.create_table(
        ACCEPTANCES,
        sa.Column("proposal", sa.Uuid(), nullable=False),
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("spending", sa.JSON(none_as_null=True), nullable=False),
        *_owned(ACCEPTANCES),
        sa.PrimaryKeyConstraint("proposal", name=op.f(f"pk_{ACCEPTANCES}")),
    )
    for table, columns in (
        (ALERTS, ["owner"]),
        (ALERTS, ["due"]),
        (ALERTS, ["live"]),
        (EPISODES, ["owner"]),
        (EPISODES, ["portfolio", "began", "id"]),
        (STOPS, ["owner"]),
        (ACCEPTANCES, ["owner"]),
        (ACCEPTANCES, ["portfolio", "day"]),
    ):
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)


def _owned(table: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint([column], [f"{parent}.id"], name=op.f(f"fk_{table}_{column}"))
        for column, parent in (("portfolio", "portfolios"), ("owner", "users"))
    ]


def downgrade() -> None:
    """Migrate back; settings, episodes and limits are lost, and proposals stay."""
    for table in (ACCEPTANCES, STOPS, EPISODES, ALERTS):
        op.drop_table(table)
    with _changed(_proposals(sa.Column("origin", sa.Text()))) as proposals:
        proposals.drop_column("origin")


def _changed(table):
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table(
        "proposals", copy_from=table, recreate="always" if recreates else "never"
    )


def _proposals(*more):
    """Describe the table before this revision, with more columns."""
    return sa.Table(
        "proposals",
        sa.MetaData(),
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
        sa.Column("cancelled", Moment()),
        sa.Column("actor", sa.Uuid()),
        *more,
        sa.CheckConstraint(STAGES, name=op.f("ck_proposals_stage")),
        sa.CheckConstraint(
            "(stage = 'executed') = (executed IS NOT NULL)", name=op.f("ck_proposals_executed")
        ),
        sa.CheckConstraint(
            "(stage = 'cancelled') = (cancelled IS NOT NULL)", name=op.f("ck_proposals_cancelled")
        ),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_proposals_owner")),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f("fk_proposals_portfolio")
        ),
        sa.ForeignKeyConstraint(["run"], ["batch_runs.id"], name=op.f("fk_proposals_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
        sa.Index("ix_proposals_owner_proposed_id", "owner", "proposed", "id"),
        sa.Index("ix_proposals_portfolio_proposed_id", "portfolio", "proposed", "id"),
        sa.Index("ix_proposals_owner_stage", "owner", "stage"),
        sa.Index("ix_proposals_stage_proposed", "stage", "proposed"),
    )
