"""Add data keys, and the index of encrypted e-mail addresses."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment
from rebalancer.domain.errors import Conflict

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

OLDER = "email = lower(email)"
NEWER = "email = lower(email) OR email_index IS NOT NULL"


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        "data_keys",
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_data_keys")),
    )
    op.create_index(op.f("ix_data_keys_key"), "data_keys", ["key"])
    with op.batch_alter_table("users", copy_from=_users()) as users:
        users.add_column(sa.Column("email_index", sa.Text(), nullable=True))
        users.create_unique_constraint(op.f("uq_users_email_index"), ["email_index"])
        users.drop_constraint(op.f("ck_users_lower_case"), type_="check")
        users.create_check_constraint(op.f("ck_users_lower_case"), NEWER)


def downgrade() -> None:
    """Migrate back; encrypted texts must have been decrypted before, which no migration can do."""
    connection = op.get_bind()
    if connection.execute(sa.text("SELECT count(*) FROM data_keys")).scalar():
        raise Conflict(
            "the database has encrypted texts; decrypt them first with REBALANCER_ENCRYPTION=off "
            "and `rebalancer db rotate-keys`"
        )
    with op.batch_alter_table("users", copy_from=_users(newer=True)) as users:
        users.drop_constraint(op.f("ck_users_lower_case"), type_="check")
        users.create_check_constraint(op.f("ck_users_lower_case"), OLDER)
        users.drop_constraint(op.f("uq_users_email_index"), type_="unique")
        users.drop_column("email_index")
    op.drop_table("data_keys")


def _users(*, newer: bool = False) -> sa.Table:
    """Describe the existing table, which SQLite replaces by a copy."""
    added = [
        sa.Column("email_index", sa.Text()),
        sa.UniqueConstraint("email_index", name=op.f("uq_users_email_index")),
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
        sa.Column("role", sa.Text(), nullable=False, server_default="person"),
        sa.Column("disabled", Moment()),
        *(added if newer else []),
        sa.CheckConstraint(NEWER if newer else OLDER, name=op.f("ck_users_lower_case")),
        sa.CheckConstraint("role IN ('person', 'adviser', 'operator')", name=op.f("ck_users_role")),
        sa.Index("ix_users_created_id", "created", "id"),
        sa.Index("ix_users_role", "role"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
