"""Checks of closes: jumps that are likelier errors of the data than moves of a price.

A rule is a function on logarithmic changes between successive closes of an asset, and on the
weekdays that each change spans. A change that may be a true move is a warning. An error is one that
hardly any asset has made: from that close on the asset's closes are not used, until one is nearer
to the level before than to the level after.

Nothing here uses a later close than the day on which a finding is known, so that a backtest sees
what an investor could have seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from types import MappingProxyType

import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.market.quality import (
    A_MONTH,
    A_WEEK,
    ERRORS,
    NO_DECISIONS,
    Decisions,
    Finding,
    Rule,
    count_weekdays,
)

TEN_TOLERANCE = 0.1
"""Tolerance of a logarithmic change near a factor of 10: the size of a large daily move."""

UNIT_TOLERANCE = 0.25
"""The same near 100 and 1,000, which no price moves by; covers a crash on the same day."""

SPLIT_TOLERANCE = 0.03
SPLIT_RATIOS = (2, 3, 4, 5, 6, 7, 8, 12)
"""Usual split ratios whose change a price may also make by itself."""

LONG_GAP = 40.0
"""Weekdays without a close after which a symbol may have become that of another asset."""

DRIFT = 0.1
"""A change per root of weekdays, logarithmic, that an asset hardly makes over a long gap."""

SPLIT_SHARE = 0.6
"""Part of a split's change that the adjusted close makes, at least, if the split is missing."""

LARGE = 0.6
"""A change per root of weekdays, logarithmic, that is worth a warning: +82% or -45% in a day.

For up to a month no more than for a week: few prices go up 3.8-fold or fall by 74% in a month."""

SPIKE = 0.3
"""The same for a change that the next close reverts: +35% or -26%."""

REVERTED = 0.2
"""A spike has reverted when at most this share of it is left."""

IMPLAUSIBLE = np.log(15.0)
"""A change from which on a move of the price is implausible: 15-fold, or to a fifteenth."""

MOST_IMPLAUSIBLE = np.log(50.0)
"""The same over any number of weekdays, so that a change of unit is found in monthly closes too."""

Splits = Mapping[str, Mapping[date, float]]
"""New shares per old one of splits by symbol and ex-day, for which closes are adjusted."""

_NO_SPLITS: Splits = MappingProxyType({})


SHORT_LEVEL, SETTLED_LEVEL = 5, 20
"""At the beginning of prices, a level of at most 5 closes was the error if the next level has
lasted 20 closes."""


def is_unit_change(change: Floats) -> Bools:
    """(M,) whether changes are near a factor of 100 or 1,000, up or down."""
    size = np.abs(change)
    near: Bools = np.minimum(np.abs(size - np.log(100.0)), np.abs(size - np.log(1000.0))) <= (
        UNIT_TOLERANCE
    )
    return near


def is_decimal_shift(change: Floats, weekdays: Floats) -> Bools:
    """(M,) whether changes within a week are near a factor of 10, up or down."""
    near: Bools = (np.abs(np.abs(change) - np.log(10.0)) <= TEN_TOLERANCE) & (weekdays <= A_WEEK)
    return near


def is_implausible(change: Floats, weekdays: Floats) -> Bools:
    """(M,) whether changes are larger than a price moves, given the weekdays that they span."""
    least = np.clip(LARGE * np.sqrt(weekdays), IMPLAUSIBLE, MOST_IMPLAUSIBLE)
    larger: Bools = np.abs(change) >= least
    return larger


def is_other_asset(change: Floats, weekdays: Floats) -> Bools:
    """(M,) whether changes over a long gap are larger than an asset moves in that time.

    The gap is longer than `LONG_GAP` weekdays, and than four times the usual interval of the asset.
    The change is three-fold at least, and larger over more than half a year.
    """
    gap = max(LONG_GAP, 4.0 * float(np.median(weekdays))) if len(weekdays) else LONG_GAP
    least = np.maximum(np.log(3.0), DRIFT * np.sqrt(weekdays))
    other: Bools = (weekdays > gap) & (np.abs(change) >= least)
    return other


def is_split_missing(change: Floats, ratios: Floats) -> Bools:
    """(M,) whether adjusted closes change as if a split were not in the closes as traded.

    Args:
        change: Logarithmic changes of adjusted closes.
        ratios: New shares per old one of a split on the day after the change; 1 without one.
    """
    expected = np.log(ratios)
    missing: Bools = (np.abs(expected) >= SPIKE) & (
        np.abs(change - expected) < (1.0 - SPLIT_SHARE) * np.abs(expected)
    )
    return missing


def is_large(change: Floats, weekdays: Floats) -> Bools:
    """(M,) whether changes deserve a warning, given the weekdays that they span."""
    counted = np.where(weekdays <= A_MONTH, np.clip(weekdays, 1.0, A_WEEK), weekdays)
    large: Bools = np.abs(change) >= LARGE * np.sqrt(counted)
    return large


def is_split_ratio(change: Floats, weekdays: Floats) -> Bools:
    """(M,) whether large changes within a week are near a usual split ratio, up or down."""
    size = np.abs(change)[:, None]
    near = (np.abs(size - np.log(SPLIT_RATIOS)) <= SPLIT_TOLERANCE).any(axis=1)
    usual: Bools = near & is_large(change, weekdays) & (weekdays <= A_WEEK)
    return usual


def is_spike(change: Floats, weekdays: Floats) -> Bools:
    """(M,) whether changes are reverted by the next one; the last one is never."""
    found = np.zeros(len(change), dtype=bool)
    left = np.abs(change[1:] + change[:-1])
    least = SPIKE * np.sqrt(np.maximum(weekdays[:-1], 1.0))
    size = np.abs(change[:-1])
    found[:-1] = (size >= least) & (left <= REVERTED * size)
    return found


def check_closes(
    symbols: Sequence[str],
    days: Dates,
    closes: Floats,
    *,
    accepted: Collection[str] = (),
    decisions: Decisions = NO_DECISIONS,
    splits: Splits = _NO_SPLITS,
) -> tuple[Bools | None, tuple[Finding, ...]]:
    """Check the closes of N assets.

    Args:
        symbols: N symbols.
        days: Shape (T,), increasing.
        closes: Shape (T, N), as reported, NaN where missing.
        accepted: Symbols whose jumps are true; they are not checked.
        decisions: Days on which an operator accepted a change.
        splits: Splits that the closes are adjusted for.

    Returns:
        (T, N) closes that an error makes unusable, None if there are none; and the findings, by
        asset and day.
    """
    weekdays = count_weekdays(days)
    unusable: Bools | None = None
    findings: list[Finding] = []
    for column in _columns_with_jumps(closes).tolist():
        symbol = symbols[column]
        if symbol in accepted:
            continue
        rows = np.flatnonzero(~np.isnan(closes[:, column]))
        spoilt, found = _check_asset(
            symbol,
            days[rows],
            closes[rows, column],
            weekdays[rows],
            decisions.accepted.get(symbol, frozenset()),
            splits.get(symbol, {}),
        )
        findings += found
        if spoilt.any():
            if unusable is None:
                unusable = np.zeros(closes.shape, dtype=bool)
            unusable[rows[spoilt], column] = True
    return unusable, tuple(findings)


def _columns_with_jumps(closes: Floats) -> Rows:
    """Return the columns with a change that any rule may find."""
    found = np.zeros(closes.shape[1], dtype=bool)
    with np.errstate(invalid="ignore"):
        ratios = closes[1:] / closes[:-1]
        found |= ((ratios >= _UP) | (ratios <= _DOWN)).any(axis=0)
    for column in np.flatnonzero(found | np.isnan(closes).any(axis=0)).tolist():
        own = closes[:, column]
        largest = np.abs(np.diff(np.log(own[~np.isnan(own)])))
        found[column] = (largest >= SPIKE).any()
    return np.flatnonzero(found)


_UP, _DOWN = np.exp(SPIKE) * (1.0 - 1e-9), np.exp(-SPIKE) * (1.0 + 1e-9)
"""Ratios of closes that may be a change of `SPIKE`, which logarithms then decide."""


def _check_asset(
    symbol: str,
    days: Dates,
    closes: Floats,
    weekdays: Floats,
    accepted: frozenset[date] = frozenset(),
    splits: Mapping[date, float] = MappingProxyType({}),
) -> tuple[Bools, list[Finding]]:
    """Check one asset: (M,) unusable closes, and findings by day, given M closes.

    A change on an accepted day is none.
    """
    spoilt = np.zeros(len(closes), dtype=bool)
    findings: list[Finding] = []

    def found(rule: Rule, before: int, at: int, known: int, until: int | None = None) -> Finding:
        return Finding(
            symbol=symbol,
            rule=rule,
            day=days[at].item(),
            known=days[known].item(),
            last_day=days[before].item(),
            before=float(closes[before]),
            after=float(closes[at]),
            until=None if until is None else days[until].item(),
        )

    logs = np.log(closes)
    change, span = np.diff(logs), np.diff(weekdays)
    masks = {
        Rule.SPLIT_NOT_IN_PRICES: is_split_missing(change, _ratios_of(days, splits)),
        Rule.UNIT_CHANGE: is_unit_change(change),
        Rule.DECIMAL_SHIFT: is_decimal_shift(change, span),
        Rule.TICKER_REUSED: is_other_asset(change, span),
        Rule.IMPLAUSIBLE_MOVE: is_implausible(change, span),
    }
    true = np.zeros(len(closes), dtype=bool)
    if accepted:
        true = np.isin(days, np.array(sorted(accepted), dtype="datetime64[D]"))
    wrong = np.append(False, np.logical_or.reduce(list(masks.values()))) & ~true
    settled = -1  # the close from which on a new level is used
    start = 1
    while start < len(wrong) and wrong[start:].any():
        at = start + int(np.argmax(wrong[start:]))
        rule = next(each for each in ERRORS if masks[each][at - 1])
        level, jump = logs[at - 1], abs(float(change[at - 1]))
        back = np.abs(logs[at:] - level) < jump / 2
        until = at + int(np.argmax(back)) if back.any() else None
        new_level = at + SETTLED_LEVEL - 1
        if at <= SHORT_LEVEL and new_level < len(closes) and (until is None or until > new_level):
            until = settled = new_level
        findings.append(found(rule, at - 1, at, at, until))
        spoilt[at:until] = True
        if until is None:
            break
        start = until + 1
    used = np.flatnonzero(~spoilt)
    change, span = np.diff(logs[used]), np.diff(weekdays[used])
    if settled >= 0:
        change[np.searchsorted(used, settled) - 1] = 0.0  # reported already
    spike, large = is_spike(change, span), is_large(change, span)
    true_moves = true[used][1:]
    split = is_split_ratio(change, span)
    way_back = -1
    for at in np.flatnonzero(large | spike).tolist():
        if at == way_back:
            continue
        way_back = at + 1 if spike[at] else way_back
        if true_moves[at]:
            continue
        rule = Rule.SPLIT_RATIO if split[at] else Rule.LARGE_MOVE if large[at] else Rule.SPIKE
        known = used[at + 1 if large[at] else at + 2]
        until = used[at + 2] if spike[at] else None
        findings.append(found(rule, used[at], used[at + 1], known, until))
    return spoilt, sorted(findings, key=lambda one: (one.known, one.day))


def _ratios_of(days: Dates, splits: Mapping[date, float]) -> Floats:
    """Return the new shares per old one of splits from each of M days to the next, (M - 1,)."""
    ratios = np.ones(max(len(days) - 1, 0))
    for day, ratio in splits.items():
        at = int(np.searchsorted(days, np.datetime64(day, "D"))) - 1
        if 0 <= at < len(ratios):
            ratios[at] *= ratio
    return ratios
