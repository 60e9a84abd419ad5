"""Add the goals of portfolios."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision; portfolios have no goals yet."""
    with _changed() as portfolios:
        portfolios.add_column(
            sa.Column("goals", sa.JSON(none_as_null=True), nullable=False, server_default="[]")
        )


def downgrade() -> None:
    """Migrate back; goals are lost."""
    with _changed() as portfolios:
        portfolios.drop_column("goals")


def _changed():
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table("portfolios", recreate="always" if recreates else "never")
