"""Add mapping profiles that their owners saved."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

TABLE = "mapping_profiles"


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        TABLE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("profile", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("changed", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f(f"fk_{TABLE}_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{TABLE}")),
    )
    op.create_index(op.f(f"ix_{TABLE}_owner"), TABLE, ["owner"])


def downgrade() -> None:
    """Migrate back; saved profiles are lost."""
    op.drop_table(TABLE)
