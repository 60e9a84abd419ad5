"""Things that many tests need, each as plain as it can be."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import numpy as np

from rebalancer.domain.market.prices import PriceHistory


def names(count: int) -> tuple[str, ...]:
    """'A', 'B', ... 'Z', 'A1', 'B1', ..."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return tuple(letters[i % 26] + (str(i // 26) if i >= 26 else "") for i in range(count))


def prices(
    assets: int = 3,
    days: int = 300,
    *,
    seed: int = 0,
    start: date = date(2020, 1, 1),
    volatility: float = 0.01,
    drift: float = 0.0003,
) -> PriceHistory:
    """A random walk of `assets` assets over business days; the same arguments, the same prices."""
    steps = np.random.default_rng(seed).normal(drift, volatility, (days, assets))
    first = np.datetime64(start, "D")
    dates = np.busday_offset(first, np.arange(days), roll="forward")
    return PriceHistory.of(names(assets), dates, 100.0 * np.exp(np.cumsum(steps, axis=0)))


def as_csv(history: PriceHistory, *, blank: Iterable[tuple[int, int]] = ()) -> str:
    """A history as a CSV file, exactly; cells (row, column) in `blank` are left blank."""
    empty = set(blank)
    lines = [",".join(("date", *history.symbols))]
    for t, (day, row) in enumerate(zip(history.dates, history.closes.tolist(), strict=True)):
        cells = ["" if x != x or (t, i) in empty else repr(x) for i, x in enumerate(row)]
        lines.append(",".join((str(day), *cells)))
    return "\n".join(lines) + "\n"
