"""Create the first tables."""

import sqlalchemy as sa
from alembic import op

from rebalancer.adapters.sql.tables import Exact, Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision."""
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("assessment", sa.JSON()),
        sa.Column("assessed", Moment()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )

    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("family", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("issued", Moment(), nullable=False),
        sa.Column("expires", Moment(), nullable=False),
        sa.Column("used", Moment()),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_refresh_tokens_owner")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_refresh_tokens")),
    )
    op.create_index("ix_refresh_tokens_family", "refresh_tokens", ["family"])
    op.create_index("ix_refresh_tokens_owner", "refresh_tokens", ["owner"])

    op.create_table(
        "portfolios",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("targets", sa.JSON(), nullable=False),
        sa.Column("risk_profile", sa.Text()),
        sa.Column("preferences", sa.JSON(), nullable=False),
        sa.Column("acknowledge_limits", sa.Boolean(), nullable=False),
        sa.Column("cash", Exact(), nullable=False),
        sa.Column("holdings", sa.JSON(), nullable=False),
        sa.Column("uninvested", Exact(), nullable=False),
        sa.Column("last_rebalance", sa.Date()),
        sa.Column("last_entry", sa.Date()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("changed", Moment(), nullable=False),
        sa.Column("closed", Moment()),
        sa.CheckConstraint("CAST(cash AS NUMERIC) >= 0", name=op.f("ck_portfolios_cash")),
        sa.CheckConstraint(
            "CAST(uninvested AS NUMERIC) >= 0", name=op.f("ck_portfolios_uninvested")
        ),
        sa.CheckConstraint("length(currency) = 3", name=op.f("ck_portfolios_currency")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_portfolios_version")),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_portfolios_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portfolios")),
    )
    op.create_index("ix_portfolios_owner_created_id", "portfolios", ["owner", "created", "id"])

    op.create_table(
        "batch_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("started", Moment(), nullable=False),
        sa.Column("after", sa.Uuid()),
        sa.Column("proposed", sa.Integer(), nullable=False),
        sa.Column("nothing_to_do", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("finished", Moment()),
        sa.CheckConstraint("CAST(failed AS NUMERIC) >= 0", name=op.f("ck_batch_runs_failed")),
        sa.CheckConstraint(
            "CAST(nothing_to_do AS NUMERIC) >= 0", name=op.f("ck_batch_runs_nothing_to_do")
        ),
        sa.CheckConstraint("CAST(proposed AS NUMERIC) >= 0", name=op.f("ck_batch_runs_proposed")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch_runs")),
    )
    op.create_index("ix_batch_runs_terms_started", "batch_runs", ["terms", "started"])

    op.create_table(
        "batch_failures",
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f("fk_batch_failures_portfolio")
        ),
        sa.ForeignKeyConstraint(["run"], ["batch_runs.id"], name=op.f("fk_batch_failures_run")),
        sa.PrimaryKeyConstraint("run", "portfolio", name=op.f("pk_batch_failures")),
    )

    op.create_table(
        "proposals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("proposal", sa.JSON(), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.Column("proposed", Moment(), nullable=False),
        sa.Column("expires", Moment(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("decided", Moment()),
        sa.Column("executed", Moment()),
        sa.Column("remark", sa.Text(), nullable=False),
        sa.Column("run", sa.Uuid()),
        sa.CheckConstraint(
            "stage IN ('proposed', 'nothing_to_do', 'accepted', 'rejected', 'expired', 'executed')",
            name=op.f("ck_proposals_stage"),
        ),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_proposals_owner")),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f("fk_proposals_portfolio")
        ),
        sa.ForeignKeyConstraint(["run"], ["batch_runs.id"], name=op.f("fk_proposals_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
    )
    op.create_index("ix_proposals_owner_proposed_id", "proposals", ["owner", "proposed", "id"])
    op.create_index(
        "ix_proposals_portfolio_proposed_id", "proposals", ["portfolio", "proposed", "id"]
    )

    op.create_table(
        "ledger_entries",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("portfolio", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("recorded", Moment(), nullable=False),
        sa.Column("amount", Exact(), nullable=False),
        sa.Column("symbol", sa.Text()),
        sa.Column("quantity", Exact(), nullable=False),
        sa.Column("price", Exact()),
        sa.Column("cost", Exact(), nullable=False),
        sa.Column("proposal", sa.Uuid()),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('deposit', 'withdrawal', 'buy', 'sell', 'fee', 'dividend')",
            name=op.f("ck_ledger_entries_kind"),
        ),
        sa.CheckConstraint("CAST(amount AS NUMERIC) >= 0", name=op.f("ck_ledger_entries_amount")),
        sa.CheckConstraint("CAST(cost AS NUMERIC) >= 0", name=op.f("ck_ledger_entries_cost")),
        sa.CheckConstraint("CAST(price AS NUMERIC) >= 0", name=op.f("ck_ledger_entries_price")),
        sa.CheckConstraint(
            "CAST(quantity AS NUMERIC) >= 0", name=op.f("ck_ledger_entries_quantity")
        ),
        sa.ForeignKeyConstraint(
            ["portfolio"], ["portfolios.id"], name=op.f("fk_ledger_entries_portfolio")
        ),
        sa.ForeignKeyConstraint(
            ["proposal"], ["proposals.id"], name=op.f("fk_ledger_entries_proposal")
        ),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint("portfolio", "id", name=op.f("uq_ledger_entries_portfolio_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_ledger_entries_portfolio_sequence", "ledger_entries", ["portfolio", "sequence"]
    )

    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("result", sa.Uuid(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_idempotency_keys_owner")),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("pk_idempotency_keys")),
    )

    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.Text()),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("finished", Moment()),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed')", name=op.f("ck_jobs_state")
        ),
        sa.CheckConstraint("progress >= 0 AND progress <= 1", name=op.f("ck_jobs_progress")),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_jobs_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_state_created", "jobs", ["state", "created"])


def downgrade() -> None:
    """Drop the tables, which drops their indexes, too."""
    for table in (
        "jobs",
        "idempotency_keys",
        "ledger_entries",
        "proposals",
        "batch_failures",
        "batch_runs",
        "portfolios",
        "refresh_tokens",
        "users",
    ):
        op.drop_table(table)
