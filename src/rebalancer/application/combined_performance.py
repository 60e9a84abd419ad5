"""Measure the performance of all portfolios of an owner together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import attrs

from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.histories import find_mark
from rebalancer.application.home import MOST_PORTFOLIOS, commonest_currency
from rebalancer.application.measured_portfolios import MeasurementCache
from rebalancer.application.performance import Benchmark, Breakdown, PeriodRequest, parse_benchmark
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.backtest.account_snapshots import AccountSnapshot, take_account_snapshot
from rebalancer.domain.backtest.accounts import MeasuredAccount
from rebalancer.domain.backtest.contributions import (
    Contribution,
    add_contributions,
)
from rebalancer.domain.backtest.income import Income, add_income
from rebalancer.domain.backtest.lines import Span
from rebalancer.domain.backtest.periods import ValueHistory, add_histories, find_span
from rebalancer.domain.backtest.track_record import (
    FREE,
    measure_track_record,
)
from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger, LedgerMark
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.target_groups import LookThrough

_WHOLE = PeriodRequest()
_DEPOSIT, _RECORDED = UUID(int=0), datetime(1970, 1, 1, tzinfo=UTC)
"""Of the deposit whose investment in a benchmark is measured."""


@attrs.frozen(eq=False)
class CombinedPerformance:
    """Performance of all portfolios of an owner as if one account held them.

    Attributes:
        currency: Of all amounts.
        history: Value over the period; None without portfolios that can be measured.
        whole: Whether the period contains the first entry.
        portfolios: The measured ones, in the order of ``contributions``.
        contributions: Contributions of the portfolios.
        benchmark: Name of the benchmark, and its return over the period; None without one.
        notes: Which portfolios are missing and why, as sentences.
    """

    currency: Currency
    history: ValueHistory | None = None
    whole: bool = True
    portfolios: tuple[ManagedPortfolio, ...] = ()
    contributions: tuple[Contribution[UUID], ...] = ()
    breakdown: Breakdown | None = None
    income: tuple[Income, ...] = ()
    benchmark: tuple[str, float | None] | None = None
    instruments: Instruments = attrs.field(factory=Instruments)
    notes: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class MarkedAccount:
    """A measured account with the end of its ledger.

    Attributes:
        mark: End of the ledger that it includes; None if it is not known.
    """

    mark: LedgerMark | None
    snapshot: AccountSnapshot

    @property
    def size(self) -> int:
        """Return about how many bytes its arrays take."""
        return self.snapshot.size


@attrs.frozen
class MeasureAllPerformance:
    """Measure the performance of all portfolios of an owner together."""

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource
    book: BookActions
    base: Currency
    cache: MeasurementCache[MarkedAccount] = attrs.field(
        factory=partial(MeasurementCache, continues=True), init=False, repr=False
    )

    def __call__(
        self,
        owner: UUID,
        *,
        currency: Currency | None = None,
        request: PeriodRequest = _WHOLE,
    ) -> CombinedPerformance:
        """Return the performance in a currency; None: the one that most portfolios have.

        Raises:
            InvalidRequest: the period has no close, or the benchmark is unknown.
        """
        market = self.prices.closes()
        benchmark = parse_benchmark(request.benchmark, market.columns)
        with self.work.read() as tx:
            found = tx.portfolios.page(owner, limit=MOST_PORTFOLIOS)
        booked = self.book.many(found, market)
        chosen = currency or commonest_currency(found, self.base)
        accounts = self._measure([one.portfolio for one in booked], owner, market, chosen)
        measured: list[tuple[ManagedPortfolio, MeasuredAccount]] = []
        notes = []
        for one in booked:
            if one.portfolio.id not in accounts:
                continue  # it was closed
            portfolio, found_account = accounts[one.portfolio.id]
            if isinstance(found_account, RebalancerError):
                name = portfolio.mandate.name
                notes.append(f"{name} is missing: {found_account.message}.")
                continue
            notes += [f"{portfolio.mandate.name}: {note}" for note in one.notes]
            measured.append((portfolio, found_account))
        together = add_histories([account.history for _, account in measured])
        if together is None:
            return CombinedPerformance(chosen, notes=tuple(notes))
        span = find_span(together.dates, request.since, request.until)
        listed = self.instruments.instruments()
        daily = add_contributions([account.daily for _, account in measured])
        by_portfolio = add_contributions(
            [account.daily.together(portfolio.id) for portfolio, account in measured]
        )
        assert daily is not None
        assert by_portfolio is not None
        count = len(together.dates)
        income = add_income(
            account.income(inner)
            for _, account in measured
            if (inner := _shift(span, count - len(account.history.dates))) is not None
        )
        return CombinedPerformance(
            currency=chosen,
            # The index follows from daily returns: an account that lost everything may continue.
            history=attrs.evolve(together.within(span), index=daily.index(span)),
            whole=span.first is None,
            portfolios=tuple(portfolio for portfolio, _ in measured),
            contributions=tuple(by_portfolio.over(span)),
            breakdown=Breakdown.of(daily, span, listed, _all_splits(measured)),
            income=tuple(income),
            benchmark=_follow(benchmark, together, span, market, chosen),
            instruments=listed,
            notes=tuple(notes),
        )

    def _measure(
        self,
        portfolios: Sequence[ManagedPortfolio],
        owner: UUID,
        market: PriceHistory,
        currency: Currency,
    ) -> dict[UUID, tuple[ManagedPortfolio, MeasuredAccount | RebalancerError]]:
        """Return each portfolio as it was measured, or why it cannot be; closed ones are absent.

        Of an unchanged portfolio nothing is read. Of a changed one, and after new closes, only the
        later entries are read where its last measurement can be continued.
        """
        code = currency.code
        found: dict[UUID, tuple[ManagedPortfolio, MeasuredAccount | RebalancerError]] = {}
        unknown: set[UUID] = set()
        for one in portfolios:
            kept = self.cache.find(one, market, code)
            if kept is None:
                unknown.add(one.id)
            else:
                found[one.id] = one, kept.snapshot.account
        if not unknown:
            return found
        continued: dict[UUID, AccountSnapshot] = {}
        marks: dict[UUID, LedgerMark | None] = {}
        with self.work.read() as tx:
            # Those that changed since are measured as they are now.
            current = {
                one.id: one
                for one in tx.portfolios.page(owner, limit=MOST_PORTFOLIOS)
                if one.id in unknown
            }
            for id, portfolio in current.items():
                ledger = tx.portfolios.ledger(id)
                marks[id] = find_mark(ledger)
                snapshot = self._continue(portfolio, ledger, market, currency)
                if snapshot is not None:
                    continued[id] = snapshot
            ledgers = tx.portfolios.ledgers([id for id in current if id not in continued])
        for id, portfolio in current.items():
            try:
                snapshot = continued.get(id)
                mark = marks[id]
                if snapshot is None:
                    ledger = ledgers[id]
                    snapshot = _measure_in(ledger, portfolio.mandate, market, currency)
                    if mark is not None and mark.count != len(ledger.entries):
                        mark = None  # it has changed since
            except RebalancerError as error:
                found[id] = portfolio, error
                continue
            measured = MarkedAccount(mark, snapshot)
            self.cache.measure(portfolio, market, partial(_same, measured), code)
            found[id] = portfolio, snapshot.account
        return found

    def _continue(
        self,
        portfolio: ManagedPortfolio,
        ledger: Ledger,
        market: PriceHistory,
        currency: Currency,
    ) -> AccountSnapshot | None:
        """Return the last measurement with later entries; None if all entries are needed."""
        kept = self.cache.recall(portfolio.id, currency.code)
        if kept is None or kept.mark is None:
            return None
        try:
            later = ledger.since(kept.mark)
            if later is None:
                return None
            base = portfolio.mandate.currency.code
            restated = restate_entries(later, base, currency.code)
            return kept.snapshot.continued(restated, market)
        except RebalancerError:  # which all entries explain
            return None


def _all_splits(measured: Sequence[tuple[ManagedPortfolio, object]]) -> LookThrough:
    """Return the classes of funds of all portfolios; those of the first one that states a fund."""
    found: dict[str, Mapping[AssetClass, float]] = {}
    for portfolio, _ in measured:
        for symbol, split in portfolio.mandate.look_through.items():
            found.setdefault(symbol, split)
    return found


def _measure_in(
    ledger: Ledger, mandate: Mandate, market: PriceHistory, currency: Currency
) -> AccountSnapshot:
    """Measure a portfolio in a currency."""
    restated = restate_currency(ledger, mandate.currency.code, currency.code)
    return take_account_snapshot(restated, market, currency=currency.code)


def _same(measured: MarkedAccount) -> MarkedAccount:
    return measured


def restate_currency(ledger: Ledger, base: str, currency: str) -> Ledger:
    """Return the effective entries as a ledger whose base currency is another one."""
    if base == currency:
        return ledger
    return Ledger(tuple(restate_entries(ledger.effective, base, currency)))


def restate_entries(entries: Sequence[Entry], base: str, currency: str) -> list[Entry]:
    """Return entries of a ledger as those of one whose base currency is another one."""
    if base == currency:
        return list(entries)

    def restated(code: str | None) -> str | None:
        named = code or base
        return None if named == currency else named

    return [
        attrs.evolve(
            entry,
            currency=restated(entry.currency),
            counter_currency=(
                restated(entry.counter_currency)
                if entry.kind is EntryKind.EXCHANGE
                else entry.counter_currency
            ),
        )
        for entry in entries
    ]


def _shift(span: Span, rows: int) -> Span | None:
    """Return a span in the rows of an account that begins later; None if it ends before."""
    if span.last < rows:
        return None
    first = None if span.first is None or span.first < rows else span.first - rows
    return Span(first, span.last - rows)


def _follow(
    benchmark: Benchmark | None,
    history: ValueHistory,
    span: Span,
    market: PriceHistory,
    currency: Currency,
) -> tuple[str, float | None] | None:
    """Return name and return of a benchmark over the period of a history."""
    if benchmark is None:
        return None
    first: date = history.dates[0].item()
    paid = Entry(_DEPOSIT, EntryKind.DEPOSIT, first, _RECORDED, Decimal(100))
    line = measure_track_record(
        Ledger((paid,)),
        {},
        market,
        benchmark=benchmark,
        costs=FREE,
        currency=currency.code,
        since=None if span.first is None else history.dates[span.first + 1].item(),
        until=history.dates[span.last].item(),
    ).benchmark
    return line.name, line.twr
