"""The summary of all portfolios, in responses."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import numpy as np

from rebalancer.application.home import HomeSummary, PortfolioSummary, Task
from rebalancer.domain.arrays import Rows
from rebalancer.domain.backtest.periods import Period, PeriodChange, ValueHistory
from rebalancer.domain.money import Currency
from rebalancer.entrypoints.schemas.planned_flows import DueFlowView, due_flow_view
from rebalancer.entrypoints.schemas.wire import DecimalText, View, about, format_decimal

MOST_POINTS = 240
"""Points of a line; more would not be seen on a phone."""

_SPARKLINE_POINTS = 40


class ChangeView(View, frozen=True, kw_only=True):
    """Change over a period."""

    period: Period
    since: Annotated[date, about("Day of the close from which it is measured.")]
    gain: Annotated[
        DecimalText, about("Growth of the value that is not from deposits and withdrawals.")
    ]
    change: Annotated[float | None, about("Time-weighted return; null with a single close.")]


class HistoryView(View, frozen=True, kw_only=True):
    """Value over time, thinned out evenly."""

    dates: list[date]
    values: list[float]
    contributions: Annotated[list[float], about("Deposits minus withdrawals up to each date.")]


class PortfolioSummaryView(View, frozen=True, kw_only=True):
    """One portfolio, in brief."""

    id: UUID
    name: str
    currency: str
    version: int
    value: Annotated[DecimalText | None, about("null if it cannot be computed.")]
    changes: list[ChangeView]
    sparkline: Annotated[list[float], about("Values of the last year, oldest first.")]
    drift: Annotated[
        float | None, about("Largest distance of a weight from its target; null without a value.")
    ]
    band: Annotated[float, about("Distance up to which no trade is needed.")]
    outside: Annotated[list[str], about("Assets whose distance is larger than the band.")]
    uninvested: DecimalText


class ToDoView(View, frozen=True, kw_only=True):
    """Something to do."""

    task: Task
    portfolio_id: UUID | None
    proposal_id: UUID | None
    symbols: list[str]
    days: Annotated[int | None, about("Age of the prices.")]
    flow: Annotated[
        DueFlowView | None, about("The oldest date of a planned flow that waits for a decision.")
    ] = None


class HomeView(View, frozen=True, kw_only=True):
    """All portfolios: value, change, and what to do next."""

    currency: Annotated[str, about("Of all amounts but those of each portfolio.")]
    value: Annotated[DecimalText | None, about("null if a portfolio has no value; see notes.")]
    as_of: Annotated[date | None, about("Day of the last close; null without portfolios.")]
    period: Period
    history: HistoryView | None
    changes: list[ChangeView]
    portfolios: Annotated[list[PortfolioSummaryView], about("Oldest first, at most 200.")]
    to_do: Annotated[list[ToDoView], about("The most urgent first.")]
    notes: list[str]


def home_view(summary: HomeSummary, period: Period) -> HomeView:
    """Show a summary, with the history of one period."""
    history = summary.history
    bases = {one.valued.portfolio.id: one.valued.portfolio for one in summary.portfolios}
    return HomeView(
        currency=summary.currency.code,
        value=None if summary.value is None else _text(summary.value),
        as_of=summary.as_of,
        period=period,
        history=None if history is None else history_view(history, period),
        changes=[_change(one, summary.currency) for one in summary.changes],
        portfolios=[_portfolio(one) for one in summary.portfolios],
        to_do=[
            ToDoView(
                task=one.task,
                portfolio_id=one.portfolio_id,
                proposal_id=one.proposal_id,
                symbols=list(one.symbols),
                days=one.days,
                flow=None
                if one.flow is None or one.portfolio_id is None
                else due_flow_view(one.flow, bases[one.portfolio_id].mandate.currency),
            )
            for one in summary.to_do
        ],
        notes=list(summary.notes),
    )


def history_view(history: ValueHistory, period: Period, most: int = MOST_POINTS) -> HistoryView:
    """Show the part of a history that belongs to a period."""
    part = history.since(history.first_row(period))
    rows = _thin(len(part.dates), most)
    return HistoryView(
        dates=part.dates[rows].astype("datetime64[D]").tolist(),
        values=part.values[rows].round(2).tolist(),
        contributions=part.contributions[rows].round(2).tolist(),
    )


def _portfolio(one: PortfolioSummary) -> PortfolioSummaryView:
    managed = one.valued.portfolio
    currency, history = managed.mandate.currency, one.history
    changes: list[ChangeView] = []
    sparkline: list[float] = []
    if history is not None:
        changes = [_change(history.change(period), currency) for period in Period]
        sparkline = history_view(history, Period.YEAR, _SPARKLINE_POINTS).values
    value = one.valued.value
    return PortfolioSummaryView(
        id=managed.id,
        name=managed.mandate.name,
        currency=currency.code,
        version=managed.version,
        value=None if value is None else _text(value),
        changes=changes,
        sparkline=sparkline,
        drift=one.drift if one.drift is None else round(one.drift, 10),
        band=one.band,
        outside=list(one.outside),
        uninvested=_text(currency.round(managed.positions.uninvested)),
    )


def _change(one: PeriodChange, currency: Currency) -> ChangeView:
    return ChangeView(
        period=one.period,
        since=one.since,
        gain=_text(currency.round(Decimal(repr(one.gain)))),
        change=None if one.change is None else round(one.change, 10),
    )


def _text(amount: Decimal) -> DecimalText:
    return DecimalText(format_decimal(amount))


def _thin(count: int, most: int) -> Rows:
    """Return at most ``most`` rows, evenly, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))
