"""Plan the import of a statement: what it adds, what changes, and what keeps it from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial

import attrs
import numpy as np

from rebalancer.application.asset_search import FoundAsset
from rebalancer.application.corporate_actions import extend_and_book, find_due
from rebalancer.application.ledger_changes import ExtendedPortfolio
from rebalancer.application.portfolios import find_market_day
from rebalancer.application.ports.store import Transaction
from rebalancer.application.statement_files import StatementFile
from rebalancer.domain.errors import InvalidRequest, RebalancerError
from rebalancer.domain.market.actions import ActionKind
from rebalancer.domain.market.currencies import NO_RATES, missing_rate
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.corporate_actions import first_day_from
from rebalancer.domain.portfolio.entries import REORGANISATIONS, Entry, EntryKind
from rebalancer.domain.portfolio.import_balances import (
    Overdraft,
    PositionChange,
    compare_balances,
    replay_balances,
)
from rebalancer.domain.portfolio.import_plan import ImportPlan, plan_import
from rebalancer.domain.portfolio.import_terms import ImportTerms
from rebalancer.domain.portfolio.ledger import Ledger, Overdrawn
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.portfolio.mapping_profiles import MappingProfile
from rebalancer.domain.portfolio.missing_cash import deposit_missing_cash, replace_stand_ins
from rebalancer.domain.portfolio.planned_flows import FlowOutcome
from rebalancer.domain.portfolio.statement_imports import StatementImport
from rebalancer.domain.portfolio.statements import Statement

_REMEMBERED = 100
"""Latest imports whose mappings are remembered."""

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


_BOOKED = FlowOutcome.BOOKED


@attrs.frozen
class ImportPlanner:
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
        decided = tx.flow_decisions.of_portfolios([portfolio.id])[portfolio.id]
        terms = attrs.evolve(
            self._terms(portfolio, earlier),
            planned={one.entry for one in decided if one.entry and one.outcome is _BOOKED},
        )
        plan = plan_import(self.statement, terms, ledger, undone=undone)
        plan = replace_stand_ins(plan, ledger, portfolio.mandate.currency)
        voids = [
            one.reversal(recorded=self.now, note=f"replaced by {self.file.short_name}"[:500])
            for one in plan.replaced
        ]
        if self.options.deposit_missing_cash:
            left = ledger.followed_by(voids)
            plan = deposit_missing_cash(plan, left, portfolio.mandate.currency)
        entries = [*voids, *(planned.entry for planned in plan.entries)]
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
            profile=self.options.profile,
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
