"""Add the roles of users, and the time since which an account is disabled.

Servers of the previous version can continue; they do not refuse disabled accounts.
"""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ROLES = "role IN ('person', 'adviser', 'operator')"


def upgrade() -> None:
    """Migrate to this revision."""
    with op.batch_alter_table("users", copy_from=_users()) as users:
        for column in _columns():
            users.add_column(column)
        users.create_check_constraint(op.f("ck_users_role"), ROLES)
        users.create_index(op.f("ix_users_created_id"), ["created", "id"])
        users.create_index(op.f("ix_users_role"), ["role"])


def downgrade() -> None:
    """Migrate back; roles are lost, and disabled accounts can be used again."""
    with op.batch_alter_table("users", copy_from=_users(newer=True)) as users:
        users.drop_index(op.f("ix_users_role"))
        users.drop_index(op.f("ix_users_created_id"))
        users.drop_constraint(op.f("ck_users_role"), type_="check")
        for column in _columns():
            users.drop_column(column.name)


def _columns() -> list[sa.Column]:
    return [
        sa.Column("role", sa.Text(), nullable=False, server_default="person"),
        sa.Column("disabled", Moment()),
    ]


def _users(*, newer: bool = False) -> sa.Table:
    """Describe the existing table, which SQLite replaces by a copy."""
    added = [
        *_columns(),
        sa.CheckConstraint(ROLES, name=op.f("ck_users_role")),
        sa.Index("ix_users_created_id", "created", "id"),
        sa.Index("ix_users_role", "role"),
    ]
    return sa.Table(
        "users",
        sa.MetaData(),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("assessment", sa.JSON()),
        sa.Column("assessed", Moment()),
        *(added if newer else []),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_users_lower_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
