"""Let owners share portfolios, and let proposals name who requested them."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

STAGES = (
    "stage IN ('proposed', 'nothing_to_do', 'accepted', 'rejected', 'expired', 'executed',"
    " 'cancelled')"
)


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        "portfolio_shares",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("granted", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Uuid(), nullable=True),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("accepted", Moment(), nullable=True),
        sa.CheckConstraint(
            "granted IN ('read', 'propose')", name=op.f("ck_portfolio_shares_granted")
        ),
        sa.CheckConstraint(
            "accepted IS NULL OR recipient IS NOT NULL", name=op.f("ck_portfolio_shares_accepted")
        ),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f("fk_portfolio_shares_portfolio")
        ),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_portfolio_shares_owner")),
        sa.ForeignKeyConstraint(
            ["recipient"], ["users.id"], name=op.f("fk_portfolio_shares_recipient")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portfolio_shares")),
    )
    for columns in (["portfolio", "created", "id"], ["recipient", "created", "id"], ["owner"]):
        name = op.f(f"ix_portfolio_shares_{'_'.join(columns)}")
        op.create_index(name, "portfolio_shares", columns)
    with _changed(_proposals()) as proposals:
        proposals.add_column(sa.Column("actor", sa.Uuid()))


def downgrade() -> None:
    """Migrate back; nothing is shared afterwards."""
    with _changed(_proposals(sa.Column("actor", sa.Uuid()))) as proposals:
        proposals.drop_column("actor")
    op.drop_table("portfolio_shares")


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
    )
