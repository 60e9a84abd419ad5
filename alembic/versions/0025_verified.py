"""Add what users have confirmed: their e-mail addresses, and terms.

Addresses of existing accounts count as verified. Servers of the previous version can continue;
accounts that they register confirm their addresses at the next login, where that is required.
"""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision."""
    with _changed(_users()) as users:
        for column in _columns():
            users.add_column(column)
    op.execute("UPDATE users SET verified = created")


def downgrade() -> None:
    """Migrate back; acceptances of terms are lost, and all addresses count as verified later."""
    with _changed(_users(*_columns())) as users:
        for column in _columns():
            users.drop_column(column.name)


def _changed(table: sa.Table):
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table(
        "users", copy_from=table, recreate="always" if recreates else "never"
    )


def _columns() -> list[sa.Column]:
    return [
        sa.Column("verified", Moment()),
        sa.Column("terms", sa.Text()),
        sa.Column("terms_accepted", Moment()),
    ]


def _users(*more: sa.Column) -> sa.Table:
    """Describe the existing table, which SQLite replaces by a copy."""
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
        sa.Column("role", sa.Text(), nullable=False, server_default="person"),
        sa.Column("disabled", Moment()),
        sa.Column("email_index", sa.Text()),
        sa.Column("short_password", sa.Boolean(), nullable=False, server_default=sa.false()),
        *more,
        sa.CheckConstraint(
            "email = lower(email) OR email_index IS NOT NULL", name=op.f("ck_users_lower_case")
        ),
        sa.CheckConstraint("role IN ('person', 'adviser', 'operator')", name=op.f("ck_users_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("email_index", name=op.f("uq_users_email_index")),
        sa.Index("ix_users_created_id", "created", "id"),
        sa.Index("ix_users_role", "role"),
    )
