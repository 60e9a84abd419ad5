"""Backtest engine: simulate policies on historical closes.

Each row is a trading day. A decision uses data up to and including a day's close, and trades at
that close. Rows before the window serve as look-back only. At the window's first close the policy
buys its targets and pays the costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.backtest.conversion import rate_cautions
from rebalancer.domain.backtest.evidence import sharpe_gain
from rebalancer.domain.backtest.group_targets import GroupTargets
from rebalancer.domain.backtest.result import (
    Backtest,
    EquityPath,
    MeasuredWindow,
    PolicyResult,
    measure_performance,
)
from rebalancer.domain.backtest.step import drift, settle
from rebalancer.domain.backtest.universe import (
    Universe,
    Unlisted,
    quality_cautions,
    universe_cautions,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.calendars import common_rows
from rebalancer.domain.market.caution import Caution
from rebalancer.domain.market.frequency import observation_frequency
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Decision, Frequency, Policy
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.policy.versions import VersionedPolicy
from rebalancer.domain.portfolio.book import Book, Limits, OrderRules
from rebalancer.domain.portfolio.costs import CostModel, CostSchedule
from rebalancer.domain.portfolio.risk import DEFAULT_PROFILE, RISK_PROFILES, RiskProfile
from rebalancer.domain.portfolio.withheld import hide_withheld
from rebalancer.domain.rebalancing.limits import PortfolioRisk, solve_within_limits
from rebalancer.domain.rebalancing.rounding.orders import round_trades
from rebalancer.domain.rebalancing.solver import Trades, solve_trades, would_trade

BASELINE = "monthly"
"""The main baseline; tracking error, information ratio and gains refer to it."""

DEFAULT_CAPITAL = 100_000.0
"""Money at the window's first close."""

_EPOCH = np.datetime64("1970-01-01")

_FIRST_LOOK_AHEAD, _LONGEST_LOOK_AHEAD = 16, 512

_MOST_SWEEPS = 50
"""Limit of fixed-point iterations; five or fewer usually suffice."""

_CASH_TOLERANCE = 1e-15
"""The iteration has converged when no cash weight changes by more."""


@attrs.frozen(eq=False)
class BacktestSettings:
    """Prices, targets, costs and limits of a backtest.

    The record of trials stores a digest of these fields' names and values, see
    `trial_counting.digest_settings`: renaming a field makes a repeated evaluation count as a new
    trial.

    Attributes:
        prices: The whole history of T rows, including rows before the window.
        first: Row of the window's first close.
        targets: (N,) strategic weights of the assets.
        costs: Cost model.
        risk_free: (T,) simple return of cash over each row, from the row before.
        instruments: Traded volumes, for slippage, and asset classes, for limits.
        capital: Money at the first close; matters for fees per order and for whole shares.
        as_live: Whether orders are multiples of a step, as in live trading.
        quantity_step: That step, for instruments without a step or a lot size of their own.
        max_departure: One-way distance that a policy may depart from the targets; 1: unlimited.
        profile: Risk profile whose limits apply; None: no limits.
        risk_aversion: Relative risk aversion, for learned policies.
        unlisted: Where the target of an asset goes while it is not tradable.
        cash_rate: Rate a year of ``risk_free``; None if it is not of a constant rate.
        cash_cautions: Cautions about the prices that ``risk_free`` comes from.
        groups: Targets by groups that are resolved at each review; None: those in ``targets``.
    """

    prices: PriceHistory
    first: int
    targets: Floats
    costs: CostModel
    risk_free: Floats
    instruments: Instruments = attrs.field(factory=Instruments)
    capital: float = DEFAULT_CAPITAL
    as_live: bool = False
    quantity_step: float = attrs.field(default=1.0)
    max_departure: float = 1.0
    profile: RiskProfile | None = None
    risk_aversion: float = RISK_PROFILES[DEFAULT_PROFILE].risk_aversion
    unlisted: Unlisted = attrs.field(default=Unlisted.OTHERS, converter=Unlisted)
    cash_rate: float | None = None
    cash_cautions: tuple[Caution, ...] = ()
    groups: GroupTargets | None = None

    @quantity_step.validator
    def _check_step(self, _: object, step: float) -> None:
        if not (np.isfinite(step) and step > 0):
            raise InvalidRequest(
                f"{step} is not more than zero; enter the smallest tradable quantity",
                field="quantity_step",
                code="amount_not_positive",
            )

    @property
    def currency(self) -> str | None:
        """ISO 4217 code of the base currency; None if the prices do not state one."""
        return None if self.prices.quotes is None else self.prices.quotes.currency

    @property
    def order_steps(self) -> Floats:
        """(N,) quantity that the orders of each asset are multiples of."""
        steps = np.full(len(self.targets), self.quantity_step)
        for symbol in self.instruments.stepped & self.prices.columns.keys():
            steps[self.prices.column(symbol)] = self.instruments[symbol].order_step
        return steps

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """Cautions about the prices of the targeted assets and of cash, and about the window."""
        symbols = self.prices.symbols
        wanted = frozenset(symbols[column] for column in np.flatnonzero(self.targets > 0))
        return (
            *universe_cautions(self.prices, self.first, self.targets, self.unlisted),
            *quality_cautions(self.prices, self.first, wanted),
            *rate_cautions(self.prices, self.first, wanted),
            *self.cash_cautions,
            *self.window.cautions,
        )

    @property
    def universe(self) -> Universe:
        """Which assets are tradable when."""
        return Universe.of(self.prices, self.first, self.targets, self.unlisted)

    @property
    def limits(self) -> Limits:
        """Limits of the portfolio."""
        book = Book.single(len(self.targets), targets=self.targets, cash=0.0, on=_EPOCH)
        free = Limits.none(book)
        if not self.limits_bind:
            return free
        free = attrs.evolve(free, max_departure=np.array([self.max_departure]), bind=True)
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

    @property
    def limits_bind(self) -> bool:
        """Whether there is a profile, a maximum departure or groups."""
        return self.max_departure < 1 or self.profile is not None or self.groups is not None

    @property
    def window(self) -> MeasuredWindow:
        """Rows of the window; measured are those on which all targeted assets trade."""
        history, first = self.prices, self.first
        common = common_rows(history, self.targets > 0)
        frequency = history.frequency
        if not common.all() and history.periods_per_year is None:
            frequency = observation_frequency(history.dates[common])
        rows = np.flatnonzero(np.append(True, common[first + 1 :]))
        return MeasuredWindow.of(
            history.dates[first:], rows, self.risk_free[first + 1 :], frequency
        )

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.max_departure <= 1:
            raise InvalidRequest(
                f"{self.max_departure} is out of range; enter a fraction between 0 and 1",
                field="max_departure",
                code="not_a_fraction",
            )
        rows = max(len(self.prices) - self.first, 0)
        if rows < 3:
            raise InvalidRequest(
                f"the window holds {rows} row(s) of prices; a backtest needs at least 3 rows to "
                "compute a standard deviation",
                field="from",
                code="window_too_short",
            )
        wanted: Bools = np.asarray(self.targets > 0)
        tradable: Bools = np.any(self.prices.tradable[:, wanted], axis=1, keepdims=False)
        if wanted.any() and not tradable[self.first]:
            names = ", ".join(np.array(self.prices.symbols)[wanted].tolist())
            later = np.flatnonzero(tradable[self.first :])
            remedy = (
                f"begin at {self.prices.dates[self.first + later[0]]} or later"
                if later.size
                else "choose other assets"
            )
            quotes = self.prices.quotes
            has_close = not np.isnan(self.prices.traded[self.first, wanted]).all()
            missing = "price"
            if has_close and quotes is not None and quotes.rates is not None:
                missing = f"exchange rate to {quotes.currency}"
            raise InvalidRequest(
                f"{names}: no {missing} on {self.prices.dates[self.first]}; {remedy}",
                field="from",
                code="no_price_at_start",
            )


def compare_policies(
    policies: Sequence[Policy],
    settings: BacktestSettings,
    *,
    seed: int = 0,
    cautions: Sequence[Caution] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Backtest:
    """Simulate policies with the same settings.

    The seed is that of the bootstrap behind intervals. ``progress`` receives the name of each
    policy when its result is ready.
    """
    window = settings.window
    baseline = simulate(parse_rule(BASELINE), settings)
    base = window.returns(baseline.values) - window.risk_free
    results = []
    paths = {BASELINE: baseline}
    for policy in policies:
        key = _decision_key(policy)
        path = paths[key] if key in paths else simulate(policy, settings)
        paths[key] = path
        excess = window.returns(path.values) - window.risk_free
        gain = sharpe_gain(excess, base, seed=seed, frequency=window.frequency)
        interval = None if gain is None else gain.interval
        performance = measure_performance(path, window, baseline)
        results.append(PolicyResult(policy.name, path, performance, interval))
        progress(policy.name)
    return Backtest(
        dates=settings.prices.dates[settings.first :],
        symbols=settings.prices.symbols,
        cost_label=settings.costs.label,
        results=tuple(results),
        cautions=tuple(cautions),
        frequency=window.frequency,
        measured=window.rows,
        currency=settings.currency,
    )


def _decision_key(policy: Policy) -> str:
    """Return what determines decisions: the same for ``learned`` and the version that it serves."""
    return policy.digest if isinstance(policy, VersionedPolicy) else policy.name


def simulate(policy: Policy, settings: BacktestSettings) -> EquityPath:
    """Simulate a policy over the window."""
    history, first = settings.prices, settings.first
    universe, dates = settings.universe, history.dates
    closes = universe.prices
    money = np.cumprod(1.0 + settings.risk_free, dtype=np.float64)
    trading = first + settings.window.rows
    reviews = trading[_review_days(policy, dates[trading])]
    simulation = _Simulation(policy, settings, universe, money, reviews)
    begins, books, done = simulation.solve_all_reviews() or simulation.step_through_reviews()

    segment = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(dates))))
    quantities = books.values / closes[begins]
    holdings = quantities[segment] * closes[first:]
    values = holdings.sum(axis=1) + (books.cash / money[begins])[segment] * money[first:]
    costs, turnover = np.zeros(len(values)), np.zeros(len(values))
    orders = np.zeros(len(values), dtype=np.int64)
    reviewed, capital = begins - first, settings.capital
    costs[reviewed] = done.costs.sum(axis=1) / capital
    turnover[reviewed] = done.turnover
    orders[reviewed] = done.count
    return EquityPath(
        values=values / capital,
        weights=holdings / values[:, None],
        costs=costs,
        orders=orders,
        turnover=turnover,
    )


ReviewOutcome = tuple[Rows, Book, Trades]
"""Rows of L reviews, the portfolio after each, and its trades. The L states of the one portfolio
are stored as L portfolios."""


@attrs.frozen(eq=False)
class _Simulation:
    """One policy with one set of settings.

    Attributes:
        money: (T,) value of 1 in cash since row 0.
        reviews: Rows at which the policy reviews the portfolio; the window's first row first.
        steps: (N,) quantities that orders are multiples of, if they are rounded.
    """

    policy: Policy
    settings: BacktestSettings
    universe: Universe
    money: Floats
    reviews: Rows
    steps: Floats = attrs.field(init=False)

    @steps.default
    def _order_steps(self) -> Floats:
        return self.settings.order_steps

    @property
    def _charges(self) -> CostSchedule:
        settings = self.settings
        quotes = settings.prices.quotes
        if quotes is None:
            return settings.costs.of(settings.prices.symbols, settings.instruments)
        return settings.costs.of(
            settings.prices.symbols,
            settings.instruments,
            quotes.currencies,
            quotes.currency,
            None if quotes.rates is None else quotes.rates[settings.first],
        )

    def step_through_reviews(self) -> ReviewOutcome:
        """Simulate review by review; each decision sees the portfolio that the last one left."""
        settings, history, charges = self.settings, self.settings.prices, self._charges
        universe, dates, money = self.universe, history.dates, self.money
        prices, first, limits = universe.prices, settings.first, settings.limits
        constant = universe.is_constant(first)
        payouts = universe.payouts(first)
        # Rows at which something happens: reviews, and payouts of assets that have ended.
        events = np.union1d(self.reviews, payouts)
        reviews = frozenset(self.reviews.tolist())
        rows: list[int] = []
        all_trades: list[Trades] = []
        settled: list[Book] = []
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
        while at < len(events):
            row = int(events[at])
            book = universe.pay_out(book, row)
            band: Floats | None = None
            if row in reviews:
                if settings.as_live:
                    book = universe.cash_fractions(book, row, self.steps)
                locked: Bools | None = None
                if settings.groups is not None:
                    book, bounds = settings.groups.at(book, history.symbols)
                    limits = attrs.evolve(settings.limits, groups=bounds)
                    book = attrs.evolve(book, limits=limits)
                if not constant:
                    book, locked = universe.targets_at(
                        attrs.evolve(book, limits=limits),
                        row,
                        resolved=settings.groups is not None,
                    )
                decision, done = self._decide(book, locked, row, charges)
                book, band = settle(book, done, decision), decision.band
                free = not limits.bind and locked is None
            else:
                done, free = _no_trades(all_trades[0], book), False
            rows.append(row)
            all_trades.append(done)
            settled.append(book)
            at += 1
            if free and band is not None and self.policy.lookback == 1:
                at = self._next_trading_review(book, events, at, row)
            if at < len(events):
                to = int(events[at])
                growth, interest = prices[to] / prices[row], money[to] / money[row]
                book = drift(book, growth, interest, dates[to : to + 1])
        return (
            np.array(rows),
            attrs.evolve(
                book,
                values=np.concatenate([after.values for after in settled]),
                cash=np.concatenate([after.cash for after in settled]),
            ),
            attrs.evolve(
                all_trades[0],
                values=np.concatenate([each.values for each in all_trades]),
                costs=np.concatenate([each.costs for each in all_trades]),
                total=np.concatenate([each.total for each in all_trades]),
            ),
        )

    def _decide(
        self, book: Book, locked: Bools | None, row: int, charges: CostSchedule
    ) -> tuple[Decision, Trades]:
        """Decide at a row, and solve for the trades; ``locked`` holdings are not traded."""
        settings, market = self.settings, self.settings.prices.until(row)
        visible = book if locked is None else hide_withheld(book, locked)
        decision = self.policy.decide(visible, market)
        if locked is not None:
            targets = np.where(locked, book.targets, decision.targets)
            decision = attrs.evolve(decision, targets=targets)
        if row == settings.first:  # buy the full targets; bands apply from the next review on
            decision = attrs.evolve(decision, band=None, cash_band=None)
        if not book.limits.bind:
            done = solve_trades(book, decision, charges)
        else:
            limited, done = solve_within_limits(
                decision, book, PortfolioRisk(book, market), charges
            )
            decision = limited.decision
        if settings.as_live:
            done = _round_to_steps(book, done, charges, self.universe.levels[row], self.steps)
        return decision, done

    def solve_all_reviews(self) -> ReviewOutcome | None:
        """Solve all reviews at once if each trades fully to fixed targets; else return None.

        After such a review the weights are known, except for the share of cash that costs consume.
        A fixed-point iteration finds that share; it converges at once if the targets sum to 1.
        With proportional costs the weights do not depend on the portfolio's size, so size is a
        factor that is applied at the end.
        """
        settings, reviews, money, charges = self.settings, self.reviews, self.money, self._charges
        if settings.limits_bind or settings.as_live or not charges.proportional:
            return None
        if self.policy.lookback > 1 or not self.universe.is_constant(settings.first):
            return None
        closes = self.universe.prices
        count, before = len(reviews), reviews[:-1]
        book = self._books_at(reviews)
        decision = self.policy.decide(book, settings.prices.until(settings.first))
        fixed = decision.targets is book.targets  # the strategic targets, whatever is held
        if not fixed or decision.band is not None or not decision.due.all():
            return None
        growth = closes[reviews[1:]] / closes[before]
        interest = money[reviews[1:]] / money[before]
        # Weights after each review; the first review starts from 1 in cash.
        assets = np.tile(settings.targets, (count, 1))
        cash = 1.0 - assets.sum(axis=1)
        nothing, all_cash = book.values[:1], book.cash[:1]
        for _ in range(_MOST_SWEEPS):
            book = attrs.evolve(
                book,
                values=np.concatenate([nothing, assets[:-1] * growth]),
                cash=np.concatenate([all_cash, cash[:-1] * interest]),
            )
            done = solve_trades(book, decision, charges)
            after = settle(book, done, decision)
            total = after.values.sum(axis=1) + after.cash
            assets, earlier = after.values / total[:, None], cash
            cash = after.cash / total
            if np.abs(cash - earlier).max() < _CASH_TOLERANCE:
                break
        size = settings.capital * np.cumprod(np.concatenate([[1.0], total[:-1]]))
        return (
            reviews,
            attrs.evolve(after, values=after.values * size[:, None], cash=after.cash * size),
            attrs.evolve(
                done,
                values=done.values * size[:, None],
                costs=done.costs * size[:, None],
                total=done.total * size,
            ),
        )

    def _books_at(self, reviews: Rows) -> Book:
        """Return one portfolio per review, each with 1 in cash and no assets."""
        count, assets = len(reviews), len(self.settings.targets)
        dates = self.settings.prices.dates
        return Book(
            assets=np.broadcast_to(np.arange(assets), (count, assets)),
            present=np.broadcast_to(True, (count, assets)),
            values=np.zeros((count, assets)),
            cash=np.ones(count),
            flow=np.zeros(count),
            targets=np.broadcast_to(self.settings.targets, (count, assets)),
            as_of=dates[reviews],
            reviewed=np.concatenate([np.array(["NaT"], dtype=dates.dtype), dates[reviews[:-1]]]),
            band=np.full(count, np.nan),
        )

    def _next_trading_review(self, book: Book, events: Rows, at: int, row: int) -> int:
        """Return the position of the first event, from ``at`` on, at which the policy may trade.

        For a policy that only compares drifted weights with bands. The coming reviews of the
        untouched portfolio are evaluated together as one book, as long as the universe stays the
        same; each uses its own close alone.
        """
        prices, market = self.universe.prices, self.settings.prices.until(row)
        changes = self.universe.changes
        later = changes[changes > row]
        stop = int(np.searchsorted(events, later[0])) if later.size else len(events)
        look_ahead = _FIRST_LOOK_AHEAD
        while at < stop:
            ahead = events[at : min(at + look_ahead, stop)]
            reviewed = attrs.evolve(
                self._books_at(ahead),
                targets=np.broadcast_to(book.targets, (len(ahead), book.targets.shape[1])),
                values=book.values * (prices[ahead] / prices[row]),
                cash=book.cash * (self.money[ahead] / self.money[row]),
                reviewed=np.broadcast_to(book.reviewed, len(ahead)),
            )
            found = np.flatnonzero(would_trade(reviewed, self.policy.decide(reviewed, market)))
            if found.size:
                return at + int(found[0])
            at += len(ahead)
            look_ahead = min(2 * look_ahead, _LONGEST_LOOK_AHEAD)
        return at


def _review_days(policy: Policy, dates: Dates) -> Bools:
    """Return (R,) whether each day is a review date; monthly ones too for policies with look-back.

    While its history is too short, such a policy follows the monthly rule.
    """
    own = policy.frequency.reviews(dates)
    return own if policy.lookback == 1 else own | Frequency.MONTHLY.reviews(dates)


def _no_trades(like: Trades, book: Book) -> Trades:
    """Return the trades of a day without a review."""
    nothing = np.zeros_like(like.values)
    return attrs.evolve(like, values=nothing, costs=nothing, total=book.total)


def _round_to_steps(
    book: Book, done: Trades, charges: CostSchedule, closes: Floats, steps: Floats
) -> Trades:
    """Round trades to multiples of each asset's step, as live orders are.

    Args:
        book: Portfolios before trading, whose holdings are such multiples.
        done: The trades.
        charges: Costs.
        closes: (N,) prices of a share.
        steps: (N,) quantities.
    """
    shape = book.values.shape
    one = np.ones(len(book))
    unit = closes * steps
    held = np.rint(book.values / unit)
    rules = OrderRules(
        quantities=held * steps,
        prices=np.broadcast_to(closes, shape),
        step=np.broadcast_to(steps, shape),
        sellable=held * steps,
        min_trade=0 * one,
        minor_unit=0.01 * one,
        skip_unprofitable=np.zeros(len(book), dtype=bool),
        risk_aversion=one,
    )
    made = round_trades(book, done, rules, charges)
    # To a whole number of steps at this close, so that rounding errors do not accumulate.
    whole = np.rint(held + made.steps)
    values = np.where(made.steps != 0, whole * unit - book.values, 0.0)
    return attrs.evolve(done, values=values, costs=made.costs)
