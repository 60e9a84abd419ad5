"""Note which passwords are too short to suffice without a second factor.

Servers of the previous version can continue; they never set it.
"""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision."""
    with _changed(_users()) as users:
        users.add_column(_column())


def downgrade() -> None:
    """Migrate back; which passwords are short is lost."""
    with _changed(_users(_column())) as users:
        users.drop_column("short_password")


def _column() -> sa.Column:
    return sa.Column("short_password", sa.Boolean(), nullable=False, server_default=sa.false())


def _changed(table):
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table(
        "users", copy_from=table, recreate="always" if recreates else "never"
    )


def _users(*more: sa.Column) -> sa.Table:
    """Return the table of users before this revision, with more columns."""
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
        *more,
        sa.CheckConstraint(
            "email = lower(email) OR email_index IS NOT NULL", name=op.f("ck_users_lower_case")
        ),
        sa.CheckConstraint("role IN ('person', 'adviser', 'operator')", name=op.f("ck_users_role")),
        sa.Index("ix_users_created_id", "created", "id"),
        sa.Index("ix_users_role", "role"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("email_index", name=op.f("uq_users_email_index")),
    )
