"""Note when jobs start, so that accounts take turns."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision; older versions, which may run meanwhile, take no turns."""
    op.add_column("jobs", sa.Column("started", Moment(), nullable=True))
    op.create_index("ix_jobs_owner_started", "jobs", ["owner", "started"])


def downgrade() -> None:
    """Migrate back."""
    op.drop_index("ix_jobs_owner_started", "jobs")
    op.drop_column("jobs", "started")
