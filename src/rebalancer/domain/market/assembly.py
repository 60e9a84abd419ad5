"""Assemble a price history from stored bars, corporate actions, instruments and exchange rates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from hashlib import sha256

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.action_quality import find_huge
from rebalancer.domain.market.actions import (
    DISTRIBUTIONS,
    ENDINGS,
    NO_ACTIONS,
    ActionKind,
    Actions,
    CorporateAction,
    inherit_instruments,
)
from rebalancer.domain.market.adjustment import (
    ValuePerShare,
    carry_actions,
    growth_factors,
    splice_renamed,
    undo_adjustment,
)
from rebalancer.domain.market.close_quality import check_closes
from rebalancer.domain.market.currencies import (
    NO_RATES,
    ExchangeRates,
    RateSeries,
    divide_quotes,
    is_rate_symbol,
    quote_unit,
    rate_currencies,
)
from rebalancer.domain.market.gaps import history_of, judge_by_sessions
from rebalancer.domain.market.history_tables import (
    OpenTables,
    TablesInMemory,
    join_histories,
)
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import NO_DECISIONS, Decisions
from rebalancer.domain.market.quotes import Quotes
from rebalancer.domain.market.sessions import Sessions


@attrs.frozen
class PricingTerms:
    """What turns closes into prices of shares.

    Attributes:
        currency: ISO 4217 code of assets whose currency is not stated.
        instruments: Currencies and quote units of the assets.
        exchange: Exchange rates besides those among the prices.
        accepted: Symbols whose jumps are true, see `rebalancer.domain.market.close_quality`.
        sessions: Sessions of the instruments' markets, as far as they are known.
        certain: Whether ``currency`` is known to be that of the prices, not just a default.
        decisions: Closes and actions on which operators decided.
        latest: Closes of later days are not used, but for assets with an accepted one; None: all.
    """

    currency: str
    instruments: Instruments = attrs.field(factory=Instruments)
    exchange: ExchangeRates = NO_RATES
    accepted: Collection[str] = ()
    sessions: Sessions = attrs.field(factory=dict)
    certain: bool = False
    decisions: Decisions = NO_DECISIONS
    latest: date | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the terms besides instruments, decisions and the latest day.

        Of the sessions, only those up to the end of the year of the latest day count, as calendars
        know one more on each day.
        """
        parts = (self.currency, sorted(self.accepted), self.certain, self.exchange.digest)
        sha = sha256(repr(parts).encode())
        for market, days in sorted(self.sessions.items()):
            if self.latest is not None:
                days = days[days <= np.datetime64(date(self.latest.year, 12, 31), "D")]
            sha.update(repr((market, len(days))).encode())
            sha.update(np.ascontiguousarray(days.astype("<i8")).tobytes())
        return sha.hexdigest()

    def first_after_latest(self, days: Dates) -> date | None:
        """Return the first of some days, which increase, that is after the latest one."""
        if self.latest is None:
            return None
        later = days[np.searchsorted(days, np.datetime64(self.latest, "D"), side="right") :]
        return later[0].item() if len(later) else None

    def unit_of(self, symbol: str) -> str:
        """Return the code of an asset's quote unit."""
        listed = self.instruments.by_symbol.get(symbol)
        return self.currency if listed is None else listed.currency or self.currency

    def assumed(self, symbols: Sequence[str]) -> frozenset[str]:
        """Return the symbols whose currency is not stated."""
        if self.certain:
            return frozenset()
        return frozenset(one for one in symbols if self.instruments[one].currency is None)

    def sessions_of(self, symbols: Sequence[str]) -> list[Dates | None] | None:
        """Return the sessions of each asset's market; None if none are known."""
        if not self.sessions:
            return None
        return [self.sessions.get(self.instruments[symbol].market or "") for symbol in symbols]


US_DOLLARS = PricingTerms("USD")
"""Terms of prices in US dollars alone."""


def assemble_history(
    symbols: Sequence[str],
    days: Dates,
    closes: Floats,
    terms: PricingTerms,
    *,
    actions: Actions = NO_ACTIONS,
    adjusted: Collection[str] = (),
    open_tables: OpenTables = TablesInMemory,
) -> PriceHistory | None:
    """Return the history of stored closes; None without any close of an asset.

    Args:
        symbols: N symbols, exchange rates among them.
        days: (T,) increasing.
        closes: (T, N) as they are stored, as traded or adjusted; NaN where missing.
        terms: Currencies and exchange rates.
        actions: Corporate actions, as known.
        adjusted: Symbols whose closes are adjusted for splits and distributions.
        open_tables: Returns where the tables of a large history are collected, by numbers of rows
            and columns.
    """
    exchange = terms.exchange
    closes = terms.decisions.without_rejected(symbols, days, closes)
    every_day = days
    days, closes = _until(tuple(symbols), days, closes, terms)
    pairs = [at for at, symbol in enumerate(symbols) if is_rate_symbol(symbol)]
    if pairs:
        exchange = _rates_of(symbols, days, closes, pairs, terms).with_fallback(exchange)
    renames = [one for one in actions if one.kind is ActionKind.RENAME]
    every, closes, spliced = splice_renamed(symbols, days, closes, renames)
    terms = attrs.evolve(terms, instruments=inherit_instruments(terms.instruments, renames))
    left = set(pairs)
    places = np.array([at for at in range(len(every)) if at not in left], dtype=np.intp)
    names = tuple(every[at] for at in places.tolist())
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(names), _BLOCK)]

    def closes_of(block: slice) -> Floats:
        return closes.T[places[block]].T if pairs else closes[:, block]

    priced = np.zeros(len(days), dtype=bool)
    for block in blocks:
        priced |= (~np.isnan(closes_of(block))).any(axis=1)
    if not priced.any():
        return None
    columns = dict(zip(names, places.tolist(), strict=True))
    actions = _plausible(columns, days, closes, terms, exchange, actions, adjusted)
    own_actions = carry_actions(actions, spliced, terms.unit_of)
    splits = _splits(own_actions, adjusted)

    def value_of(symbol: str) -> ValuePerShare:
        return _value_per_share(symbol, days, closes, columns, terms, exchange)

    def assembled(block: slice) -> PriceHistory:
        some, table = names[block], closes_of(block)
        total, grown = _adjust(some, days, table, value_of, own_actions, adjusted)
        if not priced.all():
            total = total[priced]
            grown = [one.on_rows(priced) for one in grown]
        history = history_of(
            some,
            days[priced],
            total,
            accepted=terms.accepted,
            sessions=terms.sessions_of(some),
            every_day=True,
            decisions=terms.decisions,
            splits=splits,
        )
        history = _end(history, actions)
        return _scale(history, _traded_prices(history, grown), terms)

    parts = (assembled(block) for block in blocks)
    if len(blocks) == 1:
        history = next(parts)
    else:
        history = join_histories(parts, open_tables(int(priced.sum()), len(names)))
    quotes = _quotes(history.symbols, terms, history.quotes, exchange, actions, adjusted)
    hidden = terms.first_after_latest(every_day)
    return attrs.evolve(history, quotes=quotes, hidden_from=hidden)


def _end(history: PriceHistory, actions: Actions) -> PriceHistory:
    """Return a history in which no close is carried past a delisting or a rename."""
    if history.carried is None:
        return history
    closes, carried = history.closes, history.carried
    for action in actions:
        column = history.columns.get(action.symbol)
        if action.kind not in ENDINGS or column is None:
            continue
        start = int(np.searchsorted(history.dates, np.datetime64(action.ex_day, "D")))
        own = np.flatnonzero(history.observed[start:, column])
        ended = slice(start, start + int(own[0]) if len(own) else None)
        if carried[ended, column].any():
            if closes is history.closes:
                closes, carried = closes.copy(order="K"), carried.copy(order="K")
            closes[ended, column], carried[ended, column] = np.nan, False
    if closes is history.closes:
        return history
    closes.setflags(write=False)
    carried.setflags(write=False)
    return attrs.evolve(history, closes=closes, carried=carried)


_BLOCK = 64
"""Columns that are assembled together, so that temporary arrays fit into a processor's cache."""


def _rates_of(
    symbols: Sequence[str],
    days: Dates,
    closes: Floats,
    columns: Sequence[int],
    terms: PricingTerms,
) -> ExchangeRates:
    """Return the exchange rates in some columns of a table (T, N), without those that are wrong.

    They are checked like closes, so that a slipped decimal point or another unit does not count.
    """
    names, table = [symbols[column] for column in columns], closes[:, list(columns)]
    wrong, findings = check_closes(
        names, days, table, accepted=terms.accepted, decisions=terms.decisions
    )
    used = table if wrong is None else np.where(wrong, np.nan, table)
    series = []
    for at, name in enumerate(names):
        pair = rate_currencies(name)
        assert pair is not None
        known = ~np.isnan(used[:, at])
        series.append(RateSeries(*pair, days[known], used[known, at]))
    return ExchangeRates.of(series, findings)


def quote_history(
    history: PriceHistory,
    terms: PricingTerms,
    *,
    exchange: ExchangeRates = NO_RATES,
    actions: Actions = NO_ACTIONS,
    prices: Floats | None = None,
    adjusted: Collection[str] | None = None,
) -> PriceHistory:
    """Return a history with quotes: prices in pence become pounds, each asset has its currency.

    Exchange rates among the assets become rates, and leave the assets; days on which nothing
    else has a close are left out. A distribution whose currency is not stated is in the quote unit
    of its asset, and states it in the quotes.

    Args:
        history: Total-return closes in quote units.
        terms: Currencies and exchange rates.
        exchange: Rates that come first.
        actions: Corporate actions of the assets.
        prices: (T, N) as traded, in quote units; None: the closes.
        adjusted: Symbols whose closes come adjusted for splits and distributions; None: all.
    """
    pairs = [symbol for symbol in history.symbols if is_rate_symbol(symbol)]
    if pairs:
        columns = [history.column(symbol) for symbol in pairs]
        reported = history.reported_closes
        own = _rates_of(history.symbols, history.dates, reported, columns, terms)
        exchange = own.with_fallback(exchange)
        assets = [symbol for symbol in history.symbols if symbol not in pairs]
        if not assets:
            raise InvalidRequest(
                f"{', '.join(pairs)} are exchange rates, which cannot be traded; add prices of "
                "assets",
                field="prices",
                code="no_prices",
            )
        if prices is not None:
            prices = prices[:, [history.column(symbol) for symbol in assets]]
        history = history.select(assets)
        priced: Bools = np.any(~np.isnan(history.reported_closes), axis=1, keepdims=False)
        if not priced.all():
            history = history.on_rows(priced)
            prices = None if prices is None else prices[priced]
    if prices is None:
        history = judge_by_sessions(history, terms.sessions_of(history.symbols))
    history = _scale(history, prices, terms)
    quotes = _quotes(history.symbols, terms, history.quotes, exchange, actions, adjusted)
    return attrs.evolve(history, quotes=quotes)


def _scale(history: PriceHistory, prices: Floats | None, terms: PricingTerms) -> PriceHistory:
    """Return a history and its prices as traded in currencies, from those in quote units.

    Its quotes have only these prices.
    """
    divisors = np.array([quote_unit(terms.unit_of(symbol)).divisor for symbol in history.symbols])
    if (divisors != 1.0).any():
        scaled = divide_quotes(history.closes, divisors)
        scaled.setflags(write=False)
        reported = history.reported
        history = attrs.evolve(
            history,
            closes=scaled,
            reported=None if reported is None else divide_quotes(reported, divisors),
        )
        prices = None if prices is None else divide_quotes(prices, divisors)
    if prices is not None:
        prices.setflags(write=False)
    return attrs.evolve(history, quotes=Quotes(prices, ("",) * len(history.symbols)))


def _quotes(
    symbols: Sequence[str],
    terms: PricingTerms,
    scaled: Quotes | None,
    exchange: ExchangeRates,
    actions: Actions,
    adjusted: Collection[str] | None,
) -> Quotes:
    """Return the quotes of prices that are in currencies; see `quote_history`."""
    return Quotes(
        prices=None if scaled is None else scaled.prices,
        currencies=tuple(quote_unit(terms.unit_of(symbol)).currency for symbol in symbols),
        actions=_state_currencies(actions, terms),
        exchange=exchange.with_fallback(terms.exchange),
        adjusted=frozenset(symbols if adjusted is None else adjusted),
        assumed=terms.assumed(symbols),
        markets=tuple(terms.instruments[symbol].market for symbol in symbols),
        sessions=terms.sessions,
    )


def _state_currencies(actions: Actions, terms: PricingTerms) -> Actions:
    """Return the actions, in which each distribution states its currency or quote unit."""

    def stated(one: CorporateAction) -> CorporateAction:
        if one.currency is not None or one.kind not in DISTRIBUTIONS:
            return one
        return one.in_currency(terms.unit_of(one.symbol))

    found = tuple(map(stated, actions))
    if all(one is before for one, before in zip(found, actions, strict=True)):
        return actions
    return Actions(found, actions.withdrawn)


def _until(
    symbols: tuple[str, ...], days: Dates, closes: Floats, terms: PricingTerms
) -> tuple[Dates, Floats]:
    """Return days and closes without those after the latest day."""
    if terms.latest is None or not len(days):
        return days, closes
    stop = int(np.searchsorted(days, np.datetime64(terms.latest, "D"), side="right"))
    if stop == len(days):
        return days, closes
    later = [
        symbol
        for symbol, accepted in terms.decisions.accepted.items()
        if symbol in symbols and max(accepted) > terms.latest
    ]
    if not later:
        return days[:stop], closes[:stop]
    hidden = [at for at, symbol in enumerate(symbols) if symbol not in later]
    closes = closes.copy(order="K")
    closes[stop:, hidden] = np.nan
    return days, closes


def _plausible(
    columns: Mapping[str, int],
    days: Dates,
    table: Floats,
    terms: PricingTerms,
    exchange: ExchangeRates,
    actions: Actions,
    adjusted: Collection[str],
) -> Actions:
    """Return actions without rejected ones, and without distributions that are errors."""
    decisions = terms.decisions
    wrong = {
        one.key
        for symbol, rejected in decisions.rejected_actions.items()
        for one in actions.by_symbol.get(symbol, ())
        if one.ex_day in rejected
    }
    for symbol, own in actions.by_symbol.items():
        column = columns.get(symbol)
        if column is None or symbol in adjusted or symbol in terms.accepted:
            continue
        value = _value_per_share(symbol, days, table, columns, terms, exchange)
        accepted = decisions.accepted.get(symbol, frozenset())
        found = find_huge(
            days,
            table[:, column],
            own,
            value,
            unit=terms.unit_of(symbol),
            accepted=accepted,
        )
        wrong.update(one.key for one in found)
    return actions.without(wrong)


def _splits(actions: Actions, adjusted: Collection[str]) -> dict[str, dict[date, float]]:
    """Return the splits of assets whose closes are as traded, by symbol and ex-day."""
    found: dict[str, dict[date, float]] = {}
    for one in actions:
        if one.kind is ActionKind.SPLIT and one.symbol not in adjusted:
            own = found.setdefault(one.symbol, {})
            own[one.ex_day] = own.get(one.ex_day, 1.0) * float(one.value)
    return found


@attrs.frozen(eq=False)
class _Grown:
    """Prices as traded of an asset with actions, (T,), and its growth factors, (T,).

    ``column`` is that of its block.
    """

    column: int
    traded: Floats
    factors: Floats

    def on_rows(self, chosen: Bools) -> _Grown:
        """Return some rows; ``chosen`` has shape (T,)."""
        return _Grown(self.column, self.traded[chosen], self.factors[chosen])


def _adjust(
    symbols: Sequence[str],
    days: Dates,
    table: Floats,
    value_of: Callable[[str], ValuePerShare],
    actions: Actions,
    adjusted: Collection[str],
) -> tuple[Floats, list[_Grown]]:
    """Return total-return closes, (T, N), and the assets whose actions have an effect.

    The closes are the given ones if there is no such asset.
    """
    total, grown = table, []
    for column, symbol in enumerate(symbols):
        own = actions.by_symbol.get(symbol)
        if own is None:
            continue
        traded, value = table[:, column], value_of(symbol)
        if symbol in adjusted:
            undone = undo_adjustment(days, traded, own, value)
            if (undone == traded)[~np.isnan(undone)].all():
                continue
            traded = undone
        factors = growth_factors(days, traded, own, value)
        if factors is None:
            continue
        total = table.copy(order="K") if total is table else total
        total[:, column] = traded * factors
        grown.append(_Grown(column, traded, factors))
    return total, grown


def _value_per_share(
    symbol: str,
    days: Dates,
    table: Floats,
    columns: Mapping[str, int],
    terms: PricingTerms,
    exchange: ExchangeRates,
) -> ValuePerShare:
    """Return what an action of an asset is worth per share, in the asset's quote unit."""
    unit = quote_unit(terms.unit_of(symbol))

    def value(action: CorporateAction, row: int) -> float:
        amount = float(action.value)
        if action.kind is ActionKind.SPIN_OFF:
            if action.other is None or action.other not in columns:
                return float("nan")
            closes = table[row:, columns[action.other]]
            known = closes[~np.isnan(closes)]
            amount *= float(known[0]) if len(known) else float("nan")
            paid = quote_unit(terms.unit_of(action.other))
        else:
            paid = quote_unit(action.currency or unit.code)
        if paid.code == unit.code:
            return amount
        rates = exchange.convert(paid.currency, unit.currency, days[row : row + 1])
        if rates is None:
            return float("nan")
        return amount / paid.divisor * float(rates.rates[0]) * unit.divisor

    return value


def _traded_prices(history: PriceHistory, grown: Sequence[_Grown]) -> Floats | None:
    """Return (T, N) prices as traded, also where closes are carried; None if they are the closes.

    Args:
        history: Total-return closes.
        grown: Assets whose actions have an effect, on the rows of the history.
    """
    if not grown:
        return None
    prices = history.closes.copy(order="K")
    for one in grown:
        closes = history.closes[:, one.column]
        inexact = np.isnan(one.traded)
        if history.carried is not None:
            inexact |= history.carried[:, one.column]
        own = np.where(inexact, closes / one.factors, one.traded)
        own[np.isnan(closes)] = np.nan
        prices[:, one.column] = own
    return prices
