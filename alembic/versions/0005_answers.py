"""Keep the answers to requests with an idempotency key."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision; earlier requests that are repeated get the current state."""
    with _changed(_keys()) as keys:
        keys.add_column(sa.Column("answer", sa.Text()))


def downgrade() -> None:
    """Migrate back; the answers are lost."""
    with _changed(_keys(sa.Column("answer", sa.Text()))) as keys:
        keys.drop_column("answer")


def _changed(table):
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table(
        "idempotency_keys", copy_from=table, recreate="always" if recreates else "never"
    )


def _keys(*more):
    """Return the table of keys before this revision, with more columns."""
    return sa.Table(
        "idempotency_keys",
        sa.MetaData(),
        sa.Column("owner", sa.Uuid(), sa.ForeignKey("users.id", name="fk_idempotency_keys_owner")),
        sa.Column("key", sa.Text()),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("result", sa.Uuid(), nullable=False),
        sa.Column("created", Moment, nullable=False),
        *more,
        sa.PrimaryKeyConstraint("owner", "key", name="pk_idempotency_keys"),
    )
