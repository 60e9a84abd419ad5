"""Prices in a ledger for assets that the market lacks or no longer prices."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats
from rebalancer.domain.market.prices import HIGHEST, PriceHistory
from rebalancer.domain.market.quotes import Quotes, rate_table
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger


@attrs.frozen(eq=False)
class _Column:
    """Prices of one asset over T closes, in its own currency.

    Attributes:
        currency: ISO 4217 code; None in a market without quotes.
        prices: (T,) as traded; NaN where unknown.
        observed: (T,) whether the price is of that day.
        growth: (T,) total-return level per price.
    """

    currency: str | None
    prices: Floats
    observed: Bools
    growth: Floats


def fill_from_ledger(
    market: PriceHistory, ledger: Ledger, symbols: Iterable[str] = ()
) -> PriceHistory:
    """Return the history with the prices of a ledger's entries where an asset has no close.

    Prices are those of shares as traded. An asset of the ledger, or of ``symbols``, that the market
    lacks gets a column; its currency is that of its first entry. Between a close and a price, or
    between two prices, the earlier one is carried, and divided by the splits of the ledger on their
    days. So the asset's `PriceHistory.last_known` is the later one of its last close and of its
    last price in the ledger. It has no close after that, and is withheld also on that day. A new
    symbol continues the prices of the old one, and an old symbol that the market lacks has those of
    the new one until its day.

    Args:
        market: In the base currency of the ledger, see `PriceHistory.in_currency`.
        ledger: Its prices are in the currencies of its entries.
        symbols: Further assets that need a column.

    Returns:
        The same object if the market has all prices.
    """
    if market.quotes is not None and market.quotes.currency is None:
        raise ValueError("the prices are in several currencies; convert them first")
    entries = _entries_by_symbol(ledger)
    columns = market.columns
    filled: dict[str, _Column] = {}
    for symbol in dict.fromkeys([*entries, *symbols]):
        column = _fill_column(market, symbol, entries.get(symbol, []), filled)
        if column is not None:
            filled[symbol] = column
    if not filled:
        return market
    names = (*market.symbols, *(symbol for symbol in filled if symbol not in columns))
    return _with_columns(market, names, filled)


def _entries_by_symbol(ledger: Ledger) -> dict[str, list[tuple[date, Entry]]]:
    """Return the entries that state a price, a split or a new symbol, by symbol and day."""
    found: dict[str, list[tuple[date, Entry]]] = {}
    for day, entries in ledger.by_day():
        for entry in entries:
            if entry.symbol is None:
                continue
            if (entry.price is not None and entry.price < HIGHEST) or entry.kind is EntryKind.SPLIT:
                found.setdefault(entry.symbol, []).append((day, entry))
            elif entry.kind is EntryKind.RENAME and entry.other is not None:
                found.setdefault(entry.symbol, []).append((day, entry))
                found.setdefault(entry.other, []).append((day, entry))
    return found


def _fill_column(
    market: PriceHistory,
    symbol: str,
    entries: list[tuple[date, Entry]],
    filled: dict[str, _Column],
) -> _Column | None:
    """Return the filled prices of an asset; None if the market has all that the ledger states."""
    days = market.dates
    known = _market_column(market, symbol) or _alias_column(market, symbol, entries)
    base = None if market.quotes is None else market.quotes.currency
    if known is None:
        stated = next((one.currency for _, one in entries if one.price is not None), None)
        currency = stated or base
        known = _empty_column(currency, len(days))
    prices, seen = known.prices.copy(), known.observed.copy()
    missing = np.isnan(prices)
    for day, entry in entries:
        at = row_of(days, day)
        if entry.price is not None:
            price = _convert(market, float(entry.price), entry.currency or base, known.currency, at)
            if missing[at] and price == price:
                prices[at], seen[at] = price, True
            continue
        at = first_row_from(days, day)
        if at >= len(days) or not missing[at]:
            continue
        if entry.kind is EntryKind.SPLIT and entry.ratio is not None:
            last = _last(prices[: max(at, 1)])
            if last is not None:
                prices[at], seen[at] = last / float(entry.ratio), True
        elif entry.other == symbol and entry.symbol is not None:
            old = filled.get(entry.symbol) or _market_column(market, entry.symbol)
            last = None if old is None else _last(old.prices[: at + 1])
            if last is not None and old is not None:
                price = _convert(market, last, old.currency, known.currency, at)
                prices[at], seen[at] = price, True
    if symbol in market.columns and not (seen & missing).any():
        return None
    return attrs.evolve(
        known, prices=_carry_forward(prices), observed=seen, growth=_carry_level(known.growth)
    )


def _market_column(market: PriceHistory, symbol: str) -> _Column | None:
    """Return an asset's prices in the market; None if it has no column."""
    column = market.columns.get(symbol)
    if column is None:
        return None
    quotes, prices = market.quotes, market.traded[:, column]
    levels = market.closes[:, column]
    if quotes is not None and quotes.rates is not None:
        levels = levels / quotes.rates[:, column]
    currency = None if quotes is None else quotes.currencies[column]
    return _Column(currency, prices, market.observed[:, column], levels / prices)


def _alias_column(
    market: PriceHistory, symbol: str, entries: list[tuple[date, Entry]]
) -> _Column | None:
    """Return the prices of an asset before its new symbol, under which the market has them."""
    for day, entry in entries:
        if entry.kind is EntryKind.RENAME and entry.symbol == symbol and entry.other is not None:
            new = _market_column(market, entry.other)
            if new is not None:
                earlier = np.arange(len(market)) < first_row_from(market.dates, day)
                return attrs.evolve(
                    new,
                    prices=np.where(earlier, new.prices, np.nan),
                    observed=new.observed & earlier,
                )
    return None


def _empty_column(currency: str | None, rows: int) -> _Column:
    return _Column(currency, np.full(rows, np.nan), np.zeros(rows, dtype=bool), np.ones(rows))


def _with_columns(
    market: PriceHistory, names: tuple[str, ...], filled: dict[str, _Column]
) -> PriceHistory:
    """Return the market with filled columns; ``names`` are its symbols and the added ones."""
    old, shape = len(market.symbols), (len(market), len(names))
    columns = {name: at for at, name in enumerate(names)}
    quotes, prices = market.quotes, np.full(shape, np.nan)
    prices[:, :old] = market.traded
    levels = prices.copy()
    levels[:, :old] = market.closes
    observed = np.zeros(shape, dtype=bool)
    observed[:, :old] = market.observed
    rates = None
    if quotes is not None:
        added = [filled[name].currency or "" for name in names[old:]]
        quotes = _extend_quotes(quotes, added, market.dates)
        rates = quotes.rates
    for symbol, column in filled.items():
        at = columns[symbol]
        prices[:, at], observed[:, at] = column.prices, column.observed
        levels[:, at] = column.prices * column.growth
        if rates is not None:
            levels[:, at] *= rates[:, at]
    carried: Bools = ~np.isnan(levels) & ~observed
    for array in (levels, prices, carried):
        array.setflags(write=False)
    excluded = {
        symbol: market.withheld.get(symbol, "no price data")
        for symbol in filled
        if symbol not in market.columns or symbol in market.withheld
    }
    if quotes is not None:
        alike = quotes.prices is None and quotes.rates is None
        quotes = attrs.evolve(quotes, prices=None if alike else prices)
    return attrs.evolve(
        market,
        symbols=names,
        closes=levels,
        carried=carried,
        reported=None,
        excluded={**market.excluded, **excluded},
        quotes=quotes,
    )


def _extend_quotes(quotes: Quotes, added: list[str], days: Dates) -> Quotes:
    """Return quotes and rates for further assets of given currencies; prices stay."""
    if not added or quotes.currency is None:
        return quotes
    known, shape = quotes.rates, (len(days), len(quotes.currencies))
    found = rate_table(quotes.exchange, added, quotes.currency, days)[0]
    rates = None
    if known is not None or found is not None:
        more = np.ones((len(days), len(added))) if found is None else found
        rates = np.hstack([np.ones(shape) if known is None else known, more])
        rates.setflags(write=False)
    return attrs.evolve(
        quotes,
        currencies=(*quotes.currencies, *added),
        rates=rates,
        markets=(*quotes.markets, *[None] * len(added)),
    )


def _convert(
    market: PriceHistory, price: float, source: str | None, target: str | None, row: int
) -> float:
    """Return a price in another currency at the rate of a row; NaN without a rate."""
    if source is None or target is None or source == target or market.quotes is None:
        return price
    days = market.dates[row : row + 1]
    rates = market.quotes.exchange.convert(source, target, days)
    return float("nan") if rates is None else price * float(rates.rates[0])


def row_of(days: Dates, day: date) -> int:
    """Return the row of the last close at or before a day; the first row for earlier days."""
    found = int(np.searchsorted(days, np.datetime64(day, "D"), side="right")) - 1
    return max(found, 0)


def first_row_from(days: Dates, day: date) -> int:
    """Return the row of the first close at or after a day; the number of rows for later days."""
    return int(np.searchsorted(days, np.datetime64(day, "D"), side="left"))


def _last(prices: Floats) -> float | None:
    """Return the last price that is known."""
    known = prices[~np.isnan(prices)]
    return float(known[-1]) if len(known) else None


def _carry_forward(closes: Floats) -> Floats:
    """Return the closes with each gap filled; NaN before the first and after the last one."""
    known = np.flatnonzero(~np.isnan(closes))
    latest = np.maximum.accumulate(np.where(np.isnan(closes), -1, np.arange(len(closes))))
    filled: Floats = np.where(latest < 0, np.nan, closes[np.maximum(latest, 0)])
    filled[known[-1] + 1 if len(known) else 0 :] = np.nan
    return filled


def _carry_level(levels: Floats) -> Floats:
    """Return levels with each gap filled from before, and from the first one before that."""
    known = np.flatnonzero(~np.isnan(levels))
    if not len(known):
        return np.ones(len(levels))
    places = np.searchsorted(known, np.arange(len(levels)), side="right") - 1
    filled: Floats = levels[known[np.maximum(places, 0)]]
    return filled
