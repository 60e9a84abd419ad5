"""Looking at what is known of the market."""

from __future__ import annotations

from datetime import date

import attrs
import numpy as np

from rebalancer.application.ports import InstrumentSource, PriceSource
from rebalancer.domain.backtest.performance import annual_volatility, max_drawdown
from rebalancer.domain.market.indicators import TRADING_DAYS
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory


@attrs.frozen
class AssetSummary:
    """One asset in a line.

    Attributes:
        symbol: Its ticker.
        name: What people call it, or empty.
        asset_class: None when unknown.
        first: Day of its first close.
        last: Day of its last close.
        closes: How many there are.
        price: The last close.
        return_last_year: Simple return over the last 252 closes; None when there are fewer.
        volatility: Of daily returns over the same year; None alike.
    """

    symbol: str
    name: str
    asset_class: str | None
    first: date
    last: date
    closes: int
    price: float
    return_last_year: float | None
    volatility: float | None


@attrs.frozen
class Year:
    """One calendar year of an asset, measured from the last close of the year before.

    Attributes:
        year: Which.
        last: Its last close.
        total_return: Simple; None with a single close.
        volatility: Of daily returns, a year; None with fewer than three closes.
        max_drawdown: Positive.
    """

    year: int
    last: float
    total_return: float | None
    volatility: float | None
    max_drawdown: float | None


@attrs.frozen
class AssetHistory:
    """One asset, year by year."""

    summary: AssetSummary
    years: tuple[Year, ...]


@attrs.frozen
class DescribeMarket:
    """Summarise every asset on offer."""

    prices: PriceSource
    instruments: InstrumentSource

    def __call__(self) -> list[AssetSummary]:
        """One summary an asset, in the provider's order.

        Raises:
            InvalidRequest: prices or instruments are malformed.
            PricesUnavailable: the provider did not answer.
        """
        history, known = self.prices.closes(), self.instruments.instruments()
        return [_summary(history, symbol, known) for symbol in history.symbols]


@attrs.frozen
class DescribeAsset:
    """Summarise one asset, year by year."""

    prices: PriceSource
    instruments: InstrumentSource

    def __call__(self, symbol: str) -> AssetHistory:
        """The asset of this symbol.

        Raises:
            InvalidRequest: it is unknown, or prices or instruments are malformed.
            PricesUnavailable: the provider did not answer.
        """
        history = self.prices.closes([symbol])
        closes = history.closes[:, 0]
        known = np.flatnonzero(~np.isnan(closes))
        calendar = history.dates.astype("datetime64[Y]").astype(int) + 1970
        years = []
        for year in np.unique(calendar[known]):
            rows = known[calendar[known] == year]
            before = known[known < rows[0]][-1:]
            values = closes[np.concatenate([before, rows])]
            returns = values[1:] / values[:-1] - 1.0
            years.append(
                Year(
                    year=int(year),
                    last=float(values[-1]),
                    total_return=float(values[-1] / values[0] - 1) if len(values) > 1 else None,
                    volatility=annual_volatility(returns) if len(returns) > 1 else None,
                    max_drawdown=max_drawdown(values) if len(values) > 1 else None,
                )
            )
        return AssetHistory(_summary(history, symbol, self.instruments.instruments()), tuple(years))


def _summary(history: PriceHistory, symbol: str, instruments: Instruments) -> AssetSummary:
    closes = history.closes[:, history.column(symbol)]
    known = np.flatnonzero(~np.isnan(closes))
    instrument = instruments[symbol]
    year = closes[known][-(TRADING_DAYS + 1) :]
    whole = len(year) == TRADING_DAYS + 1
    return AssetSummary(
        symbol=symbol,
        name=instrument.name,
        asset_class=instrument.asset_class,
        first=history.until(int(known[0])).last_date,
        last=history.last_date,
        closes=len(known),
        price=float(closes[known[-1]]),
        return_last_year=float(year[-1] / year[0] - 1) if whole else None,
        volatility=annual_volatility(year[1:] / year[:-1] - 1.0) if whole else None,
    )
