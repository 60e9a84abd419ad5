"""Add sessions, one for each family of refresh tokens.

Servers of the previous version continue meanwhile: a login that they start gets its session when
its token is first exchanged.
"""

from datetime import timedelta

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

LIFETIME = timedelta(days=90)
BATCH = 1_000


def upgrade() -> None:
    """Migrate to this revision."""
    sessions = op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("used", Moment(), nullable=False),
        sa.Column("authenticated", Moment(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("ends", Moment(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("ended", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_sessions_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_ends"), "sessions", ["ends"])
    op.create_index(op.f("ix_sessions_owner_used_id"), "sessions", ["owner", "used", "id"])
    assert sessions is not None
    tokens = sa.table(
        "refresh_tokens",
        sa.column("family", sa.Uuid()),
        sa.column("owner", sa.Uuid()),
        sa.column("issued", Moment()),
    )
    first, last = sa.func.min(tokens.c.issued), sa.func.max(tokens.c.issued)
    families = sa.select(tokens.c.family, tokens.c.owner, first, last).group_by(
        tokens.c.family, tokens.c.owner
    )
    connection = op.get_bind()
    for rows in connection.execute(families).partitions(BATCH):
        connection.execute(
            sa.insert(sessions),
            [
                {
                    "id": family,
                    "owner": owner,
                    "created": created,
                    "used": used,
                    "authenticated": created,
                    "method": "password",
                    "ends": created + LIFETIME,
                    "address": "",
                    "agent": "",
                }
                for family, owner, created, used in rows
            ],
        )


def downgrade() -> None:
    """Migrate back; when and where logins were used is lost, and the logins go on."""
    op.drop_table("sessions")
