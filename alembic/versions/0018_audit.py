"""Add the audit trail, of which nothing can be changed."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

PROTECTED = ("audit_events", "audit_seals", "audit_cuts")
APPLICATION = "rebalancer_app"
"""Role of the application; see deployment/postgres/roles.sql."""


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("subject", sa.Uuid(), nullable=True),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=True),
        sa.Column("commitment", sa.Text(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
        sa.CheckConstraint(
            "outcome IN ('done', 'refused', 'failed')", name=op.f("ck_audit_events_outcome")
        ),
    )
    for columns in (["at", "id"], ["subject", "at", "id"], ["actor", "at", "id"]):
        op.create_index(op.f(f"ix_audit_events_{'_'.join(columns)}"), "audit_events", columns)
    op.create_table(
        "audit_origins",
        sa.Column("event", sa.Uuid(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=True),
        sa.Column("salt", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event"], ["audit_events.id"], name=op.f("fk_audit_origins_event")
        ),
        sa.PrimaryKeyConstraint("event", name=op.f("pk_audit_origins")),
    )
    op.create_index(op.f("ix_audit_origins_at"), "audit_origins", ["at"])
    op.create_index(op.f("ix_audit_origins_subject"), "audit_origins", ["subject"])
    op.create_table(
        "audit_pending",
        sa.Column("event", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["event"], ["audit_events.id"], name=op.f("fk_audit_pending_event")
        ),
        sa.PrimaryKeyConstraint("event", name=op.f("pk_audit_pending")),
    )
    op.create_table(
        "audit_seals",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("sealed", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_seals")),
        sa.UniqueConstraint("event", name=op.f("uq_audit_seals_event")),
    )
    op.create_table(
        "audit_cuts",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("before", Moment(), nullable=False),
        sa.Column("cut", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_cuts")),
    )
    if op.get_bind().dialect.name == "sqlite":
        _create_triggers()
    else:
        _revoke_changes()


def downgrade() -> None:
    """Migrate back; the audit trail is lost."""
    for name in ("audit_cuts", "audit_seals", "audit_pending", "audit_origins", "audit_events"):
        op.drop_table(name)


def _create_triggers() -> None:
    """Refuse changes in SQLite, and removals but those that a recorded cut covers."""
    for table in PROTECTED:
        op.execute(
            f"CREATE TRIGGER {table}_unchangeable BEFORE UPDATE ON {table} BEGIN "
            "SELECT RAISE(ABORT, 'the audit trail cannot be changed'); END"
        )
    cut = "coalesce((SELECT max(position) FROM audit_cuts), 0)"
    sealed = "SELECT 1 FROM audit_seals WHERE event = OLD.id AND position <= " + cut
    for table, refused in (
        ("audit_events", f"NOT EXISTS ({sealed})"),
        ("audit_seals", f"OLD.position > {cut}"),
        ("audit_cuts", "1"),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_unremovable BEFORE DELETE ON {table} WHEN {refused} BEGIN "
            "SELECT RAISE(ABORT, 'the audit trail cannot be removed'); END"
        )


def _revoke_changes() -> None:
    """Leave the application's role in Postgres, if it exists, to insert and read alone."""
    exists = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :name").bindparams(name=APPLICATION)
    if op.get_bind().scalar(exists):
        op.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {', '.join(PROTECTED)} FROM {APPLICATION}")
        op.execute(f"REVOKE INSERT ON audit_cuts FROM {APPLICATION}")
