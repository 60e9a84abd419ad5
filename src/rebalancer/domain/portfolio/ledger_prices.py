"""Prices in a ledger for assets that the market lacks or no longer prices."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.market.prices import HIGHEST, PriceHistory
from rebalancer.domain.market.quotes import Quotes
from rebalancer.domain.portfolio.ledger import Ledger

NO_CURRENCY = "XXX"
"""ISO 4217 code of an asset whose currency is unknown."""


def fill_from_ledger(
    market: PriceHistory, ledger: Ledger, symbols: Iterable[str] = ()
) -> PriceHistory:
    """Return the history with the prices of a ledger's entries where an asset has no close.

    An asset of the ledger, or of ``symbols``, that the market lacks gets a column. Between a close
    and a price, or between two prices, the earlier one is carried. So the asset's
    `PriceHistory.last_known` is the later one of its last close and of its last price in the
    ledger. It has no close after that, and is withheld also on that day.

    The result is the same object if the market has all prices.
    """
    stated = _prices_by_row(market, ledger)
    columns = market.columns
    filled: dict[str, tuple[Floats, Bools]] = {}
    for symbol in dict.fromkeys([*stated, *symbols]):
        column, by_row = columns.get(symbol), stated.get(symbol, {})
        closes = np.full(len(market), np.nan) if column is None else market.closes[:, column]
        seen = closes == closes if column is None else market.observed[:, column]
        rows = [row for row in by_row if np.isnan(closes[row])]
        if rows or column is None:
            closes, seen = closes.copy(), seen.copy()
            closes[rows] = [by_row[row] for row in rows]
            seen[rows] = True
            filled[symbol] = _carry_forward(closes), seen
    if not filled:
        return market
    names = (*market.symbols, *(symbol for symbol in filled if symbol not in columns))
    closes = np.full((len(market), len(names)), np.nan)
    closes[:, : len(market.symbols)] = market.closes
    observed = np.zeros(closes.shape, dtype=bool)
    observed[:, : len(market.symbols)] = market.observed
    for symbol, (prices, seen) in filled.items():
        column = names.index(symbol)
        closes[:, column], observed[:, column] = prices, seen
    carried: Bools = ~np.isnan(closes) & ~observed
    for array in (closes, carried):
        array.setflags(write=False)
    excluded = {
        symbol: market.withheld.get(symbol, "no price data")
        for symbol in filled
        if symbol not in columns or symbol in market.withheld
    }
    return attrs.evolve(
        market,
        symbols=names,
        closes=closes,
        carried=carried,
        reported=None,
        excluded=excluded,
        quotes=None if market.quotes is None else _fill_quotes(market, market.quotes, closes),
    )


def _fill_quotes(market: PriceHistory, quotes: Quotes, closes: Floats) -> Quotes:
    """Return quotes with prices where only the ledger has some, which are in its own currency.

    Args:
        market: Without the ledger's prices.
        quotes: Those of the market.
        closes: (T, M) closes of the market's N assets, then of those that it lacks.
    """
    known, more = len(market.symbols), closes.shape[1] - len(market.symbols)
    rates = None if quotes.rates is None else np.ones(closes.shape)
    if rates is not None and quotes.rates is not None:
        rates[:, :known] = quotes.rates
        rates.setflags(write=False)
    prices = closes.copy() if rates is None else closes / rates
    same = ~np.isnan(market.traded)
    prices[:, :known][same] = market.traded[same]
    prices.setflags(write=False)
    return attrs.evolve(
        quotes,
        prices=prices,
        currencies=(*quotes.currencies, *[quotes.currency or NO_CURRENCY] * more),
        rates=rates,
        markets=(*quotes.markets, *[None] * more),
    )


def _prices_by_row(market: PriceHistory, ledger: Ledger) -> dict[str, dict[int, float]]:
    """Return each asset's prices by row; one from before the first close is on the first row."""
    found: dict[str, dict[int, float]] = {}
    for day, entries in ledger.by_day():
        row = int(np.searchsorted(market.dates, np.datetime64(day, "D"), side="right")) - 1
        for entry in entries:
            if entry.symbol is not None and entry.price is not None and entry.price < HIGHEST:
                found.setdefault(entry.symbol, {})[max(row, 0)] = float(entry.price)
    return found


def _carry_forward(closes: Floats) -> Floats:
    """Return the closes with each gap filled; NaN before the first and after the last one."""
    known = np.flatnonzero(~np.isnan(closes))
    latest = np.maximum.accumulate(np.where(np.isnan(closes), -1, np.arange(len(closes))))
    filled: Floats = np.where(latest < 0, np.nan, closes[np.maximum(latest, 0)])
    filled[known[-1] + 1 if len(known) else 0 :] = np.nan
    return filled
