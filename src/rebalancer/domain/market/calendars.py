"""Mixed calendars: the rows on which all assets of a portfolio have closes of their own.

A history may hold shares beside coins, or exchanges with different holidays. It has a row for each
day on which any of them has a close, and repeats the last close of the others. A repeated close is
no observation: its zero return would lower volatilities, and hide how assets move together. So the
returns of a portfolio's assets, and the frequency that annualises them, come from the rows on which
all of them traded: those of shares beside coins from Friday to Monday, for both.

Assets with nearly the same rows form a *group*, so that an asset with a missing day now and then
changes nothing for the others; its repeated close there counts as a return of 0, followed by that
of two days. Groups depend on the market alone, never on the other portfolios of a book, and only on
rows up to the last one.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.market.prices import PriceHistory

_SHORTEST_TAIL = 1_000
"""Fewest rows at the end that are compared: almost three years of days."""

_ALIKE, _SIMILAR = 0.025, 0.1
"""Share of rows by which the rows of a group may differ; the second one if there are too many."""

_MOST_GROUPS = 16

_VIEWS = 32
"""Histories of common rows that are cached with a market."""


@attrs.frozen(eq=False)
class _Groups:
    """Assets by the rows on which they trade, over the last T rows of a history.

    Attributes:
        start: First of these rows.
        member: (N,) group of each asset; -1 for an asset without a close.
        trades: (G, T) whether at least half of a group's assets have a close of their own; True
            where the group has no closes at all.
    """

    start: int
    member: NDArray[np.int64]
    trades: Bools

    def common(self, groups: Sequence[int]) -> Bools:
        """Return (T,) the rows on which all of these groups trade.

        If less than half of the rows of the group with the fewest are common, as for two groups
        that trade on different days of the week, the rows are those of that group.
        """
        rows: Bools = np.logical_and.reduce(self.trades[list(groups)], axis=0)
        fewest = min((self.trades[group] for group in groups), key=_order)
        return rows if 2 * rows.sum() >= fewest.sum() else fewest


def _order(rows: Bools) -> tuple[int, bytes]:
    return int(rows.sum()), rows.tobytes()


def split_by_calendar(
    history: PriceHistory, assets: Rows, present: Bools, days: int
) -> list[tuple[Rows, PriceHistory]]:
    """Return portfolios by their common rows: the portfolios' rows, and the history for them.

    Usually a market has one calendar; the result is then the whole book with the history itself.

    Args:
        history: The market.
        assets: (B, K) columns of each portfolio's assets.
        present: (B, K) slots in use.
        days: Longest look-back in trading days, for which the histories are long enough.
    """
    everybody = np.arange(len(assets))
    groups = _groups(history, days)
    if groups is None or not len(assets):
        return [(everybody, history)]
    has = np.zeros((len(assets), len(groups.trades) + 1), dtype=bool)
    portfolios, slots = np.nonzero(present)
    has[portfolios, groups.member[assets[portfolios, slots]]] = True  # -1 is the last column
    has[:, -1] = False
    kinds = has @ (1 << np.arange(has.shape[1]))  # there are at most 16 groups
    _, first = np.unique(kinds, return_index=True)
    return [
        (np.flatnonzero(kinds == kinds[row]), _view(history, groups, has[row])) for row in first
    ]


def common_history(history: PriceHistory, columns: Rows | Bools, days: int) -> PriceHistory:
    """Return the last rows on which all of some assets have closes of their own.

    Args:
        history: The market.
        columns: Columns of the assets, or (N,) whether each counts.
        days: As in `split_by_calendar`.
    """
    groups = _groups(history, days)
    if groups is None:
        return history
    has = np.zeros(len(groups.trades) + 1, dtype=bool)
    has[groups.member[columns]] = True
    has[-1] = False
    return _view(history, groups, has)


def common_rows(history: PriceHistory, columns: Rows | Bools) -> Bools:
    """Return (T,) the rows of the whole history on which all of some assets trade."""
    groups = _groups(history, len(history))
    if groups is None:
        return np.ones(len(history), dtype=bool)
    found = np.unique(groups.member[columns])
    found = found[found >= 0]
    return groups.common(found.tolist()) if found.size else np.ones(len(history), dtype=bool)


def _view(history: PriceHistory, groups: _Groups, has: Bools) -> PriceHistory:
    """Return the history on the common rows of some groups (G + 1,)."""
    wanted = np.flatnonzero(has)
    if not wanted.size:
        return history
    views: dict[bytes, PriceHistory] = history.memo(("common rows", groups.start), dict)
    found = views.get(key := wanted.tobytes())
    if found is None:
        rows = groups.start + np.flatnonzero(groups.common(wanted.tolist()))
        found = history if len(rows) == len(history) else _take(history, rows)
        if len(views) >= _VIEWS:
            views.clear()
        views[key] = found
    return found


def _take(history: PriceHistory, rows: Rows) -> PriceHistory:
    closes: Floats = history.closes[rows]
    closes.setflags(write=False)
    return PriceHistory(
        history.symbols, history.dates[rows], closes, periods_per_year=history.periods_per_year
    )


def _groups(history: PriceHistory, days: int) -> _Groups | None:
    """Return the groups of a market's last rows; None if it has a single calendar."""
    if history.carried is None:
        return None
    start = max(0, len(history) - max(_SHORTEST_TAIL, 2 * days))

    def compute() -> _Groups | None:
        assert history.carried is not None
        carried = history.carried[start:]
        if not carried.any():
            return None
        known = ~np.isnan(history.closes[start:])
        seen = known & ~carried
        listed = known & np.logical_or.accumulate(seen, axis=0)
        member = _cluster(listed, listed & ~seen)
        count = int(member.max()) + 1
        trades = np.ones((count, len(seen)), dtype=bool)
        for group in range(count):
            of_group = member == group
            there = listed[:, of_group].sum(axis=1)
            trades[group] = (2 * seen[:, of_group].sum(axis=1) >= there) | (there == 0)
        return None if trades.all() else _Groups(start, member, trades)

    return history.memo(("calendars", start), compute)


def _cluster(listed: Bools, closed: Bools) -> NDArray[np.int64]:
    """Return (N,) groups of assets that are closed on nearly the same rows; -1 without a close.

    Args:
        listed: (T, N) rows from an asset's first close to its last.
        closed: (T, N) those on which its last close is repeated.
    """
    # Equal patterns once; by their bytes, as `np.unique` takes a hundred times as long.
    numbers: dict[bytes, int] = {}
    both = np.packbits(np.concatenate([listed, closed]), axis=0).T
    pattern = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in both])
    _, first = np.unique(pattern, return_index=True)
    there, shut = (part[:, first].T.astype(np.float32) for part in (listed, closed))
    # Rows on which both are listed, and exactly one of them is closed.
    together = there @ there.T
    apart = shut @ (there - shut).T
    apart = (apart + apart.T) / np.maximum(together, 1.0)
    apart[together == 0] = 1.0
    for most in (_ALIKE, _SIMILAR, 1.0):
        found = _connected(apart <= most)  # a single group at 1
        if found.max() < _MOST_GROUPS:
            break
    member: NDArray[np.int64] = np.where(listed.any(axis=0), found[pattern], -1)
    # Numbers without a gap, whatever the patterns of assets without a close.
    known = member >= 0
    member[known] = np.unique(member[known], return_inverse=True)[1]
    return member


def _connected(linked: Bools) -> NDArray[np.int64]:
    """Return (P,) the connected component of each of P nodes."""
    component = np.full(len(linked), -1, dtype=np.int64)
    for node in range(len(linked)):
        if component[node] >= 0:
            continue
        reached = np.zeros(len(linked), dtype=bool)
        reached[node] = True
        while True:
            wider = reached | linked[reached].any(axis=0)
            if (wider == reached).all():
                break
            reached = wider
        component[reached] = component.max() + 1
    return component
