"""Prices for one portfolio: those of the market, and what its ledger knows beyond them.

A split or a distribution that a ledger records counts as a corporate action of its asset if the
market lacks it. Closes that come adjusted then give the right prices as traded: those at
which the trades were made. So income counts once, whatever the order in which closes are restated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal, localcontext

import attrs
import numpy as np

from rebalancer.domain.market.actions import DISTRIBUTIONS, INFERRED, ActionKind, CorporateAction
from rebalancer.domain.market.adjustment import (
    ValuePerShare,
    adjust_backwards,
    growth_factors,
    undo_adjustment,
)
from rebalancer.domain.market.currencies import quote_unit
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import Finding
from rebalancer.domain.market.quotes import Quotes
from rebalancer.domain.portfolio.action_reviews import (
    LEAST_PART,
    MOST_PART,
    PAID_WITHIN,
    SPLIT_WITHIN,
)
from rebalancer.domain.portfolio.entries import Entry, EntryKind, move_units, same_ratio
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.ledger_prices import fill_from_ledger, first_row_from

_ZERO = Decimal(0)
_DIGITS = 60

_KINDS = {
    EntryKind.SPLIT: ActionKind.SPLIT,
    EntryKind.DIVIDEND: ActionKind.DIVIDEND,
    EntryKind.RETURN_OF_CAPITAL: ActionKind.RETURN_OF_CAPITAL,
    EntryKind.SPIN_OFF: ActionKind.SPIN_OFF,
}
"""Kinds of entries that may stand for a corporate action."""


def own_prices(
    market: PriceHistory, ledger: Ledger, currency: str, symbols: Iterable[str] = ()
) -> PriceHistory:
    """Return the prices of the market in a portfolio's currency, as its ledger completes them.

    Assets without a close have the prices of the ledger, see `fill_from_ledger`. Splits, dividends
    and spin-offs that only the ledger knows count as corporate actions, see `own_actions`: prices
    as traded are derived from adjusted closes with them, and total returns include them.

    Args:
        market: In any currencies, or in the portfolio's.
        ledger: Of the portfolio.
        currency: ISO 4217 code of the portfolio's base currency.
        symbols: Further assets that need a column.

    Returns:
        The same object as ``market.in_currency(currency)`` if the ledger adds nothing.
    """
    filled = fill_from_ledger(market.in_currency(currency), ledger, symbols)
    found = own_actions(filled, ledger, currency)
    if not found:
        return filled
    quotes = filled.quotes
    if quotes is None:
        quotes = Quotes(None, (currency,) * len(filled.symbols), currency=currency)
    prices, closes = filled.traded.copy(), filled.closes.copy()
    for symbol, own in found.items():
        column = filled.columns[symbol]
        known = quotes.actions.by_symbol.get(symbol, ())
        value = _value_per_share(filled, quotes, column)
        kept = [
            one
            for one in known
            if not any(
                _dates(action, one) and _is_like(action, one, filled, value) for action in own
            )
        ]
        every = sorted((*kept, *own), key=lambda action: action.ex_day)
        price = filled.traded[:, column]
        if symbol in quotes.adjusted:
            adjusted = adjust_backwards(filled.dates, price, known, value)
            price = undo_adjustment(filled.dates, adjusted, every, value)
        elif filled.quotes is None:  # a split may be in the closes or not
            splits = [one for one in own if one.kind is ActionKind.SPLIT]
            price = undo_adjustment(filled.dates, price, splits, value)
        growth = growth_factors(filled.dates, price, every, value)
        prices[:, column] = price
        closes[:, column] = price if growth is None else price * growth
        if quotes.rates is not None:
            closes[:, column] *= quotes.rates[:, column]
    for table in (prices, closes):
        table.setflags(write=False)
    return attrs.evolve(
        filled,
        closes=closes,
        reported=None,
        all_findings=_unexplained(filled, found),
        quotes=attrs.evolve(quotes, prices=prices),
    )


def _unexplained(
    market: PriceHistory, own: Mapping[str, Sequence[CorporateAction]]
) -> tuple[Finding, ...]:
    """Return the findings without the jumps that are splits of the ledger."""
    explained = {
        (symbol, first_row_from(market.dates, action.ex_day))
        for symbol, actions in own.items()
        for action in actions
        if action.kind is ActionKind.SPLIT
    }
    return tuple(
        one
        for one in market.all_findings
        if (one.symbol, first_row_from(market.dates, one.day)) not in explained
    )


def select_assets(market: PriceHistory, symbols: Iterable[str]) -> PriceHistory:
    """Return the same rows of the assets that the market has, and of those that these spin off.

    A market of thousands of assets would otherwise be copied for the prices of a few. If it has
    none of them, its first asset is returned.
    """
    actions = {} if market.quotes is None else market.quotes.actions.by_symbol
    wanted = dict.fromkeys(symbols)
    for symbol in [*wanted]:
        wanted |= dict.fromkeys(one.other for one in actions.get(symbol, ()) if one.other)
    known = [symbol for symbol in wanted if symbol in market.columns]
    return market.select(known or market.symbols[:1])


def own_actions(
    market: PriceHistory, ledger: Ledger, currency: str
) -> dict[str, tuple[CorporateAction, ...]]:
    """Return the corporate actions that a ledger records and the market does not have, by symbol.

    The market does not have the day of an inferred one, which the ledger may know better.

    A distribution is worth its amount before tax per unit that the portfolio held at the start of
    its day. One without any such units counts as money alone.

    Args:
        market: With a column for each asset of the ledger.
        ledger: Of the portfolio.
        currency: ISO 4217 code of entries without one.
    """
    found: dict[tuple[str, ActionKind], list[CorporateAction]] = {}
    holdings: dict[str, Decimal] = {}
    with localcontext(prec=_DIGITS):
        for _, entries in ledger.by_day():
            before = dict(holdings)
            for entry in entries:
                move_units(holdings, entry)
                action = _as_action(entry, before, currency)
                if action is not None and action.symbol in market.columns:
                    found.setdefault((action.symbol, action.kind), []).append(action)
    missing: dict[str, list[CorporateAction]] = {}
    for (symbol, _), actions in found.items():
        known = () if market.quotes is None else market.quotes.actions.by_symbol.get(symbol, ())
        value = _value_per_share(market, market.quotes, market.columns[symbol])
        for action in _merge_days(actions):
            alike = [one for one in known if _is_like(action, one, market, value)]
            if all(_dates(action, one) for one in alike):
                missing.setdefault(symbol, []).append(action)
    return {symbol: tuple(actions) for symbol, actions in missing.items()}


def _as_action(entry: Entry, before: dict[str, Decimal], currency: str) -> CorporateAction | None:
    """Return the corporate action that an entry stands for; None for other entries."""
    kind = _KINDS.get(entry.kind)
    if kind is None or entry.symbol is None:
        return None
    if kind in DISTRIBUTIONS:
        units = before.get(entry.symbol, _ZERO)
        if not units > 0:
            return None
        paid = entry.currency or currency
        return CorporateAction(entry.symbol, entry.on, kind, entry.amount / units, currency=paid)
    assert entry.ratio is not None
    return CorporateAction(entry.symbol, entry.on, kind, entry.ratio, other=entry.other)


def _merge_days(actions: Sequence[CorporateAction]) -> list[CorporateAction]:
    """Return actions of one kind with those of the same day and currency as one."""
    merged: dict[object, CorporateAction] = {}
    for action in actions:
        key = (action.ex_day, action.currency, action.other)
        earlier = merged.get(key)
        if earlier is None:
            merged[key] = action
        elif action.kind in DISTRIBUTIONS:
            merged[key] = attrs.evolve(action, value=earlier.value + action.value)
        else:
            merged[key] = attrs.evolve(action, value=earlier.value * action.value)
    return list(merged.values())


def _is_like(
    action: CorporateAction, known: CorporateAction, market: PriceHistory, value: ValuePerShare
) -> bool:
    """Return whether an action of the market is that of its owner: of that day, or taken for it.

    Owners record a split some days off, and a dividend on its payment day, perhaps after taxes.
    """
    if action.kind is not known.kind and not {action.kind, known.kind} <= DISTRIBUTIONS:
        return False
    row = first_row_from(market.dates, action.ex_day)
    at = first_row_from(market.dates, known.ex_day)
    if at == row:
        return True
    later = action.ex_day - known.ex_day
    if action.kind not in DISTRIBUTIONS:
        return abs(later) <= SPLIT_WITHIN and same_ratio(action.value, known.value)
    if not timedelta(0) <= later <= PAID_WITHIN:
        return False
    rows = [min(one, len(market) - 1) for one in (row, at)]
    ours, theirs = value(action, rows[0]), value(known, rows[1])
    return float(LEAST_PART) * theirs <= ours <= float(MOST_PART) * theirs


def _dates(action: CorporateAction, known: CorporateAction) -> bool:
    """Return whether an owner's action states the day of an inferred one, which is too early."""
    return known.source.startswith(INFERRED) and action.ex_day > known.ex_day


def _value_per_share(market: PriceHistory, quotes: Quotes | None, column: int) -> ValuePerShare:
    """Return what an action is worth per share of an asset, in the currency of its price."""

    def value(action: CorporateAction, row: int) -> float:
        amount = float(action.value)
        if action.kind is ActionKind.SPIN_OFF:
            other = market.columns.get(action.other or "")
            if other is None:
                return float("nan")
            prices = market.traded[row:, other]
            known = prices[~np.isnan(prices)]
            amount *= float(known[0]) if len(known) else float("nan")
            paid = None if quotes is None else quotes.currencies[other]
        else:
            paid = action.currency
        if quotes is None or paid is None:
            return amount
        unit, target = quote_unit(paid), quotes.currencies[column]
        if unit.currency == target:
            return amount / unit.divisor
        rates = quotes.exchange.convert(unit.currency, target, market.dates[row : row + 1])
        return float("nan") if rates is None else amount / unit.divisor * float(rates.rates[0])

    return value


def adjustment_note(market: PriceHistory, symbols: Collection[str]) -> str | None:
    """Return a caution about held assets whose splits and dividends the market does not know.

    These are assets with adjusted closes for which the market has no corporate action at all.
    None without such assets.
    """
    if market.quotes is None:
        return None
    quotes = market.quotes
    unknown = sorted(
        symbol
        for symbol in symbols
        if symbol in quotes.adjusted and symbol not in quotes.actions.by_symbol
    )
    if not unknown:
        return None
    named = ", ".join(unknown[:_NAMED])
    more = len(unknown) - _NAMED
    return (
        f"Splits and dividends of {named}{f' and {more} more' if more > 0 else ''} are known only "
        "as far as the ledger records them: their prices are adjusted closes alone."
    )


_NAMED = 3
"""Most assets that a caution names."""
