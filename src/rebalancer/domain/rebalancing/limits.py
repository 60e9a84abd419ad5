"""Limit a decision: its departure from the strategic targets, then its risk by the profile."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cached_property
from typing import Protocol, TypeVar

import attrs
import numpy as np

from rebalancer.domain.arrays import (
    Bools,
    Floats,
    Rows,
    one_way_distance,
    positive_or_one,
    safe_divide,
)
from rebalancer.domain.market import indicators
from rebalancer.domain.market.calendars import split_by_calendar
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book, find_columns, open_book
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.portfolio.portfolio import NO_PREFERENCES, Portfolio
from rebalancer.domain.portfolio.risk import UNPROFILED_RISK_AVERSION, RiskProfile
from rebalancer.domain.rebalancing.group_limits import (
    act_on_groups,
    find_broken_groups,
    keep_within_groups,
    review_groups,
)
from rebalancer.domain.rebalancing.solver import Trades, solve_trades

RISK_WINDOW = 252
"""Trading days of the estimates of volatility and drawdown: one year."""

FEWEST_RETURNS = 20
"""Fewest returns for an estimate."""

_SLACK = 1e-7

_ROUNDING = 1e-9
"""A share of the targets this close to 1 is all of them."""

_HALVINGS = 40

_MAX_DAILY_GROWTH = 10.0
"""Bound on the growth of a leveraged mix in a day: keeps a year's growth finite."""

_PROFILE_LIMITS = (
    "max_weight",
    "equity_ceiling",
    "target_volatility",
    "tolerated_drawdown",
    "cash_floor",
)

_UNLIMITED_PROFILE = RiskProfile(
    name="unlimited",
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
        decision: Decision whose targets satisfy every limit.
        shares: By the limit's name, (B,) share of the targets' sum that the limit left.
        forced: (B,) portfolios that must act because of their risk, regardless of the schedule.
        departure: (B,) one-way distance of the policy's targets from the strategic ones where it
            exceeds the maximum departure; 0 elsewhere.
    """

    decision: Decision
    shares: dict[str, Floats]
    forced: Bools
    departure: Floats

    def reductions(self) -> list[dict[str, float]]:
        """For each portfolio, the share of its targets that each limit left, if not all."""
        found: list[dict[str, float]] = [{} for _ in self.forced]
        for name, shares in self.shares.items():
            for row in np.flatnonzero(shares < 1 - _ROUNDING).tolist():
                found[row][name] = shares.item(row)
        return found

    def force(self, rows: Bools) -> LimitedDecision:
        """Send some portfolios (B,) to their targets now, because waiting exceeds a limit."""
        if not rows.any():
            return self
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

    Targets further from the strategic ones than the maximum departure move back to that distance,
    and further where a group would leave its limits.
    Then targets are scaled down, in favour of cash, until these limits hold, in turn: maximum
    weight, equity ceiling, expected volatility, drawdown of the mix over the last year, cash floor.
    Estimates use the returns of up to a year, or the last 20 if a year has fewer; with fewer than
    20, the two limits that need an estimate do not apply. Risk includes assets on the do-not-sell
    list: the other targets may use what these leave of a limit.
    """
    limits = book.limits
    forced = np.zeros(len(book), dtype=bool)
    if not limits.bind:
        return LimitedDecision(decision, {}, forced, np.zeros(len(book)))
    shares: dict[str, Floats] = {}
    targets, departure = _limit_departure(decision.targets, book)
    targets = keep_within_groups(targets, book)

    def record_share(name: str, narrower: Floats) -> Floats:
        before, after = targets.sum(axis=1), narrower.sum(axis=1)
        shares[name] = np.where(before > 0, safe_divide(after, before), 1.0)
        return narrower

    targets = record_share("maximum weight", np.minimum(targets, limits.max_weight[:, None]))
    if limits.profiled.any():
        equities = np.where(limits.equity, targets, 0.0).sum(axis=1)
        factor = _factor_to(limits.equity_ceiling, equities)
        targets = record_share(
            "equity ceiling", np.where(limits.equity, targets * factor[:, None], targets)
        )
        if risk.known:
            rows, profiled = risk.profiled
            for name, share in (
                ("target volatility", profiled.share_within_volatility),
                ("tolerated drawdown", profiled.share_within_drawdown),
            ):
                narrower = targets.copy()
                narrower[rows] = _scale_around_locked(targets[rows], profiled.book, share)
                targets = record_share(name, narrower)
        # Targets may sum to a little more than 1; without a profile they stay as they are.
        most = np.where(limits.profiled, 1.0 - limits.cash_floor, np.inf)
        factor = _factor_to(most, targets.sum(axis=1))
        targets = record_share("cash floor", targets * factor[:, None])
    return LimitedDecision(attrs.evolve(decision, targets=targets), shares, forced, departure)


def solve_within_limits(
    decision: Decision, book: Book, risk: PortfolioRisk, charges: CostSchedule
) -> tuple[LimitedDecision, Trades]:
    """Limit a decision and solve for its trades, in proposals and backtests.

    Portfolios go to their targets now if the trades would leave them riskier than their profile
    allows, because the policy is not due or a band holds them.
    """
    limited = limit_decision(decision, book, risk)
    if book.limits.groups is not None:
        limited = attrs.evolve(limited, decision=review_groups(limited.decision, book))
    trades, forced = settle_within_risk(
        lambda forced: solve_trades(book, limited.force(forced).decision, charges),
        book,
        risk,
        forced=limited.forced,
    )
    broken = find_broken_groups(book, trades.values)
    if broken is not None:
        limited = attrs.evolve(limited, decision=act_on_groups(limited.decision, book, broken))
        trades = solve_trades(book, limited.force(forced).decision, charges)
    return limited.force(forced), trades


class _Moves(Protocol):
    """Result of either stage of rebalancing.

    Attributes:
        values: (B, K) money bought (+) or sold (-).
    """

    @property
    def values(self) -> Floats: ...


_Moved = TypeVar("_Moved", bound=_Moves)


def settle_within_risk(
    solve: Callable[[Bools], _Moved], book: Book, risk: PortfolioRisk, *, forced: Bools
) -> tuple[_Moved, Bools]:
    """Solve, and solve again with those portfolios forced whose result exceeds a risk limit.

    Args:
        solve: Solves the book, given (B,) portfolios that must reduce their risk.
        book: Portfolios before trading.
        risk: Estimates of their risk.
        forced: (B,) portfolios that must reduce their risk in any case.

    Returns:
        The result, and (B,) the portfolios that were forced.
    """
    solved = solve(forced)
    if book.limits.bind:
        exceeding = risk.exceeds(book.weights(solved.values)) & ~forced
        if exceeding.any():
            forced = forced | exceeding
            solved = solve(forced)
    return solved, forced


def _limit_departure(targets: Floats, book: Book) -> tuple[Floats, Floats]:
    """Move targets back to the maximum departure, in the direction that the policy wants.

    The distance is one-way with cash as an asset, as turnover is. Every mix of two feasible
    allocations is feasible.

    Returns:
        (B, K) targets, unchanged to the last bit where they are near enough; and (B,) the distance
        of the others.
    """
    limits = book.limits
    moved = targets - book.targets
    distance = one_way_distance(moved)
    far = distance > limits.max_departure
    if not far.any():
        return targets, np.zeros(len(book))
    share = np.where(far, limits.max_departure, 1.0) / np.where(far, distance, 1.0)
    nearer = book.targets + share[:, None] * moved
    return np.where(far[:, None], nearer, targets), np.where(far, distance, 0.0)


def find_breaches(
    portfolio: Portfolio, market: PriceHistory, instruments: Instruments
) -> dict[str, float]:
    """Find the limits of its own risk profile that a portfolio's strategic targets exceed.

    Only the targets are checked, against each limit by itself: holdings, locks and preferences do
    not matter.

    Returns:
        By the limit's name, the share of the targets that this limit alone would leave, in [0, 1).
        Empty if no limit is exceeded, or without a profile.

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
    # One row for each limit, so that no limit hides behind another that scaled the targets first.
    rows = [
        attrs.evolve(
            bare,
            risk_profile=attrs.evolve(_UNLIMITED_PROFILE, **{limit: getattr(profile, limit)}),
        )
        for limit in _PROFILE_LIMITS
    ]
    book, _ = open_book(rows, [columns] * len(rows), market, instruments)
    strategic = Decision(targets=book.targets, due=np.ones(len(book), dtype=bool))
    limited = limit_decision(strategic, book, PortfolioRisk(book, market))
    exceeded: dict[str, float] = {}
    for reductions in limited.reductions():
        exceeded |= reductions
    return exceeded


def _scale_around_locked(
    targets: Floats, book: Book, share: Callable[[Floats, Floats], Floats]
) -> Floats:
    """(B, K) targets scaled down for risk; locked assets above their targets keep their weights.

    Scaling can turn another locked asset into such an overweight, so this repeats until
    nothing changes.
    """
    limits = book.limits
    held = safe_divide(book.values, book.total[:, None])
    stuck = np.zeros_like(limits.no_sell)
    while True:
        loose = np.where(stuck, 0.0, targets)
        loose = loose * share(np.where(stuck, held, 0.0), loose)[:, None]
        more = limits.profiled[:, None] & limits.no_sell & ~stuck & (held > loose + _SLACK)
        if not more.any():
            return np.where(stuck, np.minimum(targets, held), loose)
        stuck |= more


class PortfolioRisk:
    """Volatility and drawdown of mixes of a book's assets, estimated over the last year.

    The returns of a portfolio are those between rows on which all of its assets trade; see
    `market.calendars`. Rows before an asset's first close count as rows without a move.

    Attributes:
        book: The portfolios.
        known: Whether there is enough history for an estimate; otherwise figures are NaN, and
            limits do not apply.
    """

    def __init__(self, book: Book, market: PriceHistory) -> None:
        self.book = book
        self._source = market
        calendars = split_by_calendar(market, book.assets, book.present, RISK_WINDOW)
        self._market = calendars[0][1]
        self._parts = [
            (rows, PortfolioRisk._on(book.only(rows), history)) for rows, history in calendars
        ]
        if len(calendars) == 1:
            self._parts = []
        self.known = any(len(history) > FEWEST_RETURNS for _, history in calendars)

    @classmethod
    def _on(cls, book: Book, history: PriceHistory) -> PortfolioRisk:
        """Return the risk of portfolios with one calendar, that of the history."""
        risk = cls.__new__(cls)
        risk.book, risk._source, risk._market, risk._parts = book, history, history, []
        risk.known = len(history) > FEWEST_RETURNS
        return risk

    @cached_property
    def profiled(self) -> tuple[Rows, PortfolioRisk]:
        """Rows of the portfolios with a risk profile, and their risk."""
        rows = np.flatnonzero(self.book.limits.profiled)
        return rows, PortfolioRisk(self.book.only(rows), self._source)

    def describe_window(self, row: int) -> str:
        """Describe the time of a portfolio's estimates: "252 days", "52 weeks"."""
        for rows, part in self._parts:
            if row in rows:
                return part.describe_window(0)
        history = self._market
        return history.frequency.window(min(_risk_rows(history), len(history) - 1))

    def periods_per_year(self) -> Floats:
        """(B,) closes that count as a year."""
        if self._parts:
            return self._by_calendar(PortfolioRisk.periods_per_year)
        return np.full(len(self.book), self._market.frequency.periods_per_year)

    def _by_calendar(self, figure: Callable[..., Floats], *arrays: Floats) -> Floats:
        """Return a figure of each portfolio from the risk on its own calendar."""
        parts = [
            (rows, figure(part, *(array[rows] for array in arrays))) for rows, part in self._parts
        ]
        found = np.empty((len(self.book), *parts[0][1].shape[1:]), dtype=parts[0][1].dtype)
        for rows, figures in parts:
            found[rows] = figures
        return found

    def volatility(self, weights: Floats) -> Floats:
        """(B,) expected annual volatility of (B, K) weights."""
        if self._parts:
            return self._by_calendar(PortfolioRisk.volatility, weights)
        if not self.known:
            return np.full(len(weights), np.nan)
        variance = (weights * self._covariances_with(weights)).sum(axis=1)
        risk: Floats = np.sqrt(np.maximum(variance, 0.0))
        return risk

    def asset_variance(self) -> Floats:
        """(B, K) annual variance of each slot's asset."""
        if self._parts:
            return self._by_calendar(PortfolioRisk.asset_variance)
        if not self.known:
            return np.full(self.book.assets.shape, np.nan)
        variance: Floats = self._covariance.diagonal()[self.book.assets]
        return variance

    def exceeds(self, weights: Floats) -> Bools:
        """(B,) whether (B, K) weights are riskier than the portfolio's profile allows."""
        exceeds = np.zeros(len(weights), dtype=bool)
        if not (self.known and self.book.limits.profiled.any()):
            return exceeds
        rows, profiled = self.profiled
        bounds, mixes = profiled.book.limits, weights[rows]
        volatile = profiled.volatility(mixes) > bounds.target_volatility * (1 + _SLACK)
        drawdown = profiled.max_drawdown(mixes)
        exceeds[rows] = volatile | (drawdown > bounds.tolerated_drawdown * (1 + _SLACK))
        return exceeds

    def max_drawdown(self, weights: Floats) -> Floats:
        """(B,) maximum drawdown of mixes held at constant (B, K) weights; 0 where unknown."""
        if self._parts:
            return self._by_calendar(PortfolioRisk.max_drawdown, weights)
        if not self.known:
            return np.zeros(len(weights))
        return _max_drawdown(self._mix_returns(weights))

    def share_within_volatility(self, stuck: Floats, loose: Floats) -> Floats:
        """(B,) largest share of ``loose`` (B, K) within the target volatility, in [0, 1].

        The variance of ``stuck + f loose`` is ``a + 2 b f + c f^2``. Where it always exceeds the
        target, the share is that of the least variance.

        Args:
            stuck: (B, K) weights that stay.
            loose: (B, K) weights that may be scaled down.
        """
        if self._parts:
            return self._by_calendar(PortfolioRisk.share_within_volatility, stuck, loose)
        if not self.known:
            return np.ones(len(loose))
        limits = self.book.limits
        with_loose = self._covariances_with(loose)
        a = (stuck * self._covariances_with(stuck)).sum(axis=1)
        b, c = (stuck * with_loose).sum(axis=1), (loose * with_loose).sum(axis=1)
        over = (a + 2 * b + c > limits.target_volatility**2) & (c > 0)
        most = np.where(over, limits.target_volatility, 0.0) ** 2
        root = np.sqrt(np.maximum(b * b - c * (a - most), 0.0))
        share = np.clip((root - b) / np.where(over, c, 1.0), 0.0, 1.0)
        return np.where(over, share, 1.0)

    def share_within_drawdown(self, stuck: Floats, loose: Floats) -> Floats:
        """(B,) largest share of ``loose`` within the tolerated drawdown, in [0, 1].

        Args:
            stuck: (B, K) weights that stay.
            loose: (B, K) weights that may be scaled down.
        """
        if self._parts:
            return self._by_calendar(PortfolioRisk.share_within_drawdown, stuck, loose)
        share = np.ones(len(loose))
        if not self.known:
            return share
        base, extra = self._mix_returns(stuck), self._mix_returns(loose)
        most = self.book.limits.tolerated_drawdown
        over = np.flatnonzero(_max_drawdown(base + extra) > most)
        if not over.size:
            return share
        # Drawdown rises with the share, so bisection finds the largest share that fits.
        low, high = np.zeros(over.size), np.ones(over.size)
        base, extra = base[over], extra[over]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            fits = _max_drawdown(base + middle[:, None] * extra) <= most[over]
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        share[over] = low
        return share

    @property
    def _covariance(self) -> Floats:
        def compute() -> Floats:
            returns = np.nan_to_num(self._market.returns(_risk_rows(self._market)))
            yearly = self._market.frequency.periods_per_year
            table: Floats = np.atleast_2d(np.cov(returns, rowvar=False)) * yearly
            return table

        return self._market.memo("risk covariance", compute)

    @cached_property
    def _covariances(self) -> Floats:
        """(B, K, K) covariances of each portfolio's assets."""
        return indicators.covariance_among(self._covariance, self.book.assets, self.book.present)

    def _covariances_with(self, weights: Floats) -> Floats:
        """(B, K) annual covariance of each asset with a mix.

        A sum rather than a matrix product, whose last digits would depend on the book's width.
        """
        with_mix: Floats = (self._covariances * weights[:, None, :]).sum(axis=2)
        return with_mix

    def _mix_returns(self, weights: Floats) -> Floats:
        """(B, T) daily returns of mixes held at constant weights."""
        book = self.book
        rows = _risk_rows(self._market)
        return indicators.mix_returns(self._market, rows, weights, book.assets, book.present)


def _risk_rows(market: PriceHistory) -> int:
    """Return the number of returns of the estimates: of a year, or the fewest for an estimate."""
    return max(market.frequency.rows(RISK_WINDOW), FEWEST_RETURNS)


def _factor_to(ceiling: Floats, value: Floats) -> Floats:
    """(B,) factor, at most 1, that scales ``value`` down to ``ceiling``."""
    return np.where(value > ceiling, ceiling / positive_or_one(value), 1.0)


def _max_drawdown(returns: Floats) -> Floats:
    """(B,) maximum drawdown of (B, T) daily returns; a total loss is final."""
    wealth = np.cumprod(np.clip(1.0 + returns, 0.0, _MAX_DAILY_GROWTH), axis=1)
    peaks = np.maximum(np.maximum.accumulate(wealth, axis=1), 1.0)
    drawdown: Floats = (1.0 - wealth / peaks).max(axis=1)
    return drawdown
