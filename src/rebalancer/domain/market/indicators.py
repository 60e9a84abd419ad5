"""Indicators of risk and trend over a window of prices.

Each function covers the U assets of a `PriceHistory`, uses its last rows, and caches its result
there, so that portfolios with the same market share it. Figures a year follow the observation
frequency of the history. An asset without closes for the whole window gets NaN; a window too short
for the figure is an `InvalidRequest`. The arrays are shared and therefore read-only.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory

Integers = NDArray[np.integer[Any]]


def volatility(history: PriceHistory, days: int) -> Floats:
    """Annual sample deviation (``ddof=1``) of the last ``days`` simple returns, shape (U,)."""

    def compute() -> Floats:
        spread: Floats = np.std(_window(history, days), axis=0, ddof=1)
        return _shared(spread * np.sqrt(history.frequency.periods_per_year))

    return history.memo(("volatility", days), compute)


def covariance(history: PriceHistory, days: int) -> Floats:
    """Annual sample covariance (``ddof=1``) of the last ``days`` simple returns, shape (U, U)."""

    def compute() -> Floats:
        centred = _centred(_window(history, days))
        return _shared(centred.T @ centred * (history.frequency.periods_per_year / (days - 1)))

    return history.memo(("covariance", days), compute)


def moving_average(history: PriceHistory, days: int) -> Floats:
    """Mean of the last ``days`` closes, a price, shape (U,)."""
    if days < 1:
        raise InvalidRequest(
            f"a moving average over {days} days is undefined; use at least 1",
            field="days",
            code="window_too_short",
        )

    def compute() -> Floats:
        if len(history) < days:
            return _shared(np.full(len(history.symbols), np.nan))
        mean: Floats = history.closes[-days:].mean(axis=0)
        return _shared(mean)

    return history.memo(("moving_average", days), compute)


def momentum(history: PriceHistory, days: int, skipped: int) -> Floats:
    """Log return over ``days`` closes, excluding the last ``skipped``, shape (U,)."""
    if not 0 <= skipped < days:
        raise InvalidRequest(
            f"momentum over {days} days cannot skip {skipped} of them; skip fewer",
            field="skip",
            code="skip_exceeds_window",
        )

    def compute() -> Floats:
        if len(history) <= days:
            return _shared(np.full(len(history.symbols), np.nan))
        past: Floats = np.log(history.closes[-1 - skipped] / history.closes[-1 - days])
        return _shared(past)

    return history.memo(("momentum", days, skipped), compute)


_BLOCK = 64
"""Mixes computed at a time: their returns then fit into the processor's cache."""


def mix_returns(
    history: PriceHistory, days: int, weights: Floats, assets: Integers, present: Bools
) -> Floats:
    """Return daily returns of constant-weight mixes over up to ``days`` days.

    An asset has zero returns before its first close.

    Args:
        history: The market.
        days: Maximum number of returns.
        weights: (B, K) of each mix; the rest is cash.
        assets: (B, K) columns of the market.
        present: (B, K) slots in use.

    Returns:
        Shape (B, min(days, T - 1)), oldest first. The result for a mix does not depend, to the
        last bit, on the other mixes.
    """
    by_asset = history.memo(
        ("returns by asset", days),
        lambda: np.ascontiguousarray(np.nan_to_num(history.returns(days)).T),
    )
    weights = np.where(present, weights, 0.0)
    slots = weights.shape[1]
    used = np.where(weights.any(axis=1), slots - np.argmax(weights[:, ::-1] != 0, axis=1), 0)
    mixed = np.empty((len(weights), by_asset.shape[1]))
    total, part = np.empty((2, _BLOCK, by_asset.shape[1]))
    # Slot by slot and no matrix product: its last digits would depend on the shape of the book.
    order = np.argsort(used, kind="stable")
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        sums, terms = total[: len(rows)], part[: len(rows)]
        sums[:] = 0.0
        for slot in range(used[rows[-1]]):
            by_asset.take(assets[rows, slot], axis=0, out=terms, mode="clip")
            terms *= weights[rows, slot, None]
            sums += terms
        mixed[rows] = sums
    return mixed


def covariance_among(table: Floats, assets: Integers, present: Bools) -> Floats:
    """Select the covariances of each portfolio's assets from the market's table.

    Args:
        table: Covariances of the market's U assets, shape (U, U).
        assets: Columns of each portfolio's assets, shape (B, K); any valid column where absent.
        present: Which of the K slots hold an asset, shape (B, K).

    Returns:
        Shape (B, K, K), in the unit of ``table``; zero in the rows and columns of absent slots.
    """
    # Indices into the flat table, as pairs of indices are slower.
    places = assets[:, :, None] * len(table) + assets[:, None, :]
    among: Floats = np.ravel(table).take(places)
    among[~(present[:, :, None] & present[:, None, :])] = 0.0
    return among


@attrs.frozen(eq=False)
class ShrunkCovariance:
    """Ledoit-Wolf covariances of any subset of a market's assets.

    The sample covariance S of p assets over T rows is pulled toward ``m I``, with ``m`` the mean
    variance: ``(1 - s) S + s m I``. The intensity s depends on the subset only through sums over
    pairs of assets, whose terms are computed once for all U assets.

    S divides by T, not by T - 1, as in the paper and in scikit-learn's ``LedoitWolf``.

    Attributes:
        rows: T, the number of returns.
        periods_per_year: Returns a year.
        sample: S, of a period, shape (U, U); NaN for assets that lack closes.
        fourth: Sum over rows t of ``(x_ti x_tj) ** 2`` with x the centred returns, shape (U, U).

    References:
        Ledoit, O. and Wolf, M. (2004). A well-conditioned estimator for large-dimensional
        covariance matrices. Journal of Multivariate Analysis 88(2), 365-411.
    """

    rows: int
    periods_per_year: float
    sample: Floats
    fourth: Floats

    @property
    def measured(self) -> Bools:
        """Whether each of the U assets has closes for the whole window, shape (U,)."""
        return ~np.isnan(np.diagonal(self.sample))

    def of(self, assets: Integers, present: Bools) -> Floats:
        """Return annual shrunk covariances of each portfolio's assets.

        Args:
            assets: Columns of each portfolio's assets, shape (B, K); any valid column where absent.
            present: Slots to include, shape (B, K). An asset that is not `measured` makes its
                whole portfolio NaN.

        Returns:
            Squared fraction a year, shape (B, K, K); zero rows and columns for absent slots.
        """
        sample = covariance_among(self.sample, assets, present)
        fourth = covariance_among(self.fourth, assets, present)
        count = np.maximum(present.sum(axis=1), 1)
        trace = np.einsum("bii->bi", sample).sum(axis=1)
        mean = trace / count
        squares = np.square(sample).sum(axis=2).sum(axis=1)
        # The paper's b^2 (how far S errs) and d^2 (how far S lies from m I): s = b^2 / d^2.
        error = (fourth.sum(axis=2).sum(axis=1) / self.rows - squares) / (count * self.rows)
        distance = (squares - 2.0 * mean * trace + count * mean**2) / count
        # A single asset is not shrunk; its distance is a rounding error.
        shrinkable = (count > 1) & (distance > 0.0)
        intensity = np.divide(
            np.minimum(error, distance), distance, out=np.zeros_like(distance), where=shrinkable
        )
        # NaN compares false above; restore it for portfolios with an unmeasured asset.
        intensity = np.where(np.isnan(distance), np.nan, intensity)
        shrunk: Floats = sample * ((1.0 - intensity) * self.periods_per_year)[:, None, None]
        slots = np.arange(assets.shape[1])
        shrunk[:, slots, slots] += np.where(
            present, (intensity * mean * self.periods_per_year)[:, None], 0.0
        )
        return shrunk


def shrunk_covariance(history: PriceHistory, days: int) -> ShrunkCovariance:
    """Compute the moments of the last ``days`` simple returns for `ShrunkCovariance`."""

    def compute() -> ShrunkCovariance:
        centred = _centred(_window(history, days))
        squared = centred**2
        return ShrunkCovariance(
            rows=days,
            periods_per_year=history.frequency.periods_per_year,
            sample=_shared(centred.T @ centred / days),
            fourth=_shared(squared.T @ squared),
        )

    return history.memo(("shrunk_covariance", days), compute)


def _window(history: PriceHistory, days: int) -> Floats:
    """Return the last ``days`` simple returns, shape (days, U); all NaN if history is shorter.

    NaN of an asset without closes affects only figures of that asset.
    """
    if days < 2:
        raise InvalidRequest(
            f"a window of {days} days is too short for returns; use at least 2",
            field="days",
            code="window_too_short",
        )
    returns = history.returns(days)
    if len(returns) < days:
        return np.full((days, len(history.symbols)), np.nan)
    return returns


def _centred(returns: Floats) -> Floats:
    """Subtract the mean of each column."""
    centred: Floats = returns - returns.mean(axis=0)
    return centred


def _shared(array: Floats) -> Floats:
    """Make an array read-only, since all callers share it."""
    array.setflags(write=False)
    return array


def mix_volatility(weights: Floats, assets: Integers, table: Floats) -> Floats:
    """Return the annual volatility of B portfolios, ``sqrt(w' S w)``, shape (B,).

    Args:
        weights: (B, K), 0 in unused slots.
        assets: (B, K) columns of the market.
        table: (U, U) annual covariance.
    """
    known = weights != 0
    gathered = covariance_among(table, assets, known)
    # Sums instead of a matrix product, whose last digits depend on the width of the book.
    variance = ((gathered * weights[:, None, :]).sum(axis=2) * weights).sum(axis=1)
    risk: Floats = np.sqrt(np.maximum(variance, 0.0))
    return risk
