"""The tables, and their types for exact numbers and times.

Quantities and amounts are never floating point in the database. Documents (``JSON``) are opaque to
it and preserve the order of their keys, so they are not ``JSONB`` in Postgres.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    false,
    text,
    true,
)
from sqlalchemy.types import TypeEngine

from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.accounts.shares import Right
from rebalancer.domain.audit.events import Outcome
from rebalancer.domain.jobs.job import JobState
from rebalancer.domain.market.synchronization import TaskState
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.mandate import ActionBooking
from rebalancer.domain.portfolio.planned_flows import FlowOutcome
from rebalancer.domain.portfolio.portfolio import Conversions
from rebalancer.domain.rebalancing.lifecycle import Stage


class Exact(TypeDecorator[Decimal]):
    """Exact Decimal: NUMERIC, or text in SQLite, which has no such type."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Use text in SQLite, whose NUMERIC is a float."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return format(value, "f")

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class Moment(TypeDecorator[datetime]):
    """Time with a zone, stored and returned in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert for the database; a time without a zone is a bug."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert from the database; SQLite drops the zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _document(name: str, *, nullable: bool = False, default: str | None = None) -> Column[Any]:
    return Column(name, JSON(none_as_null=True), nullable=nullable, server_default=default)


def _not_negative(*columns: str) -> list[CheckConstraint]:
    return [CheckConstraint(f"CAST({name} AS NUMERIC) >= 0", name) for name in columns]


def _one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", column)


COUNTS = ("proposed", "nothing_to_do", "failed")
"""Counters of a batch run and of each of its chunks."""


def _counts() -> list[Column[Any] | CheckConstraint]:
    return [*(Column(name, Integer, nullable=False) for name in COUNTS), *_not_negative(*COUNTS)]


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("password", Text, nullable=False),
    Column("created", Moment, nullable=False),
    _document("assessment", nullable=True),
    Column("assessed", Moment),
    # Old versions, which may run at the same time, do not know these.
    Column("role", Text, nullable=False, server_default=Role.PERSON),
    Column("disabled", Moment),
    Index(None, "created", "id"),
    Index(None, "role"),
    _one_of("role", Role),
    Column("email_index", Text),  # of an encrypted address
    Column("short_password", Boolean, nullable=False, server_default=false()),
    Column("verified", Moment),
    Column("terms", Text),
    Column("terms_accepted", Moment),
    UniqueConstraint("email"),
    UniqueConstraint("email_index"),
    CheckConstraint("email = lower(email) OR email_index IS NOT NULL", "lower_case"),
)

account_deletions = Table(
    "account_deletions",
    metadata,
    Column("owner", ForeignKey(users.c.id), primary_key=True),
    Column("requested", Moment, nullable=False),
    Column("due", Moment, nullable=False, index=True),
    Column("anonymized", Moment),
)

data_keys = Table(
    "data_keys",
    metadata,
    # A user, or the nil UUID; a key can be older than its user's row and outlive it.
    Column("owner", Uuid, primary_key=True),
    Column("key", Text, nullable=False, index=True),
    Column("wrapped", LargeBinary, nullable=False),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("family", Uuid, nullable=False, index=True),
    Column("owner", ForeignKey(users.c.id), nullable=False, index=True),
    Column("issued", Moment, nullable=False),
    Column("expires", Moment, nullable=False),
    Column("used", Moment),
)

one_time_tokens = Table(
    "one_time_tokens",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("owner", ForeignKey(users.c.id), index=True),
    Column("expires", Moment, nullable=False),
    _document("document"),
)

passkeys = Table(
    "passkeys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", ForeignKey(users.c.id), nullable=False, index=True),
    Column("credential", LargeBinary, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    _document("transports"),
    Column("backed_up", Boolean, nullable=False),
    Column("created", Moment, nullable=False),
    Column("used", Moment),
    UniqueConstraint("credential"),
)

totp_secrets = Table(
    "totp_secrets",
    metadata,
    Column("owner", ForeignKey(users.c.id), primary_key=True),
    Column("secret", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("confirmed", Moment),
    Column("last_step", BigInteger, nullable=False),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("owner", ForeignKey(users.c.id)),
    Column("digest", Text),
    Column("created", Moment, nullable=False),
    Column("used", Moment),
    PrimaryKeyConstraint("owner", "digest"),
)

login_failures = Table(
    "login_failures",
    metadata,
    Column("key", Text, primary_key=True),
    Column("count", Float, nullable=False),
    Column("last", Moment, nullable=False),
    Column("owner", ForeignKey(users.c.id), index=True),
)

known_devices = Table(
    "known_devices",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("owner", ForeignKey(users.c.id), nullable=False, index=True),
    Column("created", Moment, nullable=False),
    Column("used", Moment, nullable=False, index=True),
    Column("failures", Integer, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", ForeignKey(users.c.id), nullable=False, index=True),
    Column("name", Text, nullable=False),
    _document("scopes"),
    Column("digest", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("expires", Moment, nullable=False),
    Column("used", Moment),
    UniqueConstraint("digest"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", ForeignKey(users.c.id), nullable=False),
    Column("created", Moment, nullable=False),
    Column("used", Moment, nullable=False),
    Column("authenticated", Moment, nullable=False),
    Column("method", Text, nullable=False),
    Column("ends", Moment, nullable=False, index=True),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("ended", Moment),
    Index(None, "owner", "used", "id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    _document("facts"),
    Column("created", Moment, nullable=False),
    Column("expires", Moment, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Moment),  # NULL once it is closed
    Column("closed", Moment),
    Index(None, "due", "id"),
    Column("recipient_index", Text),  # of an encrypted address
    Index(None, "recipient", "created"),
    Index(None, "recipient_index", "created"),
    CheckConstraint("(due IS NULL) = (closed IS NOT NULL)", "closed"),
)

portfolios = Table(
    "portfolios",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", ForeignKey(users.c.id), nullable=False),
    Column("name", Text, nullable=False),
    Column("currency", Text, nullable=False),
    _document("targets"),
    Column("risk_profile", Text),
    _document("preferences"),
    Column("acknowledge_limits", Boolean, nullable=False),
    Column("cash", Exact, nullable=False),
    _document("holdings"),
    Column("uninvested", Exact, nullable=False),
    Column("last_rebalance", Date),
    Column("last_entry", Date),
    Column("version", Integer, nullable=False),
    Column("created", Moment, nullable=False),
    Column("changed", Moment, nullable=False),
    Column("closed", Moment),
    # Old versions, which may run at the same time, do not know these.
    _document("foreign_cash", default="{}"),
    Column("corporate_actions", Text, nullable=False, server_default=ActionBooking.AUTOMATIC),
    Column("conversions", Text, nullable=False, server_default=Conversions.AUTOMATIC),
    Column("booked_actions", Text),
    _document("target_groups", nullable=True),
    _document("look_through", default="{}"),
    _document("flow_plan", default="{}"),
    Column("model", Uuid, index=True),
    _document("following", nullable=True),
    Column("flows_automatic", Boolean, nullable=False, server_default=false()),
    _document("goals", default="[]"),
    Index(None, "owner", "created", "id"),
    CheckConstraint("length(currency) = 3", "currency"),
    CheckConstraint("version >= 1", "version"),
    _one_of("corporate_actions", ActionBooking),
    _one_of("conversions", Conversions),
    *_not_negative("cash", "uninvested"),
    CheckConstraint("CAST(cash AS NUMERIC) < 1E30", "finite"),  # to Postgres NaN is a large number
    CheckConstraint("CAST(uninvested AS NUMERIC) <= CAST(cash AS NUMERIC)", "invested"),
)

models = Table(
    "models",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", ForeignKey(users.c.id), nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("latest", Integer, nullable=False),
    Column("created", Moment, nullable=False),
    Column("changed", Moment, nullable=False),
    Index(None, "owner", "created", "id"),
    CheckConstraint("version >= 1", "version"),
    CheckConstraint("latest >= 1", "latest"),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("model", ForeignKey(models.c.id)),
    Column("owner", ForeignKey(users.c.id), nullable=False, index=True),
    Column("number", Integer),
    _document("content"),
    Column("created", Moment, nullable=False),
    Column("note", Text, nullable=False),
    PrimaryKeyConstraint("model", "number"),
    CheckConstraint("number >= 1", "number"),
)

portfolio_shares = Table(
    "portfolio_shares",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("portfolio", ForeignKey(portfolios.c.id), nullable=False),
    Column("owner", ForeignKey(users.c.id), nullable=False, index=True),
    Column("email", Text, nullable=False),
    Column("granted", Text, nullable=False),
    Column("recipient", ForeignKey(users.c.id)),
    Column("created", Moment, nullable=False),
    Column("accepted", Moment),
    Column("email_index", Text, index=True),  # of an encrypted address
    Index(None, "portfolio", "created", "id"),
    Index(None, "recipient", "created", "id"),
    _one_of("granted", Right),
    CheckConstraint("accepted IS NULL OR recipient IS NOT NULL", "accepted"),
)

notices = Table(
    "notices",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", ForeignKey(users.c.id), nullable=False),
    Column("portfolio", ForeignKey(portfolios.c.id)),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("key", Text, nullable=False),
    _document("parameters"),
    Column("link", Text, nullable=False),
    Column("created", Moment, nullable=False, index=True),
    Column("read", Moment),
    Column("resolved", Moment),
    UniqueConstraint("owner", "key"),
    Index(None, "owner", "created", "id"),
    Index(None, "portfolio", "created", "id"),
    Index(
        "ix_notices_unread",
        "owner",
        sqlite_where=text("read IS NULL"),
        postgresql_where=text("read IS NULL"),
    ),
)

notice_choices = Table(
    "notice_choices",
    metadata,
    Column("owner", ForeignKey(users.c.id), primary_key=True),
    _document("choices"),
)

notice_targets = Table(
    "notice_targets",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", ForeignKey(users.c.id), nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("delivered", Moment),
    Column("failed", Moment),
    Column("fault", Text, nullable=False),
    Index(None, "owner", "created", "id"),
)

notice_deliveries = Table(
    "notice_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", ForeignKey(users.c.id), nullable=False),
    Column("channel", Text, nullable=False),
    _document("notices"),
    Column("created", Moment, nullable=False),
    Column("due", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("fault", Text, nullable=False),
    Column("closed", Moment, index=True),
    Column("claimed", Moment),  # until when another process waits for the one that sends it
    Index(None, "owner", "created", "id"),
    Index(
        "ix_notice_deliveries_waiting",
        "due",
        "id",
        sqlite_where=text("closed IS NULL"),
        postgresql_where=text("closed IS NULL"),
    ),
    Index(
        "ix_notice_deliveries_claimed",
        "owner",
        "channel",
        sqlite_where=text("closed IS NULL"),
        postgresql_where=text("closed IS NULL"),
    ),
    CheckConstraint("(state = 'waiting') = (closed IS NULL)", "closed"),
)

batch_runs = Table(
    "batch_runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("terms", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("as_of", Date, nullable=False),
    Column("started", Moment, nullable=False),
    # Used by versions without chunks, which may run at the same time.
    Column("after", Uuid),
    *_counts(),
    Column("finished", Moment),
    # The version of the package that began it; NULL in runs of versions that did not store it.
    Column("release", Text),
    Index(None, "terms", "started"),
)

batch_chunks = Table(
    "batch_chunks",
    metadata,
    Column("run", ForeignKey(batch_runs.c.id)),
    Column("number", Integer),
    Column("after", Uuid),
    Column("until", Uuid),
    Column("taken", Integer, nullable=False),
    Column("done", Boolean, nullable=False),
    *_counts(),
    PrimaryKeyConstraint("run", "number"),
    Index(None, "run", "done", "taken", "number"),
)

batch_failures = Table(
    "batch_failures",
    metadata,
    Column("run", ForeignKey(batch_runs.c.id)),
    Column("portfolio", ForeignKey(portfolios.c.id)),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("run", "portfolio"),
)

proposals = Table(
    "proposals",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", ForeignKey(users.c.id), nullable=False),
    Column("portfolio", ForeignKey(portfolios.c.id), nullable=False),
    _document("proposal"),
    _document("seen"),
    Column("proposed", Moment, nullable=False),
    Column("expires", Moment, nullable=False),
    Column("stage", Text, nullable=False),
    Column("decided", Moment),
    Column("executed", Moment),
    Column("remark", Text, nullable=False),
    Column("run", ForeignKey(batch_runs.c.id)),
    Column("cancelled", Moment),
    # It refers to no row, so that an account can be deleted that requested proposals for others.
    Column("actor", Uuid),
    # Why it was made without a request; NULL: it was requested.
    Column("origin", Text),
    Index(None, "owner", "proposed", "id"),
    Index(None, "portfolio", "proposed", "id"),
    Index(None, "owner", "stage"),
    Index(None, "stage", "proposed"),
    _one_of("stage", Stage),
    CheckConstraint("(stage = 'executed') = (executed IS NOT NULL)", "executed"),
    CheckConstraint("(stage = 'cancelled') = (cancelled IS NOT NULL)", "cancelled"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    # Order in which entries were recorded.
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("portfolio", ForeignKey(portfolios.c.id), nullable=False),
    Column("id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("recorded", Moment, nullable=False),
    Column("amount", Exact, nullable=False),
    Column("symbol", Text),
    Column("quantity", Exact, nullable=False),
    Column("price", Exact),
    Column("cost", Exact, nullable=False),
    Column("proposal", ForeignKey(proposals.c.id)),
    Column("note", Text, nullable=False),
    # Another entry of the portfolio; its id derives from that one's, so none is voided twice.
    Column("voids", Uuid),
    Column("partial", Boolean, nullable=False, server_default=false()),
    Column("currency", Text),
    Column("withheld", Exact, nullable=False, server_default="0"),
    Column("ratio", Exact),
    Column("other", Text),
    Column("cost_share", Exact),
    Column("cost_basis", Exact),
    Column("counter_amount", Exact),
    Column("counter_currency", Text),
    Column("action", Text),
    UniqueConstraint("portfolio", "id"),
    Index(None, "portfolio", "sequence"),
    Index(
        "ix_ledger_entries_proposal",
        "proposal",
        "portfolio",
        sqlite_where=text("proposal IS NOT NULL"),
        postgresql_where=text("proposal IS NOT NULL"),
    ),
    _one_of("kind", EntryKind),
    *_not_negative("amount", "quantity", "price", "cost"),
    *_not_negative("withheld", "ratio", "cost_share", "cost_basis", "counter_amount"),
    CheckConstraint("length(currency) = 3", "currency"),
    CheckConstraint("length(counter_currency) = 3", "counter_currency"),
    CheckConstraint("(kind = 'exchange') = (counter_amount IS NOT NULL)", "exchanged"),
    CheckConstraint(
        "CAST(amount AS NUMERIC) < 1E16 AND CAST(quantity AS NUMERIC) < 1E16"
        " AND CAST(cost AS NUMERIC) < 1E16 AND (price IS NULL OR CAST(price AS NUMERIC) < 1E16)",
        "finite",
    ),
    CheckConstraint("voids <> id", "voids"),
    # A trade or move in kind has a symbol, a price and a quantity; a cash entry does not, and a
    # reorganisation has a symbol alone.
    CheckConstraint(
        "CASE WHEN kind IN ('buy', 'sell') OR kind IN ('deposit', 'withdrawal') AND"
        " symbol IS NOT NULL THEN symbol IS NOT NULL AND price IS NOT NULL AND"
        " CAST(quantity AS NUMERIC) > 0 WHEN kind IN ('split', 'rename', 'spin_off', 'merger') THEN"
        " symbol IS NOT NULL AND price IS NULL AND CAST(quantity AS NUMERIC) = 0 ELSE price IS NULL"
        " AND CAST(quantity AS NUMERIC) = 0 AND CAST(amount AS NUMERIC) > 0 END",
        "moved",
    ),
    sqlite_autoincrement=True,  # a number is never reused
)

statement_imports = Table(
    "statement_imports",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("portfolio", ForeignKey(portfolios.c.id), nullable=False),
    Column("owner", ForeignKey(users.c.id), nullable=False, index=True),
    Column("layout", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("digest", Text, nullable=False),  # SHA-256 of the file
    Column("created", Moment, nullable=False),
    Column("entries", Integer, nullable=False),
    _document("mapping"),
    Column("undone", Moment),
    Index(None, "portfolio", "created", "id"),
    CheckConstraint("length(digest) = 64", "digest"),
    CheckConstraint("entries >= 1", "entries"),
)

imported_entries = Table(
    "imported_entries",
    metadata,
    Column("portfolio", Uuid, primary_key=True),
    Column("entry", Uuid, primary_key=True),
    Column("import_id", ForeignKey(statement_imports.c.id), nullable=False, index=True),
    ForeignKeyConstraint(["portfolio", "entry"], [ledger_entries.c.portfolio, ledger_entries.c.id]),
)

flow_decisions = Table(
    "flow_decisions",
    metadata,
    Column("portfolio", ForeignKey(portfolios.c.id)),
    Column("flow", Uuid),
    Column("scheduled", Date),
    Column("outcome", Text, nullable=False),
    Column("decided", Moment, nullable=False),
    Column("entry", Uuid),
    PrimaryKeyConstraint("portfolio", "flow", "scheduled"),
    UniqueConstraint("portfolio", "entry"),
    ForeignKeyConstraint(["portfolio", "entry"], [ledger_entries.c.portfolio, ledger_entries.c.id]),
    _one_of("outcome", FlowOutcome),
)

mapping_profiles = Table(
    "mapping_profiles",
    metadata,
    Column("id", Uuid, primary_key=True),  # follows from the owner and the name
    Column("owner", ForeignKey(users.c.id), nullable=False, index=True),
    _document("profile"),
    Column("changed", Moment, nullable=False),
)

ledger_checkpoints = Table(
    "ledger_checkpoints",
    metadata,
    Column("portfolio", ForeignKey(portfolios.c.id)),
    # Sequence of the last entry that it includes.
    Column("last", BigInteger),
    _document("document"),
    PrimaryKeyConstraint("portfolio", "last"),
)

history_snapshots = Table(
    "history_snapshots",
    metadata,
    Column("portfolio", ForeignKey(portfolios.c.id), primary_key=True),
    # Packed, see `rebalancer.application.packed_histories`.
    Column("snapshot", LargeBinary, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner", ForeignKey(users.c.id)),
    Column("key", Text),
    Column("fingerprint", Text, nullable=False),
    Column("result", Uuid, nullable=False),
    Column("created", Moment, nullable=False),
    Column("answer", Text),
    PrimaryKeyConstraint("owner", "key"),
)

account_usage = Table(
    "account_usage",
    metadata,
    Column("owner", ForeignKey(users.c.id)),
    Column("quota", Text),
    Column("day", Date),
    Column("used", BigInteger, nullable=False),
    PrimaryKeyConstraint("owner", "quota", "day"),
    CheckConstraint("used >= 0", "used"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", ForeignKey(users.c.id)),
    Column("kind", Text, nullable=False),
    _document("request"),
    Column("state", Text, nullable=False),
    Column("progress", Float, nullable=False),
    _document("result", nullable=True),
    Column("error", Text),
    Column("created", Moment, nullable=False),
    Column("finished", Moment),
    # Columns that old versions do not know have a default, so that those can run meanwhile.
    Column("due", Moment, nullable=False, server_default="1970-01-01 00:00:00"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("spared", Integer, nullable=False, server_default="0"),
    Column("alive", Moment),
    Column("cancelling", Boolean, nullable=False, server_default=false()),
    Column("started", Moment),
    Column("trace", Text),
    Index(None, "state", "created"),
    Index(None, "owner", "created", "id"),
    Index(None, "owner", "started"),
    CheckConstraint("progress >= 0 AND progress <= 1", "progress"),
    CheckConstraint("spared >= 0 AND spared <= attempts", "attempts"),
    _one_of("state", JobState),
)


def _bar_columns() -> list[Column[Any]]:
    """Return the columns of a year's bars, packed as `application.packed_bars` states."""
    return [
        # Before the long columns, which SQLite would have to read first.
        Column("adjusted", Boolean, nullable=False, server_default=true()),
        Column("days", LargeBinary, nullable=False),
        Column("close", LargeBinary, nullable=False),
        Column("open", LargeBinary),
        Column("high", LargeBinary),
        Column("low", LargeBinary),
        Column("volume", LargeBinary),
        Column("known", LargeBinary),  # NULL: always
        Column("source", LargeBinary),
        _document("sources", nullable=True),
    ]


price_years = Table(
    "price_years",
    metadata,
    Column("symbol", Text),
    Column("year", Integer),
    *_bar_columns(),
    PrimaryKeyConstraint("symbol", "year"),
)

bar_changes = Table(
    "bar_changes",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("symbol", Text, nullable=False),
    Column("year", Integer, nullable=False),
    # Microseconds since 1970-01-01 UTC; these figures counted before.
    Column("until", BigInteger, nullable=False),
    *_bar_columns(),
    Index(None, "symbol", "year"),
)

market_actions = Table(
    "market_actions",
    metadata,
    Column("symbol", Text),
    Column("ex_day", Date),
    Column("kind", Text),
    Column("other", Text),  # empty for most kinds
    Column("known", Moment),  # the last figure of an action counts
    Column("value", Exact, nullable=False),
    Column("currency", Text),
    Column("source", Text, nullable=False),
    PrimaryKeyConstraint("symbol", "ex_day", "kind", "other", "known"),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("symbol", Text),
    Column("day", Date),
    Column("rule", Text),
    Column("decision", Text, nullable=False),
    Column("decided", Moment, nullable=False),
    Column("note", Text, nullable=False),
    PrimaryKeyConstraint("symbol", "day", "rule"),
)

instruments = Table(
    "instruments",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("position", Integer, nullable=False),  # order of listing
    _document("instrument"),
)

revisions = Table(
    "revisions",
    metadata,
    Column("name", Text, primary_key=True),  # see `ports.market.Revised`
    Column("revision", BigInteger, nullable=False),  # number of changes
)

provider_quotas = Table(
    "provider_quotas",
    metadata,
    Column("provider", Text),
    Column("period", Text),  # such as 2024-03-08
    Column("used", Integer, nullable=False),
    PrimaryKeyConstraint("provider", "period"),
    CheckConstraint("used >= 0", "used"),
)

sync_states = Table(
    "sync_states",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("provider", Text),
    Column("through", Date),
    Column("checked", Moment),
    Column("failed", Moment),
    Column("fault", Text, nullable=False, server_default=""),
)

scheduled_tasks = Table(
    "scheduled_tasks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("due", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("started", Moment),
    Column("finished", Moment),
    Column("alive", Moment),
    Column("detail", Text, nullable=False, server_default=""),
    _one_of("state", TaskState),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires", Moment, nullable=False),
)

fundamentals = Table(
    "fundamentals",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("fetched", Moment, nullable=False),
    Column("as_of", Date),
    _document("document"),
)

economic_series = Table(
    "economic_series",
    metadata,
    Column("id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("fetched", Moment, nullable=False),
    Column("title", Text, nullable=False),
    Column("unit", Text, nullable=False),
    # Packed as `application.packed_series` states.
    Column("days", LargeBinary, nullable=False),
    Column("known", LargeBinary, nullable=False),
    Column("figures", LargeBinary, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("schema", Integer, nullable=False),
    _document("document"),
    Column("series", LargeBinary),
    Index(None, "kind", "subject", "created"),
    CheckConstraint("schema >= 1", "schema"),
)

# Ids of accounts in the audit trail refer to no table, because they outlive their accounts.
audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("action", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("actor", Uuid),
    Column("subject", Uuid),
    Column("target", Text),
    Column("via", Text, nullable=False),
    Column("request", Text),
    Column("commitment", Text),  # see `domain.audit.chain.commit_to`
    _document("details"),
    Index(None, "at", "id"),
    Index(None, "subject", "at", "id"),
    Index(None, "actor", "at", "id"),
    _one_of("outcome", Outcome),
)

audit_origins = Table(
    "audit_origins",
    metadata,
    Column("event", ForeignKey(audit_events.c.id), primary_key=True),
    Column("at", Moment, nullable=False, index=True),
    Column("subject", Uuid, index=True),
    Column("salt", Text, nullable=False),
    Column("address", Text),
    Column("agent", Text),
)

audit_pending = Table(
    "audit_pending",
    metadata,
    Column("event", ForeignKey(audit_events.c.id), primary_key=True),
)

audit_seals = Table(
    "audit_seals",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("event", Uuid, nullable=False, unique=True),  # the seal of a missing event stays
    Column("digest", Text, nullable=False),
    Column("sealed", Moment, nullable=False),
)

audit_cuts = Table(
    "audit_cuts",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("before", Moment, nullable=False),
    Column("cut", Moment, nullable=False),
)

portfolio_alerts = Table(
    "portfolio_alerts",
    metadata,
    Column("portfolio", ForeignKey(portfolios.c.id), primary_key=True),
    Column("owner", ForeignKey(users.c.id), nullable=False, index=True),
    Column("changed", Moment, nullable=False),
    Column("due", Moment, nullable=False, index=True),
    _document("settings"),
    _document("automation"),
    _document("state"),
    _document("progress"),
    Column("version", Integer),
    Column("market", Text),
    # Whether its alerts are evaluated at quotes, too.
    Column("live", Boolean, nullable=False, index=True),
    # The worker that evaluates it, and the end of its lease.
    Column("worker", Uuid),
    Column("leased", Moment),
)

alert_episodes = Table(
    "alert_episodes",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("portfolio", ForeignKey(portfolios.c.id), nullable=False),
    Column("owner", ForeignKey(users.c.id), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("began", Moment, nullable=False),
    Column("value", Float, nullable=False),
    Column("limit", Float, nullable=False),
    Column("ended", Moment),
    UniqueConstraint("portfolio", "kind", "subject", "number"),
    Index(None, "portfolio", "began", "id"),
)

automation_stops = Table(
    "automation_stops",
    metadata,
    # Id of the account; zero for the whole deployment.
    Column("scope", Uuid, primary_key=True),
    Column("owner", ForeignKey(users.c.id), index=True),
    Column("since", Moment),
)

automatic_acceptances = Table(
    "automatic_acceptances",
    metadata,
    Column("proposal", Uuid, primary_key=True),
    Column("portfolio", ForeignKey(portfolios.c.id), nullable=False),
    Column("owner", ForeignKey(users.c.id), nullable=False, index=True),
    Column("day", Date, nullable=False),
    _document("spending"),
    Index(None, "portfolio", "day"),
)
