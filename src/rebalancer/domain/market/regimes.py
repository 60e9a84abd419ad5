"""Market regimes: calm or stressed, told from returns by a hidden Markov model, forward only.

What is looked at is one mix of assets, such as a portfolio's strategic weights, over the year up
to a close, in weeks that are counted back from it. All of it is scale-free: a week is measured
against its own year, so that a bond mix and a stock mix are read alike. A regime says how a market
stands against its own last year, and nothing of how volatile it is as such.

The model is fitted elsewhere (`adapters.rl.regimes`); here it is only filtered. Nothing is
smoothed: what is said of a week follows from that week, the weeks before it, and the scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.indicators import TRADING_DAYS, Integers
from rebalancer.domain.market.prices import PriceHistory

WINDOW = TRADING_DAYS
"""Daily returns that are looked at, and that give the scale."""

BUCKET = 5
"""Trading days a week; weeks do not overlap."""

FEWEST = 12
"""Known weeks without which nothing is said."""

_QUIETEST, _LOUDEST = -4.0, 2.0
"""Bounds of the log volatility; a week that is the whole year's motion has log(252 / 5) / 2."""

_UNLIKELIEST = -600.0
"""Log likelihood against the likeliest state at which evidence is cut off: exp() still holds it."""


def _frozen(values: object) -> Floats:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen(eq=False)
class RegimeModel:
    """A hidden Markov chain of S regimes, each with a normal distribution of weeks.

    Attributes:
        names: Of the regimes, from the calmest to the most stressed, as the mean log volatility
            has it; S >= 2.
        start: Probability of each regime in the first week, shape (S,).
        transition: Probability of going from the regime of the row to that of the column within
            a week, shape (S, S); rows sum to 1.
        means: Of the two features of `observations`, shape (S, 2).
        covariances: Of the same, shape (S, 2, 2), positive definite.

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
        """Refuse what is no model.

        Raises:
            InvalidRequest: says what is wrong with which part.
        """
        count = len(self.names)
        if count < 2 or len(set(self.names)) < count or not all(self.names):
            raise InvalidRequest("name at least two regimes, each once", field="names")
        shapes = {
            "start": (count,),
            "transition": (count, count),
            "means": (count, 2),
            "covariances": (count, 2, 2),
        }
        for field, shape in shapes.items():
            array: Floats = getattr(self, field)
            if array.shape != shape or not np.isfinite(array).all():
                raise InvalidRequest(
                    f"must be finite and of shape {shape}, is of {array.shape}", field=field
                )
        for field in ("start", "transition"):
            chances: Floats = getattr(self, field)
            if (chances < 0).any() or (np.abs(chances.sum(axis=-1) - 1.0) > 1e-6).any():
                raise InvalidRequest("must be probabilities that sum to 1", field=field)
        if (np.diff(self.means[:, 1]) <= 0).any():
            raise InvalidRequest(
                "regimes go from the calmest to the most stressed: mean log volatilities must rise",
                field="means",
            )
        symmetric = np.allclose(self.covariances, self.covariances.transpose(0, 2, 1))
        if not symmetric or (np.linalg.eigvalsh(self.covariances) <= 0).any():
            raise InvalidRequest("must be symmetric and positive definite", field="covariances")

    @property
    def stationary(self) -> Floats:
        """How often each regime rules in the long run, shape (S,): what is said without evidence.

        The left eigenvector of the transition matrix at 1, as a least-squares solution.
        """
        count = len(self.names)
        balance = np.vstack([self.transition.T - np.eye(count), np.ones(count)])
        shares = np.linalg.lstsq(balance, np.append(np.zeros(count), 1.0), rcond=None)[0]
        shares = np.maximum(shares, 0.0)
        long_run: Floats = shares / shares.sum()
        return long_run

    def path(self, observations: Floats) -> Floats:
        """Probability of each regime in each week, given the weeks up to it: the forward pass.

        Args:
            observations: (B, T, 2), T >= 1, oldest first; a week with NaN carries no evidence.

        Returns:
            (B, T, S); each row sums to 1. A book gives the same digits as its portfolios one by
            one.
        """
        evidence = self._evidence(observations)  # (T, S, B): the book lies innermost
        told = np.empty_like(evidence)
        ahead = np.broadcast_to(self.start[:, None], evidence.shape[1:])
        onward = self.transition[:, :, None]
        for week, likelihood in enumerate(evidence):
            joint = ahead * likelihood
            joint /= reduce(np.add, joint)
            told[week] = joint
            # State by state: the last digits of a product depend on the size of the book.
            ahead = reduce(np.add, onward * joint[:, None])
        return np.moveaxis(told, -1, 0)

    def filtered(self, observations: Floats) -> Floats:
        """Probability of each regime in the last week, given all weeks, shape (B, S).

        Args:
            observations: As `path` takes them.
        """
        return self.path(observations)[:, -1]

    def probabilities(self, returns: Floats) -> Floats:
        """Probability of each regime at the last close, shape (B, S); rows sum to 1.

        A row with fewer than 12 known weeks, or that does not move at all, gets `stationary`: of
        it nothing is known.

        Args:
            returns: Simple daily returns of B mixes, shape (B, D), oldest first, of which the last
                252 count. NaN where unknown, which leaves out the week that it lies in.
        """
        seen = observations(returns)
        enough = sufficient(seen)
        if enough.size and enough.all():
            return self.filtered(seen)
        told = np.tile(self.stationary, (len(seen), 1))
        if enough.any():
            told[enough] = self.filtered(seen[enough])
        return told

    def rolling(self, returns: Floats, rows: Integers | Iterable[int]) -> Floats:
        """`probabilities` as they were at earlier closes.

        Args:
            returns: Simple daily returns of M mixes, shape (M, T), oldest first.
            rows: L columns of ``returns``; what is said of each follows from it and earlier ones.

        Returns:
            (M, L, S).
        """
        ends = [int(row) + 1 for row in rows]
        told = np.empty((len(returns), len(ends), len(self.names)))
        for place, end in enumerate(ends):
            told[:, place] = self.probabilities(returns[:, max(0, end - WINDOW) : end])
        return told

    def _evidence(self, observations: Floats) -> Floats:
        """Likelihood of each week under each regime, the likeliest having 1, shape (T, S, B)."""
        count = len(self.names)
        week = np.moveaxis(observations, 0, -1)  # (T, 2, B)
        move, level = week[:, 0][:, None], week[:, 1][:, None]
        # Two features: the inverse is short, and is written out.
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


def observations(returns: Floats) -> Floats:
    """What the model sees of B mixes: two features a week, scale-free.

    Weeks are 5 trading days each, counted back from the last; the scale is the root mean square of
    the known returns of the whole window, all of which are known at its last close. (A standard
    deviation about zero: unlike one about the mean it is no rounding noise for a mix that grows
    evenly, and on daily returns the two agree to three digits.)

    Args:
        returns: Simple daily returns as fractions, shape (B, D), oldest first, of which the last
            252 count; NaN where unknown.

    Returns:
        (B, T, 2) with T = min(D, 252) // 5, oldest first: the week's return in units of the scale
        times sqrt(5), within 16 of zero; and the natural logarithm of its root mean square against
        the scale, within -4 and 2. NaN in weeks with an unknown day, and in all weeks of a mix
        that does not move.
    """
    # Row-major, so that each sum runs along its own row, whatever the caller's layout.
    window = np.ascontiguousarray(returns[:, -WINDOW:])
    weeks = window.shape[1] // BUCKET
    squares = window**2
    days = np.maximum((~np.isnan(window)).sum(axis=1), 1)
    scale = np.sqrt(np.nansum(squares, axis=1) / days)[:, None]
    scale = np.where(scale > 0, scale, np.nan)
    first = window.shape[1] - weeks * BUCKET
    seen = np.empty((len(window), weeks, 2))
    seen[..., 0] = _weekly(window[:, first:]) / (scale * np.sqrt(BUCKET))
    level = np.sqrt(_weekly(squares[:, first:]) / BUCKET) / scale
    seen[..., 1] = np.clip(np.log(np.maximum(level, np.exp(_QUIETEST))), _QUIETEST, _LOUDEST)
    return seen


def _weekly(daily: Floats) -> Floats:
    """Sums of whole weeks, shape (B, T), of (B, 5 T) days; day by day, as five days are few."""
    weekly: Floats = daily[:, ::BUCKET].copy()
    for day in range(1, BUCKET):
        weekly += daily[:, day::BUCKET]
    return weekly


def sufficient(seen: Floats) -> Bools:
    """Of which mixes enough weeks are known to say something, shape (B,).

    Args:
        seen: Observations, shape (B, T, 2).
    """
    enough: Bools = (~np.isnan(seen[..., 0])).sum(axis=1) >= FEWEST
    return enough


def equal_mix(history: PriceHistory, days: int = WINDOW) -> Floats:
    """Daily returns of an equal mix of a history's assets, rebalanced daily.

    Returns:
        Simple returns, shape (min(days, T - 1),), oldest first; of each day the mean of the assets
        whose return is known, NaN where none is.
    """
    returns = history.returns(days)
    known = ~np.isnan(returns)
    count = known.sum(axis=1)
    total = np.where(known, returns, 0.0).sum(axis=1)
    mix: Floats = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mix
