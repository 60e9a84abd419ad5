"""Check the rows from before the previous two migrations, and index jobs by owner.

This is a separate step because on Postgres it reads whole tables. Others read and write meanwhile,
except writers of jobs, who wait for the index.
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
    """Migrate to this revision; SQLite checked all rows when it recreated the tables."""
    if op.get_bind().dialect.name == "postgresql":
        for table, checks in UNCHECKED.items():
            for name in checks:
                op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{name}")
    op.create_index("ix_jobs_owner_created_id", "jobs", ["owner", "created", "id"])


def downgrade() -> None:
    """Migrate back; checked constraints stay checked."""
    op.drop_index("ix_jobs_owner_created_id", "jobs")
