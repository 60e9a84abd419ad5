"""Note the trace of the request that submitted a job."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

STATES = "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead')"


def upgrade() -> None:
    """Migrate to this revision; jobs that exist are in no trace."""
    with _changed(_jobs()) as jobs:
        jobs.add_column(_column())


def downgrade() -> None:
    """Migrate back; the traces of jobs are lost."""
    with _changed(_jobs(_column())) as jobs:
        jobs.drop_column("trace")


def _column() -> sa.Column:
    return sa.Column("trace", sa.Text())


def _changed(table):
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table(
        "jobs", copy_from=table, recreate="always" if recreates else "never"
    )


def _jobs(*more: sa.Column) -> sa.Table:
    """Return the table before this revision, with more columns."""
    return sa.Table(
        "jobs",
        sa.MetaData(),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.Text()),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("finished", Moment()),
        sa.Column("due", Moment(), nullable=False, server_default="1970-01-01 00:00:00"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("spared", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("alive", Moment()),
        sa.Column("cancelling", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("started", Moment()),
        *more,
        sa.CheckConstraint("progress >= 0 AND progress <= 1", name=op.f("ck_jobs_progress")),
        sa.CheckConstraint("spared >= 0 AND spared <= attempts", name=op.f("ck_jobs_attempts")),
        sa.CheckConstraint(STATES, name=op.f("ck_jobs_state")),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_jobs_owner")),
        sa.Index("ix_jobs_state_created", "state", "created"),
        sa.Index("ix_jobs_owner_created_id", "owner", "created", "id"),
        sa.Index("ix_jobs_owner_started", "owner", "started"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
