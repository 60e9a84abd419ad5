"""Check the rows from before the previous migration.

This is a separate step because on Postgres it reads whole tables, while others read and write.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

UNCHECKED = {
    "portfolios": ["corporate_actions", "conversions"],
    "ledger_entries": [
        "kind",
        "moved",
        "withheld",
        "ratio",
        "cost_share",
        "cost_basis",
        "counter_amount",
        "currency",
        "counter_currency",
        "exchanged",
    ],
}


def upgrade() -> None:
    """Migrate to this revision; SQLite checked all rows when it recreated the tables."""
    if op.get_bind().dialect.name == "postgresql":
        for table, checks in UNCHECKED.items():
            for name in checks:
                op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{name}")


def downgrade() -> None:
    """Migrate back; checked constraints stay checked."""
