"""Add failed logins and known devices."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        "login_failures",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("count", sa.Float(), nullable=False),
        sa.Column("last", Moment(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_login_failures_owner")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_login_failures")),
    )
    op.create_index(op.f("ix_login_failures_owner"), "login_failures", ["owner"])
    op.create_table(
        "known_devices",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("used", Moment(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_known_devices_owner")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_known_devices")),
    )
    op.create_index(op.f("ix_known_devices_owner"), "known_devices", ["owner"])
    op.create_index(op.f("ix_known_devices_used"), "known_devices", ["used"])


def downgrade() -> None:
    """Migrate back; failures are counted from zero again, and all devices are unknown."""
    op.drop_table("known_devices")
    op.drop_table("login_failures")
