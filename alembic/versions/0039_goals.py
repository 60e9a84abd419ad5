"""Add the goals of portfolios."""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

PORTFOLIOS = "portfolios"


def upgrade() -> None:
    """Migrate to this revision; portfolios have no goals yet."""
    with op.batch_alter_table(PORTFOLIOS) as batch:
        batch.add_column(
            sa.Column("goals", sa.JSON(none_as_null=True), nullable=False, server_default="[]")
        )


def downgrade() -> None:
    """Migrate back; goals are lost."""
    with op.batch_alter_table(PORTFOLIOS) as batch:
        batch.drop_column("goals")
