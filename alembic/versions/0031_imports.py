"""Add imports of statements, and which entries they added."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

IMPORTS, ENTRIES = "statement_imports", "imported_entries"


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        IMPORTS,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("layout", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("mapping", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("undone", Moment(), nullable=True),
        sa.CheckConstraint("length(digest) = 64", name=op.f(f"ck_{IMPORTS}_digest")),
        sa.CheckConstraint("entries >= 1", name=op.f(f"ck_{IMPORTS}_entries")),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f(f"fk_{IMPORTS}_portfolio")
        ),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f(f"fk_{IMPORTS}_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{IMPORTS}")),
    )
    for columns in (["portfolio", "created", "id"], ["owner"]):
        op.create_index(op.f(f"ix_{IMPORTS}_{'_'.join(columns)}"), IMPORTS, columns)
    op.create_table(
        ENTRIES,
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("entry", sa.Uuid(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], [f"{IMPORTS}.id"], name=op.f(f"fk_{ENTRIES}_import_id")
        ),
        sa.ForeignKeyConstraint(
            ["portfolio", "entry"],
            ["ledger_entries.portfolio", "ledger_entries.id"],
            name=op.f(f"fk_{ENTRIES}_portfolio_entry"),
        ),
        sa.PrimaryKeyConstraint("portfolio", "entry", name=op.f(f"pk_{ENTRIES}")),
    )
    op.create_index(op.f(f"ix_{ENTRIES}_import_id"), ENTRIES, ["import_id"])


def downgrade() -> None:
    """Migrate back; entries stay in the ledgers, and imports can no longer be undone."""
    op.drop_table(ENTRIES)
    op.drop_table(IMPORTS)
