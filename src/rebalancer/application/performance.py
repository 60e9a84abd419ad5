"""Measure the performance of one portfolio, or of all portfolios of an owner together."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date
from uuid import UUID

import attrs

from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.measured_portfolios import MeasurementCache
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.target_groups import resolve_or_state
from rebalancer.domain.backtest.contributions import (
    Contribution,
    DailyContributions,
    Item,
    ItemKind,
)
from rebalancer.domain.backtest.lines import Span
from rebalancer.domain.backtest.track_record import (
    RecordedPortfolio,
    TrackRecord,
    record_portfolio,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.symbols import normalize_symbol
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.portfolio.target_groups import LookThrough

UNKNOWN_CLASS = "unknown"
"""Group of assets whose class is not known."""

MOST_IN_MIX = 20
"""Most symbols of a mix."""

_PART = re.compile(r"\s*([^,]+?)\s*:\s*(\d*\.?\d+)\s*(?:,|$)")
_ROUNDING = 1e-9

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
