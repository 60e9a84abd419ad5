"""Performance of a stored portfolio, in responses and on the command line."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from uuid import UUID

import numpy as np

from rebalancer.domain.backtest.lines import Line
from rebalancer.domain.backtest.track_record import TrackRecord
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.entrypoints.schemas.wire import View, about


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


class PerformanceView(View, frozen=True, kw_only=True):
    """Performance of a portfolio from its first entry to the last close."""

    portfolio_id: UUID
    currency: str
    first: Annotated[date, about("First day: of the first entry, or of the first close.")]
    last: date
    contributed: Annotated[float, about("Deposits minus withdrawals.")]
    gain: Annotated[float, about("Value at the last close minus contributions.")]
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
    dates: list[date]
    contributions: Annotated[list[float], about("Contributions up to each date.")]
    notes: Annotated[
        list[str],
        about(
            "How entries before the first close and missing prices are measured, and which splits "
            "and dividends are not known."
        ),
    ]


def performance_view(portfolio: ManagedPortfolio, record: TrackRecord) -> PerformanceView:
    """Return the performance of a portfolio, with amounts rounded to its currency's minor unit."""
    digits = portfolio.mandate.currency.digits
    days: list[date] = record.dates.astype("datetime64[D]").tolist()
    return PerformanceView(
        portfolio_id=portfolio.id,
        currency=portfolio.mandate.currency.code,
        first=days[0],
        last=days[-1],
        contributed=round(float(record.contributions[-1]), digits),
        gain=round(record.gain, digits),
        costs=round(record.costs, digits),
        dividends=round(record.dividends, digits),
        interest=round(record.interest, digits),
        returned_capital=round(record.returned_capital, digits),
        taxes=round(record.taxes, digits),
        periods_per_year=record.frequency.periods_per_year,
        frequency=record.frequency.name,
        portfolio=_line_view(record.portfolio, digits),
        no_rebalancing=_line_view(record.no_rebalancing, digits),
        benchmark=_line_view(record.benchmark, digits),
        dates=days,
        contributions=np.round(record.contributions, digits).tolist(),
        notes=list(record.notes),
    )


def _line_view(line: Line, digits: int) -> LineView:
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
        values=np.round(line.values, digits).tolist(),
    )
