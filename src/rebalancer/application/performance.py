"""Measure the performance of one portfolio, or of all portfolios of an owner together."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import attrs

from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.home import MOST_PORTFOLIOS, commonest_currency
from rebalancer.application.measured_portfolios import MeasurementCache
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.target_groups import resolve_or_state
from rebalancer.domain.backtest.contributions import (
    Contribution,
    DailyContributions,
    Item,
    ItemKind,
    add_contributions,
)
from rebalancer.domain.backtest.income import Income, add_income
from rebalancer.domain.backtest.lines import Span
from rebalancer.domain.backtest.periods import ValueHistory, add_histories, find_span
from rebalancer.domain.backtest.track_record import (
    FREE,
    MeasuredAccount,
    RecordedPortfolio,
    TrackRecord,
    measure_account,
    measure_track_record,
    record_portfolio,
)
from rebalancer.domain.errors import InvalidRequest, RebalancerError
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.symbols import normalize_symbol
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.target_groups import LookThrough

UNKNOWN_CLASS = "unknown"
"""Group of assets whose class is not known."""

MOST_IN_MIX = 20
"""Most symbols of a mix."""

_PART = re.compile(r"\s*([^,]+?)\s*:\s*(\d*\.?\d+)\s*(?:,|$)")
_ROUNDING = 1e-9

_DEPOSIT, _RECORDED = UUID(int=0), datetime(1970, 1, 1, tzinfo=UTC)
"""Of the deposit whose investment in a benchmark is measured."""

Benchmark = str | Mapping[str, float]


@attrs.frozen
class PeriodRequest:
    """What is measured.

    Attributes:
        since: First day; None: that of the first entry.
        until: Last day; None: that of the last close.
        benchmark: A symbol, or a mix such as "VTI:0.6,BND:0.4"; None: the default.
    """

    since: date | None = None
    until: date | None = None
    benchmark: str | None = None


@attrs.frozen(eq=False)
class Breakdown:
    """Contributions to the return of a period, the largest first; each list adds up to it."""

    holdings: list[Contribution[Item]]
    classes: list[Contribution[str]]
    currencies: list[Contribution[str]]

    @classmethod
    def of(
        cls,
        daily: DailyContributions[Item],
        span: Span,
        instruments: Instruments,
        look_through: LookThrough | None = None,
    ) -> Breakdown:
        """Group the contributions of a period; funds count for classes by their shares."""
        splits = look_through or {}
        return cls(
            daily.over(span),
            daily.divided(lambda item: _class_shares(item, instruments, splits)).over(span),
            daily.grouped(lambda item: item.currency).over(span),
        )


def class_of(item: Item, instruments: Instruments) -> str:
    """Return the asset class of what contributes, "cash" or "fees"."""
    if item.kind is not ItemKind.ASSET:
        return item.kind.value
    found = instruments[item.symbol].asset_class
    return UNKNOWN_CLASS if found is None else found.value


def _class_shares(item: Item, instruments: Instruments, splits: LookThrough) -> Mapping[str, float]:
    """Return the fraction of what contributes in each asset class."""
    split = splits.get(item.symbol) if item.kind is ItemKind.ASSET else None
    if split is None:
        return {class_of(item, instruments): 1.0}
    return {name.value: share for name, share in split.items() if share}


def parse_benchmark(text: str | None, known: Collection[str]) -> Benchmark | None:
    """Return a symbol, or the weights of a mix written SYMBOL:WEIGHT,SYMBOL:WEIGHT.

    A text that is a known symbol is that symbol.

    Raises:
        InvalidRequest: the mix is malformed, a symbol occurs twice, or the weights exceed 1.
    """
    if text is None:
        return None
    text = normalize_symbol(text)
    if text in known or ":" not in text:
        return text
    parts, at = [], 0
    while at < len(text) and (found := _PART.match(text, at)):
        parts.append((normalize_symbol(found[1]), float(found[2])))
        at = found.end()
    if at < len(text) or text.endswith(","):
        if "," not in text:
            return text  # a symbol with an exchange
        raise InvalidRequest(
            f"{text!r} is not a mix; write SYMBOL:WEIGHT,SYMBOL:WEIGHT, such as VTI:0.6,BND:0.4",
            field="benchmark",
            code="invalid_benchmark",
        )
    weights = dict(parts)
    if len(weights) < len(parts) or len(weights) > MOST_IN_MIX:
        raise InvalidRequest(
            f"{text!r} repeats a symbol or has more than {MOST_IN_MIX}; name each symbol once",
            field="benchmark",
            code="invalid_benchmark",
        )
    total = sum(weights.values())
    if not all(weight > 0.0 for weight in weights.values()) or total > 1.0 + _ROUNDING:
        raise InvalidRequest(
            f"the weights of {text!r} sum to {total:g}; enter positive weights that sum to at "
            "most 1 (the rest is held in cash)",
            field="benchmark",
            code="invalid_benchmark",
        )
    return weights


@attrs.frozen(eq=False)
class PortfolioPerformance:
    """Performance of a portfolio.

    Attributes:
        breakdown: Contributions to its return.
    """

    portfolio: ManagedPortfolio
    record: TrackRecord
    breakdown: Breakdown
    instruments: Instruments


@attrs.frozen
class MeasurePerformance:
    """Measure a portfolio's performance against benchmarks with the same cash flows.

    Other periods of an unchanged portfolio need no entries, see `MeasurementCache`.
    """

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource
    book: BookActions
    cache: MeasurementCache[RecordedPortfolio] = attrs.field(
        factory=MeasurementCache, init=False, repr=False
    )

    def __call__(
        self, portfolio_id: UUID, *, actor: UUID, request: PeriodRequest = PeriodRequest()
    ) -> PortfolioPerformance:
        """Return the portfolio and its record over a period.

        Raises:
            InvalidRequest: its ledger is empty, the period has no close, or the benchmark is
                unknown.
        """
        market = self.prices.closes()
        with self.work.read() as tx:
            portfolio = tx.portfolios.get_for(portfolio_id, actor)
        booked = self.book(portfolio, market)
        portfolio = booked.portfolio
        listed = self.instruments.instruments()
        benchmark = parse_benchmark(request.benchmark, market.columns)
        targets = resolve_or_state(portfolio, market, listed)
        terms = (request.benchmark, tuple(sorted(targets.items())))
        recorded = self.cache.find(portfolio, market, terms)
        if recorded is None:
            with self.work.read() as tx:
                portfolio = tx.portfolios.get_for(portfolio_id, actor)
                ledger = tx.portfolios.ledger(portfolio_id)
                _ = ledger.entries  # which are read until the transaction ends
            recorded = self.cache.measure(
                portfolio,
                market,
                lambda: record_portfolio(
                    ledger,
                    targets,
                    market,
                    benchmark=benchmark,
                    currency=portfolio.mandate.currency.code,
                ),
                terms,
            )
        record = recorded.over(request.since, request.until)
        record = attrs.evolve(record, notes=(*record.notes, *booked.notes))
        breakdown = Breakdown.of(record.daily, record.span, listed, portfolio.mandate.look_through)
        return PortfolioPerformance(portfolio, record, breakdown, listed)


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


@attrs.frozen
class MeasureAllPerformance:
    """Measure the performance of all portfolios of an owner together."""

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource
    book: BookActions
    base: Currency
    cache: MeasurementCache[MeasuredAccount] = attrs.field(
        factory=MeasurementCache, init=False, repr=False
    )

    def __call__(
        self,
        owner: UUID,
        *,
        currency: Currency | None = None,
        request: PeriodRequest = PeriodRequest(),
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
        known = {
            one.portfolio.id: self.cache.find(one.portfolio, market, chosen.code) for one in booked
        }
        unknown = {id for id, account in known.items() if account is None}
        with self.work.read() as tx:
            # Those that changed since are measured as they are now.
            current = {one.id: one for one in tx.portfolios.page(owner, limit=MOST_PORTFOLIOS)}
            ledgers = tx.portfolios.ledgers(unknown & set(current))
        measured: list[tuple[ManagedPortfolio, MeasuredAccount]] = []
        notes = []
        for one in booked:
            id = one.portfolio.id
            if id in unknown and id not in current:
                continue  # it was closed
            account = known[id]
            portfolio = one.portfolio if account is not None else current[id]
            mandate = portfolio.mandate
            try:
                if account is None:
                    measure = partial(_measure_in, ledgers[id], mandate, market, chosen)
                    account = self.cache.measure(portfolio, market, measure, chosen.code)
            except RebalancerError as error:
                notes.append(f"{mandate.name} is missing: {error.message}.")
                continue
            notes += [f"{mandate.name}: {note}" for note in one.notes]
            measured.append((portfolio, account))
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


def _all_splits(measured: Sequence[tuple[ManagedPortfolio, object]]) -> LookThrough:
    """Return the classes of funds of all portfolios; those of the first one that states a fund."""
    found: dict[str, Mapping[AssetClass, float]] = {}
    for portfolio, _ in measured:
        for symbol, split in portfolio.mandate.look_through.items():
            found.setdefault(symbol, split)
    return found


def _measure_in(
    ledger: Ledger, mandate: Mandate, market: PriceHistory, currency: Currency
) -> MeasuredAccount:
    """Measure a portfolio in a currency."""
    restated = restate_currency(ledger, mandate.currency.code, currency.code)
    return measure_account(restated, market, currency=currency.code)


def restate_currency(ledger: Ledger, base: str, currency: str) -> Ledger:
    """Return the effective entries as a ledger whose base currency is another one."""
    if base == currency:
        return ledger

    def restated(code: str | None) -> str | None:
        named = code or base
        return None if named == currency else named

    return Ledger(
        tuple(
            attrs.evolve(
                entry,
                currency=restated(entry.currency),
                counter_currency=(
                    restated(entry.counter_currency)
                    if entry.kind is EntryKind.EXCHANGE
                    else entry.counter_currency
                ),
            )
            for entry in ledger.effective
        )
    )


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
