"""Add model portfolios, their versions, and which portfolios follow them."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Moment

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

MODELS, VERSIONS, PORTFOLIOS = "models", "model_versions", "portfolios"


def upgrade() -> None:
    """Migrate to this revision; no portfolio follows a model yet."""
    op.create_table(
        MODELS,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("latest", sa.Integer(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("changed", Moment(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f(f"ck_{MODELS}_version")),
        sa.CheckConstraint("latest >= 1", name=op.f(f"ck_{MODELS}_latest")),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f(f"fk_{MODELS}_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{MODELS}")),
    )
    op.create_index(op.f(f"ix_{MODELS}_owner_created_id"), MODELS, ["owner", "created", "id"])
    op.create_table(
        VERSIONS,
        sa.Column("model", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint("number >= 1", name=op.f(f"ck_{VERSIONS}_number")),
        sa.ForeignKeyConstraint(["model"], ["models.id"], name=op.f(f"fk_{VERSIONS}_model")),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f(f"fk_{VERSIONS}_owner")),
        sa.PrimaryKeyConstraint("model", "number", name=op.f(f"pk_{VERSIONS}")),
    )
    op.create_index(op.f(f"ix_{VERSIONS}_owner"), VERSIONS, ["owner"])
    with _changed() as batch:
        batch.add_column(sa.Column("model", sa.Uuid(), nullable=True))
        batch.add_column(sa.Column("following", sa.JSON(none_as_null=True), nullable=True))
    op.create_index(op.f(f"ix_{PORTFOLIOS}_model"), PORTFOLIOS, ["model"])


def downgrade() -> None:
    """Migrate back; followers keep their targets."""
    op.drop_index(op.f(f"ix_{PORTFOLIOS}_model"), PORTFOLIOS)
    with _changed() as batch:
        batch.drop_column("following")
        batch.drop_column("model")
    op.drop_table(VERSIONS)
    op.drop_table(MODELS)


def _changed():
    """Change the table in place; SQLite recreates it, so that its text is that of a new one."""
    recreates = op.get_bind().dialect.name == "sqlite"
    return op.batch_alter_table(PORTFOLIOS, recreate="always" if recreates else "never")
