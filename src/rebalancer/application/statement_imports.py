"""Import statements into ledgers: preview, commit, list and undo.

Each use case raises NotFound if the portfolio does not exist or has another owner.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from rebalancer.application.asset_search import FoundAsset, SearchEverywhere
from rebalancer.application.audit import record
from rebalancer.application.corporate_actions import extend_and_book
from rebalancer.application.corrections import read_market
from rebalancer.application.idempotency import add_key, find_earlier_result, fingerprint
from rebalancer.application.import_planning import ImportOptions, ImportPlanner, ImportPreview
from rebalancer.application.ledger_changes import LedgerChange, change_ledger
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import DEFAULT_QUOTAS, Quotas
from rebalancer.application.statement_files import GENERIC_LAYOUT, ReadStatement, StatementFile
from rebalancer.application.valuation import ValuedPortfolio, value_committed
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.symbols import nearest_symbols
from rebalancer.domain.portfolio.entries import Entry, void_id
from rebalancer.domain.portfolio.import_names import UnknownInstrument
from rebalancer.domain.portfolio.ledger import Ledger, NotVoidable, Overdrawn
from rebalancer.domain.portfolio.mandate import ANY_VERSION, AcceptedVersions, ManagedPortfolio
from rebalancer.domain.portfolio.stand_ins import restored_id, with_restored
from rebalancer.domain.portfolio.statement_imports import StatementImport

_MOST_SEARCHES = 12
"""Most searches of one preview: providers limit how often they are asked."""

_SEARCH_TIME = timedelta(seconds=8)
"""Time after which no further search begins: a client waits for the preview."""

_MOST_SUGGESTIONS = 3


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
            planner = ImportPlanner(file, title, statement, options, market, now)
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
        planner = ImportPlanner(file, title, statement, options, market, now)

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
            voids = [void_id(one.id) for one in preview.plan.replaced]
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
                tx.imports.add(made, [*added, *voids])
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
            before = tx.imports.undone_entries(portfolio_id)
            reversals = _reversals(ledger, ids, before, now)
            voided = sum(one.voids is not None for one in reversals)
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

            return LedgerChange((undone, voided, False), extended, then)

        (undone, count, replayed), portfolio = change_ledger(
            self.work, portfolio_id, owner, plan, now=now, quotas=self.quotas
        )
        return undone, count, value_committed(portfolio, self.prices.closes, self.work), replayed


def _reversals(
    ledger: Ledger, ids: Sequence[UUID], undone: Collection[UUID], now: datetime
) -> list[Entry]:
    """Return the entries that undo an import.

    Deposits for missing cash that it replaced return, unless their own import was undone.

    Args:
        ledger: Of the portfolio.
        ids: Entries of the import.
        undone: Entries of imports that were undone before.
        now: Time of recording.
    """
    entries = with_restored(ledger, ids)
    void = {one.voids for one in ledger.pick([void_id(one.id) for one in entries])}
    replaced = [one.voids for one in entries if one.voids is not None]
    gone = {one.id for one in with_restored(ledger, list(undone))} if replaced else set()
    reversals = [
        one.reversal(recorded=now, note="import undone")
        for one in entries
        if one.voids is None and one.id not in void
    ]
    restored = [
        attrs.evolve(one, id=restored_id(one.id), recorded=now)
        for one in ledger.pick(replaced)
        if one.id not in gone
    ]
    return [*reversals, *restored]


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
