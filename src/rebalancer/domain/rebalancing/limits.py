"""Limits on targets: how far a policy may depart from those given, then what a profile bears."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cached_property

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.market import indicators
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book, Limits, find_columns, open_book
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.portfolio.portfolio import NO_PREFERENCES, Portfolio
from rebalancer.domain.portfolio.risk import UNPROFILED_RISK_AVERSION, RiskProfile
from rebalancer.domain.rebalancing.solver import Trades, solve_trades

RISK_WINDOW = 252
"""Daily returns that expected volatility and drawdown are estimated from: one year."""

FEWEST_RETURNS = 20
"""Returns under which there is no estimate."""

_SLACK = 1e-7

_ROUNDING = 1e-9
"""A share of the targets nearer to 1 than this is all of them."""

_HALVINGS = 40

_MOST_GROWTH = 10.0
"""In a day, of what is held on credit: keeps a year's growth finite."""

_PROFILE_LIMITS = (
    "max_weight",
    "equity_ceiling",
    "target_volatility",
    "tolerated_drawdown",
    "cash_floor",
)

_BOUNDLESS = RiskProfile(
    name="boundless",
    target_volatility=1e6,
    tolerated_drawdown=1.0,
    equity_ceiling=1.0,
    cash_floor=0.0,
    max_weight=1.0,
    risk_aversion=UNPROFILED_RISK_AVERSION,
)
"""A profile that no targets exceed."""


@attrs.frozen(eq=False)
class LimitedDecision:
    """A decision within limits, and what the limits did to it.

    Attributes:
        decision: Targets within every limit.
        kept: Share of the wanted sum of targets that each limit left, by the limit's name, (B,).
        forced: (B,) the portfolio must act because of its risk, whatever the policy's schedule.
        departure: (B,) how far the policy would have gone from the strategic targets, where that
            is further than it may; 0 elsewhere.
    """

    decision: Decision
    kept: dict[str, Floats]
    forced: Bools
    departure: Floats

    def left(self) -> list[dict[str, float]]:
        """(B,) share of the targets that each limit left, for those that took any."""
        found: list[dict[str, float]] = [{} for _ in self.forced]
        for name, kept in self.kept.items():
            for row in np.flatnonzero(kept < 1 - _ROUNDING).tolist():
                found[row][name] = kept.item(row)
        return found

    def forcing(self, rows: Bools) -> LimitedDecision:
        """The same, but these portfolios go to their targets now: waiting would exceed a limit."""
        decision, each = self.decision, rows[:, None]
        if decision.band is not None and decision.cash_band is not None:
            decision = attrs.evolve(
                decision,
                band=np.where(each, 0.0, decision.band),
                cash_band=np.where(rows, 0.0, decision.cash_band),
            )
        decision = attrs.evolve(decision, due=decision.due | rows)
        return attrs.evolve(self, decision=decision, forced=self.forced | rows)


def limit_decision(decision: Decision, book: Book, risk: PortfolioRisk) -> LimitedDecision:
    """Bring a decision's targets within every limit of each portfolio.

    Those further from the strategic targets than a policy may go are brought back to that distance.
    Then targets are scaled down, the rest being cash, until these limits hold, in turn: most weight
    of one asset, equity ceiling, expected volatility, drawdown of the mix over the last year, cash
    floor. Estimates use up to 252 daily returns; with fewer than 20 there is none, and the two
    limits that need one do not apply. Risk is judged together with what must not be sold: what that
    leaves of a limit, the other targets may use.
    """
    limits = book.limits
    forced = np.zeros(len(book), dtype=bool)
    if limits is None:
        return LimitedDecision(decision, {}, forced, np.zeros(len(book)))
    kept: dict[str, Floats] = {}
    targets, departure = _brought_back(decision.targets, book, limits)

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
        if risk.known:
            rows = np.flatnonzero(limits.profiled)
            some, its_risk = book.only(rows), risk.only(rows)
            for name, share in (
                ("target volatility", its_risk.share_within_volatility),
                ("tolerated drawdown", its_risk.share_within_drawdown),
            ):
                narrower = targets.copy()
                narrower[rows] = _beside_locked(targets[rows], some, share)
                targets = scaled(name, narrower)
        # Targets may sum to a little more than 1; without a profile they stay as they are.
        most = np.where(limits.profiled, 1.0 - limits.cash_floor, np.inf)
        factor = _at_most(most, targets.sum(axis=1))
        targets = scaled("cash floor", targets * factor[:, None])
    return LimitedDecision(attrs.evolve(decision, targets=targets), kept, forced, departure)


def solve_within_limits(
    decision: Decision, book: Book, risk: PortfolioRisk, charges: CostSchedule
) -> tuple[LimitedDecision, Trades]:
    """A decision within limits, and its trades: for proposals and backtests alike.

    Portfolios that the trades would leave riskier than their profile bears, because the policy is
    not due or a band lets them be, go to their targets now.
    """
    limited = limit_decision(decision, book, risk)
    wanted = solve_trades(book, limited.decision, charges)
    if book.limits is not None:
        whole = np.where(wanted.total > 0, wanted.total, 1.0)[:, None]
        waiting = risk.exceeds((book.values + wanted.values) / whole, book.limits)
        if waiting.any():
            limited = limited.forcing(waiting)
            wanted = solve_trades(book, limited.decision, charges)
    return limited, wanted


def _brought_back(targets: Floats, book: Book, limits: Limits) -> tuple[Floats, Floats]:
    """Targets as far from the strategic ones as a policy may go, in the direction it wants.

    The distance is one-way with cash as an asset, as turnover is. Between two feasible mixes every
    mix is feasible.

    Returns:
        (B, K) targets, to the last bit those given where they are near enough; and (B,) the
        distance of the others.
    """
    moved = targets - book.targets
    distance = (np.abs(moved).sum(axis=1) + np.abs(moved.sum(axis=1))) / 2
    far = distance > limits.max_departure
    if not far.any():
        return targets, np.zeros(len(book))
    share = np.where(far, limits.max_departure, 1.0) / np.where(far, distance, 1.0)
    nearer = book.targets + share[:, None] * moved
    return np.where(far[:, None], nearer, targets), np.where(far, distance, 0.0)


def breaches(
    portfolio: Portfolio, market: PriceHistory, instruments: Instruments
) -> dict[str, float]:
    """Which limits of its own risk profile a portfolio's strategic targets exceed.

    The targets alone are judged, against each limit by itself: not what is held or locked, and not
    what the owner prefers.

    Returns:
        By the limit's name, the share of the targets that this limit alone would leave, in [0, 1).
        Empty where nothing is exceeded or there is no profile.

    Raises:
        InvalidRequest: a targeted symbol is unknown or has no close yet.
    """
    bare = attrs.evolve(
        portfolio,
        cash=Decimal(1),
        holdings={},
        cash_flow=Decimal(0),
        preferences=NO_PREFERENCES,
    )
    columns = find_columns(bare, market)
    profile = portfolio.risk_profile
    if profile is None:
        return {}
    # One row a limit, so that none hides behind another that has scaled the targets already.
    rows = [
        attrs.evolve(
            bare, risk_profile=attrs.evolve(_BOUNDLESS, **{limit: getattr(profile, limit)})
        )
        for limit in _PROFILE_LIMITS
    ]
    book, _ = open_book(rows, [columns] * len(rows), market, instruments)
    plain = Decision(targets=book.targets, due=np.ones(len(book), dtype=bool))
    limited = limit_decision(plain, book, PortfolioRisk(book, market))
    exceeded: dict[str, float] = {}
    for left in limited.left():
        exceeded |= left
    return exceeded


def _beside_locked(
    targets: Floats, book: Book, share: Callable[[Floats, Floats, Limits], Floats]
) -> Floats:
    """(B, K) targets scaled down for risk; what is locked above its own keeps its room.

    Scaling can turn another locked asset into such a one, so this repeats until none is left.
    """
    limits = book.limits
    assert limits is not None
    held = book.values / np.where(book.total > 0, book.total, 1.0)[:, None]
    stuck = np.zeros_like(limits.no_sell)
    while True:
        loose = np.where(stuck, 0.0, targets)
        loose = loose * share(np.where(stuck, held, 0.0), loose, limits)[:, None]
        more = limits.profiled[:, None] & limits.no_sell & ~stuck & (held > loose + _SLACK)
        if not more.any():
            return np.where(stuck, np.minimum(targets, held), loose)
        stuck |= more


class PortfolioRisk:
    """Volatility and drawdown of mixes of a book's assets, estimated over the last year.

    Days before an asset's first close count as days without a move.

    Attributes:
        known: Whether there is history enough for an estimate; without it figures are NaN.
    """

    def __init__(self, book: Book, market: PriceHistory) -> None:
        self._book = book
        self._market = market
        self.known = len(market) > FEWEST_RETURNS

    def only(self, rows: Rows) -> PortfolioRisk:
        """The same for some of the portfolios."""
        return PortfolioRisk(self._book.only(rows), self._market)

    def volatility(self, weights: Floats) -> Floats:
        """(B,) expected volatility a year of (B, K) weights."""
        if not self.known:
            return np.full(len(weights), np.nan)
        variance = (weights * self._covariances_with(weights)).sum(axis=1)
        risk: Floats = np.sqrt(np.maximum(variance, 0.0))
        return risk

    def asset_variance(self) -> Floats:
        """(B, K) variance a year of each slot's asset."""
        if not self.known:
            return np.full(self._book.assets.shape, np.nan)
        variance: Floats = self._covariance.diagonal()[self._book.assets]
        return variance

    def exceeds(self, weights: Floats, limits: Limits) -> Bools:
        """(B,) whether (B, K) weights are riskier than a profile bears."""
        exceeds = np.zeros(len(weights), dtype=bool)
        rows = np.flatnonzero(limits.profiled)
        if not (self.known and rows.size):
            return exceeds
        some, bounds, mixes = self.only(rows), limits.only(rows), weights[rows]
        volatile = some.volatility(mixes) > bounds.target_volatility * (1 + _SLACK)
        fall = _deepest_fall(some._mix_returns(mixes))
        exceeds[rows] = volatile | (fall > bounds.tolerated_drawdown * (1 + _SLACK))
        return exceeds

    def share_within_volatility(self, stuck: Floats, loose: Floats, limits: Limits) -> Floats:
        """(B,) largest share of ``loose`` (B, K) that ``stuck`` leaves room for; 0 to 1.

        The variance of ``stuck + f loose`` is ``a + 2 b f + c f^2``. Where it is never low enough,
        the share is that of the least variance.
        """
        with_loose = self._covariances_with(loose)
        a = (stuck * self._covariances_with(stuck)).sum(axis=1)
        b, c = (stuck * with_loose).sum(axis=1), (loose * with_loose).sum(axis=1)
        over = (a + 2 * b + c > limits.target_volatility**2) & (c > 0)
        most = np.where(over, limits.target_volatility, 0.0) ** 2
        root = np.sqrt(np.maximum(b * b - c * (a - most), 0.0))
        share = np.clip((root - b) / np.where(over, c, 1.0), 0.0, 1.0)
        return np.where(over, share, 1.0)

    def share_within_drawdown(self, stuck: Floats, loose: Floats, limits: Limits) -> Floats:
        """(B,) largest share of ``loose`` (B, K) that ``stuck`` leaves room for; 0 to 1."""
        share = np.ones(len(loose))
        base, extra = self._mix_returns(stuck), self._mix_returns(loose)
        most = limits.tolerated_drawdown
        over = np.flatnonzero(_deepest_fall(base + extra) > most)
        if not over.size:
            return share
        # Deeper with every increase of the share, so halving finds the largest one that fits.
        low, high = np.zeros(over.size), np.ones(over.size)
        base, extra = base[over], extra[over]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            fits = _deepest_fall(base + middle[:, None] * extra) <= most[over]
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

    @cached_property
    def _among(self) -> Floats:
        """(B, K, K) covariances of each portfolio's assets."""
        return indicators.covariance_among(self._covariance, self._book.assets, self._book.present)

    def _covariances_with(self, weights: Floats) -> Floats:
        """(B, K) covariance a year of each asset with a mix.

        A sum and no matrix product, whose last digits would depend on the width of the book.
        """
        with_mix: Floats = (self._among * weights[:, None, :]).sum(axis=2)
        return with_mix

    def _mix_returns(self, weights: Floats) -> Floats:
        """(B, T) daily returns of mixes held at constant weights."""
        book = self._book
        return indicators.mix_returns(self._market, RISK_WINDOW, weights, book.assets, book.present)


def _at_most(ceiling: Floats, value: Floats) -> Floats:
    """(B,) factor, at most 1, that brings ``value`` under ``ceiling``."""
    return np.where(value > ceiling, ceiling / np.where(value > 0, value, 1.0), 1.0)


def _deepest_fall(returns: Floats) -> Floats:
    """(B,) maximum drawdown of (B, T) daily returns; wealth that is lost does not come back."""
    wealth = np.cumprod(np.clip(1.0 + returns, 0.0, _MOST_GROWTH), axis=1)
    peaks = np.maximum(np.maximum.accumulate(wealth, axis=1), 1.0)
    fall: Floats = (1.0 - wealth / peaks).max(axis=1)
    return fall
