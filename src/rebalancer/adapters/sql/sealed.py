"""Which columns hold personal texts, and their encryption.

`PERSONAL` lists them in one place. `PUBLIC` gives the reason for each other column of text, so that
a new column cannot be forgotten: a test compares both with the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import attrs
import msgspec
from sqlalchemy import JSON, ColumnElement, FromClause, Row, Table, or_

from rebalancer.adapters.sql.tables import (
    api_keys,
    audit_origins,
    idempotency_keys,
    ledger_entries,
    mapping_profiles,
    notice_targets,
    notices,
    one_time_tokens,
    outbox,
    passkeys,
    portfolio_shares,
    portfolios,
    proposals,
    sessions,
    statement_imports,
    totp_secrets,
    users,
)
from rebalancer.application.encryption import SEALED, DataErased, SealBroken, is_sealed
from rebalancer.application.ports.encryption import SYSTEM, FieldCipher

SEALED_DOCUMENT = msgspec.json.encode(SEALED).decode()[:-1]
"""How a sealed document, which is a string of JSON, begins."""


@attrs.frozen
class PersonalColumns:
    """Columns of a table that are sealed.

    Attributes:
        names: Columns of text or of documents.
        key: Column that tells the rows of one owner apart; it is bound to the text.
        owner: The user whose key seals; None or NULL: the system's key.
        source: Rows with their owners.
        only: Condition of the rows that have personal texts; None: all.
        index: Column with the blind index of the first of the names.
        erasable: Whether a text that cannot be opened reads as NULL: the key of its owner was
            erased, or the text was changed.
    """

    table: Table
    names: tuple[str, ...]
    key: str
    owner: ColumnElement[Any] | None
    source: FromClause
    only: ColumnElement[bool] | None = None
    index: str | None = None
    erasable: bool = False

    def is_document(self, name: str) -> bool:
        """Return whether a column holds JSON."""
        return isinstance(self.table.c[name].type, JSON)

    def field(self, name: str, key: object) -> str:
        """Return what a text is bound to, besides its owner."""
        return f"{self.table.name}.{name}:{key}"


def _own(table: Table, *names: str, key: str, owner: str, **more: Any) -> PersonalColumns:
    """Describe a table that has a column with the owner."""
    return PersonalColumns(table, names, key, table.c[owner], table, **more)


PERSONAL: Mapping[str, PersonalColumns] = {
    one.table.name: one
    for one in (
        _own(users, "email", "name", "assessment", key="id", owner="id", index="email_index"),
        _own(sessions, "address", "agent", key="id", owner="owner"),
        _own(api_keys, "name", key="id", owner="owner"),
        _own(passkeys, "name", key="id", owner="owner"),
        _own(totp_secrets, "secret", key="owner", owner="owner"),
        _own(one_time_tokens, "document", key="digest", owner="owner"),
        _own(idempotency_keys, "answer", key="key", owner="owner"),
        _own(notice_targets, "name", "address", "secret", key="id", owner="owner"),
        _own(notices, "parameters", key="id", owner="owner"),
        _own(mapping_profiles, "profile", key="id", owner="owner"),
        _own(proposals, "remark", key="id", owner="owner"),
        _own(portfolio_shares, "email", key="id", owner="owner", index="email_index"),
        _own(statement_imports, "file_name", key="id", owner="owner"),
        # The person may not be registered, and the address of one who is may change meanwhile.
        PersonalColumns(
            outbox, ("recipient", "facts"), "id", None, outbox, index="recipient_index"
        ),
        _own(
            audit_origins,
            *("salt", "address", "agent"),
            key="event",
            owner="subject",
            erasable=True,
        ),
        # The text of an entry that books a corporate action is ours.
        PersonalColumns(
            ledger_entries,
            ("note",),
            "id",
            portfolios.c.owner,
            ledger_entries.join(portfolios),
            only=ledger_entries.c.action.is_(None),
        ),
    )
}
"""Personal columns by table."""


def _public(reason: str, *columns: str) -> dict[str, str]:
    return dict.fromkeys(columns, reason)


PUBLIC: Mapping[str, str] = {
    **_public(
        "a slow, salted hash; nothing to read",
        "users.password",
    ),
    **_public(
        "a digest of a random secret",
        *("refresh_tokens.digest", "one_time_tokens.digest", "recovery_codes.digest"),
        *("known_devices.digest", "api_keys.digest"),
    ),
    **_public(
        "a keyed digest, which finds the sealed address",
        *("users.email_index", "outbox.recipient_index", "portfolio_shares.email_index"),
    ),
    **_public(
        "a digest that proves the order of events",
        *("audit_events.commitment", "audit_seals.digest", "audit_cuts.digest"),
    ),
    **_public(
        "a digest of what was asked or applied",
        *("idempotency_keys.fingerprint", "batch_runs.terms", "portfolios.booked_actions"),
        *("statement_imports.digest", "portfolio_alerts.market"),
    ),
    **_public(
        "one of a few fixed words",
        *(
            "users.role",
            "api_keys.scopes",
            "one_time_tokens.purpose",
            "passkeys.transports",
            "sessions.method",
        ),
        *("outbox.kind", "portfolios.risk_profile", "portfolios.corporate_actions"),
        *("portfolios.conversions", "portfolio_shares.granted", "proposals.stage"),
        *("ledger_entries.kind", "account_usage.quota", "jobs.kind", "jobs.state"),
        *("audit_events.action", "audit_events.outcome", "audit_events.via", "reports.kind"),
        *("notices.kind", "notices.severity", "notice_targets.kind", "notice_deliveries.state"),
        *("proposals.origin", "alert_episodes.kind", "portfolio_alerts.automation"),
        *("scheduled_tasks.name", "scheduled_tasks.state", "statement_imports.layout"),
        "leases.name",
        "flow_decisions.outcome",
    ),
    **_public(
        "an account's id, or a keyed digest of a network or of an address without account",
        "login_failures.key",
    ),
    **_public("the version of published terms", "users.terms"),
    **_public("the version of the package", "batch_runs.release"),
    **_public("random ids of a request and its span", "jobs.trace"),
    **_public("the id of a key-encryption key", "data_keys.key"),
    **_public(
        "a label that every decision reads; people are asked for no personal data in it",
        *("portfolios.name", "portfolios.flow_plan", "models.name", "model_versions.note"),
        "portfolios.goals",
    ),
    **_public(
        "positions, orders and rules that batches read for all portfolios and constraints check; "
        "without users they name no person",
        *("portfolios.currency", "portfolios.targets", "portfolios.preferences"),
        *("portfolios.holdings", "portfolios.foreign_cash", "portfolios.target_groups"),
        *("portfolios.look_through", "portfolios.following", "model_versions.content"),
        *("proposals.proposal", "proposals.seen", "ledger_entries.symbol"),
        *("ledger_entries.currency", "ledger_entries.other", "ledger_entries.counter_currency"),
        *("ledger_entries.action", "ledger_checkpoints.document", "statement_imports.mapping"),
        *("portfolio_alerts.settings", "portfolio_alerts.state", "portfolio_alerts.progress"),
        *("alert_episodes.subject", "automatic_acceptances.spending"),
    ),
    **_public(
        "ids, policies, periods and figures of work, without names",
        *("batch_runs.policy", "batch_failures.reason", "jobs.request", "jobs.result"),
        *("jobs.error", "reports.subject", "reports.document"),
    ),
    **_public(
        "ids, symbols and days, which name an event and a page, without names",
        *("notices.key", "notices.link", "notice_deliveries.channel", "notice_deliveries.notices"),
    ),
    **_public("switches, times of the day and a time zone", "notice_choices.choices"),
    **_public(
        "a status or a fixed sentence, without the address",
        *("notice_targets.fault", "notice_deliveries.fault"),
    ),
    **_public("a random name that a client chose for a request", "idempotency_keys.key"),
    **_public("the name of a machine and a process of the deployment", "leases.holder"),
    **_public(
        "ids and fixed words; see `Action`: never a secret, an address or a name",
        *("audit_events.target", "audit_events.details", "audit_events.request"),
    ),
    **_public(
        "market data and their provenance",
        *("price_years.symbol", "price_years.sources", "bar_changes.symbol"),
        *("bar_changes.sources", "market_actions.symbol", "market_actions.kind"),
        *("market_actions.other", "market_actions.currency", "market_actions.source"),
        *("verdicts.symbol", "verdicts.rule", "verdicts.decision", "verdicts.note"),
        *("instruments.symbol", "instruments.instrument", "revisions.name"),
        *("provider_quotas.provider", "provider_quotas.period", "sync_states.symbol"),
        *("sync_states.provider", "sync_states.fault", "scheduled_tasks.detail"),
        *("fundamentals.symbol", "fundamentals.provider", "fundamentals.document"),
        *("economic_series.id", "economic_series.provider", "economic_series.title"),
        "economic_series.unit",
    ),
}
"""Why other columns of text are not sealed, as ``table.column``."""


def seal_row(
    cipher: FieldCipher, table: Table, row: dict[str, Any], owner: UUID | None = None
) -> dict[str, Any]:
    """Return a row with its personal texts sealed.

    Args:
        cipher: Of the transaction.
        table: One of `PERSONAL`.
        row: Values by column, among them the key and, unless it is given, the owner.
        owner: The user whose key seals.
    """
    personal = PERSONAL[table.name]
    if not cipher.seals:
        if personal.index is None:
            return row
        index_of(cipher, table, row[personal.names[0]])  # refuses to add what it could not find
        return row | {personal.index: None}
    who = owner or owner_of(personal, row)
    sealed = dict(row)
    for name in personal.names:
        value = row.get(name)
        if value:
            document = personal.is_document(name)
            text = msgspec.json.encode(value).decode() if document else value
            sealed[name] = cipher.seal(who, personal.field(name, row[personal.key]), text)
    if personal.index is not None:
        sealed[personal.index] = index_of(cipher, table, row[personal.names[0]])
    return sealed


def has_text(cipher: FieldCipher, table: Table, text: str) -> ColumnElement[bool]:
    """Match the rows with a text in the first personal column of a table, sealed or not."""
    personal = PERSONAL[table.name]
    found: ColumnElement[bool] = table.c[personal.names[0]] == text
    index = index_of(cipher, table, text)
    if index is None or personal.index is None:
        return found
    return or_(found, table.c[personal.index] == index)


def index_of(cipher: FieldCipher, table: Table, text: str) -> str | None:
    """Return the blind index of a text in the first personal column of a table."""
    return cipher.index(f"{table.name}.{PERSONAL[table.name].names[0]}", text)


def open_row(cipher: FieldCipher, table: Table, row: Row[Any], owner: UUID | None = None) -> Any:
    """Return a row of a query with its personal texts opened.

    Raises:
        DataErased: the key of the owner was erased.
        SealBroken: a text was changed, or moved from another row.
        Unavailable: the key-encryption key is missing or wrong.
    """
    personal = PERSONAL[table.name]
    values = row._mapping
    opened: dict[str, Any] = {}
    for name in personal.names:
        text = _sealed_text(values.get(name), personal.is_document(name))
        if text is None:
            continue
        who = owner or owner_of(personal, values)
        try:
            opened[name] = cipher.open(who, personal.field(name, values[personal.key]), text)
        except (DataErased, SealBroken):
            if not personal.erasable:
                raise
            opened[name] = None
    return SimpleNamespace(**{**values, **opened}) if opened else row


def owner_of(personal: PersonalColumns, row: Mapping[Any, Any]) -> UUID:
    """Return whose key seals the texts of a row."""
    found = None if personal.owner is None else row[cast("Any", personal.owner).name]
    return SYSTEM if found is None else cast("UUID", found)


def _sealed_text(value: Any, document: bool) -> str | None:
    """Return a sealed text as `FieldCipher.seal` made it; None for any other value."""
    if value is None:
        return None
    if not document:
        return value if is_sealed(value) else None
    raw = value if isinstance(value, str) else bytes(value).decode()
    return msgspec.json.decode(raw, type=str) if raw.startswith(SEALED_DOCUMENT) else None
