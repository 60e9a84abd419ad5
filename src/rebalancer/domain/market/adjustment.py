"""Adjust closes for corporate actions on reading, and undo an adjustment that a file brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.market.actions import (
    DISTRIBUTIONS,
    ActionKind,
    Actions,
    CorporateAction,
)

ValuePerShare = Callable[[CorporateAction, int], float]
"""Returns what a distribution or a spin-off is worth per share held before the ex-day, in the
currency of the asset's price, given the row of the ex-day; NaN if that is unknown."""


@attrs.frozen
class _ExDay:
    """What happens to one share on an ex-day, whose row is the first one at or after it.

    Attributes:
        before: Row of the last close before that row.
        split: New shares per old one.
        paid: Value that leaves the price, per old share.
    """

    row: int
    before: int
    split: float
    paid: float


def growth_factors(
    days: Dates,
    closes: Floats,
    actions: Sequence[CorporateAction],
    value_per_share: ValuePerShare,
) -> Floats | None:
    """Return the growth of one share as traded, by reinvested distributions and splits, (T,).

    The total-return series is ``closes * growth``. It begins with 1 and changes on ex-days alone.
    On an ex-day without a close of its own, the close is taken to be the last one less the
    distribution, divided by the split.

    Args:
        days: (T,) increasing.
        closes: (T,) as traded, NaN where missing.
        actions: Of the asset, by ex-day.
        value_per_share: See `ValuePerShare`.

    Returns:
        None if no action has an effect.
    """
    factors = np.ones(len(days))
    for event in _ex_days(days, closes, actions, value_per_share):
        close = float(closes[event.row])
        if close != close:
            close = (float(closes[event.before]) - event.paid) / event.split
        # ``paid`` is per old share, which has become ``split`` new ones.
        factor = event.split * (1.0 + event.paid / (event.split * close)) if close > 0 else 1.0
        factors[event.row] *= factor
    if (factors == 1.0).all():
        return None
    growth: Floats = np.multiply.accumulate(factors)
    return growth


def undo_adjustment(
    days: Dates,
    closes: Floats,
    actions: Sequence[CorporateAction],
    value_per_share: ValuePerShare,
) -> Floats:
    """Return closes as traded from adjusted ones, (T,).

    Sources adjust backwards from the last close: a split divides the closes before it, and a
    distribution multiplies them by ``1 - value / last close before the ex-day``. A split is taken
    to be in the closes unless they themselves change by it on the ex-day. Prices that change have
    14 digits, so that 50.63 does not become 50.63000000000001.

    Args:
        days: (T,) increasing.
        closes: (T,) adjusted, NaN where missing.
        actions: Of the asset, by ex-day.
        value_per_share: See `ValuePerShare`.
    """
    traded = closes.copy()
    for event in reversed(_ex_days(days, closes, actions, value_per_share)):
        last = traded[event.before]
        split = event.split
        if split != 1.0 and not holds_split(closes, event.row, split):
            split = 1.0
        true = last * split + event.paid
        if true > 0 and last > 0:
            traded[: event.row] *= true / last
    changed = (traded != closes) & ~np.isnan(traded)
    traded[changed] = _round_digits(traded[changed])
    return traded


def _round_digits(values: Floats) -> Floats:
    """Return positive values, rounded to 14 significant digits."""
    decimals = _DIGITS - 1 - np.floor(np.log10(values))
    up, down = 10.0 ** np.maximum(decimals, 0), 10.0 ** np.maximum(-decimals, 0)
    rounded: Floats = np.rint(values * up / down) / up * down
    return rounded


_DIGITS = 14


def adjust_backwards(
    days: Dates,
    traded: Floats,
    actions: Sequence[CorporateAction],
    value_per_share: ValuePerShare,
) -> Floats:
    """Return adjusted closes from closes as traded, (T,), as sources adjust them.

    The inverse of `undo_adjustment`; the last close stays.

    Args:
        days: (T,) increasing.
        traded: (T,) as traded, NaN where missing.
        actions: Of the asset, by ex-day.
        value_per_share: See `ValuePerShare`.
    """
    adjusted = traded.copy()
    for event in _ex_days(days, traded, actions, value_per_share):
        true = traded[event.before]
        last = (true - event.paid) / event.split
        if true > 0 and last > 0:
            adjusted[: event.row] *= last / true
    return adjusted


def holds_split(closes: Floats, row: int, split: float) -> bool:
    """Return whether adjusted closes, shape (T,), include a split with its ex-day at a row.

    They do unless they change by about its ratio there.
    """
    before = np.flatnonzero(~np.isnan(closes[:row]))
    after = np.flatnonzero(~np.isnan(closes[row:]))
    if not len(before) or not len(after):
        return True
    change = np.log(closes[row + after[0]] / closes[before[-1]])
    return bool(abs(change) <= abs(change + np.log(split)))


def _ex_days(
    days: Dates,
    closes: Floats,
    actions: Sequence[CorporateAction],
    value_per_share: ValuePerShare,
) -> list[_ExDay]:
    """Return the actions that change the price, by row.

    Those outside of the days, and those before the first close, do not count.
    """
    priced = [each for each in actions if each.kind in DISTRIBUTIONS or each.kind in _PRICED]
    rows = np.searchsorted(days, np.array([one.ex_day for one in priced], dtype="datetime64[D]"))
    known = np.flatnonzero(~np.isnan(closes))
    earlier = np.searchsorted(known, rows).tolist()
    found = []
    given = zip(rows.tolist(), earlier, priced, strict=True)
    for (row, count), group in groupby(sorted(given, key=_place), key=_place):
        if not 0 < row < len(days) or not count:
            continue
        split, paid = 1.0, 0.0
        for _, _, action in group:
            if action.kind is ActionKind.SPLIT:
                split *= float(action.value)
                continue
            value = value_per_share(action, row)
            if value == value:
                paid += value
        found.append(_ExDay(row, int(known[count - 1]), split, paid))
    return found


_place = itemgetter(0, 1)
"""Row of an action, and number of closes before it."""

_PRICED = frozenset({ActionKind.SPLIT, ActionKind.SPIN_OFF})


def splice_renamed(
    symbols: Sequence[str], days: Dates, closes: Floats, renames: Sequence[CorporateAction]
) -> tuple[tuple[str, ...], Floats, tuple[CorporateAction, ...]]:
    """Return symbols and closes in which a new symbol goes on from the closes of its old one.

    And the renames by which one does.

    The old symbol has no closes from the ex-day on. A new symbol with closes of its own before the
    ex-day keeps them: another asset had it then.

    Args:
        symbols: N symbols.
        days: (T,) increasing.
        closes: (T, N), NaN where missing.
        renames: Changes of symbols, by ex-day.
    """
    names = list(symbols)
    table, spliced = closes, []
    for rename in renames:
        assert rename.other is not None
        if rename.symbol not in names:
            continue
        earlier = days < np.datetime64(rename.ex_day, "D")
        old = names.index(rename.symbol)
        if np.isnan(table[earlier, old]).all():
            continue
        table = table.copy(order="K") if table is closes else table
        if rename.other not in names:
            names.append(rename.other)
            table = np.vstack([table.T, np.full(len(days), np.nan)]).T
        new = names.index(rename.other)
        if np.isnan(table[earlier, new]).all():
            table[earlier, new] = table[earlier, old]
            later = ~earlier & np.isnan(table[:, new])
            table[later, new] = table[later, old]
            table[~earlier, old] = np.nan
            spliced.append(rename)
    return tuple(names), table, tuple(spliced)


def carry_actions(
    actions: Actions, spliced: Sequence[CorporateAction], unit_of: Callable[[str], str]
) -> Actions:
    """Return actions in which those of an old symbol also count for the closes of the new one.

    So do those of the day of the rename. An action that both symbols have counts once.

    Args:
        actions: As known.
        spliced: Renames by which a new symbol goes on from an old one, by ex-day.
        unit_of: Returns the quote unit of an asset.
    """
    if not spliced:
        return actions
    carried = {one.key: one for one in actions}
    for rename in spliced:
        assert rename.other is not None
        known = {(one.ex_day, one.kind) for one in carried.values() if one.symbol == rename.other}
        for one in list(carried.values()):
            priced = one.kind in DISTRIBUTIONS or one.kind in _PRICED
            if one.symbol != rename.symbol or one.ex_day > rename.ex_day or not priced:
                continue
            if (one.ex_day, one.kind) in known:
                continue
            paid = one.currency
            if paid is None and one.kind in DISTRIBUTIONS:
                paid = unit_of(one.symbol)
            moved = attrs.evolve(one, symbol=rename.other, currency=paid)
            carried[moved.key] = moved
    return Actions.of(carried.values())
