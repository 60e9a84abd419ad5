"""Import statements into ledgers: preview, commit, list and undo.

Each use case raises NotFound if the portfolio does not exist or has another owner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

import attrs
import numpy as np

from rebalancer.application.asset_search import FoundAsset, SearchEverywhere
from rebalancer.application.audit import record
from rebalancer.application.corporate_actions import extend_and_book, find_due
from rebalancer.application.corrections import read_market
from rebalancer.application.idempotency import add_key, find_earlier_result, fingerprint
from rebalancer.application.ledger_changes import ExtendedPortfolio, LedgerChange, change_ledger
from rebalancer.application.portfolios import find_market_day
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import DEFAULT_QUOTAS, Quotas
from rebalancer.application.statement_files import GENERIC_LAYOUT, ReadStatement, StatementFile
from rebalancer.application.valuation import ValuedPortfolio, value_committed
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import InvalidRequest, RebalancerError
from rebalancer.domain.market.actions import ActionKind
from rebalancer.domain.market.currencies import NO_RATES, missing_rate
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.symbols import nearest_symbols
from rebalancer.domain.portfolio.corporate_actions import first_day_from
from rebalancer.domain.portfolio.entries import REORGANISATIONS, Entry, EntryKind, void_id
from rebalancer.domain.portfolio.import_balances import (
    Overdraft,
    PositionChange,
    compare_balances,
    replay_balances,
)
from rebalancer.domain.portfolio.import_names import UnknownInstrument
from rebalancer.domain.portfolio.import_plan import ImportPlan, plan_import
from rebalancer.domain.portfolio.import_terms import ImportTerms
from rebalancer.domain.portfolio.ledger import Ledger, NotVoidable, Overdrawn
from rebalancer.domain.portfolio.mandate import ANY_VERSION, AcceptedVersions, ManagedPortfolio
from rebalancer.domain.portfolio.mapping_profiles import MappingProfile
from rebalancer.domain.portfolio.missing_cash import deposit_missing_cash
from rebalancer.domain.portfolio.statement_imports import StatementImport
from rebalancer.domain.portfolio.statements import Statement

_REMEMBERED = 100
"""Latest imports whose mappings are remembered."""

_MOST_SEARCHES = 12
"""Most searches of one preview: providers limit how often they are asked."""

_SEARCH_TIME = timedelta(seconds=8)
"""Time after which no further search begins: a client waits for the preview."""

_MOST_SUGGESTIONS = 3
_MOST_NAMED = 5
"""Most lines, instruments or overdrafts that a message names."""


@attrs.frozen
class ImportOptions:
    """How a statement is to be imported.

    Attributes:
        mapping: Symbols of instruments, by symbol, ISIN or name; an empty symbol leaves out.
        layout: Name of the layout; None: as recognised.
        keep_unknown: Whether unknown instruments are recorded under their own symbol or ISIN,
            without prices.
        include_duplicates: Whether probable duplicates are added.
        skip_errors: Whether lines that cannot be read are left out.
        deposit_missing_cash: Whether cash that is missing at the end of a day is deposited.
        profile: How a table without a known layout is read; None: as recognised.
    """

    mapping: Mapping[str, str] = attrs.field(factory=dict)
    layout: str | None = None
    keep_unknown: bool = False
    include_duplicates: bool = False
    skip_errors: bool = False
    deposit_missing_cash: bool = False
    profile: MappingProfile | None = None

    def identity(self) -> tuple[object, ...]:
        """Return what identifies the options in a request."""
        mapping = tuple(sorted(self.mapping.items()))
        flags = (
            *(self.keep_unknown, self.include_duplicates, self.skip_errors),
            self.deposit_missing_cash,
        )
        profile = None if self.profile is None else repr(self.profile.document())
        return (mapping, self.layout, *flags, profile)


@attrs.frozen
class ImportPreview:
    """What an import would change, or has changed.

    Attributes:
        layout: Name of the layout.
        title: Its name for people.
        file: As it was sent.
        plan: Entries, duplicates, unknown instruments and remarks.
        changes: Cash and holdings before and after.
        overdrafts: Days on which cash or a holding would be negative.
        problems: Errors that a commit would raise; empty if it is possible.
        booked: Number of entries of corporate actions that are booked with it.
        suggestions: Assets that an unknown instrument may be, by its name.
        earlier: Latest import of the same file that was not undone; None without one.
        notes: Further facts, as sentences.
        profile: How a table without a known layout was read; None for other layouts.
    """

    layout: str
    title: str
    file: StatementFile
    plan: ImportPlan
    changes: tuple[PositionChange, ...] = ()
    overdrafts: tuple[Overdraft, ...] = ()
    problems: tuple[RebalancerError, ...] = ()
    booked: int = 0
    suggestions: Mapping[str, tuple[FoundAsset, ...]] = attrs.field(factory=dict)
    earlier: StatementImport | None = None
    notes: tuple[str, ...] = ()
    profile: MappingProfile | None = None


@attrs.frozen
class PreviewImport:
    """Show what a statement would add to a ledger; nothing is written."""

    work: UnitOfWork
    prices: PriceSource
    read: ReadStatement
    search: SearchEverywhere
    clock: Clock

    def __call__(
        self,
        file: StatementFile,
        options: ImportOptions,
        *,
        portfolio_id: UUID,
        owner: UUID,
        now: datetime,
    ) -> tuple[ImportPreview, ManagedPortfolio]:
        """Return the preview, and the portfolio as it is.

        Raises:
            InvalidRequest: the file cannot be read, or the mapping names an unknown symbol.
        """
        title, statement = self.read(file, options.layout, options.profile)
        market = self.prices.closes()
        with self.work.read() as tx:
            portfolio = tx.portfolios.get(portfolio_id, owner=owner)
            planner = _Planner(file, title, statement, options, market, now)
            preview, _ = planner.plan(tx, portfolio, tx.portfolios.ledger(portfolio_id))
        found, notes = self._suggest(preview.plan.unknown, market)
        profile = options.profile
        if profile is None and preview.layout == GENERIC_LAYOUT:
            profile = self.read.profile(file)
        preview = attrs.evolve(preview, profile=profile)
        return attrs.evolve(preview, suggestions=found, notes=(*preview.notes, *notes)), portfolio

    def _suggest(
        self, unknown: tuple[UnknownInstrument, ...], market: PriceHistory
    ) -> tuple[dict[str, tuple[FoundAsset, ...]], list[str]]:
        """Return assets that unknown instruments may be, and faults of providers."""
        found: dict[str, tuple[FoundAsset, ...]] = {}
        notes: dict[str, None] = {}
        searches, end = 0, self.clock() + _SEARCH_TIME
        for one in unknown:
            instrument = one.instrument
            near = nearest_symbols(instrument.symbol, market.symbols) if instrument.symbol else []
            assets = {asset.symbol: asset for asset in self.search.search.get(near)}
            for query in dict.fromkeys((instrument.isin, instrument.name, instrument.symbol)):
                if not query or len(assets) >= _MOST_SUGGESTIONS:
                    continue
                if searches >= _MOST_SEARCHES or self.clock() >= end:
                    break
                searches += 1
                with suppress(RebalancerError):
                    result = self.search(query, limit=_MOST_SUGGESTIONS)
                    notes |= dict.fromkeys(result.notes)
                    for asset in result.assets:
                        assets.setdefault(asset.symbol, asset)
            found[one.name] = tuple(assets.values())[:_MOST_SUGGESTIONS]
        return found, list(notes)


@attrs.frozen
class CommitImport:
    """Add the entries of a statement to a ledger, all or none."""

    work: UnitOfWork
    prices: PriceSource
    read: ReadStatement
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(
        self,
        file: StatementFile,
        options: ImportOptions,
        *,
        portfolio_id: UUID,
        owner: UUID,
        accepted: AcceptedVersions = ANY_VERSION,
        key: str | None = None,
        id: UUID,
        now: datetime,
    ) -> tuple[StatementImport | None, ImportPreview, ValuedPortfolio, bool]:
        """Return the import, what it changed, the portfolio, and whether the request was repeated.

        The import is None if the statement adds nothing, such as for a file that was imported
        before; then nothing is stored.

        Raises:
            InvalidRequest: the file cannot be read, lines have errors, or instruments are unknown.
            Overdrawn: cash or a holding would be negative.
            QuotaReached: the ledger would have too many entries.
            PortfolioChanged: the version of the portfolio is not accepted.
            Conflict: the idempotency key belongs to another request.
        """
        title, statement = self.read(file, options.layout, options.profile)
        market = self.prices.closes()
        request = fingerprint("import", portfolio_id, file.sha256, *options.identity())
        planner = _Planner(file, title, statement, options, market, now)

        def plan(
            tx: Transaction, portfolio: ManagedPortfolio, ledger: Ledger
        ) -> LedgerChange[tuple[StatementImport | None, ImportPreview, bool]]:
            done = find_earlier_result(tx, owner, key, request)
            if done is None:
                accepted.check(portfolio)
            preview, extended = planner.plan(tx, portfolio, ledger)
            if done is not None:
                earlier = tx.imports.get(done, portfolio=portfolio_id)
                return LedgerChange((earlier, preview, True))
            for problem in preview.problems:
                raise problem
            if extended is None:
                return LedgerChange((None, preview, False))
            added = [planned.entry.id for planned in preview.plan.entries]
            made = StatementImport(
                id,
                portfolio_id,
                owner,
                preview.layout,
                file.short_name,
                file.sha256,
                now,
                len(added),
                preview.plan.mapping,
            )

            def then(tx: Transaction) -> None:
                tx.imports.add(made, added)
                _record(tx, Action.STATEMENT_IMPORTED, made, now)
                add_key(tx, owner=owner, key=key, request=request, result=id, now=now)

            return LedgerChange((made, preview, False), extended, then)

        (made, preview, replayed), portfolio = change_ledger(
            self.work, portfolio_id, owner, plan, now=now, quotas=self.quotas, is_long=True
        )
        return made, preview, value_committed(portfolio, lambda: market, self.work), replayed


@attrs.frozen
class ListImports:
    """List the imports of a portfolio."""

    work: UnitOfWork

    def __call__(
        self, portfolio_id: UUID, *, actor: UUID, before: UUID | None = None, limit: int
    ) -> list[StatementImport]:
        """Return a page of imports, the latest first."""
        with self.work.read() as tx:
            tx.portfolios.get_for(portfolio_id, actor)
            return tx.imports.page(portfolio_id, before=before, limit=limit)


@attrs.frozen
class UndoImport:
    """Void the entries of an import."""

    work: UnitOfWork
    prices: PriceSource
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(
        self,
        import_id: UUID,
        *,
        portfolio_id: UUID,
        owner: UUID,
        accepted: AcceptedVersions = ANY_VERSION,
        key: str | None = None,
        now: datetime,
    ) -> tuple[StatementImport, int, ValuedPortfolio, bool]:
        """Return the import, the number of voided entries, the portfolio, and whether repeated.

        Entries that were voided before stay as they are.

        Raises:
            NotFound: the import does not exist, or belongs to another portfolio.
            Conflict: it was undone before, or the idempotency key belongs to another request.
            NotVoidable: later entries need its cash or its units.
            PortfolioChanged: the version of the portfolio is not accepted.
        """
        request = fingerprint("undo import", portfolio_id, import_id)
        market = read_market(self.prices)

        def plan(
            tx: Transaction, portfolio: ManagedPortfolio, ledger: Ledger
        ) -> LedgerChange[tuple[StatementImport, int, bool]]:
            done = find_earlier_result(tx, owner, key, request)
            stored = tx.imports.get(import_id, portfolio=portfolio_id)
            ids = tx.imports.entries(import_id)
            if done is not None:
                return LedgerChange((stored, len(ids), True))
            accepted.check(portfolio)
            undone = stored.undo(now)
            void = {entry.voids for entry in ledger.pick([void_id(one) for one in ids])}
            reversals = [
                entry.reversal(recorded=now, note="import undone")
                for entry in ledger.pick(ids)
                if entry.id not in void
            ]
            extended = None
            if reversals:
                try:
                    extended = extend_and_book(portfolio, ledger, reversals, market, now)
                except Overdrawn as error:
                    problem = error.message.partition(";")[0]
                    raise NotVoidable(
                        f"the import cannot be undone: without it {problem}; void the later "
                        "entries that need it first",
                        code="entry_needed",
                    ) from None

            def then(tx: Transaction) -> None:
                tx.imports.save(undone)
                _record(tx, Action.IMPORT_UNDONE, undone, now)
                add_key(tx, owner=owner, key=key, request=request, result=import_id, now=now)

            return LedgerChange((undone, len(reversals), False), extended, then)

        (undone, count, replayed), portfolio = change_ledger(
            self.work, portfolio_id, owner, plan, now=now, quotas=self.quotas
        )
        return undone, count, value_committed(portfolio, self.prices.closes, self.work), replayed


@attrs.frozen
class _Planner:
    """Plans the import of one statement into a portfolio."""

    file: StatementFile
    title: str
    statement: Statement
    options: ImportOptions
    market: PriceHistory
    now: datetime

    def plan(
        self, tx: Transaction, portfolio: ManagedPortfolio, ledger: Ledger
    ) -> tuple[ImportPreview, ExtendedPortfolio | None]:
        """Return what would change, and what to store; None if nothing is added or can be."""
        earlier = tx.imports.page(portfolio.id, limit=_REMEMBERED)
        undone = tx.imports.undone_entries(portfolio.id)
        plan = plan_import(self.statement, self._terms(portfolio, earlier), ledger, undone=undone)
        if self.options.deposit_missing_cash:
            plan = deposit_missing_cash(plan, ledger, portfolio.mandate.currency)
        entries = [planned.entry for planned in plan.entries]
        after, booked, extended = ledger.followed_by(entries), 0, None
        _, _, overdrafts = replay_balances(after, portfolio.mandate.currency)
        if entries:
            if overdrafts:
                extended = self._extend_by_actions(portfolio, ledger, entries)
            else:
                extended = extend_and_book(portfolio, ledger, entries, self.market, self.now)
            if extended is not None:
                after, booked, overdrafts = extended.ledger, len(extended.entries), []
                booked -= len(entries)
        same = (one for one in earlier if one.sha256 == self.file.sha256 and one.undone is None)
        preview = ImportPreview(
            self.statement.layout,
            self.title,
            self.file,
            plan,
            tuple(compare_balances(ledger, after, portfolio.mandate.currency)),
            tuple(overdrafts),
            tuple(_problems(plan, overdrafts, self.options)),
            booked,
            earlier=next(same, None),
        )
        return preview, extended

    def _extend_by_actions(
        self, portfolio: ManagedPortfolio, ledger: Ledger, entries: Sequence[Entry]
    ) -> ExtendedPortfolio | None:
        """Return the portfolio with entries that corporate actions of the market make possible.

        A statement may list a sale of units that a split brought, and not the split. None if cash
        or a holding would be negative all the same.
        """
        with suppress(RebalancerError):
            due = find_due(portfolio, ledger.followed_by(entries), self.market, self.now)
            if due.entries:
                booked = portfolio.book(due.ledger, self.now, mandate=due.mandate)
                return ExtendedPortfolio(booked, (*entries, *due.entries), due.ledger)
        return None

    def _terms(self, portfolio: ManagedPortfolio, earlier: list[StatementImport]) -> ImportTerms:
        base = portfolio.mandate.currency
        remembered: dict[str, str] = {}
        for one in reversed(earlier):
            if one.layout == self.statement.layout and one.undone is None:
                remembered |= one.mapping
        return ImportTerms(
            portfolio=portfolio.id,
            base=base,
            recorded=self.now,
            symbols=self.market.columns,
            market_day=self._market_day,
            close=partial(self._close, base.code),
            check_currency=partial(self._check_currency, base.code),
            splits=partial(_splits, self.market),
            currency_of=lambda symbol: self.market.currency_of(symbol, base.code),
            mapping=self.options.mapping,
            remembered=remembered,
            keep_unknown=self.options.keep_unknown,
            include_duplicates=self.options.include_duplicates,
        )

    def _market_day(self, on: date, kind: EntryKind) -> date:
        """Return the day on which an entry counts; a day before all prices counts as it is.

        Reorganisations change units at the start of a day, so a weekend means the day after it.
        """
        market = self.market
        if on < market.dates[0].item():
            return on
        if kind in REORGANISATIONS and on <= market.last_date:
            return first_day_from(market.dates, on)
        if on > self.now.date() + timedelta(days=1):
            raise InvalidRequest(
                f"{on} is in the future; correct the day",
                field="on",
                code="day_in_future",
            )
        return find_market_day(on, market, self.now)

    def _close(self, base: str, symbol: str, on: date, currency: str) -> Decimal | None:
        market = self.market
        column = market.columns.get(symbol)
        row = int(np.searchsorted(market.dates, np.datetime64(on), "right")) - 1
        if column is None or row < 0 or market.currency_of(symbol, base) != currency:
            return None
        close = float(market.traded[row, column])
        return Decimal(repr(close)) if close == close else None

    def _check_currency(self, base: str, code: str) -> None:
        quotes = self.market.quotes
        rates = NO_RATES if quotes is None else quotes.exchange
        if rates.path(code, base) is None:
            raise missing_rate(code, base)


def _splits(market: PriceHistory, symbol: str) -> list[tuple[date, Decimal]]:
    """Return the splits of an asset up to the last close, by day."""
    if market.quotes is None:
        return []
    return sorted(
        (one.ex_day, one.value)
        for one in market.quotes.actions.by_symbol.get(symbol, ())
        if one.kind is ActionKind.SPLIT and one.ex_day <= market.last_date
    )


def _problems(
    plan: ImportPlan, overdrafts: list[Overdraft], options: ImportOptions
) -> list[RebalancerError]:
    """Return what keeps a plan from being stored."""
    found: list[RebalancerError] = []
    if plan.errors and not options.skip_errors:
        first = plan.errors[0]
        where = f"line {first.line}: " if first.line else ""
        count = len(plan.errors)
        lines = "1 line has an error" if count == 1 else f"{count} lines have errors"
        found.append(
            InvalidRequest(
                f"{lines}, the first is {where}{first.message}; correct the file, or skip the "
                "lines with errors",
                field="file",
                code="lines_with_errors",
            )
        )
    if plan.unknown:
        names = ", ".join(one.name for one in plan.unknown[:_MOST_NAMED])
        more = len(plan.unknown) - _MOST_NAMED
        rest = f" and {more} more" if more > 0 else ""
        found.append(
            InvalidRequest(
                f"no symbol is known of {names}{rest}; map each to the symbol of an asset with "
                "prices, to itself to record it without prices, or to nothing to leave it out",
                field="mapping",
                code="unknown_instruments",
            )
        )
    if overdrafts:
        first_one, more = overdrafts[0], len(overdrafts) - 1
        rest = f" ({more} more such days follow)" if more else ""
        found.append(Overdrawn(f"{first_one.message}{rest}"))
    return found


def _record(tx: Transaction, action: Action, made: StatementImport, now: datetime) -> None:
    """Add the event of an import to the audit trail."""
    record(
        tx,
        action,
        at=now,
        subject=made.owner,
        target=f"portfolio:{made.portfolio}",
        details={"import": str(made.id), "layout": made.layout, "entries": str(made.entries)},
    )
