"""A policy over a history: what it would have done, close by close, and what came of it.

Each row is a trading day. A decision uses data up to and including a day's close and trades at that
close. Rows before the window serve as look-back only. At the window's first close the policy buys
its targets and pays for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.evidence import ConfidenceInterval, sharpe_difference
from rebalancer.domain.backtest.step import drift, settle
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.indicators import TRADING_DAYS
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Frequency, Policy
from rebalancer.domain.policy.rules import policy as rule
from rebalancer.domain.portfolio.book import Book, Limits, OrderRules
from rebalancer.domain.portfolio.costs import CostModel, CostSchedule
from rebalancer.domain.portfolio.risk import DEFAULT_PROFILE, RISK_PROFILES, RiskProfile
from rebalancer.domain.rebalancing.limits import PortfolioRisk, solve_within_limits
from rebalancer.domain.rebalancing.rounding import round_trades
from rebalancer.domain.rebalancing.solver import Trades, solve_trades, would_trade

Integers = NDArray[np.int64]

BASELINE = "monthly"
"""The simple rule that a sceptic would try; tracking error and information ratio are against it."""

_SOME_DAY = np.datetime64("1970-01-01")

_FIRST_GLANCE, _LONGEST_GLANCE = 16, 512

_SWEEPS = 50
"""Most times that all looks are solved at once; five or fewer are the rule."""

_STAYS = 1e-15
"""Cash that changes by less, as a share of wealth, is found."""


@attrs.frozen
class Performance:
    """How a policy did. Fractions, not percent; a year is 252 rows; see `performance` for sources.

    Attributes:
        final_value: Per 1 invested, costs of the first close included.
        cagr: Compound growth a year of 1 invested.
        volatility: Standard deviation of daily returns, a year.
        sharpe: Excess return over the risk-free per unit of volatility, a year.
        sortino: The same per unit of downside deviation.
        calmar: Growth a year over maximum drawdown.
        max_drawdown: Deepest fall from a peak, positive.
        longest_drawdown: Rows from a peak to its recovery, or to the end.
        value_at_risk: Loss that one day in twenty exceeds, positive.
        expected_shortfall: Mean loss of the worst day in twenty, positive.
        turnover_per_year: One-way, after the first close.
        orders: Asset trades after the first close.
        orders_per_year: The same a year.
        cost_paid: Per 1 invested, the first close included.
        average_exposure: Mean share invested after each close.
        tracking_error: Volatility of the difference to the monthly rule, a year.
        information_ratio: Mean difference to the monthly rule over tracking error.
    """

    final_value: float
    cagr: float
    volatility: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    longest_drawdown: int
    value_at_risk: float
    expected_shortfall: float
    turnover_per_year: float
    orders: int
    orders_per_year: float
    cost_paid: float
    average_exposure: float
    tracking_error: float
    information_ratio: float


@attrs.frozen(eq=False)
class EquityPath:
    """What a policy did over R rows, per 1 invested.

    Attributes:
        values: (R,) wealth after each close.
        weights: (R, N) of the assets after each close; the rest is cash.
        costs: (R,) paid at each close.
        orders: (R,) assets traded at each close.
        turnover: (R,) one-way, at each close.
    """

    values: Floats
    weights: Floats
    costs: Floats
    orders: Integers
    turnover: Floats


@attrs.frozen(eq=False)
class PolicyResult:
    """A policy's path and performance.

    Attributes:
        policy: Its name.
        values: As the others below, see `EquityPath`.
        weights: See `EquityPath`.
        costs: See `EquityPath`.
        orders: See `EquityPath`.
        turnover: See `EquityPath`.
        performance: What came of it.
        gain: Sharpe ratio minus that of the monthly rule, with a 95% interval; None where the
            window is too short to tell.
    """

    policy: str
    values: Floats
    weights: Floats
    costs: Floats
    orders: Integers
    turnover: Floats
    performance: Performance
    gain: ConfidenceInterval | None = None


@attrs.frozen(eq=False)
class Backtest:
    """Policies side by side over the same window, costs and targets.

    Attributes:
        dates: (R,) trading days of the window.
        symbols: N assets.
        cost_label: What trading was charged.
        results: One a policy, in the order asked for.
        cautions: What a reader must know before believing any of it.
    """

    dates: Dates
    symbols: tuple[str, ...]
    cost_label: str
    results: tuple[PolicyResult, ...]
    cautions: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class BacktestSettings:
    """Under which a policy is tried.

    Attributes:
        prices: The whole history, rows before the window included.
        first: Row of the window's first close.
        targets: (N,) strategic weights of the assets.
        costs: The price list.
        risk_free: (T,) simple return that cash earns over each row, since the row before.
        instruments: What slippage needs to know of volumes.
        capital: Money at the first close; matters for fees an order and for whole shares.
        as_live: Whether orders are made as live: whole shares instead of fractions.
        max_departure: How far a policy may go from the targets, one-way; 1: as far as it likes.
        profile: Limits that the portfolio keeps to; None: none.
        risk_aversion: Relative; learned policies mind it.
    """

    prices: PriceHistory
    first: int
    targets: Floats
    costs: CostModel
    risk_free: Floats
    instruments: Instruments = attrs.field(factory=Instruments)
    capital: float = 100_000.0
    as_live: bool = False
    max_departure: float = 1.0
    profile: RiskProfile | None = None
    risk_aversion: float = RISK_PROFILES[DEFAULT_PROFILE].risk_aversion

    @property
    def limits(self) -> Limits | None:
        """Those of a portfolio; None where there are none."""
        if self.max_departure >= 1 and self.profile is None:
            return None
        assets = np.arange(len(self.targets))[None, :]
        free = Limits.none(Book.single(assets.size, targets=self.targets, cash=0.0, on=_SOME_DAY))
        free = attrs.evolve(free, max_departure=np.array([self.max_departure]))
        profile = self.profile
        if profile is None:
            return free
        return attrs.evolve(
            free,
            max_weight=np.array([profile.max_weight]),
            equity=self.instruments.equity_mask(self.prices.symbols)[None, :],
            equity_ceiling=np.array([profile.equity_ceiling]),
            cash_floor=np.array([profile.cash_floor]),
            target_volatility=np.array([profile.target_volatility]),
            tolerated_drawdown=np.array([profile.tolerated_drawdown]),
        )

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.max_departure <= 1:
            raise InvalidRequest(
                f"must be a fraction between 0 and 1, got {self.max_departure}",
                field="max_departure",
            )
        rows = max(len(self.prices) - self.first, 0)
        if rows < 3:
            raise InvalidRequest(
                f"the window holds {rows} row(s) of prices; a backtest needs at least 3, since one "
                "return alone has no deviation",
                field="from",
            )
        late = np.isnan(self.prices.closes[self.first])
        if late.any():
            column = int(np.argmax(late))
            known = np.flatnonzero(~np.isnan(self.prices.closes[:, column]))
            later = f"begin at {self.prices.dates[known[0]]} or later, or " if known.size else ""
            raise InvalidRequest(
                f"{self.prices.symbols[column]} has no price on "
                f"{self.prices.dates[self.first]}; {later}leave it out",
                field="from",
            )


def compare_policies(
    policies: Sequence[Policy],
    settings: BacktestSettings,
    *,
    seed: int = 0,
    cautions: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Backtest:
    """Run policies side by side.

    Args:
        policies: What to try.
        settings: Under which settings.
        seed: Of the resampling behind intervals.
        cautions: What a reader must know.
        progress: Told the name of each policy when it is done.

    Raises:
        InvalidRequest: the window holds fewer than 3 rows, or an asset has no price at its start.
    """
    window = slice(settings.first, None)
    risk_free = settings.risk_free[window][1:]
    baseline = simulate(rule(BASELINE), settings)
    results = []
    for policy in policies:
        path = baseline if policy.name == BASELINE else simulate(policy, settings)
        measured = measure_performance(path, risk_free, baseline)
        gain = sharpe_difference(
            _returns(path) - risk_free, _returns(baseline) - risk_free, seed=seed
        )
        results.append(PolicyResult(policy.name, *_fields(path), performance=measured, gain=gain))
        progress(policy.name)
    return Backtest(
        dates=settings.prices.dates[window],
        symbols=settings.prices.symbols,
        cost_label=settings.costs.label,
        results=tuple(results),
        cautions=tuple(cautions),
    )


def simulate(policy: Policy, settings: BacktestSettings) -> EquityPath:
    """What a policy would have done over the window."""
    history, first = settings.prices, settings.first
    closes, dates = history.closes, history.dates
    # What 1 in cash at row 0 has become.
    money = np.cumprod(1.0 + settings.risk_free, dtype=np.float64)
    looks = first + np.flatnonzero(_reviews(policy, dates[first:]))
    tried = _Simulation(policy, settings, money, looks)
    begins, books, every = tried.at_once() or tried.one_by_one()

    part = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(dates))))
    quantities = books.values / closes[begins]
    holdings = quantities[part] * closes[first:]
    values = holdings.sum(axis=1) + (books.cash / money[begins])[part] * money[first:]
    costs, turnover = np.zeros(len(values)), np.zeros(len(values))
    orders = np.zeros(len(values), dtype=np.int64)
    looked, capital = begins - first, settings.capital
    costs[looked] = every.costs.sum(axis=1) / capital
    turnover[looked] = every.turnover
    orders[looked] = every.count
    return EquityPath(
        values=values / capital,
        weights=holdings / values[:, None],
        costs=costs,
        orders=orders,
        turnover=turnover,
    )


Looked = tuple[Rows, Book, Trades]
"""L rows at which a policy acted or looked; the portfolio after each, and the trades of each, as if
they were so many portfolios."""


@attrs.frozen(eq=False)
class _Simulation:
    """One policy under one set of settings.

    Attributes:
        policy: Who decides.
        settings: Under which settings.
        money: (T,) what 1 in cash at row 0 has become.
        looks: Rows at which the policy looks, the window's first row first.
    """

    policy: Policy
    settings: BacktestSettings
    money: Floats
    looks: Rows

    @property
    def _charges(self) -> CostSchedule:
        settings = self.settings
        return settings.costs.of(settings.prices.symbols, settings.instruments)

    def one_by_one(self) -> Looked:
        """Look after look: each decision sees what the one before has made of the portfolio."""
        settings, history, charges = self.settings, self.settings.prices, self._charges
        closes, dates, looks, money = history.closes, history.dates, self.looks, self.money
        starts: list[int] = []
        made: list[Trades] = []
        settled: list[Book] = []
        first, limits = settings.first, settings.limits
        book = attrs.evolve(
            Book.single(
                len(history.symbols),
                targets=settings.targets,
                cash=settings.capital,
                on=dates[first],
            ),
            limits=limits,
            cost_rate=charges.usual_rate(np.ones((1, len(history.symbols)), dtype=bool)),
            risk_aversion=np.array([settings.risk_aversion]),
        )
        at = 0
        while at < len(looks):
            row = int(looks[at])
            decision = self.policy.decide(book, history.until(row))
            if row == first:  # the targets are bought, however wide the band that will hold them
                decision = attrs.evolve(decision, band=None, cash_band=None)
            if limits is None:
                done = solve_trades(book, decision, charges)
            else:
                risk = PortfolioRisk(book, history.until(row))
                limited, done = solve_within_limits(decision, book, risk, charges)
                decision = limited.decision
            if settings.as_live:
                done = _as_live(book, done, charges, closes[row])
            book = settle(book, done, decision)
            starts.append(row)
            made.append(done)
            settled.append(book)
            at += 1
            if limits is None and decision.band is not None and self.policy.lookback == 1:
                at = self._next_stir(book, at, row)
            if at < len(looks):
                to = int(looks[at])
                growth, interest = closes[to] / closes[row], money[to] / money[row]
                book = drift(book, growth, interest, dates[to : to + 1])
        return (
            np.array(starts),
            attrs.evolve(
                book,
                values=np.concatenate([after.values for after in settled]),
                cash=np.concatenate([after.cash for after in settled]),
            ),
            attrs.evolve(
                made[0],
                values=np.concatenate([done.values for done in made]),
                costs=np.concatenate([done.costs for done in made]),
                total=np.concatenate([done.total for done in made]),
            ),
        )

    def at_once(self) -> Looked | None:
        """All looks as one book, where each goes all the way to fixed targets; else None.

        After such a look the portfolio is known, but for its size and for what costs took from the
        cash that the targets leave. With proportional costs size is a factor, put in at the end;
        the cash is put in by solving again until it stays, which it does at once when targets sum
        to 1.
        """
        settings, looks, money, charges = self.settings, self.looks, self.money, self._charges
        if self.policy.lookback > 1 or settings.as_live or not charges.proportional:
            return None
        if settings.limits is not None:
            return None
        closes = settings.prices.closes
        count, before = len(looks), looks[:-1]
        book = self._of_looks(looks)
        decision = self.policy.decide(book, settings.prices.until(settings.first))
        fixed = decision.targets is book.targets  # the strategic ones, whatever is held
        if not fixed or decision.band is not None or not decision.due.all():
            return None
        growth = closes[looks[1:]] / closes[before]
        interest = money[looks[1:]] / money[before]
        # What 1 after each look is made of; the look at the first row begins with 1 in cash.
        assets = np.tile(settings.targets, (count, 1))
        cash = 1.0 - assets.sum(axis=1)
        for _ in range(_SWEEPS):
            book.values[1:] = assets[:-1] * growth
            book.cash[1:] = cash[:-1] * interest
            done = solve_trades(book, decision, charges)
            after = settle(book, done, decision)
            total = after.values.sum(axis=1) + after.cash
            assets, earlier = after.values / total[:, None], cash
            cash = after.cash / total
            if np.abs(cash - earlier).max() < _STAYS:
                break
        size = settings.capital * np.cumprod(np.concatenate([[1.0], total[:-1]]))
        return (
            looks,
            attrs.evolve(after, values=after.values * size[:, None], cash=after.cash * size),
            attrs.evolve(
                done,
                values=done.values * size[:, None],
                costs=done.costs * size[:, None],
                total=done.total * size,
            ),
        )

    def _of_looks(self, looks: Rows) -> Book:
        """The portfolio at some looks as so many portfolios, nothing but 1 in cash in any."""
        count, assets = len(looks), len(self.settings.targets)
        dates = self.settings.prices.dates
        return Book(
            assets=np.broadcast_to(np.arange(assets), (count, assets)),
            present=np.broadcast_to(True, (count, assets)),
            values=np.zeros((count, assets)),
            cash=np.ones(count),
            flow=np.zeros(count),
            targets=np.broadcast_to(self.settings.targets, (count, assets)),
            as_of=dates[looks],
            reviewed=np.concatenate([np.array(["NaT"], dtype=dates.dtype), dates[looks[:-1]]]),
            band=np.full(count, np.nan),
        )

    def _next_stir(self, book: Book, at: int, row: int) -> int:
        """Position in ``looks`` of the next look, from ``at`` on, at which the policy would act.

        For a policy that judges only how far an untouched portfolio has drifted, the coming days
        are so many portfolios, evaluated at once; each is evaluated on its own close alone.
        """
        closes, market = self.settings.prices.closes, self.settings.prices.until(row)
        glance = _FIRST_GLANCE
        while at < len(self.looks):
            ahead = self.looks[at : at + glance]
            later = attrs.evolve(
                self._of_looks(ahead),
                values=book.values * (closes[ahead] / closes[row]),
                cash=book.cash * (self.money[ahead] / self.money[row]),
                reviewed=np.broadcast_to(book.reviewed, len(ahead)),
            )
            found = np.flatnonzero(would_trade(later, self.policy.decide(later, market)))
            if found.size:
                return at + int(found[0])
            at += len(ahead)
            glance = min(2 * glance, _LONGEST_GLANCE)
        return at


def measure_performance(path: EquityPath, risk_free: Floats, baseline: EquityPath) -> Performance:
    """Performance of a path of R rows.

    Args:
        path: What the policy did.
        risk_free: (R - 1,) simple return of cash over each row.
        baseline: What the sceptic's rule did over the same rows.
    """
    values = path.values
    returns, against = _returns(path), _returns(baseline)
    years = (len(values) - 1) / TRADING_DAYS
    # Of 1 invested, what the first close cost included; in logarithms it cannot overflow.
    growth = math.expm1(min(math.log(values[-1]) / years, 700.0))
    fall = metrics.max_drawdown(values)
    orders = int(path.orders[1:].sum())
    return Performance(
        final_value=float(values[-1]),
        cagr=growth,
        volatility=metrics.annual_volatility(returns),
        sharpe=metrics.sharpe(returns, risk_free),
        sortino=metrics.sortino(returns, risk_free),
        calmar=growth / fall if fall > metrics.STILL else 0.0,
        max_drawdown=fall,
        longest_drawdown=metrics.longest_drawdown(values),
        value_at_risk=metrics.value_at_risk(returns),
        expected_shortfall=metrics.expected_shortfall(returns),
        turnover_per_year=float(path.turnover[1:].sum() / years),
        orders=orders,
        orders_per_year=orders / years,
        cost_paid=float(path.costs.sum()),
        average_exposure=float(path.weights.sum(axis=1).mean()),
        tracking_error=metrics.tracking_error(returns, against),
        information_ratio=metrics.information_ratio(returns, against),
    )


@attrs.frozen
class Split:
    """Rows to learn from, and later rows to be evaluated on."""

    train: range
    test: range


def walk_forward(
    rows: int, *, train: int, test: int, embargo: int = 0, anchored: bool = False
) -> Iterator[Split]:
    """Successive splits of a history, each evaluated on rows after those that it learnt from.

    Args:
        rows: Length of the history.
        train: Rows to learn from.
        test: Rows to be evaluated on; windows do not overlap, and the last may be shorter.
        embargo: Rows left out between the two, so that no return or indicator spans both (Lopez de
            Prado 2018, Advances in Financial Machine Learning, section 7.4).
        anchored: Whether learning always begins at row 0 rather than rolling on.

    Raises:
        InvalidRequest: a length is not positive, or the history is too short for one split.
    """
    if train < 1 or test < 1 or embargo < 0:
        raise InvalidRequest("train and test must be at least 1 row, embargo at least 0")
    if train + embargo >= rows:
        raise InvalidRequest(
            f"{rows} rows are too few for {train} to learn from and {embargo} of embargo"
        )
    return (
        Split(
            range(0 if anchored else begin - embargo - train, begin - embargo),
            range(begin, min(begin + test, rows)),
        )
        for begin in range(train + embargo, rows, test)
    )


def _returns(path: EquityPath) -> Floats:
    """(R - 1,) simple return over each row."""
    returns: Floats = path.values[1:] / path.values[:-1] - 1.0
    return returns


def _fields(path: EquityPath) -> tuple[Floats, Floats, Floats, Integers, Floats]:
    return path.values, path.weights, path.costs, path.orders, path.turnover


def _reviews(policy: Policy, dates: Dates) -> Bools:
    """Rows at which a policy may be due: its own, and the monthly rule's while it lacks history."""
    own = policy.frequency.reviews(dates)
    return own if policy.lookback == 1 else own | Frequency.MONTHLY.reviews(dates)


def _as_live(book: Book, done: Trades, charges: CostSchedule, closes: Floats) -> Trades:
    """The same trades in whole shares, as a person would have to place them."""
    one = np.ones(len(book))
    held = np.rint(book.values / closes)
    order_rules = OrderRules(
        quantities=held,
        prices=np.broadcast_to(closes, book.values.shape),
        step=one,
        min_trade=0 * one,
        minor_unit=0.01 * one,
        skip_unprofitable=np.zeros(len(book), dtype=bool),
        risk_aversion=one,
    )
    made = round_trades(book, done, order_rules, charges)
    # To a whole number of shares at this close, so that rounding does not build up over the years.
    values = np.where(made.steps != 0, (held + made.steps) * closes - book.values, 0.0)
    return attrs.evolve(done, values=values, costs=made.costs)
