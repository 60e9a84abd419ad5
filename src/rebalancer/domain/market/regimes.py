"""Market regimes, calm or stressed: probabilities from a hidden Markov model, filtered forward.

The input is a mix of assets, such as a portfolio's strategic weights, over the year up to a close,
in weeks counted back from it. A week is measured relative to its own year, so that the model suits
bonds and stocks. A regime compares a market with its own last year; it does not measure how
volatile the market is in absolute terms.

`adapters.rl.regimes` fits the model; this module filters it. Nothing is smoothed: the probabilities
of a week depend on that week, earlier weeks and the scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.frequency import DAILY, TRADING_DAYS, ObservationFrequency
from rebalancer.domain.market.indicators import Integers
from rebalancer.domain.market.prices import PriceHistory

WINDOW = TRADING_DAYS
"""Number of returns of trading days used; they also give the scale."""

BUCKET = 5
"""Trading days a week; weeks do not overlap. Seven of prices on every day of the week."""

FEWEST = 12
"""Known weeks needed for an estimate."""

_QUIETEST, _LOUDEST = -4.0, 2.0
"""Bounds of the log volatility; a week with all of the year's movement has log(252 / 5) / 2."""

_UNLIKELIEST = -600.0
"""Log likelihood against the likeliest state at which evidence is cut off: exp() still holds it."""


def _frozen(values: object) -> Floats:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _invalid(message: str, field: str) -> InvalidRequest:
    return InvalidRequest(message, field=field, code="invalid_regime_model")


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen(eq=False)
class RegimeModel:
    """A hidden Markov chain of S regimes, each with a normal distribution of weeks.

    Attributes:
        names: Names of the regimes in order of rising mean log volatility; S >= 2.
        start: Probability of each regime in the first week, shape (S,).
        transition: Probability of going from the regime of the row to that of the column within
            a week, shape (S, S); rows sum to 1.
        means: Means of the two columns of `observations`, shape (S, 2).
        covariances: Covariances of the same, shape (S, 2, 2), positive definite.

    References:
        Hamilton, J. D. (1989). A new approach to the economic analysis of nonstationary time
        series and the business cycle. Econometrica 57(2), 357-384.
        Rabiner, L. R. (1989). A tutorial on hidden Markov models and selected applications in
        speech recognition. Proceedings of the IEEE 77(2), 257-286.
    """

    names: tuple[str, ...] = attrs.field(converter=_texts)
    start: Floats = attrs.field(converter=_frozen)
    transition: Floats = attrs.field(converter=_frozen)
    means: Floats = attrs.field(converter=_frozen)
    covariances: Floats = attrs.field(converter=_frozen)

    def __attrs_post_init__(self) -> None:
        """Validate all parts.

        Raises:
            InvalidRequest: names the field.
        """
        count = len(self.names)
        if count < 2 or len(set(self.names)) < count or not all(self.names):
            raise _invalid(f"{self.names} are not at least two distinct names", "names")
        shapes = {
            "start": (count,),
            "transition": (count, count),
            "means": (count, 2),
            "covariances": (count, 2, 2),
        }
        for field, shape in shapes.items():
            array: Floats = getattr(self, field)
            if array.shape != shape or not np.isfinite(array).all():
                raise _invalid(f"shape {array.shape} must be {shape}, with finite numbers", field)
        for field in ("start", "transition"):
            chances: Floats = getattr(self, field)
            if (chances < 0).any() or (np.abs(chances.sum(axis=-1) - 1.0) > 1e-6).any():
                raise _invalid("probabilities must sum to 1 in each row", field)
        if (np.diff(self.means[:, 1]) <= 0).any():
            raise _invalid("mean log volatilities must rise from regime to regime", "means")
        symmetric = np.allclose(self.covariances, self.covariances.transpose(0, 2, 1))
        if not symmetric or (np.linalg.eigvalsh(self.covariances) <= 0).any():
            raise _invalid("each must be symmetric and positive definite", "covariances")

    @property
    def stationary(self) -> Floats:
        """Long-run share of each regime, shape (S,); the estimate without evidence.

        The left eigenvector of the transition matrix at 1, as a least-squares solution.
        """
        count = len(self.names)
        balance = np.vstack([self.transition.T - np.eye(count), np.ones(count)])
        shares = np.linalg.lstsq(balance, np.append(np.zeros(count), 1.0), rcond=None)[0]
        shares = np.maximum(shares, 0.0)
        long_run: Floats = shares / shares.sum()
        return long_run

    def path(self, observations: Floats) -> Floats:
        """Compute the probability of each regime in each week, given the weeks up to it.

        Args:
            observations: (B, T, 2), T >= 1, oldest first; a week with NaN carries no evidence.

        Returns:
            (B, T, S); each row sums to 1 and does not depend on other portfolios.
        """
        evidence = self._evidence(observations)  # (T, S, B): the book lies innermost
        path = np.empty_like(evidence)
        ahead = np.broadcast_to(self.start[:, None], evidence.shape[1:])
        onward = self.transition[:, :, None]
        for week, likelihood in enumerate(evidence):
            joint = ahead * likelihood
            joint /= reduce(np.add, joint)
            path[week] = joint
            # State by state: the last digits of a product depend on the size of the book.
            ahead = reduce(np.add, onward * joint[:, None])
        return np.moveaxis(path, -1, 0)

    def filtered(self, observations: Floats) -> Floats:
        """Return the last week of `path`, shape (B, S)."""
        return self.path(observations)[:, -1]

    def probabilities(self, returns: Floats, frequency: ObservationFrequency = DAILY) -> Floats:
        """Compute the probability of each regime at the last close, shape (B, S); rows sum to 1.

        A mix with fewer than 12 known weeks, or with a constant price, gets `stationary`.

        Args:
            returns: Simple daily returns of B mixes, shape (B, D), oldest first, of which those of
                the last year count. NaN where unknown, which excludes that week.
            frequency: Number of returns in a year; see `observations`.
        """
        seen = observations(returns, frequency)
        enough = sufficient(seen)
        if enough.size and enough.all():
            return self.filtered(seen)
        chances = np.tile(self.stationary, (len(seen), 1))
        if enough.any():
            chances[enough] = self.filtered(seen[enough])
        return chances

    def rolling(self, returns: Floats, rows: Integers | Iterable[int]) -> Floats:
        """Compute `probabilities` at earlier closes.

        Args:
            returns: Simple daily returns of M mixes, shape (M, T), oldest first.
            rows: L columns of ``returns``; each result depends on that column and earlier ones.

        Returns:
            (M, L, S).
        """
        ends = [int(row) + 1 for row in rows]
        chances = np.empty((len(returns), len(ends), len(self.names)))
        for place, end in enumerate(ends):
            chances[:, place] = self.probabilities(returns[:, max(0, end - WINDOW) : end])
        return chances

    def _evidence(self, observations: Floats) -> Floats:
        """Compute likelihoods of weeks under each regime, relative to the largest, (T, S, B)."""
        count = len(self.names)
        week = np.moveaxis(observations, 0, -1)  # (T, 2, B)
        move, level = week[:, 0][:, None], week[:, 1][:, None]
        # The inverse of a 2 x 2 matrix, written out.
        (a, b), (_, d) = self.covariances[:, 0].T, self.covariances[:, 1].T
        determinant = (a * d - b * b).reshape(1, count, 1)
        a, b, d = (one.reshape(1, count, 1) for one in (a, b, d))
        x, y = (
            one - mean.reshape(1, count, 1)
            for one, mean in zip((move, level), self.means.T, strict=True)
        )
        distance = (d * x * x - 2.0 * b * x * y + a * y * y) / determinant
        log = -0.5 * (distance + np.log(determinant))
        unknown = np.isnan(log)
        if unknown.any():
            log[unknown] = 0.0
        likelihood: Floats = np.exp(np.maximum(log - log.max(axis=1, keepdims=True), _UNLIKELIEST))
        return likelihood


def observations(returns: Floats, frequency: ObservationFrequency = DAILY) -> Floats:
    """Compute the inputs of the model for B mixes: two scale-free figures for each week.

    Weeks are 5 trading days each, counted back from the last, or as many returns as the frequency
    has in a week: 7 of coins. The scale is the root mean square of
    the known returns of the whole window. (Unlike a standard deviation about the mean it is not a
    rounding error for a mix that grows evenly; on daily returns both agree to three digits.)

    Args:
        returns: Simple daily returns as fractions, shape (B, D), oldest first, of which the last
            252 count; NaN where unknown.
        frequency: Number of returns in a year, which is the window, and in a week; `DAILY`: 252
            and 5. It must be daily: the model has been fitted to weeks of several returns.

    Returns:
        (B, T, 2) with T = min(D, 252) // 5, oldest first: the week's return in units of the scale
        times sqrt(5), within 16 of zero; and the natural logarithm of its root mean square against
        the scale, within -4 and 2. NaN in weeks with an unknown day, and in all weeks of a mix
        with a constant price.
    """
    bucket = frequency.rows(BUCKET)
    # Row-major, so that each sum runs along its own row, whatever the caller's layout.
    window = np.ascontiguousarray(returns[:, -frequency.rows(WINDOW) :])
    weeks = window.shape[1] // bucket
    squares = window**2
    days = np.maximum((~np.isnan(window)).sum(axis=1), 1)
    scale = np.sqrt(np.nansum(squares, axis=1) / days)[:, None]
    scale = np.where(scale > 0, scale, np.nan)
    first = window.shape[1] - weeks * bucket
    seen = np.empty((len(window), weeks, 2))
    seen[..., 0] = _weekly(window[:, first:], bucket) / (scale * np.sqrt(bucket))
    level = np.sqrt(_weekly(squares[:, first:], bucket) / bucket) / scale
    seen[..., 1] = np.clip(np.log(np.maximum(level, np.exp(_QUIETEST))), _QUIETEST, _LOUDEST)
    return seen


def _weekly(daily: Floats, bucket: int) -> Floats:
    """Sum (B, bucket T) days to whole weeks, shape (B, T)."""
    weekly: Floats = daily[:, ::bucket].copy()
    for day in range(1, bucket):
        weekly += daily[:, day::bucket]
    return weekly


def sufficient(seen: Floats) -> Bools:
    """Return which mixes have enough known weeks for an estimate, shape (B,).

    Args:
        seen: Observations, shape (B, T, 2).
    """
    enough: Bools = (~np.isnan(seen[..., 0])).sum(axis=1) >= FEWEST
    return enough


def equal_mix(history: PriceHistory, days: int = WINDOW) -> Floats:
    """Return daily returns of an equal-weight mix of all assets, rebalanced daily.

    Returns:
        Simple returns, shape (min(days, T - 1),), oldest first: the mean over the assets with a
        known return, NaN if there is no such asset.
    """
    returns = history.returns(days)
    known = ~np.isnan(returns)
    count = known.sum(axis=1)
    total = np.where(known, returns, 0.0).sum(axis=1)
    mix: Floats = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mix
