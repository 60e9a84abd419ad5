"""Panels of a walk-forward: the assets and days of each fold, and disjoint random universes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import attrs
import numpy as np

from rebalancer.application.backtests import BacktestRequest, RunBacktest
from rebalancer.application.history_provider import GivenHistory
from rebalancer.application.panels import cash_returns
from rebalancer.application.training import FEWEST_ASSETS
from rebalancer.domain.arrays import Counts
from rebalancer.domain.backtest.engine import BacktestSettings
from rebalancer.domain.backtest.evaluation import CashReturns
from rebalancer.domain.backtest.evidence import fewest_returns
from rebalancer.domain.backtest.walk_forward import Fold
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.features import LOOKBACK

LARGEST_UNIVERSE = 30
"""Most assets of a random universe."""


@attrs.frozen
class JudgedPrices:
    """Prices on which a walk-forward judges policies.

    Attributes:
        request: Terms of every backtest; its policies, window, targets and cash are replaced.
        run_backtest: Use case with the prices.
        cash: Columns of cash in the order of preference, which are not invested in.
        rate: Return of cash a year where no column has a price.
    """

    request: BacktestRequest
    run_backtest: RunBacktest
    cash: tuple[str, ...] = ()
    rate: float = 0.0

    @property
    def history(self) -> PriceHistory:
        """All prices."""
        return self.run_backtest.prices.closes()


@attrs.frozen(eq=False)
class FoldSettings:
    """Settings of the backtests of one fold on one panel.

    Attributes:
        fold: The days.
        panel: Name of the panel or of a random universe of it.
        cash: Returns of cash: 0, then the known ones if there are any.
    """

    fold: Fold
    panel: str
    settings: BacktestSettings
    cash: tuple[CashReturns, ...]


def split_universes(
    panels: Mapping[str, JudgedPrices], count: int, *, seed: int
) -> dict[str, tuple[JudgedPrices, tuple[str, ...]]]:
    """Return the symbols of each panel; split those with many assets into disjoint universes.

    Args:
        panels: Prices by name of the panel.
        count: Number of universes of a panel with more than `LARGEST_UNIVERSE` assets; 0: none is
            split.
        seed: Seed of the draw, which does not depend on the order of columns.

    Raises:
        InvalidRequest: universes would be too small.
    """
    found = {}
    for name, prices in panels.items():
        symbols = [one for one in prices.history.symbols if one not in prices.cash]
        if not count or len(symbols) <= LARGEST_UNIVERSE:
            found[name] = (prices, tuple(symbols))
            continue
        size = min(LARGEST_UNIVERSE, len(symbols) // count)
        if size < FEWEST_ASSETS:
            raise InvalidRequest(
                f"{count} universes of the {len(symbols)} assets of {name} would have fewer than "
                f"{FEWEST_ASSETS} assets each; enter at most {len(symbols) // FEWEST_ASSETS}",
                field="sub_universes",
                code="universes_too_small",
            )
        ordered = sorted(symbols)
        drawn = np.random.default_rng(seed).permutation(len(ordered))
        for at in range(count):
            chosen = {ordered[place] for place in drawn[at * size : (at + 1) * size]}
            found[f"{name} #{at + 1}"] = (
                prices,
                tuple(symbol for symbol in symbols if symbol in chosen),
            )
    return found


def prepare_fold(
    fold: Fold, name: str, prices: JudgedPrices, symbols: Sequence[str]
) -> FoldSettings | str:
    """Return the settings of a fold on a panel, or a sentence why the panel is left out.

    The window begins on the first day of the fold by which two assets have a look-back of closes.
    Its universe is every asset that has one by then: which assets come later is not known yet.
    Prices after the fold are not used.

    Raises:
        InvalidRequest: as `RunBacktest.settings`.
    """
    known = _until(prices.history, fold.last)
    if known is None:
        return f"{name}: the prices begin after {fold.last}."
    if known.dates[-1] < np.datetime64(fold.first, "D"):
        return f"{name}: the prices end on {known.last_date}, before the fold begins."
    unbroken = _closes_in_a_row(known.select(symbols)) >= LOOKBACK
    begins = int(np.searchsorted(known.dates, np.datetime64(fold.first, "D")))
    ready = np.flatnonzero(unbroken[begins:].sum(axis=1) >= FEWEST_ASSETS)
    if not len(ready):
        return (
            f"{name}: by {fold.last} fewer than {FEWEST_ASSETS} assets have {LOOKBACK} closes, the "
            "look-back of policies."
        )
    start = begins + int(ready[0])
    assets = [one for one, whole in zip(symbols, unbroken[start], strict=True) if whole]
    fewest = fewest_returns(known.frequency)
    if len(known) - 1 - start < fewest:
        return (
            f"{name}: {len(known) - 1 - start} returns from {known.dates[start]} to {fold.last}; "
            f"an interval needs {fewest}."
        )
    source, columns = _cash_at(prices, known, start)
    first: date = known.dates[start].item()
    run = attrs.evolve(prices.run_backtest, prices=GivenHistory(known.select([*assets, *columns])))
    settings = run.settings(
        attrs.evolve(prices.request, first=first, last=fold.last, targets=None, risk_free=source)
    )
    return FoldSettings(fold, name, settings, cash_returns(source, settings))


def _until(history: PriceHistory, last: date) -> PriceHistory | None:
    rows = int(np.searchsorted(history.dates, np.datetime64(last, "D"), side="right"))
    return history.until(rows - 1) if rows else None


def _closes_in_a_row(history: PriceHistory) -> Counts:
    """Return for each asset and day the number of consecutive closes up to it, shape (T, N)."""
    count = np.zeros((len(history) + 1, len(history.symbols)), dtype=np.int64)
    for row, priced in enumerate(history.tradable, start=1):
        count[row] = np.where(priced, count[row - 1] + 1, 0)
    return count[1:]


def _cash_at(
    prices: JudgedPrices, history: PriceHistory, start: int
) -> tuple[float | str, tuple[str, ...]]:
    """Return the return of cash from a row on, and the price column that it needs."""
    yields = prices.run_backtest.details.yields()
    for name in prices.cash:
        if name in history.columns:
            if not np.isnan(history.closes[start, history.column(name)]):
                return name, (name,)
        elif name in yields:
            return name, ()
    return prices.rate, ()
