"""Looking at what is known of the market, and keeping it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from enum import StrEnum

import attrs
import numpy as np

from rebalancer.application.ports.market import (
    InstrumentSource,
    PriceSource,
    Regimes,
    no_progress,
)
from rebalancer.application.ports.reports import Reports
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.backtest.metrics import annual_volatility, max_drawdown
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.market.bars import bars_of_history
from rebalancer.domain.market.indicators import TRADING_DAYS
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import (
    BUCKET,
    FEWEST,
    WINDOW,
    equal_mix,
    observations,
    sufficient,
)
from rebalancer.domain.policy.policy import Frequency


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
class FoundAsset:
    """One asset that a search has found; attributes as in `AssetSummary`."""

    symbol: str
    name: str
    asset_class: str | None
    as_of: date
    price: float | None


@attrs.frozen
class SearchAssets:
    """Find assets by symbol or name."""

    prices: PriceSource
    instruments: InstrumentSource

    def __call__(self, query: str, *, after: str | None = None, limit: int) -> list[FoundAsset]:
        """Assets whose symbol begins with the query, or whose name holds it; by symbol.

        Raises:
            InvalidRequest: prices or instruments are malformed.
            PricesUnavailable: the provider did not answer.
        """
        history, known = self.prices.closes(), self.instruments.instruments()
        wanted = query.strip().casefold()
        found = [
            symbol
            for symbol in sorted(history.symbols)
            if symbol.casefold().startswith(wanted) or wanted in known[symbol].name.casefold()
        ]
        if after is not None:
            found = [symbol for symbol in found if symbol > after]
        return [
            FoundAsset(
                symbol,
                known[symbol].name,
                known[symbol].asset_class,
                history.last_date,
                _number(float(history.last_closes[history.column(symbol)])),
            )
            for symbol in found[:limit]
        ]


class PriceInterval(StrEnum):
    """How far closes lie apart: the last of every day, week (from Monday) or month."""

    DAY = "1d"
    WEEK = "1wk"
    MONTH = "1mo"


@attrs.frozen
class ReadCloses:
    """Look at the closes of one asset."""

    prices: PriceSource

    def __call__(
        self,
        symbol: str,
        *,
        start: date | None = None,
        end: date | None = None,
        interval: PriceInterval = PriceInterval.DAY,
    ) -> list[tuple[date, float]]:
        """Adjusted closes from ``start`` to ``end``, both included, oldest first.

        Of a week or a month there is its last close inside the window, under that close's day.

        Raises:
            NotFound: the symbol is unknown.
            InvalidRequest: the window ends before it begins.
            PricesUnavailable: the provider did not answer.
        """
        if start is not None and end is not None and end < start:
            raise InvalidRequest(f"{end} lies before the start, {start}", field="end")
        if symbol not in self.prices.symbols():
            raise NotFound(f"there is no asset {symbol}")
        history = self.prices.closes([symbol])
        inside = ~np.isnan(history.closes[:, 0])
        if start is not None:
            inside &= history.dates >= np.datetime64(start, "D")
        if end is not None:
            inside &= history.dates <= np.datetime64(end, "D")
        days, closes = history.dates[inside], history.closes[inside, 0]
        if interval is not PriceInterval.DAY and len(days):
            by = Frequency.WEEKLY if interval is PriceInterval.WEEK else Frequency.MONTHLY
            periods = by.period(days)
            last = np.append(periods[1:] != periods[:-1], True)
            days, closes = days[last], closes[last]
        return list(zip(days.tolist(), closes.tolist(), strict=True))


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


@attrs.frozen
class RegimeWeek:
    """Five trading days, and the regime that they looked like at their end.

    Attributes:
        first: The first of them.
        last: The last of them.
        regime: The most probable one, given this week and the ones before it.
        probability: Its probability.
    """

    first: date
    last: date
    regime: str
    probability: float


@attrs.frozen
class MarketRegime:
    """How a market stands against its own last year.

    Attributes:
        as_of: Day of the last close.
        symbols: The assets of the market, which is an equal mix of them.
        probabilities: Of each regime by its name, from the calmest on; they sum to 1.
        regime: The most probable one.
        since: First day of the latest weeks without a break in which it was the most probable.
        weeks: All weeks that were looked at, at most 50, oldest first.
    """

    as_of: date
    symbols: tuple[str, ...]
    probabilities: dict[str, float]
    regime: str
    since: date
    weeks: tuple[RegimeWeek, ...]

    @property
    def months(self) -> dict[str, str]:
        """The most probable regime at the last week's end of each month, such as 2022-12."""
        return {f"{week.last:%Y-%m}": week.regime for week in self.weeks}

    @property
    def sentence(self) -> str:
        """The same in words."""
        many = len(self.symbols)
        what = f"an equal mix of {many} assets" if many > 1 else self.symbols[0]
        if self.since == self.weeks[0].first:
            how_long = f"as in all {len(self.weeks)} weeks that were looked at"
        else:
            how_long = f"and has since {self.since}"
        chance = self.probabilities[self.regime]
        return (
            f"On {self.as_of} {what} looked {self.regime} against its own last year "
            f"(probability {chance:.0%}), {how_long}; this says nothing of its returns to come."
        )


@attrs.frozen
class DescribeRegime:
    """Tell in which regime a market is."""

    prices: PriceSource
    regimes: Regimes

    def __call__(
        self, symbols: Sequence[str] | None = None, *, as_of: date | None = None
    ) -> MarketRegime:
        """The regime of an equal mix of assets, as it was known at a close.

        Args:
            symbols: Of the mix; all when None.
            as_of: The last close at or before this day; the last known one when None.

        Raises:
            InvalidRequest: a symbol is unknown, the day lies outside of the prices, there are too
                few closes by then, or none of the assets moved.
            PricesUnavailable: the provider did not answer.
            Unavailable: the shipped regimes are damaged.
        """
        model = self.regimes.model()
        history = self.prices.closes(symbols, days=WINDOW + 1, until=as_of)
        returns = equal_mix(history)
        seen = observations(returns[None])
        if not sufficient(seen)[0]:
            known = int((~np.isnan(returns)).sum())
            needed = FEWEST * BUCKET
            if known < needed:
                raise InvalidRequest(
                    f"{known + 1} closes by {history.last_date} are too few to tell a regime: "
                    f"{needed + 1} are needed; take a later day, or longer prices",
                    field="as_of",
                )
            raise InvalidRequest(
                f"prices that do not move have no regime: none of {len(history.symbols)} has "
                f"moved in the {known} days by {history.last_date}",
                field="symbols",
            )
        path = model.path(seen)[0]
        days = history.dates[-len(path) * BUCKET :].reshape(-1, BUCKET)
        told = ~np.isnan(seen[0, :, 0])  # weeks before the first close say nothing
        weeks = tuple(
            RegimeWeek(first, last, model.names[best], float(chances[best]))
            for first, last, chances, best in zip(
                days[told, 0].tolist(),
                days[told, -1].tolist(),
                path[told],
                path[told].argmax(axis=1).tolist(),
                strict=True,
            )
        )
        since = weeks[-1]
        for week in reversed(weeks):
            if week.regime != weeks[-1].regime:
                break
            since = week
        return MarketRegime(
            as_of=history.last_date,
            symbols=history.symbols,
            probabilities=dict(zip(model.names, path[-1].tolist(), strict=True)),
            regime=weeks[-1].regime,
            since=since.first,
            weeks=weeks,
        )


@attrs.frozen
class PrepareStores:
    """Make the places ready where market data and reports are kept."""

    market: StoredMarket
    reports: Reports

    def __call__(self) -> None:
        """Have them check what they are given, as far as that is left to us; as often as one likes.

        Raises:
            Unavailable: one of them did not answer.
        """
        self.market.prepare()
        self.reports.prepare()


@attrs.frozen
class ImportResult:
    """What came of an import.

    Attributes:
        assets: How many assets prices were given of.
        days: How many of their days were new or different.
        instruments: How many instruments were new or different.
        withheld: Kept assets that are not on offer by their closes, and why.
    """

    assets: int
    days: int
    instruments: int
    withheld: Mapping[str, str]


@attrs.frozen
class ImportMarket:
    """Keep prices and instruments, so that all who share the store find them."""

    store: StoredMarket

    def __call__(
        self,
        history: PriceHistory | None,
        listed: Instruments | None = None,
        *,
        usual: Instruments,
        progress: Callable[[int], None] = no_progress,
    ) -> ImportResult:
        """Add to what is kept; days and instruments that are known already are replaced.

        The same import again changes nothing, and finishes one that was broken off.

        Args:
            history: Prices; None: none.
            listed: Instruments; None: of those that prices are given of and that nothing is known
                of yet, what is usually said.
            usual: What is usually said of instruments.
            progress: Is told how many more assets are kept.

        Raises:
            InvalidRequest: the store refuses something; names it.
            Unavailable: the store did not answer; the same import again does the rest.
        """
        self.store.prepare()
        bars = [] if history is None else bars_of_history(history)
        days = self.store.save_bars(bars, progress=progress)
        if listed is None:
            known = self.store.instruments().by_symbol
            given = {one.symbol for one in bars}
            fresh = (it for it in usual if it.symbol in given and it.symbol not in known)
            listed = Instruments.of(fresh)
        instruments = self.store.save_instruments(listed)
        return ImportResult(len(bars), days, instruments, self.store.withheld())


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


def _number(value: float) -> float | None:
    return None if value != value else value
