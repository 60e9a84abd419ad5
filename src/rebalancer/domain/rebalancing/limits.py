"""Risk profiles' limits on targets: scaled down until they hold; the rest is cash."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.market import indicators
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RISK_WINDOW = 252
"""Daily returns that expected volatility and drawdown are estimated from: one year."""

FEWEST_RETURNS = 20
"""Returns under which there is no estimate."""

_SLACK = 1e-9
_HALVINGS = 40


@attrs.frozen(eq=False)
class Restraint:
    """A decision within limits, and what the limits did to it.

    Attributes:
        decision: Targets within every limit. Where present holdings are riskier than the profile
            bears, it is due and has no band: waiting would exceed the limit.
        kept: Share of the wanted sum of targets that each limit left, by the limit's name, (B,).
        forced: (B,) the portfolio must act because of its present risk.
    """

    decision: Decision
    kept: dict[str, Floats]
    forced: Bools


def restrained(decision: Decision, book: Book, market: PriceHistory) -> Restraint:
    """Scale a decision's targets down until every limit of each portfolio holds.

    Limits, in turn: most weight of one asset, equity ceiling, expected volatility, drawdown of the
    mix over the last year, cash floor. Estimates use up to 252 daily returns; with fewer than 20
    there is none, and the two limits that need one do not apply.
    """
    limits = book.limits
    forced = np.zeros(len(book), dtype=bool)
    if limits is None:
        return Restraint(decision, {}, forced)
    kept: dict[str, Floats] = {}
    targets = decision.targets

    def scaled(name: str, narrower: Floats) -> Floats:
        before, after = targets.sum(axis=1), narrower.sum(axis=1)
        kept[name] = np.where(before > 0, after / np.where(before > 0, before, 1.0), 1.0)
        return narrower

    targets = scaled("maximum weight", np.minimum(targets, limits.max_weight[:, None]))
    if limits.profiled.any():
        equities = np.where(limits.equity, targets, 0.0).sum(axis=1)
        factor = _at_most(limits.equity_ceiling, equities)
        targets = scaled(
            "equity ceiling", np.where(limits.equity, targets * factor[:, None], targets)
        )
        risk = PortfolioRisk(book, market)
        if risk.known:
            factor = _at_most(limits.target_volatility, risk.volatility(targets))
            targets = scaled("target volatility", targets * factor[:, None])
            factor = risk.share_within_drawdown(targets, limits.tolerated_drawdown)
            targets = scaled("tolerated drawdown", targets * factor[:, None])
            held = book.values / np.where(book.total > 0, book.total, 1.0)[:, None]
            forced = risk.volatility(held) > limits.target_volatility * (1 + _SLACK)
            forced |= risk.drawdown(held) > limits.tolerated_drawdown * (1 + _SLACK)
        factor = _at_most(1.0 - limits.cash_floor, targets.sum(axis=1))
        targets = scaled("cash floor", targets * factor[:, None])
    within = attrs.evolve(decision, targets=targets)
    if forced.any():
        within = attrs.evolve(
            within,
            due=within.due | forced,
            band=None if within.band is None else np.where(forced[:, None], 0.0, within.band),
            cash_band=(
                None if within.cash_band is None else np.where(forced, 0.0, within.cash_band)
            ),
        )
    return Restraint(within, kept, forced)


class PortfolioRisk:
    """Volatility and drawdown of mixes of a book's assets, estimated over the last year.

    Attributes:
        known: Whether there is history enough for an estimate.
    """

    def __init__(self, book: Book, market: PriceHistory) -> None:
        self._book = book
        self._market = market
        self.known = len(market) > FEWEST_RETURNS

    def volatility(self, weights: Floats) -> Floats:
        """(B,) expected volatility a year of (B, K) weights; NaN when not `known`.

        Days before an asset's first close count as days without a move.
        """
        if not self.known:
            return np.full(len(weights), np.nan)
        return indicators.mix_volatility(weights, self._book.assets, self._covariance)

    def asset_variance(self) -> Floats:
        """(B, K) variance a year of each slot's asset; NaN when not `known`."""
        if not self.known:
            return np.full(self._book.assets.shape, np.nan)
        variance: Floats = self._covariance.diagonal()[self._book.assets]
        return variance

    def drawdown(self, weights: Floats) -> Floats:
        """(B,) deepest fall over the last year of mixes held at constant (B, K) weights."""
        if not self.known:
            return np.full(len(weights), np.nan)
        return _deepest_fall(self._mix_returns(weights))

    def share_within_drawdown(self, weights: Floats, most: Floats) -> Floats:
        """(B,) largest share of the weights whose `drawdown` is at most ``most``; 0 to 1."""
        returns = self._mix_returns(weights)
        share = np.ones(len(weights))
        over = np.flatnonzero(_deepest_fall(returns) > most)
        if not over.size:
            return share
        # Deeper with every increase of the share, so halving finds the largest one that fits.
        low, high = np.zeros(over.size), np.ones(over.size)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            fits = _deepest_fall(middle * returns[:, over]) <= most[over]
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        share[over] = low
        return share

    @property
    def _covariance(self) -> Floats:
        def compute() -> Floats:
            returns = np.nan_to_num(self._market.returns(RISK_WINDOW))
            table: Floats = np.atleast_2d(np.cov(returns, rowvar=False)) * indicators.TRADING_DAYS
            return table

        return self._market.memo("risk covariance", compute)

    def _mix_returns(self, weights: Floats) -> Floats:
        """(T, B) daily returns of mixes held at constant weights."""
        book = self._book
        returns = np.nan_to_num(self._market.returns(RISK_WINDOW))
        spread = np.zeros((returns.shape[1], len(weights)))
        rows = np.broadcast_to(np.arange(len(weights))[:, None], weights.shape)
        spread[book.assets[book.present], rows[book.present]] = weights[book.present]
        mixed: Floats = returns @ spread
        return mixed


def _at_most(ceiling: Floats, value: Floats) -> Floats:
    """(B,) factor, at most 1, that brings ``value`` under ``ceiling``."""
    return np.where(value > ceiling, ceiling / np.where(value > 0, value, 1.0), 1.0)


def _deepest_fall(returns: Floats) -> Floats:
    """(B,) maximum drawdown of (T, B) daily returns."""
    wealth = np.cumprod(1.0 + returns, axis=0)
    peaks = np.maximum(np.maximum.accumulate(wealth, axis=0), 1.0)
    fall: Floats = (1.0 - wealth / peaks).max(axis=0)
    return fall
