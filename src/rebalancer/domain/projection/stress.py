"""Stress tests: what a portfolio would lose in a crash of the past, or by a shock of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TypeVar

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.market.currencies import ExchangeRates, RateSeries
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.portfolio import Portfolio

BETA_DAYS = 252
"""Closes from which the beta to a factor is estimated: about a year of days."""

_FEWEST_RETURNS = 60
_Table = TypeVar("_Table", Floats, Bools, Dates)

_LEAST, _MOST = -0.99, 10.0


@attrs.frozen
class Episode:
    """A fall of markets.

    Attributes:
        title: For people.
        first: Day before the fall, from whose close on prices count.
        last: Day of the low.
    """

    title: str
    first: date
    last: date


EPISODES: Mapping[str, Episode] = {
    "black_monday_1987": Episode("Black Monday", date(1987, 10, 13), date(1987, 10, 19)),
    "dot_com_2000": Episode("End of the dot-com boom", date(2000, 3, 24), date(2002, 10, 9)),
    "financial_crisis_2008": Episode("Financial crisis", date(2007, 10, 9), date(2009, 3, 9)),
    "euro_crisis_2011": Episode("Euro crisis", date(2011, 7, 22), date(2011, 10, 3)),
    "china_2015": Episode("Fear for China", date(2015, 8, 10), date(2016, 2, 11)),
    "fourth_quarter_2018": Episode("Fourth quarter of 2018", date(2018, 9, 20), date(2018, 12, 24)),
    "covid_2020": Episode("Covid-19", date(2020, 2, 19), date(2020, 3, 23)),
    "rates_2022": Episode("Rise of interest rates", date(2022, 1, 3), date(2022, 10, 12)),
}
"""Falls by name, from the high to the low of the S&P 500."""


@attrs.frozen
class Shock:
    """Changes of prices at once, as fractions; what names an asset most closely counts.

    Attributes:
        episode: Name of one of `EPISODES`: each asset moves as it did then; None: no episode.
        assets: Change by symbol.
        classes: Change by asset class.
        factor: Symbol and its change; other assets move by their beta to it. None: no factor.
        currencies: Change of a currency against all others, by ISO 4217 code.

    Raises:
        InvalidRequest: nothing changes, or a change is out of range.
    """

    episode: str | None = None
    assets: Mapping[str, float] = attrs.field(factory=dict)
    classes: Mapping[AssetClass, float] = attrs.field(factory=dict)
    factor: tuple[str, float] | None = None
    currencies: Mapping[str, float] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.episode is not None and self.episode not in EPISODES:
            raise InvalidRequest(
                f"unknown episode {self.episode!r}; choose one of {', '.join(EPISODES)}",
                field="episode",
                code="unknown_episode",
            )
        if not (self.episode or self.assets or self.classes or self.factor or self.currencies):
            raise InvalidRequest(
                "nothing changes; name an episode, or changes of assets, classes or currencies",
                field="episode",
                code="shock_missing",
            )
        for group in ("assets", "classes", "currencies"):
            for name, change in getattr(self, group).items():
                _check_change(change, f"{group}.{name}")
        if self.factor is not None:
            _check_change(self.factor[1], "factor.change")


def _check_change(change: float, field: str) -> None:
    if not _LEAST <= change <= _MOST:
        raise InvalidRequest(
            f"{change:g} is not a change of a price; enter a fraction from {_LEAST:g} to {_MOST:g},"
            " such as -0.2",
            field=field,
            code="change_out_of_range",
        )


@attrs.frozen(eq=False)
class Moves:
    """Changes of all assets of a market, and of currencies.

    Attributes:
        assets: (N,) change of each price in its own currency, as a fraction.
        currencies: Change by ISO 4217 code.
        notes: What was assumed for assets of the portfolio, as sentences.
    """

    assets: Floats
    currencies: Mapping[str, float]
    notes: tuple[str, ...]


def find_moves(
    shock: Shock, market: PriceHistory, instruments: Instruments, portfolio: Portfolio
) -> Moves:
    """Return by how much prices and currencies change.

    Args:
        shock: What happens.
        market: In the base currency of the portfolio.
        instruments: Asset classes.
        portfolio: Its assets get notes, and are in the market.

    Raises:
        InvalidRequest: the market lacks a symbol that the shock names, or prices of the episode.
    """
    known = market.columns
    wanted = [*shock.assets, *([shock.factor[0]] if shock.factor else [])]
    for symbol in wanted:
        if symbol not in known:
            raise InvalidRequest(
                f"{symbol} has no prices; name an asset of the market",
                field="factor.symbol" if symbol not in shock.assets else f"assets.{symbol}",
                code="unknown_symbol",
            )
    moves = np.zeros(len(market.symbols))
    notes: list[str] = []
    currencies = dict(shock.currencies)
    if shock.episode is not None:
        moves, found, notes = _moves_of(EPISODES[shock.episode], market, instruments, portfolio)
        currencies = found | currencies
    if shock.factor is not None:
        moves = _moves_by_beta(market, *shock.factor)
    for column, symbol in enumerate(market.symbols):
        own = instruments[symbol].asset_class or AssetClass.EQUITY
        if own in shock.classes:
            moves[column] = shock.classes[own]
    for symbol, change in shock.assets.items():
        moves[known[symbol]] = change
    return Moves(np.maximum(moves, _LEAST), currencies, tuple(notes))


def _moves_of(
    episode: Episode, market: PriceHistory, instruments: Instruments, portfolio: Portfolio
) -> tuple[Floats, dict[str, float], list[str]]:
    """Return how assets and currencies moved; an asset without prices moves as its class did."""
    dates = market.dates
    first = int(np.searchsorted(dates, np.datetime64(episode.first), side="right")) - 1
    last = int(np.searchsorted(dates, np.datetime64(episode.last), side="right")) - 1
    if first < 0 or last <= first or dates[-1] < np.datetime64(episode.last):
        raise InvalidRequest(
            f"the prices do not cover {episode.title}, {episode.first} to {episode.last}; choose "
            "another episode, or state changes",
            field="episode",
            code="episode_not_covered",
        )
    closes = market.closes
    rates = None if market.quotes is None else market.quotes.rates
    local = closes if rates is None else closes / rates
    moves = local[last] / local[first] - 1.0
    classes = [instruments[symbol].asset_class for symbol in market.symbols]
    notes = []
    for column in np.flatnonzero(np.isnan(moves)).tolist():
        alike = [at for at, one in enumerate(classes) if one == classes[column]]
        measured = moves[alike][np.isfinite(moves[alike])]
        symbol = market.symbols[column]
        kind = classes[column] or "equity"
        if symbol in portfolio.symbols:
            notes.append(
                f"{symbol} had no prices then; it moves as the mean of {len(measured)} assets of "
                f"the class {kind}."
                if len(measured)
                else f"{symbol} had no prices then, nor had any asset of its class {kind}; it "
                "stays as it is."
            )
        moves[column] = float(measured.mean()) if len(measured) else 0.0
    currencies: dict[str, float] = {}
    quotes = market.quotes
    if quotes is not None and quotes.currency is not None:
        codes = {*quotes.currencies, *portfolio.foreign_cash} - {quotes.currency}
        for code in sorted(codes):
            found = quotes.exchange.convert(code, quotes.currency, dates[[first, last]])
            if found is not None and np.isfinite(found.rates).all():
                currencies[code] = float(found.rates[1] / found.rates[0]) - 1.0
    return moves, currencies, notes


def _moves_by_beta(market: PriceHistory, symbol: str, change: float) -> Floats:
    """Return the change of each asset times its beta to one of them, over the last year."""
    levels = np.log(market.last_total_returns[-BETA_DAYS - 1 :])
    returns = np.diff(levels, axis=0)
    factor = returns[:, market.column(symbol)]
    if np.count_nonzero(np.isfinite(factor)) < _FEWEST_RETURNS or not np.nanvar(factor) > 0:
        raise InvalidRequest(
            f"{symbol} has too few prices in the last year to estimate betas; choose another",
            field="factor.symbol",
            code="factor_too_short",
        )
    both = np.isfinite(returns) & np.isfinite(factor)[:, None]
    count = np.maximum(both.sum(axis=0), 1)
    ours = np.where(both, returns, 0.0)
    theirs = np.where(both, factor[:, None], 0.0)
    ours = np.where(both, ours - ours.sum(axis=0) / count, 0.0)
    theirs = np.where(both, theirs - theirs.sum(axis=0) / count, 0.0)
    variance = np.square(theirs).sum(axis=0)
    betas = (ours * theirs).sum(axis=0) / np.where(variance > 0, variance, 1.0)
    moves: Floats = betas * change
    return moves


def shock_prices(market: PriceHistory, moves: Moves) -> PriceHistory:
    """Return prices with one more day, the next weekday, on which everything has moved.

    Args:
        market: In the base currency of the portfolio.
        moves: Changes.
    """
    day = np.busday_offset(market.dates[-1].astype("datetime64[D]"), 1, roll="forward")
    dates = np.append(market.dates, day)
    quotes = market.quotes
    own = 1.0 + moves.assets
    if quotes is None:
        return attrs.evolve(
            market,
            dates=_frozen(dates),
            closes=_with_row(market.closes, market.closes[-1] * own),
            carried=_without_carried(market),
            reported=None,
            calendar=None,
        )
    factors = np.array([_factor(code, quotes.currency, moves) for code in quotes.currencies])
    rates = quotes.rates
    if rates is None and (factors != 1.0).any():
        rates = np.ones(market.closes.shape)
    prices = quotes.prices if rates is None or quotes.prices is not None else market.traded
    shocked = attrs.evolve(
        quotes,
        prices=None if prices is None else _with_row(prices, prices[-1] * own),
        rates=None if rates is None else _with_row(rates, rates[-1] * factors),
        exchange=_shock_rates(quotes.exchange, moves.currencies, day),
    )
    return attrs.evolve(
        market,
        dates=_frozen(dates),
        closes=_with_row(market.closes, market.closes[-1] * own * factors),
        carried=_without_carried(market),
        reported=None,
        calendar=None,
        quotes=shocked,
    )


def _factor(code: str, base: str | None, moves: Moves) -> float:
    """Return the factor by which money of a currency changes in the base currency."""
    theirs = 1.0 + moves.currencies.get(code, 0.0)
    return theirs / (1.0 + moves.currencies.get(base or "", 0.0)) if code != base else 1.0


def _shock_rates(
    exchange: ExchangeRates, changes: Mapping[str, float], day: np.datetime64
) -> ExchangeRates:
    """Return exchange rates with one more day, on which currencies have changed."""
    if not changes:
        return exchange
    series = []
    for one in exchange.known_series:
        factor = (1.0 + changes.get(one.base, 0.0)) / (1.0 + changes.get(one.quoted, 0.0))
        before = one.days < day
        days = np.append(one.days[before], day)
        rates = np.append(one.rates[before], one.rates[before][-1:] * factor)
        if len(days) == len(rates):
            series.append(RateSeries(one.base, one.quoted, days, rates))
    return ExchangeRates.of(series)


def _with_row(table: Floats, row: Floats) -> Floats:
    return _frozen(np.vstack([table, row]))


def _without_carried(market: PriceHistory) -> Bools | None:
    if market.carried is None:
        return None
    row: Bools = np.zeros((1, len(market.symbols)), dtype=bool)
    carried: Bools = np.vstack([market.carried, row])
    return _frozen(carried)


def _frozen(table: _Table) -> _Table:
    table.setflags(write=False)
    return table
