"""What was kept before the two steps before this one is checked, and jobs are found by their owner.

A step of its own, since on Postgres it reads whole tables: their users read and write on meanwhile,
but for writers of jobs, who wait for the index.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UNCHECKED = {
    "users": ["lower_case"],
    "portfolios": ["finite", "invested"],
    "ledger_entries": ["finite", "moved"],
    "proposals": ["executed"],
    "jobs": ["state", "attempts"],
}


def upgrade() -> None:
    """There; SQLite has checked everything when it made the tables anew."""
    if op.get_bind().dialect.name == "postgresql":
        for table, checks in UNCHECKED.items():
            for name in checks:
                op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{name}")
    op.create_index("ix_jobs_owner_created_id", "jobs", ["owner", "created", "id"])


def downgrade() -> None:
    """And back; that something was checked cannot be undone, nor need it be."""
    op.drop_index("ix_jobs_owner_created_id", "jobs")
