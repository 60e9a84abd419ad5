"""Checks of corporate actions against the prices as traded that they should have moved.

On its ex-day a price falls by about what is paid. A large distribution that the price does not show
is likelier a wrong figure than a true one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby

import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.market.actions import DISTRIBUTIONS, ActionKind, CorporateAction
from rebalancer.domain.market.adjustment import ValuePerShare
from rebalancer.domain.market.quality import Decision, Rule, Verdict

HUGE = 0.5
"""Part of the last close from which on a distribution that the price does not show is an error."""

NOTABLE = 0.02
"""Part of the last close from which on a distribution is compared with the fall of the price."""

MISSING = 0.25
"""Part of a distribution that the price may miss without a finding."""

NOISE = 5.0
"""Standard deviations of daily returns that it may miss besides."""

_RECENT = 60
"""Returns before the ex-day from which the standard deviation follows."""

_LARGE_SPLIT = 1.5
"""Ratio from which on distributions before and after a split are compared."""


def is_huge(paid: float, before: float, after: float) -> bool:
    """Return whether a distribution is at least half of the price, which does not fall by half.

    Args:
        paid: Money per share held before the ex-day.
        before: Last close before.
        after: Close of the ex-day, per share held before.
    """
    return paid >= HUGE * before and before - after < 0.5 * min(paid, before)


def is_not_shown(paid: float, before: float, after: float, deviation: float) -> bool:
    """Return whether the price falls by clearly less than a notable distribution.

    As if it included a capital gain that is also listed by itself, or were of another unit.

    Args:
        paid: Money per share held before the ex-day.
        before: Last close before.
        after: Close of the ex-day, per share held before.
        deviation: Standard deviation of daily returns.
    """
    part, fall = paid / before, 1.0 - after / before
    return part >= NOTABLE and part - fall > max(MISSING * part, NOISE * deviation)


def is_not_split(dividend: float, next_dividend: float, ratio: float) -> bool:
    """Return whether dividends around a split look as if one were not stated per its own share.

    Args:
        dividend: Last one before the split.
        next_dividend: First one from the split on.
        ratio: New shares per old one.
    """
    if max(ratio, 1.0 / ratio) < _LARGE_SPLIT:
        return False
    change, expected = np.log(next_dividend / dividend), -np.log(ratio)
    return bool(abs(change) < 0.3 * abs(expected))


def find_huge(
    days: Dates,
    closes: Floats,
    actions: Sequence[CorporateAction],
    value_per_share: ValuePerShare,
    *,
    unit: str | None = None,
    accepted: Collection[date] = (),
) -> list[CorporateAction]:
    """Return the distributions of an asset that are errors, see `is_huge`.

    Args:
        days: (T,) increasing.
        closes: (T,) as traded, NaN where there is none.
        actions: Of the asset, by ex-day.
        value_per_share: See there.
        unit: Quote unit of the closes; None if it is that of distributions without one.
        accepted: Ex-days on which distributions are right.
    """
    paying = [one for one in actions if one.kind in DISTRIBUTIONS]
    if not paying or not len(closes) or np.isnan(closes).all():
        return []
    lowest = float(np.nanmin(closes))
    own = all(one.currency is None or one.currency == unit for one in paying)
    if own and float(max(one.value for one in paying)) < HUGE * lowest:
        return []
    found = []
    ex_days = np.array([action.ex_day for action in paying], dtype="datetime64[D]")
    for row, action in zip(np.searchsorted(days, ex_days).tolist(), paying, strict=True):
        if action.ex_day in accepted:
            continue
        if not 0 < row < len(days):
            continue
        paid = value_per_share(action, row)
        if not paid >= HUGE * lowest:  # most distributions end here; NaN too
            continue
        same_day = [one for one in actions if one.ex_day == action.ex_day]
        prices = _around(closes, row, _ratio_of(same_day))
        if prices is not None and is_huge(paid, *prices):
            found.append(action)
    return found


def check_actions(
    symbol: str,
    days: Dates,
    closes: Floats,
    actions: Sequence[CorporateAction],
    value_per_share: ValuePerShare,
    *,
    known: datetime,
) -> Iterator[Verdict]:
    """Yield findings about the distributions of an asset, as open verdicts.

    Args:
        symbol: The asset.
        days: (T,) increasing.
        closes: (T,) as traded, NaN where there is none.
        actions: Of the asset, by ex-day.
        value_per_share: See there.
        known: When they are made.
    """
    before_split: dict[str, CorporateAction] = {}
    ratio = 1.0
    for ex_day, group in groupby(actions, key=lambda one: one.ex_day):
        today = list(group)
        split = _ratio_of(today)
        ratio *= split
        paid = [one for one in today if one.kind in DISTRIBUTIONS]
        if not paid:
            continue
        text = None
        row = int(np.searchsorted(days, np.datetime64(ex_day, "D")))
        if 0 < row < len(days):
            total = sum(value_per_share(one, row) for one in paid)
            prices = _around(closes, row, split)
            text = None if prices is None else _describe(total, *prices, closes[:row])
        for one in paid:
            last = before_split.get(one.kind)
            if text is None and last is not None and last.currency == one.currency:
                text = _describe_pair(last, one, ratio)
            before_split[one.kind] = one
        ratio = 1.0
        if text is not None:
            yield Verdict(symbol, Rule.IMPLAUSIBLE_DIVIDEND, ex_day, Decision.OPEN, known, text)


def _describe_pair(last: CorporateAction, one: CorporateAction, ratio: float) -> str | None:
    """Describe distributions around a split that are not per their own share; None if they are."""
    if ratio == 1.0 or not is_not_split(float(last.value), float(one.value), ratio):
        return None
    return (
        f"pays {one.value:f} on {one.ex_day} after {last.value:f} on {last.ex_day}, with a split "
        f"of {ratio:.6g} between: one of them may not be per its share"
    )


def _describe(paid: float, before: float, after: float, earlier: Floats) -> str | None:
    """Describe a distribution that the price does not show; None if it does."""
    huge = is_huge(paid, before, after)
    if not huge and not is_not_shown(paid, before, after, 0.0):  # however quiet the price is
        return None
    closes = earlier[-2 * _RECENT :]
    closes = closes[~np.isnan(closes)][-_RECENT - 1 :]
    deviation = float(np.diff(np.log(closes)).std()) if len(closes) > 2 else 0.0
    if not huge and not is_not_shown(paid, before, after, deviation):
        return None
    return (
        f"pays {paid:.6g} per share, {paid / before:.1%} of its last close of {before:.6g}, and "
        f"its close is {after:.6g} then"
        + ("; it is not used" if huge else ": the value may be too high")
    )


def _around(closes: Floats, row: int, ratio: float) -> tuple[float, float] | None:
    """Return the last close before a row, and that of the row per share held before; or None."""
    after, before = float(closes[row]), float(closes[row - 1])
    if before != before:
        known = closes[:row][~np.isnan(closes[:row])]
        before = float(known[-1]) if len(known) else before
    return None if before != before or after != after else (before, after * ratio)


def _ratio_of(actions: Sequence[CorporateAction]) -> float:
    """Return the new shares per old one of the splits among the actions of a day."""
    ratio = 1.0
    for one in actions:
        if one.kind is ActionKind.SPLIT:
            ratio *= float(one.value)
    return ratio
