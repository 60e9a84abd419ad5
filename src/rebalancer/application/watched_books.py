"""Bring stored portfolios into the arrays in which their alerts are evaluated."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import StrEnum

import attrs
import numpy as np

from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.quotes import ReadQuotes
from rebalancer.application.target_groups import resolve_or_state
from rebalancer.application.valuation import value_portfolio
from rebalancer.domain.alerts.evaluation import AlertState
from rebalancer.domain.alerts.measures import WatchedBook, measure
from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import RebalancerError, Unavailable
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.live_quotes import (
    DEFAULT_LIMITS,
    LastClose,
    QuoteLimits,
    find_fault,
)
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.book import count_slots
from rebalancer.domain.portfolio.mandate import ManagedPortfolio


@attrs.frozen(eq=False)
class Watched:
    """A book with the names of its slots.

    Attributes:
        symbols: Assets of each portfolio's first slots.
        currencies: ISO 4217 code of each price table.
    """

    book: WatchedBook
    symbols: tuple[tuple[str, ...], ...]
    currencies: tuple[str, ...]


def price_tables(watched: Watched, market: PriceHistory) -> Floats:
    """(C, U) price of each asset at the last close in each base currency; NaN where withheld."""
    tables = np.full((max(len(watched.currencies), 1), max(len(market.symbols), 1)), np.nan)
    for row, code in enumerate(watched.currencies):
        converted = market.in_currency(code)
        tables[row] = converted.last_prices
        withheld = [converted.columns[symbol] for symbol in converted.withheld]
        tables[row, withheld] = np.nan
    return tables


class QuoteState(StrEnum):
    """At which prices a portfolio is measured.

    CLOSES: its assets have no quote since their last closes. QUOTES: there are some, and
    they may be used. DOUBTFUL: one of them is stale or implausible.
    """

    CLOSES = "closes"
    QUOTES = "quotes"
    DOUBTFUL = "doubtful"


@attrs.frozen(eq=False)
class QuotedBook:
    """A book with its prices: closes, and quotes where there are later ones.

    Attributes:
        book: The book; rows at quotes do not share the price table of others.
        prices: (C, U) price tables.
        states: State of each row.
    """

    book: WatchedBook
    prices: Floats
    states: tuple[QuoteState, ...]


def quote_book(
    watched: Watched,
    live: Sequence[Collection[str] | None],
    market: PriceHistory,
    quotes: ReadQuotes,
    now: datetime,
    limits: QuoteLimits = DEFAULT_LIMITS,
) -> QuotedBook:
    """Return a book with the quotes of portfolios that are evaluated at them.

    Args:
        watched: The book.
        live: Assets that each portfolio holds; None: it is evaluated at closes alone.
        market: The closes.
        quotes: The quotes; if they cannot be reached, closes count.
        now: Time of the evaluation.
        limits: Age and spread of quotes that count.
    """
    prices = price_tables(watched, market)
    closes = _last_closes({one for held in live for one in held or ()}, market)
    newer: dict[str, float] = {}
    doubtful: set[str] = set()
    if closes:
        with suppress(Unavailable):
            for symbol, quote in quotes(closes).items():
                close = closes[symbol]
                if not close.currency:  # the prices do not state one
                    close = attrs.evolve(close, currency=quote.currency)
                if quote.traded.date() <= close.day:
                    continue
                if find_fault(quote, close, now=now, limits=limits) is None:
                    newer[symbol] = quote.price
                else:
                    doubtful.add(symbol)
    states = tuple(_state_of(held, newer, doubtful) for held in live)
    at_quotes = np.array([state is QuoteState.QUOTES for state in states], bool)
    if not at_quotes.any():
        return QuotedBook(watched.book, prices, states)
    moved = prices.copy()
    for symbol, price in newer.items():
        column = market.columns[symbol]
        moved[:, column] *= price / closes[symbol].price
    count = len(prices)
    tables = np.where(at_quotes, watched.book.tables + count, watched.book.tables)
    book = attrs.evolve(watched.book, tables=tables)
    return QuotedBook(book, np.concatenate([prices, moved]), states)


def _last_closes(symbols: Collection[str], market: PriceHistory) -> dict[str, LastClose]:
    """Return the last closes of assets that have a current one."""
    exact, withheld = market.exact_closes(), market.withheld
    found = {}
    for symbol in sorted(symbols):
        if symbol in market.columns and symbol not in withheld:
            price = float(exact[market.columns[symbol]])
            currency = market.currency_of(symbol, "")
            if price > 0:
                found[symbol] = LastClose(price, market.newest_close([symbol]), currency)
    return found


def _state_of(
    held: Collection[str] | None, newer: Collection[str], doubtful: Collection[str]
) -> QuoteState:
    if held is None:
        return QuoteState.CLOSES
    if any(one in doubtful for one in held):
        return QuoteState.DOUBTFUL
    return QuoteState.QUOTES if any(one in newer for one in held) else QuoteState.CLOSES


def watch_book(
    portfolios: Sequence[ManagedPortfolio],
    states: Sequence[AlertState],
    market: PriceHistory,
    work: UnitOfWork,
    instruments: Instruments,
) -> Watched:
    """Return portfolios as arrays, valued at the last closes, with the targets that follow there.

    An asset that is held and has no current price is valued as everywhere, at its last known one or
    that of the ledger.
    """
    symbols = tuple(
        tuple(sorted({*one.mandate.targets, *one.positions.holdings})) for one in portfolios
    )
    currencies = tuple(dict.fromkeys(one.mandate.currency.code for one in portfolios))
    count = len(portfolios)
    slots = count_slots(max(map(len, symbols), default=1))
    book = WatchedBook(
        columns=np.zeros((count, slots), np.intp),
        present=np.zeros((count, slots), bool),
        units=np.zeros((count, slots)),
        targets=np.zeros((count, slots)),
        cash=np.zeros(count),
        tables=np.array(
            [currencies.index(one.mandate.currency.code) for one in portfolios], np.intp
        ),
        own_prices=np.full((count, slots), np.nan),
        levels=np.array([np.nan if one.peak is None else one.peak.level for one in states]),
        peaks=np.array([np.nan if one.peak is None else one.peak.peak for one in states]),
        values=np.full(count, np.nan),
    )
    for row, one in enumerate(portfolios):
        targets = resolve_or_state(one, market, instruments)
        _fill_row(book, row, one, symbols[row], targets, market, work)
    watched = Watched(book, symbols, currencies)
    values = measure(book, price_tables(watched, market)).values
    return attrs.evolve(watched, book=attrs.evolve(book, values=values))


def _fill_row(
    book: WatchedBook,
    row: int,
    portfolio: ManagedPortfolio,
    symbols: tuple[str, ...],
    targets: Mapping[str, float],
    market: PriceHistory,
    work: UnitOfWork,
) -> None:
    converted = market.in_currency(portfolio.mandate.currency.code)
    held = portfolio.positions.holdings
    columns, withheld = converted.columns, converted.withheld
    lacking = [one for one in held if one not in columns or one in withheld]
    for slot, symbol in enumerate(symbols):
        book.present[row, slot] = True
        book.columns[row, slot] = columns.get(symbol, 0)
        book.units[row, slot] = float(held.get(symbol, 0))
        book.targets[row, slot] = targets.get(symbol, 0.0)
    book.cash[row] = _cash(portfolio, converted)
    if not lacking:
        return
    try:
        valued = value_portfolio(portfolio, market, work)
    except RebalancerError:  # its value is not known
        book.cash[row] = np.nan
        return
    for symbol in lacking:
        price = valued.prices.get(symbol)
        if price is None or price.value is None:
            book.cash[row] = np.nan
        else:
            unit = float(price.value / held[symbol])
            book.own_prices[row, symbols.index(symbol)] = unit


def _cash(portfolio: ManagedPortfolio, market: PriceHistory) -> float:
    """Return the value of the cash of all currencies; NaN without an exchange rate."""
    total = float(portfolio.positions.cash)
    for code, amount in portfolio.positions.foreign_cash.items():
        rate = market.last_rate(code)
        total += np.nan if rate is None else float(amount) * rate
    return total
