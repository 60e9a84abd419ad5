"""Add the index of encrypted addresses to mails that wait."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

INDEX = "ix_outbox_recipient_index_created"


def upgrade() -> None:
    """Migrate to this revision."""
    with _changed(_outbox()) as outbox:
        outbox.add_column(_column())
        outbox.create_index(op.f(INDEX), ["recipient_index", "created"])


def downgrade() -> None:
    """Migrate back; encrypted addresses were decrypted before, see revision 0017."""
    newer = _outbox(_column(), sa.Index(INDEX, "recipient_index", "created"))
    with _changed(newer) as outbox:
        outbox.drop_index(op.f(INDEX))
        outbox.drop_column("recipient_index")


def _column() -> sa.Column:
    return sa.Column("recipient_index", sa.Text())


def _changed(table):
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table(
        "outbox", copy_from=table, recreate="always" if recreates else "never"
    )


def _outbox(*more: sa.Column | sa.Index) -> sa.Table:
    """Return the table before this revision, with more columns and indexes."""
    return sa.Table(
        "outbox",
        sa.MetaData(),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("expires", Moment(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", Moment()),
        sa.Column("closed", Moment()),
        *more,
        sa.CheckConstraint("(due IS NULL) = (closed IS NOT NULL)", name=op.f("ck_outbox_closed")),
        sa.Index("ix_outbox_due_id", "due", "id"),
        sa.Index("ix_outbox_recipient_created", "recipient", "created"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
