"""Unit of work over a SQL database: one transaction that holds every store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Any
from uuid import UUID

import attrs
from sqlalchemy import Connection, Engine, Row, Select, select

from rebalancer.adapters.sql.alerts import SqlAlerts, SqlAutomationControls
from rebalancer.adapters.sql.api_keys import SqlApiKeys
from rebalancer.adapters.sql.audit import SqlAuditTrail
from rebalancer.adapters.sql.batch_runs import SqlBatchRuns
from rebalancer.adapters.sql.checkpoints import LedgerRules, find_wrong_checkpoints
from rebalancer.adapters.sql.data_keys import SqlDataKeys
from rebalancer.adapters.sql.deletions import SqlDeletions
from rebalancer.adapters.sql.engine import LOCK_TIMEOUT, clear_log, reading, writing
from rebalancer.adapters.sql.factors import SqlPasskeys, SqlRecoveryCodes, SqlTotpSecrets
from rebalancer.adapters.sql.flow_decisions import SqlFlowDecisions
from rebalancer.adapters.sql.guessing import SqlKnownDevices, SqlLoginFailures
from rebalancer.adapters.sql.idempotency_keys import SqlIdempotencyKeys
from rebalancer.adapters.sql.jobs import SqlJobs
from rebalancer.adapters.sql.leases import SqlLeases
from rebalancer.adapters.sql.mapping_profiles import SqlMappingProfiles
from rebalancer.adapters.sql.models import SqlModels
from rebalancer.adapters.sql.notice_deliveries import SqlNoticeDeliveries
from rebalancer.adapters.sql.notices import SqlNoticeChoices, SqlNotices, SqlNoticeTargets
from rebalancer.adapters.sql.one_time import SqlOneTimeTokens
from rebalancer.adapters.sql.outbox import NoOutbox, SqlOutbox
from rebalancer.adapters.sql.portfolios import SqlPortfolios
from rebalancer.adapters.sql.probe import SqlProbe
from rebalancer.adapters.sql.proposals import SqlProposals
from rebalancer.adapters.sql.rows import ENTRIES, portfolio_or_error
from rebalancer.adapters.sql.shares import SqlPortfolioShares
from rebalancer.adapters.sql.statement_imports import SqlStatementImports
from rebalancer.adapters.sql.synchronization import (
    SqlProviderQuotas,
    SqlScheduledTasks,
    SqlSyncStates,
)
from rebalancer.adapters.sql.tables import ledger_entries, portfolios, proposals
from rebalancer.adapters.sql.usage import SqlUsage
from rebalancer.adapters.sql.users import SqlRefreshTokens, SqlSessions, SqlUsers
from rebalancer.application.encryption import NoEncryption
from rebalancer.application.ports.encryption import Encryption
from rebalancer.application.ports.store import Transaction
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.portfolio.ledger import Entry, Ledger, Overdrawn, Positions
from rebalancer.domain.portfolio.mandate import UnreadablePortfolio
from rebalancer.domain.rebalancing.lifecycle import UNACCEPTED

_VOIDED = ledger_entries.alias("voided")

_CONTRADICTIONS: tuple[tuple[Select[Any], str], ...] = (
    (
        select(proposals.c.id)
        .join(portfolios, proposals.c.portfolio == portfolios.c.id)
        .where(proposals.c.owner != portfolios.c.owner)
        .order_by(proposals.c.id),
        "proposal {id}: its owner is not the owner of its portfolio",
    ),
    (
        select(ledger_entries.c.id, ledger_entries.c.portfolio)
        .join(proposals, ledger_entries.c.proposal == proposals.c.id)
        .where(
            (ledger_entries.c.portfolio != proposals.c.portfolio)
            | proposals.c.stage.in_([stage.value for stage in sorted(UNACCEPTED)])
        )
        .order_by(ledger_entries.c.id),
        "portfolio {portfolio}: entry {id} belongs to a proposal of another portfolio, or to one "
        "that was never accepted",
    ),
    (
        select(ledger_entries.c.id, ledger_entries.c.portfolio)
        .where(
            ledger_entries.c.voids.is_not(None),
            ~select(_VOIDED.c.id)
            .where(
                _VOIDED.c.portfolio == ledger_entries.c.portfolio,
                _VOIDED.c.id == ledger_entries.c.voids,
                _VOIDED.c.sequence < ledger_entries.c.sequence,
                _VOIDED.c.voids.is_(None),
            )
            .exists(),
        )
        .order_by(ledger_entries.c.id),
        "portfolio {portfolio}: entry {id} voids an entry that the portfolio lacks",
    ),
)
"""Contradictions that no constraint can rule out, and how to report each."""


@attrs.frozen
class SqlWork:
    """See `UnitOfWork`.

    SQLite has one writer at a time. In Postgres, rows that a writer reads by id stay locked until
    its transaction ends, so writers of the same portfolio, token or job run one after the other.

    Attributes:
        encryption: Of personal texts.
        lock_timeout: Seconds to wait for another writer of this process, in SQLite.
        sends_mail: Whether mails that are written are stored, to be sent.
        check_batch: Portfolios that `check` reads at a time.
        ledgers: When ledgers have checkpoints.
    """

    engine: Engine
    encryption: Encryption = attrs.field(factory=NoEncryption)
    lock_timeout: float = LOCK_TIMEOUT
    sends_mail: bool = True
    check_batch: int = 500
    ledgers: LedgerRules = attrs.field(factory=LedgerRules, kw_only=True)
    _writer: Lock = attrs.field(factory=Lock, init=False, eq=False, repr=False)

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        with self._one_writer(), writing(self.engine) as connection:
            tx = _stores(self, connection, locks=True)
            yield tx
        for call in tx.after_commit:
            call()

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """Serialise the writers of this process; SQLite's lock polling would starve some."""
        if self.engine.dialect.name != "sqlite":
            yield
            return
        if not self._writer.acquire(timeout=self.lock_timeout):
            raise Unavailable("the database is busy; try again", code="database_busy")
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        with reading(self.engine) as connection:
            yield _stores(self, connection, locks=False)

    def check(self) -> list[str]:
        """Describe every portfolio, also closed ones, that contradicts its ledger."""
        with reading(self.engine) as connection:
            findings = [
                text.format_map(row)
                for query, text in _CONTRADICTIONS
                for row in connection.execute(query).mappings()
            ]
            batch = select(portfolios).order_by(portfolios.c.id).limit(self.check_batch)
            rows = connection.execute(batch).all()
            while rows:
                span = ledger_entries.c.portfolio.between(rows[0].id, rows[-1].id)
                ledgers = _read_ledgers(connection, span)
                findings += [
                    f"portfolio {row.id}: {problem}"
                    for row in rows
                    if (problem := _find_difference(row, ledgers[row.id]))
                ]
                findings += find_wrong_checkpoints(connection, [row.id for row in rows])
                rows = connection.execute(batch.where(portfolios.c.id > rows[-1].id)).all()
        return findings


def _stores(work: SqlWork, connection: Connection, *, locks: bool) -> Transaction:
    """Return all stores; with ``locks``, rows that are read by id stay locked until the end."""
    data_keys = SqlDataKeys(connection, locks)
    cipher = work.encryption.cipher(data_keys, writes=locks)
    after_commit: list[Callable[[], None]] = []
    return Transaction(
        users=SqlUsers(connection, locks, cipher),
        tokens=SqlRefreshTokens(connection, locks),
        passkeys=SqlPasskeys(connection, locks, cipher),
        totp=SqlTotpSecrets(connection, locks, cipher),
        recovery_codes=SqlRecoveryCodes(connection, locks),
        sessions=SqlSessions(connection, locks, cipher),
        api_keys=SqlApiKeys(connection, locks, cipher),
        failures=SqlLoginFailures(connection, locks),
        devices=SqlKnownDevices(connection, locks),
        one_time=SqlOneTimeTokens(connection, locks, cipher),
        portfolios=SqlPortfolios(connection, locks, cipher, rules=work.ledgers),
        alerts=SqlAlerts(connection, locks),
        automation=SqlAutomationControls(connection, locks),
        shares=SqlPortfolioShares(connection, locks, cipher),
        imports=SqlStatementImports(connection, locks, cipher),
        models=SqlModels(connection, locks, cipher),
        flow_decisions=SqlFlowDecisions(connection, locks, cipher),
        outbox=(SqlOutbox if work.sends_mail else NoOutbox)(connection, locks, cipher),
        profiles=SqlMappingProfiles(connection, locks, cipher),
        notices=SqlNotices(connection, locks, cipher),
        notice_choices=SqlNoticeChoices(connection, locks, cipher),
        notice_targets=SqlNoticeTargets(connection, locks, cipher),
        notice_deliveries=SqlNoticeDeliveries(connection, locks, cipher),
        proposals=SqlProposals(connection, locks, cipher),
        keys=SqlIdempotencyKeys(connection, locks, cipher),
        jobs=SqlJobs(connection, locks),
        runs=SqlBatchRuns(connection, locks),
        quotas=SqlProviderQuotas(connection, locks),
        syncs=SqlSyncStates(connection, locks),
        tasks=SqlScheduledTasks(connection, locks),
        leases=SqlLeases(connection, locks),
        data_keys=data_keys,
        deletions=SqlDeletions(
            connection, locks, cipher, partial(clear_log, work.engine), after_commit
        ),
        usage=SqlUsage(connection, locks),
        audit=SqlAuditTrail(connection, locks, cipher),
        probe=SqlProbe(connection),
        after_commit=after_commit,
    )


def _read_ledgers(connection: Connection, condition: Any) -> Mapping[UUID, Ledger]:
    """Return ledgers by portfolio; a portfolio without entries has an empty one."""
    query = select(ledger_entries).where(condition).order_by(ledger_entries.c.sequence)
    entries: dict[UUID, list[Entry]] = {}
    for row in connection.execute(query):
        entries.setdefault(row.portfolio, []).append(ENTRIES.from_row(row))
    return defaultdict(Ledger, {id: Ledger(tuple(lines)) for id, lines in entries.items()})


def _find_difference(row: Row[Any], ledger: Ledger) -> str | None:
    portfolio = portfolio_or_error(row)
    if isinstance(portfolio, UnreadablePortfolio):
        return portfolio.reason
    try:
        expected = ledger.positions
    except Overdrawn as error:
        return str(error)
    for name in (field.name for field in attrs.fields(Positions)):
        computed, stored = getattr(expected, name), getattr(portfolio.positions, name)
        if computed != stored:
            return f"stored {name} {_format(stored)} differs from the ledger's {_format(computed)}"
    return None


def _format(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{symbol} {units}" for symbol, units in value.items()) or "none"
    return "none" if value is None else str(value)
