"""A policy over a history: what it would have done, close by close, and what came of it.

Each row is a trading day. A decision uses data up to and including a day's close and trades at that
close. Rows before the window serve as look-back only. At the window's first close the policy buys
its targets and pays for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.backtest import performance
from rebalancer.domain.backtest.step import drift, settle
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.indicators import TRADING_DAYS
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Frequency, Policy
from rebalancer.domain.policy.rules import policy as rule
from rebalancer.domain.portfolio.book import Book, Handling
from rebalancer.domain.portfolio.costs import Charges, CostModel
from rebalancer.domain.rebalancing.orders import rounded
from rebalancer.domain.rebalancing.trades import Trades, stirs, trades

Floats = NDArray[np.float64]
Dates = NDArray[np.datetime64]
Integers = NDArray[np.int64]

BASELINE = "monthly"
"""The simple rule that a sceptic would try; tracking error and information ratio are against it."""

_FIRST_GLANCE, _LONGEST_GLANCE = 16, 512


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
class Path:
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
class Track:
    """A policy's path and performance; attributes as in `Path`."""

    policy: str
    values: Floats
    weights: Floats
    costs: Floats
    orders: Integers
    turnover: Floats
    performance: Performance


@attrs.frozen(eq=False)
class Backtest:
    """Policies side by side over the same window, costs and targets.

    Attributes:
        dates: (R,) trading days of the window.
        symbols: N assets.
        cost_label: What trading was charged.
        tracks: One a policy, in the order asked for.
        cautions: What a reader must know before believing any of it.
    """

    dates: Dates
    symbols: tuple[str, ...]
    cost_label: str
    tracks: tuple[Track, ...]
    cautions: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Conditions:
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
    """

    prices: PriceHistory
    first: int
    targets: Floats
    costs: CostModel
    risk_free: Floats
    instruments: Instruments = attrs.field(factory=Instruments)
    capital: float = 100_000.0
    as_live: bool = False

    def __attrs_post_init__(self) -> None:
        if len(self.prices) - self.first < 2:
            raise InvalidRequest(
                f"the window holds {len(self.prices) - self.first} row(s) of prices; a backtest "
                "needs at least 2",
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


def compare(
    policies: Sequence[Policy],
    conditions: Conditions,
    *,
    cautions: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Backtest:
    """Run policies side by side.

    Args:
        policies: What to try.
        conditions: Under which conditions.
        cautions: What a reader must know.
        progress: Told the name of each policy when it is done.

    Raises:
        InvalidRequest: the window holds fewer than two rows, or an asset has no price at its start.
    """
    window = slice(conditions.first, None)
    risk_free = conditions.risk_free[window][1:]
    baseline = run(rule(BASELINE), conditions)
    tracks = []
    for policy in policies:
        path = baseline if policy.name == BASELINE else run(policy, conditions)
        measured = measure(path, risk_free, baseline)
        tracks.append(Track(policy.name, *_fields(path), performance=measured))
        progress(policy.name)
    return Backtest(
        dates=conditions.prices.dates[window],
        symbols=conditions.prices.symbols,
        cost_label=conditions.costs.label,
        tracks=tuple(tracks),
        cautions=tuple(cautions),
    )


def run(policy: Policy, conditions: Conditions) -> Path:
    """What a policy would have done over the window."""
    history, first = conditions.prices, conditions.first
    closes, dates = history.closes, history.dates
    money = np.cumprod(
        1.0 + conditions.risk_free, dtype=np.float64
    )  # what 1 in cash at row 0 has become
    charges = conditions.costs.of(history.symbols, conditions.instruments)
    looks = first + np.flatnonzero(_reviews(policy, dates[first:]))
    starts: list[int] = []
    made: list[Trades] = []
    settled: list[Book] = []

    book = Book.single(
        len(history.symbols), targets=conditions.targets, cash=conditions.capital, on=dates[first]
    )
    at = 0
    while at < len(looks):
        row = int(looks[at])
        decision = policy.decide(book, history.until(row))
        if row == first:  # the targets are bought, however wide the band that will hold them
            decision = attrs.evolve(decision, band=None, cash_band=None)
        done = trades(book, decision, charges)
        if conditions.as_live:
            done = _as_live(book, done, charges, closes[row])
        book = settle(book, done, decision)
        starts.append(row)
        made.append(done)
        settled.append(book)
        at += 1
        if decision.band is not None and policy.lookback == 1:
            at = _next_stir(policy, book, conditions, looks, at, row, money)
        if at < len(looks):
            to = int(looks[at])
            book = drift(book, closes[to] / closes[row], money[to] / money[row], dates[to : to + 1])

    begins = np.array(starts)
    part = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(dates))))
    quantities = np.concatenate([book.values for book in settled]) / closes[begins]
    holdings = quantities[part] * closes[first:]
    cash = np.concatenate([book.cash for book in settled]) / money[begins]
    values = holdings.sum(axis=1) + cash[part] * money[first:]
    # The trades of each look, as if they were those of so many portfolios at once.
    every = attrs.evolve(
        made[0],
        values=np.concatenate([done.values for done in made]),
        costs=np.concatenate([done.costs for done in made]),
        total=np.concatenate([done.total for done in made]),
    )

    def daily(figures: NDArray[Number]) -> NDArray[Number]:
        each = np.zeros(len(values), dtype=figures.dtype)
        each[begins - first] = figures
        return each

    capital = conditions.capital
    return Path(
        values=values / capital,
        weights=holdings / values[:, None],
        costs=daily(every.costs.sum(axis=1) / capital),
        orders=daily(every.count),
        turnover=daily(every.turnover),
    )


def measure(path: Path, risk_free: Floats, baseline: Path) -> Performance:
    """Performance of a path of R rows.

    Args:
        path: What the policy did.
        risk_free: (R - 1,) simple return of cash over each row.
        baseline: What the sceptic's rule did over the same rows.
    """
    values = path.values
    returns = values[1:] / values[:-1] - 1.0
    against = baseline.values[1:] / baseline.values[:-1] - 1.0
    years = (len(values) - 1) / TRADING_DAYS
    growth = performance.compounded(float(values[-1]), years)
    fall = performance.max_drawdown(values)
    orders = int(path.orders[1:].sum())
    return Performance(
        final_value=float(values[-1]),
        cagr=growth,
        volatility=performance.annual_volatility(returns),
        sharpe=performance.sharpe(returns, risk_free),
        sortino=performance.sortino(returns, risk_free),
        calmar=growth / fall if fall > 0 else 0.0,
        max_drawdown=fall,
        longest_drawdown=performance.longest_drawdown(values),
        value_at_risk=performance.value_at_risk(returns),
        expected_shortfall=performance.expected_shortfall(returns),
        turnover_per_year=float(path.turnover[1:].sum() / years),
        orders=orders,
        orders_per_year=orders / years,
        cost_paid=float(path.costs.sum()),
        average_exposure=float(path.weights.sum(axis=1).mean()),
        tracking_error=performance.tracking_error(returns, against),
        information_ratio=performance.information_ratio(returns, against),
    )


@attrs.frozen
class Split:
    """Rows to learn from, and later rows to be judged on."""

    train: range
    test: range


def walk_forward(
    rows: int, *, train: int, test: int, embargo: int = 0, anchored: bool = False
) -> Iterator[Split]:
    """Successive splits of a history, each judged on rows that lie after all that it learnt from.

    Args:
        rows: Length of the history.
        train: Rows to learn from.
        test: Rows to be judged on; windows do not overlap, and the last may be shorter.
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


def _fields(path: Path) -> tuple[Floats, Floats, Floats, Integers, Floats]:
    return path.values, path.weights, path.costs, path.orders, path.turnover


def _reviews(policy: Policy, dates: Dates) -> NDArray[np.bool_]:
    """Rows at which a policy may be due: its own, and the monthly rule's while it lacks history."""
    own = policy.frequency.reviews(dates)
    return own if policy.lookback == 1 else own | Frequency.MONTHLY.reviews(dates)


def _next_stir(
    policy: Policy,
    book: Book,
    conditions: Conditions,
    looks: NDArray[np.intp],
    at: int,
    row: int,
    money: Floats,
) -> int:
    """Position in ``looks`` of the next look, from ``at`` on, at which the policy would act.

    For a policy that judges only how far an untouched portfolio has drifted, the coming days are
    so many portfolios, judged at once; each is judged on its own close alone.
    """
    closes, dates = conditions.prices.closes, conditions.prices.dates
    glance = _FIRST_GLANCE
    while at < len(looks):
        ahead = looks[at : at + glance]
        count = len(ahead)
        later = Book(
            assets=np.broadcast_to(book.assets, (count, book.assets.shape[1])),
            present=np.broadcast_to(book.present, (count, book.assets.shape[1])),
            values=book.values * (closes[ahead] / closes[row]),
            cash=book.cash * (money[ahead] / money[row]),
            flow=np.zeros(count),
            targets=np.broadcast_to(book.targets, (count, book.assets.shape[1])),
            as_of=dates[ahead],
            reviewed=np.broadcast_to(book.reviewed, count),
            band=np.broadcast_to(book.band, count),
        )
        found = np.flatnonzero(stirs(later, policy.decide(later, conditions.prices.until(row))))
        if found.size:
            return at + int(found[0])
        at += count
        glance = min(2 * glance, _LONGEST_GLANCE)
    return at


def _as_live(book: Book, done: Trades, charges: Charges, closes: Floats) -> Trades:
    """The same trades in whole shares, as a person would have to place them."""
    one = np.ones(len(book))
    held = np.rint(book.values / closes)
    handling = Handling(
        quantities=held,
        prices=np.broadcast_to(closes, book.values.shape),
        step=one,
        min_trade=0 * one,
        minor_unit=0.01 * one,
        skip_unprofitable=np.zeros(len(book), dtype=bool),
        risk_aversion=one,
    )
    made = rounded(book, done, handling, charges)
    # To a whole number of shares at this close, so that rounding does not build up over the years.
    values = np.where(made.steps != 0, (held + made.steps) * closes - book.values, 0.0)
    return attrs.evolve(done, values=values, costs=made.costs)
