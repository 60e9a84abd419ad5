"""Add the release of rebalancer that began a batch run."""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision; earlier runs name no release."""
    with _changed() as runs:
        runs.add_column(sa.Column("release", sa.Text()))


def downgrade() -> None:
    """Migrate back; the releases of runs are lost."""
    with _changed() as runs:
        runs.drop_column("release")


def _changed():
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table("batch_runs", recreate="always" if recreates else "never")
