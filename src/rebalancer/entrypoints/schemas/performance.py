"""Performance of stored portfolios, in responses and on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any
from uuid import UUID

import numpy as np

from rebalancer.application.combined_performance import CombinedPerformance
from rebalancer.application.performance import Breakdown, PortfolioPerformance, class_of
from rebalancer.domain.arrays import Rows
from rebalancer.domain.backtest.contributions import Contribution, Item, ItemKind
from rebalancer.domain.backtest.income import Income, IncomeKind
from rebalancer.domain.backtest.lines import Line
from rebalancer.domain.backtest.periods import (
    CalendarReturn,
    Interval,
    ValueHistory,
    calendar_returns,
    thin_out,
)
from rebalancer.domain.market.instruments import Instruments
from rebalancer.entrypoints.schemas.wire import View, about

START = 100.0
"""Level of an index at the start."""


class ContributionView(View, frozen=True, kw_only=True):
    """What one part adds to the time-weighted return of the period."""

    contribution: Annotated[float, about("Part of the return; all parts add up to it.")]
    local: Annotated[float, about("Part from prices, income, trades and costs.")]
    currency_effect: Annotated[float, about("Part from changes of exchange rates.")]
    gain: Annotated[float, about("The gain in money.")]
    weight: Annotated[float, about("Mean weight at the start of each day.")]
    own_return: Annotated[
        float | None, about("Its own time-weighted return while it was held; null if it never was.")
    ]


class HoldingContributionView(ContributionView, frozen=True, kw_only=True):
    """Contribution of a holding, of cash in a currency, or of fees that belong to no asset."""

    kind: ItemKind
    symbol: Annotated[str | None, about("null for cash and fees.")]
    currency: str
    asset_class: Annotated[str, about("Or unknown, cash or fees.")]


class GroupContributionView(ContributionView, frozen=True, kw_only=True):
    """Contribution of an asset class or of a currency."""

    name: str


class AttributionView(View, frozen=True, kw_only=True):
    """Contributions to the return, the largest first; each list adds up to the return."""

    holdings: list[HoldingContributionView]
    asset_classes: list[GroupContributionView]
    currencies: list[GroupContributionView]


class IncomeView(View, frozen=True, kw_only=True):
    """Income of a month from one source, at the exchange rates of its days."""

    month: Annotated[date, about("First day of the month.")]
    kind: IncomeKind
    symbol: Annotated[str | None, about("Asset that paid; null for interest on cash.")]
    amount: Annotated[float, about("Before tax.")]
    withheld: Annotated[float, about("Tax withheld.")]


class CalendarView(View, frozen=True, kw_only=True):
    """A month or a year, as far as it belongs to the period."""

    begins: Annotated[date, about("First day of the month or year.")]
    last: Annotated[date, about("Its last close.")]
    time_weighted_return: float
    gain: Annotated[float, about("Growth that is not from contributions.")]
    contributed: Annotated[float, about("Deposits minus withdrawals.")]


class LineView(View, frozen=True, kw_only=True):
    """Performance of the contributions under one policy."""

    name: str
    final_value: float
    time_weighted_return: float | None
    time_weighted_return_a_year: Annotated[
        float | None, about("Over the time in which money was invested; null under a year.")
    ]
    money_weighted_return: Annotated[
        float | None, about("XIRR: annual; depends on the dates of cash flows.")
    ]
    volatility: float | None
    max_drawdown: float | None
    local_return: Annotated[
        float | None, about("Time-weighted return without changes of exchange rates.")
    ]
    currency_effect: Annotated[
        float | None,
        about("Return from changes of exchange rates: (1 + local) (1 + currency) = 1 + return."),
    ]
    values: Annotated[list[float], about("Value on each date.")]
    index: Annotated[
        list[float], about("Time-weighted: 100 at the start, without the effect of flows.")
    ]


class PerformanceView(View, frozen=True, kw_only=True):
    """Performance of a portfolio over a period; by default since its first entry."""

    portfolio_id: UUID
    currency: str
    first: Annotated[
        date,
        about(
            "Day from whose close the period is measured: of the first entry, or of the first "
            "close; or the close before the period."
        ),
    ]
    last: date
    contributed: Annotated[float, about("Deposits minus withdrawals.")]
    gain: Annotated[float, about("Growth of the value that is not from contributions.")]
    costs: Annotated[float, about("Costs of trades and exchanges of currency, and fees.")]
    dividends: Annotated[float, about("Before tax.")]
    interest: Annotated[float, about("Before tax.")]
    returned_capital: float
    taxes: Annotated[float, about("Withheld or paid.")]
    periods_per_year: Annotated[float, about("Closes that count as a year.")]
    frequency: Annotated[str, about("What they are, such as trading days or weeks.")]
    portfolio: LineView
    no_rebalancing: LineView
    benchmark: LineView
    benchmark_difference: Annotated[
        float | None, about("Time-weighted return of the portfolio minus that of the benchmark.")
    ]
    interval: Interval
    dates: list[date]
    contributions: Annotated[list[float], about("Contributions up to each date.")]
    notes: Annotated[
        list[str],
        about(
            "How entries before the first close and missing prices are measured, and which splits "
            "and dividends are not known."
        ),
    ]
    attribution: AttributionView
    income: list[IncomeView]
    months: list[CalendarView]
    years: list[CalendarView]


def performance_view(
    found: PortfolioPerformance, interval: Interval = Interval.DAY
) -> PerformanceView:
    """Show the performance of a portfolio, with amounts rounded to its currency's minor unit."""
    portfolio, record = found.portfolio, found.record
    digits = portfolio.mandate.currency.digits
    rows = thin_out(record.dates, interval)
    line, whole = record.portfolio, record.span.first is None
    history = ValueHistory(record.dates, line.values, record.contributions, line.index)
    first, last = (record.dates[at].item() for at in (0, -1))
    return PerformanceView(
        portfolio_id=portfolio.id,
        currency=portfolio.mandate.currency.code,
        first=first,
        last=last,
        contributed=round(float(record.contributions[-1]), digits),
        gain=round(record.gain, digits),
        costs=round(record.costs, digits),
        dividends=round(record.dividends, digits),
        interest=round(record.interest, digits),
        returned_capital=round(record.returned_capital, digits),
        taxes=round(record.taxes, digits),
        periods_per_year=record.frequency.periods_per_year,
        frequency=record.frequency.name,
        portfolio=_line_view(line, digits, rows),
        no_rebalancing=_line_view(record.no_rebalancing, digits, rows),
        benchmark=_line_view(record.benchmark, digits, rows),
        benchmark_difference=_difference(line.twr, record.benchmark.twr),
        interval=interval,
        dates=record.dates[rows].astype("datetime64[D]").tolist(),
        contributions=np.round(record.contributions[rows], digits).tolist(),
        notes=list(record.notes),
        attribution=_attribution_view(found.breakdown, found.instruments, digits),
        income=[_income_view(one, digits) for one in record.income],
        months=_calendar_view(calendar_returns(history, whole=whole), digits),
        years=_calendar_view(calendar_returns(history, whole=whole, years=True), digits),
    )


class PortfolioContributionView(ContributionView, frozen=True, kw_only=True):
    """Contribution of a portfolio."""

    portfolio_id: UUID
    name: str


class CombinedPerformanceView(View, frozen=True, kw_only=True):
    """Performance of all your portfolios, as if one account held them."""

    currency: Annotated[str, about("Of all amounts.")]
    first: Annotated[date | None, about("null without a portfolio that can be measured.")]
    last: date | None
    value: Annotated[float | None, about("At the last close of the period.")]
    contributed: Annotated[float, about("Deposits minus withdrawals.")]
    gain: Annotated[float, about("Growth of the value that is not from contributions.")]
    time_weighted_return: float | None
    benchmark: Annotated[str | None, about("Symbol or mix; null without one.")]
    benchmark_return: float | None
    benchmark_difference: Annotated[
        float | None, about("Return of the portfolios minus that of the benchmark.")
    ]
    interval: Interval
    dates: list[date]
    index: Annotated[
        list[float], about("Time-weighted: 100 at the start, without the effect of flows.")
    ]
    values: Annotated[list[float], about("Value on each date.")]
    contributions: Annotated[list[float], about("Contributions up to each date.")]
    portfolios: list[PortfolioContributionView]
    attribution: AttributionView
    income: list[IncomeView]
    months: list[CalendarView]
    years: list[CalendarView]
    notes: Annotated[list[str], about("Which portfolios are missing, and why.")]


def combined_performance_view(
    found: CombinedPerformance, interval: Interval = Interval.DAY
) -> CombinedPerformanceView:
    """Show the performance of all portfolios together."""
    digits, history = found.currency.digits, found.history
    name, followed = found.benchmark or (None, None)
    if history is None or found.breakdown is None:
        return CombinedPerformanceView(
            currency=found.currency.code,
            first=None,
            last=None,
            value=None,
            contributed=0.0,
            gain=0.0,
            time_weighted_return=None,
            benchmark=name,
            benchmark_return=followed,
            benchmark_difference=None,
            interval=interval,
            dates=[],
            index=[],
            values=[],
            contributions=[],
            portfolios=[],
            attribution=AttributionView(holdings=[], asset_classes=[], currencies=[]),
            income=[],
            months=[],
            years=[],
            notes=list(found.notes),
        )
    rows, whole = thin_out(history.dates, interval), found.whole
    names = {one.id: one.mandate.name for one in found.portfolios}
    before = 0.0 if whole else float(history.values[0])
    contributed = float(history.contributions[-1])
    value = float(history.values[-1])
    change = float(history.index[-1]) - 1.0 if len(history.dates) > 1 else None
    return CombinedPerformanceView(
        currency=found.currency.code,
        first=history.dates[0].item(),
        last=history.dates[-1].item(),
        value=round(value, digits),
        contributed=round(contributed, digits),
        gain=round(value - before - contributed, digits),
        time_weighted_return=change,
        benchmark=name,
        benchmark_return=followed,
        benchmark_difference=_difference(change, followed),
        interval=interval,
        dates=history.dates[rows].astype("datetime64[D]").tolist(),
        index=(START * history.index[rows]).tolist(),
        values=np.round(history.values[rows], digits).tolist(),
        contributions=np.round(history.contributions[rows], digits).tolist(),
        portfolios=[
            PortfolioContributionView(
                portfolio_id=one.label, name=names[one.label], **_parts(one, digits)
            )
            for one in found.contributions
        ],
        attribution=_attribution_view(found.breakdown, found.instruments, digits),
        income=[_income_view(one, digits) for one in found.income],
        months=_calendar_view(calendar_returns(history, whole=whole), digits),
        years=_calendar_view(calendar_returns(history, whole=whole, years=True), digits),
        notes=list(found.notes),
    )


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _parts(one: Contribution[Any], digits: int) -> dict[str, Any]:
    """Return the fields of `ContributionView`."""
    return {
        "contribution": one.contribution,
        "local": one.local,
        "currency_effect": one.currency_effect,
        "gain": round(one.gain, digits),
        "weight": one.weight,
        "own_return": one.own_return,
    }


def _attribution_view(found: Breakdown, instruments: Instruments, digits: int) -> AttributionView:
    def holding(one: Contribution[Item]) -> HoldingContributionView:
        return HoldingContributionView(
            kind=one.label.kind,
            symbol=one.label.symbol or None,
            currency=one.label.currency,
            asset_class=class_of(one.label, instruments),
            **_parts(one, digits),
        )

    def group(one: Contribution[str]) -> GroupContributionView:
        return GroupContributionView(name=one.label, **_parts(one, digits))

    return AttributionView(
        holdings=[holding(one) for one in found.holdings],
        asset_classes=[group(one) for one in found.classes],
        currencies=[group(one) for one in found.currencies],
    )


def _income_view(one: Income, digits: int) -> IncomeView:
    return IncomeView(
        month=one.month,
        kind=one.kind,
        symbol=one.symbol,
        amount=round(one.amount, digits),
        withheld=round(one.withheld, digits),
    )


def _calendar_view(found: Sequence[CalendarReturn], digits: int) -> list[CalendarView]:
    return [
        CalendarView(
            begins=one.begins,
            last=one.last,
            time_weighted_return=one.change,
            gain=round(one.gain, digits),
            contributed=round(one.contributed, digits),
        )
        for one in found
    ]


def _line_view(line: Line, digits: int, rows: Rows) -> LineView:
    return LineView(
        name=line.name,
        final_value=round(float(line.values[-1]), digits),
        time_weighted_return=line.twr,
        time_weighted_return_a_year=line.twr_annual,
        money_weighted_return=line.xirr,
        volatility=line.volatility,
        max_drawdown=line.max_drawdown,
        local_return=line.local_return,
        currency_effect=line.currency_effect,
        values=np.round(line.values[rows], digits).tolist(),
        index=(START * line.index[rows]).tolist(),
    )
