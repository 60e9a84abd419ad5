"""Add what owners choose about their notices, targets, and messages that are sent."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

CHOICES, TARGETS, DELIVERIES = "notice_choices", "notice_targets", "notice_deliveries"


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        CHOICES,
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("choices", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f(f"fk_{CHOICES}_owner")),
        sa.PrimaryKeyConstraint("owner", name=op.f(f"pk_{CHOICES}")),
    )
    op.create_table(
        TARGETS,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("kind", "name", "address", "secret")
        ),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("delivered", Moment(), nullable=True),
        sa.Column("failed", Moment(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f(f"fk_{TARGETS}_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{TARGETS}")),
    )
    op.create_table(
        DELIVERIES,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("notices", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("due", Moment(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("closed", Moment(), nullable=True),
        sa.Column("claimed", Moment(), nullable=True),
        sa.CheckConstraint(
            "(state = 'waiting') = (closed IS NULL)", name=op.f(f"ck_{DELIVERIES}_closed")
        ),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f(f"fk_{DELIVERIES}_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{DELIVERIES}")),
    )
    for table in (TARGETS, DELIVERIES):
        name = op.f(f"ix_{table}_owner_created_id")
        op.create_index(name, table, ["owner", "created", "id"])
    op.create_index(op.f(f"ix_{DELIVERIES}_closed"), DELIVERIES, ["closed"])
    for name, columns in (("waiting", ["due", "id"]), ("claimed", ["owner", "channel"])):
        op.create_index(
            f"ix_{DELIVERIES}_{name}",
            DELIVERIES,
            columns,
            sqlite_where=sa.text("closed IS NULL"),
            postgresql_where=sa.text("closed IS NULL"),
        )


def downgrade() -> None:
    """Migrate back."""
    for table in (DELIVERIES, TARGETS, CHOICES):
        op.drop_table(table)
