"""Use cases of market data: describe, search and import."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from itertools import takewhile

import attrs
import numpy as np

from rebalancer.application.ports.market import InstrumentSource, PriceSource, Regimes
from rebalancer.application.ports.reference import ReferenceStore
from rebalancer.application.ports.reports import Reports
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.backtest.metrics import annual_volatility, max_drawdown
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.market.calendars import common_history
from rebalancer.domain.market.currencies import missing_rate, rate_currencies
from rebalancer.domain.market.frequency import DAILY, TRADING_DAYS
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import Finding
from rebalancer.domain.market.regimes import (
    BUCKET,
    FEWEST,
    WINDOW,
    equal_mix,
    observations,
    sufficient,
)
from rebalancer.domain.market.symbols import hint_at
from rebalancer.domain.money import US_DOLLAR, Currency
from rebalancer.domain.policy.policy import Frequency

_FEWEST_RETURNS = 20
"""Fewest returns for an asset's volatility."""


@attrs.frozen
class AssetSummary:
    """Summary of one asset.

    Attributes:
        closes: Number of closes, from the day ``first`` to ``last``; both are None without any.
        price: Last price as traded, in ``currency``; None without any close.
        return_last_year: Simple return over the last year, of 252 trading days or as many closes
            as the asset has in a year; None with fewer.
        volatility: Annual, of the returns of that year, or of the last 20 closes if a year has
            fewer; None with fewer closes.
        periods_per_year: Closes that count as a year.
        frequency: What they are: "trading days", "calendar days", "weeks", and so on.
        withheld: Why the asset is not tradable at the last close of all assets; None if it is.
        findings: What the check of its prices found, see `describe_finding`.
        currency: ISO 4217 code of the asset's currency; None if the source does not state one.
        sessions: Code of the market whose sessions judge its gaps and its age; None: they are
            inferred from its days.
    """

    symbol: str
    name: str
    asset_class: str | None
    first: date | None
    last: date | None
    closes: int
    price: float | None
    return_last_year: float | None
    volatility: float | None
    periods_per_year: float = TRADING_DAYS
    frequency: str = DAILY.name
    withheld: str | None = None
    findings: tuple[dict[str, str], ...] = ()
    currency: str | None = None
    sessions: str | None = None


@attrs.frozen
class Year:
    """One calendar year of an asset, measured from the last close of the year before.

    Attributes:
        last: Its last close, adjusted for later splits and distributions.
        total_return: Simple return; None with a single close.
        volatility: Annual, of daily returns; None with fewer than three closes.
        max_drawdown: Positive; None with a single close.
    """

    year: int
    last: float
    total_return: float | None
    volatility: float | None
    max_drawdown: float | None


@attrs.frozen
class AssetHistory:
    """Summary of one asset, and its calendar years."""

    summary: AssetSummary
    years: tuple[Year, ...]


class PriceInterval(StrEnum):
    """Sampling of closes: the last of every day, week (from Monday) or month."""

    DAY = "1d"
    WEEK = "1wk"
    MONTH = "1mo"


@attrs.frozen
class AdjustedCloses:
    """Adjusted closes of one asset, oldest first.

    Attributes:
        closes: Day and close, adjusted for the splits and distributions after it, up to the last
            day, whose close is the price as traded.
        currency: ISO 4217 code; None if the source does not state one.
    """

    closes: list[tuple[date, float]]
    currency: str | None


@attrs.frozen
class ReadCloses:
    """Read the closes of one asset."""

    prices: PriceSource

    def __call__(
        self,
        symbol: str,
        *,
        start: date | None = None,
        end: date | None = None,
        interval: PriceInterval = PriceInterval.DAY,
    ) -> AdjustedCloses:
        """Return adjusted closes from ``start`` to ``end``, both included, oldest first.

        A week or month is represented by its last close in the window, with that close's day.

        Raises:
            NotFound: the symbol is unknown.
            InvalidRequest: the window ends before it begins.
            PricesUnavailable: the provider did not answer.
        """
        if start is not None and end is not None and end < start:
            raise InvalidRequest(
                f"{end} is before the start on {start}; choose a later end",
                field="end",
                code="end_before_start",
            )
        check_known(symbol, self.prices)
        history = self.prices.closes([symbol])
        inside = history.observed[:, 0].copy()
        if start is not None:
            inside &= history.dates >= np.datetime64(start, "D")
        if end is not None:
            inside &= history.dates <= np.datetime64(end, "D")
        days, closes = history.dates[inside], adjusted_closes(history, 0, inside)
        if interval is not PriceInterval.DAY and len(days):
            by = Frequency.WEEKLY if interval is PriceInterval.WEEK else Frequency.MONTHLY
            periods = by.period(days)
            last = np.append(periods[1:] != periods[:-1], True)
            days, closes = days[last], closes[last]
        return AdjustedCloses(
            list(zip(days.tolist(), closes.tolist(), strict=True)), asset_currency(history, symbol)
        )


@attrs.frozen
class DescribeMarket:
    """Summarise every asset with prices."""

    prices: PriceSource
    instruments: InstrumentSource

    def __call__(self) -> list[AssetSummary]:
        """Return one summary per asset, in the provider's order.

        Raises:
            InvalidRequest: prices or instruments are malformed.
            PricesUnavailable: the provider did not answer.
        """
        history, known = self.prices.closes(), self.instruments.instruments()
        return [_summarise(history, symbol, known) for symbol in history.symbols]


@attrs.frozen
class DescribeAsset:
    """Summarise one asset, year by year."""

    prices: PriceSource
    instruments: InstrumentSource

    def __call__(self, symbol: str) -> AssetHistory:
        """Return the asset of this symbol.

        Raises:
            InvalidRequest: the symbol is unknown or that of an exchange rate, or prices or
                instruments are malformed.
            PricesUnavailable: the provider did not answer.
        """
        source = self.prices.closes()
        _check_asset(symbol, source)
        market = source.select([symbol])
        history = _own_closes(market, symbol)
        closes = history.closes[:, 0]
        known = np.arange(len(closes))
        yearly = history.frequency.periods_per_year
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
                    volatility=annual_volatility(returns, yearly) if len(returns) > 1 else None,
                    max_drawdown=max_drawdown(values) if len(values) > 1 else None,
                )
            )
        return AssetHistory(
            _summarise(market, symbol, self.instruments.instruments()), tuple(years)
        )


@attrs.frozen
class RegimeWeek:
    """A week, and its most probable regime given the weeks up to then.

    It has five trading days, or seven of assets that trade on every day of the week.
    """

    first: date
    last: date
    regime: str
    probability: float


@attrs.frozen
class MarketRegime:
    """Regime of a market, compared with its own last year.

    Attributes:
        as_of: Day of the last close.
        symbols: Assets of the market, which is an equal mix of them.
        probabilities: By regime, from the calmest on; they sum to 1.
        since: First day of the unbroken latest weeks with this regime.
        weeks: Examined weeks, at most 50, oldest first.
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
        """One sentence that describes the regime."""
        many = len(self.symbols)
        what = f"an equal mix of {many} assets" if many > 1 else self.symbols[0]
        if self.since == self.weeks[0].first:
            how_long = f"as in all {len(self.weeks)} examined weeks"
        else:
            how_long = f"and has since {self.since}"
        chance = self.probabilities[self.regime]
        return (
            f"On {self.as_of} {what} looked {self.regime} against its own last year "
            f"(probability {chance:.0%}), {how_long}; this does not predict its returns."
        )


@attrs.frozen
class DescribeRegime:
    """Determine the regime of a market, in one currency."""

    prices: PriceSource
    regimes: Regimes
    currency: Currency = US_DOLLAR

    def __call__(
        self, symbols: Sequence[str] | None = None, *, as_of: date | None = None
    ) -> MarketRegime:
        """Return the regime of an equal mix of assets, as known at a close.

        The mix is of all assets when ``symbols`` is None. The close is the last one at or before
        ``as_of``, or the last known one.

        Raises:
            InvalidRequest: a symbol is unknown, the day is outside the prices, there are too few
                closes by then, or no asset moved.
            PricesUnavailable: the provider did not answer.
            Unavailable: the shipped regimes are damaged.
        """
        model = self.regimes.model()
        try:
            history = self.prices.closes(symbols, until=as_of)
        except InvalidRequest as error:
            raise error.at(error.field or "symbols") from None
        history = history.in_currency(self.currency.code)
        history = common_history(history, np.arange(len(history.symbols)), WINDOW)
        frequency = history.frequency
        if not frequency.is_daily:
            raise InvalidRequest(
                "the prices are not daily: a year has "
                f"{frequency.periods_per_year:.4g} closes; regimes need daily prices",
                code="prices_not_daily",
            )
        bucket = frequency.rows(BUCKET)
        returns = equal_mix(history, frequency.rows(WINDOW))
        seen = observations(returns[None], frequency)
        if not sufficient(seen)[0]:
            known = int((~np.isnan(returns)).sum())
            needed = FEWEST * bucket
            if known < needed:
                raise InvalidRequest(
                    f"{known + 1} closes up to {history.last_date} are too few for a regime, which "
                    f"needs {needed + 1}; choose a later day or longer prices",
                    field="as_of",
                    code="too_few_closes",
                )
            raise InvalidRequest(
                f"prices that do not move have no regime: none of {len(history.symbols)} assets "
                f"moved in the {known} days up to {history.last_date}; choose other assets",
                field="symbols",
                code="prices_constant",
            )
        path = model.path(seen)[0]
        days = history.dates[-len(path) * bucket :].reshape(-1, bucket)
        known_weeks = ~np.isnan(seen[0, :, 0])  # not those before the first close
        weeks = tuple(
            RegimeWeek(first, last, model.names[best], float(chances[best]))
            for first, last, chances, best in zip(
                days[known_weeks, 0].tolist(),
                days[known_weeks, -1].tolist(),
                path[known_weeks],
                path[known_weeks].argmax(axis=1).tolist(),
                strict=True,
            )
        )
        regime = weeks[-1].regime
        *_, since = takewhile(lambda week: week.regime == regime, reversed(weeks))
        return MarketRegime(
            as_of=history.last_date,
            symbols=history.symbols,
            probabilities=dict(zip(model.names, path[-1].tolist(), strict=True)),
            regime=regime,
            since=since.first,
            weeks=weeks,
        )


@attrs.frozen
class PrepareStores:
    """Prepare the stores of market data and reports."""

    market: StoredMarket
    reports: Reports
    reference: ReferenceStore

    def __call__(self) -> None:
        """Create collections, indexes and checks where they are missing; idempotent.

        Raises:
            Unavailable: a store did not answer.
        """
        self.market.prepare()
        self.reports.prepare()
        self.reference.prepare()


def _summarise(history: PriceHistory, symbol: str, instruments: Instruments) -> AssetSummary:
    own = _own_closes(history, symbol)
    closes, frequency = own.closes[:, 0], own.frequency
    instrument = instruments[symbol]
    a_year = frequency.rows(TRADING_DAYS)
    year = closes[-(a_year + 1) :]
    recent = closes[-(max(a_year, _FEWEST_RETURNS) + 1) :]
    changes = recent[1:] / recent[:-1] - 1.0
    enough = len(changes) >= max(a_year, _FEWEST_RETURNS)
    yearly = frequency.periods_per_year
    return AssetSummary(
        symbol=symbol,
        name=instrument.name,
        asset_class=instrument.asset_class,
        first=own.dates[0].item() if len(own) else None,
        last=own.dates[-1].item() if len(own) else None,
        closes=len(own),
        price=float(closes[-1]) if len(own) else None,  # the last one is as traded
        return_last_year=float(year[-1] / year[0] - 1) if len(year) == a_year + 1 else None,
        volatility=annual_volatility(changes, yearly) if enough else None,
        periods_per_year=yearly,
        frequency=frequency.name,
        withheld=history.withheld.get(symbol),
        findings=tuple(
            describe_finding(finding) for finding in history.findings if finding.symbol == symbol
        ),
        currency=asset_currency(history, symbol),
        sessions=history.known_market(symbol),
    )


def check_known(symbol: str, prices: PriceSource) -> None:
    """Check that a source has an asset.

    Raises:
        NotFound: the symbol is unknown.
    """
    if symbol not in prices.symbols():
        hint = hint_at([symbol], prices.symbols())
        raise NotFound(f"asset {symbol} does not exist{hint}", code="asset_not_found")


def _own_closes(history: PriceHistory, symbol: str) -> PriceHistory:
    """Return an asset's own adjusted closes, without days on which its last one is repeated."""
    column = history.column(symbol)
    own = history.observed[:, column]
    return PriceHistory(
        (symbol,),
        history.dates[own],
        adjusted_closes(history, column, own)[:, None],
        periods_per_year=history.periods_per_year,
    )


def adjusted_closes(history: PriceHistory, column: int, rows: Bools) -> Floats:
    """Return an asset's adjusted closes on some rows, of which the last one is as traded."""
    closes: Floats = history.closes[rows, column]
    if not len(closes):
        return closes
    last = history.traded[rows, column][-1]
    return closes if last == closes[-1] else closes * (last / closes[-1])


def asset_currency(history: PriceHistory, symbol: str) -> str | None:
    """Return the ISO 4217 code of an asset's currency; None if the source does not state one."""
    return None if history.quotes is None else history.currency_of(symbol, "")


def _check_asset(symbol: str, history: PriceHistory) -> None:
    """Raise InvalidRequest if the symbol is that of an exchange rate, with its last rate."""
    pair = rate_currencies(symbol)
    if pair is None or symbol in history.columns or history.quotes is None:
        return
    base, quoted = pair
    last = history.quotes.exchange.convert(base, quoted, history.dates[-1:])
    if last is None or np.isnan(last.rates[0]):
        raise missing_rate(base, quoted, field="symbol")
    raise InvalidRequest(
        f"{symbol} is an exchange rate and cannot be traded: 1 {base} was {last.rates[0]:.6g} "
        f"{quoted} on {last.days[0]}; enter the symbol of an asset",
        field="symbol",
        code="symbol_of_rate",
    )


def describe_finding(finding: Finding) -> dict[str, str]:
    """Return a finding as JSON values."""
    return {
        "symbol": finding.symbol,
        "rule": finding.rule.value,
        "severity": finding.severity.value,
        "day": finding.day.isoformat(),
        "text": finding.text,
    }
