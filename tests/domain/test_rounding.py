from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.arrays import Floats
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book, Limits, OrderRules
from rebalancer.domain.portfolio.costs import CostModel, CostSchedule, Rates
from rebalancer.domain.rebalancing.rounding.orders import RoundedTrades, SkipReason, round_trades
from rebalancer.domain.rebalancing.solver import Trades, solve_trades
from tests.builders import a_book

COSTS = (
    CostModel.flat(0),
    CostModel.flat(10),
    CostModel.flat(50),
    CostModel("fixed", Rates(fixed=1.0, commission_bps=5)),
    CostModel("minimum", Rates(minimum=1.0, commission_bps=5)),
)


@attrs.frozen
class Case:
    """One portfolio of whole shares on its way to its targets."""

    prices: Floats
    quantities: Floats
    targets: Floats
    cash: float
    model: CostModel = COSTS[1]
    flow: float = 0.0
    step: float = 1.0
    min_trade: float = 0.0
    limits: dict[str, Any] = attrs.field(factory=dict)

    @property
    def charges(self) -> CostSchedule:
        return self.model.of(["A"], Instruments())

    @property
    def book(self) -> Book:
        return a_book(
            self.targets,
            self.quantities * self.prices,
            cash=self.cash,
            flow=self.flow,
            as_of="2022-12-30",
            limits=self.limits,
        )

    @property
    def wanted(self) -> Trades:
        book = self.book
        return solve_trades(book, Decision(book.targets, np.ones(1, dtype=bool)), self.charges)

    @property
    def made(self) -> RoundedTrades:
        order_rules = OrderRules(
            quantities=self.quantities[None, :],
            prices=self.prices[None, :],
            step=np.full((1, len(self.prices)), self.step),
            sellable=self.quantities[None, :],
            min_trade=np.array([self.min_trade]),
            minor_unit=np.array([0.01]),
            skip_unprofitable=np.zeros(1, dtype=bool),
            risk_aversion=np.full(1, 3.0),
        )
        return round_trades(self.book, self.wanted, order_rules, self.charges)

    @property
    def unit(self) -> Floats:
        return self.prices * self.step

    def cash_after(self, steps: Floats) -> Floats:
        """Of one row of signed steps or of many."""
        value = steps * self.unit
        left: Floats = self.cash + self.flow - (value + self.charges(np.abs(value))).sum(axis=-1)
        return left

    def loss(self, steps: Floats) -> Floats:
        """One-way distance plus cost and 0.003 times the squares: what rounding minimises."""
        wanted, value = self.wanted, steps * self.unit
        total = wanted.total[0]
        error = (value - wanted.values[0]) / total
        idle = -error.sum(axis=-1)
        distance = (np.abs(error).sum(axis=-1) + np.abs(idle)) / 2
        squares = (error**2).sum(axis=-1) + idle**2
        cost = self.charges(np.abs(value)).sum(axis=-1) / total
        loss: Floats = distance + cost + 0.003 * squares
        return loss

    def best(self) -> float:
        """The least loss of all feasible orders within two steps of the wanted ones' neighbours."""
        choices = []
        for trade, unit, held in zip(
            self.wanted.values[0], self.unit, self.quantities / self.step, strict=True
        ):
            size = abs(trade) / unit
            sizes = np.arange(max(np.floor(size) - (2 if trade > 0 else 0), 0), np.ceil(size) + 3)
            choices.append(sizes if trade > 0 else -sizes[sizes <= held])
        all_of_them = np.array(list(product(*choices)))
        feasible = self.cash_after(all_of_them) >= 0
        if not feasible.any():
            return np.inf
        return float(self.loss(all_of_them[feasible]).min())


def a_case(dice: np.random.Generator) -> Case:
    """Worth 300 to a million, of up to four assets at 1 to 500."""
    count = int(dice.integers(1, 5))
    value = 10 ** dice.uniform(2.5, 6)
    closes = np.round(10 ** dice.uniform(0, 2.7, count), 2)
    held = dice.dirichlet(np.ones(count + 1))
    wanted = dice.dirichlet(np.ones(count + 1))
    kind = dice.integers(4)
    if kind == 0:
        wanted = np.append(dice.dirichlet(np.ones(count)), 0.0)
    if kind == 1:  # near
        wanted = np.abs(held + dice.normal(0, 0.02, count + 1))
        wanted /= wanted.sum()
    quantities = np.floor(held[:count] * value / closes)
    cash = round(value - float(quantities @ closes), 2)
    flow = round(value * dice.uniform(-0.4, 0.5), 2) if dice.random() < 0.3 else 0.0
    if value + flow < 100:
        flow = 0.0
    return Case(closes, quantities, wanted[:count], cash, COSTS[dice.integers(5)], flow)


def test_rounding_is_close_to_the_best_there_is() -> None:
    dice = np.random.default_rng(2022)
    close = count = 0
    for _ in range(600):
        case = a_case(dice)
        steps, best = case.made.steps[0], case.best()
        assert case.cash_after(steps) >= -1e-9
        if best == np.inf:
            continue
        count += 1
        close += case.loss(steps) <= 1.01 * best + 2e-4
    assert count > 550
    assert close >= 0.99 * count


def test_rounding_is_never_worse_than_truncation() -> None:
    dice = np.random.default_rng(7)
    compared = 0
    for _ in range(600):
        case = a_case(dice)
        wanted = case.wanted.values[0]
        truncated = np.sign(wanted) * np.floor(np.abs(wanted) / case.unit + 1e-9)
        if case.cash_after(truncated) >= 0:
            compared += 1
            assert case.loss(case.made.steps[0]) <= case.loss(truncated) * (1 + 1e-9) + 1e-15
    assert compared > 200


def distance(case: Case, steps: Floats) -> Floats:
    """One-way, with cash as an asset; of one row of signed steps or of many."""
    wanted = case.wanted
    error = (steps * case.unit - wanted.values[0]) / wanted.total[0]
    found: Floats = (np.abs(error).sum(axis=-1) + np.abs(error.sum(axis=-1))) / 2
    return found


def a_small_account(dice: np.random.Generator) -> Case:
    """300 to 2,000 in cash, for two to four assets at 40 to 1,000."""
    count = int(dice.integers(2, 5))
    closes = np.round(np.exp(dice.uniform(np.log(40), np.log(1000), count)), 2)
    targets = dice.dirichlet(np.full(count, 2.0))
    return Case(closes, np.zeros(count), targets * 0.999, round(dice.uniform(300, 2000), 2))


def every_purchase(case: Case) -> Floats:
    """All affordable combinations of whole shares, (n, K)."""
    most = np.floor(case.cash / case.prices)
    found = np.zeros((1, 0))
    for column, price in enumerate(case.prices):
        sizes = np.arange(most[column] + 1)
        found = np.column_stack((np.repeat(found, len(sizes), axis=0), np.tile(sizes, len(found))))
        spent = found @ case.prices[: column + 1]
        found = found[spent <= case.cash]
        assert price > 0
    affordable: Floats = found[case.cash_after(found) >= 0]
    return affordable


def filled_by(case: Case, key: Callable[[Floats], Floats]) -> Floats:
    """A greedy fill: one share after another of the asset with the largest key, while cash lasts.

    Args:
        case: The account.
        key: Of the shortfalls in money, (K,).
    """
    steps = np.zeros(len(case.prices))
    wanted, unit = case.wanted.values[0], case.unit
    cost = case.charges(unit)
    while True:
        short = wanted - steps * unit
        possible = (unit + cost <= case.cash_after(steps)) & (short > 0)
        if not possible.any():
            return steps
        steps[np.where(possible, key(short), -np.inf).argmax()] += 1


def test_small_accounts_come_as_near_to_their_targets_as_any_purchase() -> None:
    dice = np.random.default_rng(5)
    best, found = [], []
    for _ in range(60):
        case = a_small_account(dice)
        best.append(distance(case, every_purchase(case)).min())
        found.append(distance(case, case.made.steps[0]))
    # The squares may decide for a distance that is larger by a little.
    assert np.mean(np.array(found) <= 1.01 * np.array(best) + 1e-9) >= 0.97
    assert np.max(np.array(found) - best) <= 0.01


def test_rounding_is_never_worse_than_a_greedy_fill() -> None:
    dice = np.random.default_rng(6)
    for number in range(40):
        case = a_small_account(dice)
        if number % 4 == 0:  # many targets, most of them below one share
            count = 60
            closes = np.round(dice.uniform(10, 1000, count), 2)
            targets = dice.dirichlet(np.full(count, 3.0)) * 0.999
            case = Case(closes, np.zeros(count), targets, round(10 ** dice.uniform(4, 5), 2))
        ours = distance(case, case.made.steps[0])
        for fill in (
            filled_by(case, lambda short: short),
            filled_by(case, lambda short, case=case: short / case.unit),
        ):
            assert ours <= distance(case, fill) + 1e-6


def test_a_dear_share_is_bought_although_others_give_way() -> None:
    # 1,200: wanted are 0.76 shares of 820 and 7.6 of 75. One and 5 leave 5 in cash, and errors of
    # 195 and -200 (17%); none and 7 leave 675 in cash (56%).
    case = case_of([820, 75], [0, 0], [0.5208, 0.4792], cash=1200)
    assert steps_of(case) == [1, 5]


def test_a_deposit_pays_for_the_dear_share_and_the_cheap_one() -> None:
    # 500 more: of 2,500, wanted are 1,500 in shares of 450 (2 held) and 1,000 in shares of 48 (22
    # held, too many to be sold).
    case = case_of([450, 48], [2, 22], [0.6, 0.4], cash=44, flow=500, no_sell=np.ones((1, 2)) > 0)
    assert steps_of(case) == [1, 0]


def case_of(
    prices: list[float],
    quantities: list[float],
    targets: list[float],
    *,
    cash: float,
    bps: float = 0.0,
    flow: float = 0.0,
    step: float = 1.0,
    min_trade: float = 0.0,
    **limits: object,
) -> Case:
    return Case(
        np.array(prices),
        np.array(quantities, dtype=float),
        np.array(targets),
        cash,
        CostModel.flat(bps),
        flow,
        step,
        min_trade,
        limits,
    )


def steps_of(case: Case) -> list[float]:
    steps: list[float] = (case.made.steps[0] + 0.0).tolist()
    return steps


def kept_of(case: Case) -> list[SkipReason]:
    return [SkipReason(code) for code in case.made.skipped[0].tolist()]


# By hand.


def test_what_fits_exactly_stays() -> None:
    case = case_of([10, 20], [0, 0], [0.5, 0.5], cash=1000)
    assert steps_of(case) == [50, 25]
    assert case.cash_after(case.made.steps[0]) == pytest.approx(0)


def test_the_nearer_neighbour_is_taken() -> None:
    # 0.4 and 0.6 of 1,000 in shares of 70: 5.71 and 8.57, and the money for 14 of them.
    case = case_of([70, 70], [0, 0], [0.4, 0.6], cash=1000)
    assert steps_of(case) == [6, 8]


def test_one_order_gives_way_to_another() -> None:
    # Wanted are 2.6 shares of 100 and 1.47 of 300, for 700. Three and one leave errors of 40 and
    # 140; two of the second leave money for one of the first, and errors of 160 and 160.
    case = case_of([100, 300], [0, 0], [260 / 700, 440 / 700], cash=700)
    assert steps_of(case) == [3, 1]


def test_a_sale_makes_room_for_a_purchase() -> None:
    # Wanted: sell 1.4 shares of 100, buy 1.4. Selling two would pay for two.
    case = case_of([100, 100], [5, 0], [0.72, 0.28], cash=0)
    assert steps_of(case) == [-1, 1]
    case = case_of([100, 100], [5, 0], [0.68, 0.32], cash=0)
    assert steps_of(case) == [-2, 2]


def test_costs_tip_the_balance() -> None:
    # 1.5 of 10 in 100,000: either error is the same, and one share costs less than two.
    assert steps_of(case_of([10], [0], [15e-5], cash=1e5, bps=100)) == [1]


def test_a_withdrawal_is_paid_for() -> None:
    # 150 in shares of 100: one does not suffice.
    case = case_of([100], [10], [1.0], cash=0, flow=-150)
    assert steps_of(case) == [-2]


def test_where_something_must_be_sold_the_last_fraction_may_be() -> None:
    case = case_of([100], [1.5], [1.0], cash=0, flow=-120)
    assert steps_of(case) == [-1.5]
    # The policy alone sells whole shares, unless it closes the position.
    assert steps_of(case_of([100], [1.5], [0.5], cash=0)) == [-1]
    assert steps_of(case_of([100], [1.5], [0.0], cash=0)) == [-1.5]


def test_lots_and_fractions() -> None:
    assert steps_of(case_of([10], [0], [1.0], cash=2550, step=100)) == [2]
    assert steps_of(case_of([10], [0], [1.0], cash=25.55, step=0.01)) == [255]


def test_rounding_respects_maximum_weight() -> None:
    # 30% of 1,000 are 4.3 shares of 70: sell down to 4, buy up to 4.
    above = case_of([70, 1], [10, 0], [1.0, 0.0], cash=300, max_weight=0.3)
    assert steps_of(above) == [-6, 0]
    below = case_of([70, 1], [0, 0], [0.33, 0.0], cash=1000, max_weight=0.3)
    assert steps_of(below) == [4, 0]


def test_rounding_respects_turnover_cap() -> None:
    # 10% of 1,000 are 1.43 shares of 70 each way.
    case = case_of([70, 70], [14, 0], [0.5, 0.5], cash=20, max_turnover=0.1)
    assert steps_of(case) == [-1, 1]


def test_rounding_respects_reserve() -> None:
    case = case_of([70], [0], [1.0], cash=1000, reserve=100)
    assert steps_of(case) == [12]
    assert case.cash_after(case.made.steps[0]) == pytest.approx(160)


def test_orders_below_minimum_trade_are_dropped() -> None:
    case = case_of([10, 10, 10], [45, 28, 20], [0.5, 0.3, 0.2], cash=70, min_trade=30)
    assert steps_of(case) == [5, 0, 0]
    assert kept_of(case) == [SkipReason.NONE, SkipReason.MIN_TRADE, SkipReason.NONE]


def test_minimum_trade_makes_no_sale_that_ends_further_from_the_target() -> None:
    # 35 is wanted from the first asset, and 70 pays for one share of the other.
    for least, sold in ((60, -70), (80, 0)):
        case = case_of([1, 100], [100, 0], [0.5, 0.5], cash=30, min_trade=least)
        assert steps_of(case)[0] == sold
    assert kept_of(case)[0] == SkipReason.MIN_TRADE


def test_a_withdrawal_does_not_mind_the_minimum_trade() -> None:
    assert steps_of(case_of([10], [100], [1.0], cash=0, flow=-20, min_trade=500)) == [-2]


def test_why_a_wanted_trade_became_no_order() -> None:
    case = case_of([1000, 10], [0, 0], [0.3, 0.7], cash=1000)
    assert kept_of(case) == [SkipReason.STEP, SkipReason.NONE]
    # Nothing pays for one whole share: A's sale is too small to be made.
    case = case_of([90, 60], [1, 0], [0.3, 0.7], cash=0)
    assert steps_of(case) == [-1, 1]
    case = case_of([500, 60], [1, 0], [0.9, 0.1], cash=0)
    assert kept_of(case) == [SkipReason.STEP, SkipReason.STEP]


# Laws.


@given(seed=st.integers(0, 10_000), room=st.sampled_from([0.0, 0.05, 0.3]))
def test_no_rounding_breaks_a_limit(seed: int, room: float) -> None:
    dice = np.random.default_rng(seed)
    case = a_case(dice)
    total = float(case.book.total[0])
    count = len(case.prices)
    case = attrs.evolve(
        case,
        flow=0.0,
        min_trade=float(dice.choice([0.0, 0.01 * total])),
        limits={
            "reserve": float(dice.choice([0.0, 0.05])) * case.cash,
            "max_turnover": room or np.inf,
            "max_weight": float(dice.choice([np.inf, 0.3])),
            "no_sell": dice.random((1, count)) < 0.2,
            "no_buy": dice.random((1, count)) < 0.2,
        },
    )
    limits, steps, total = case.book.limits, case.made.steps[0], float(case.book.total[0])
    assert limits is not None
    values = steps * case.unit
    bought, sold = values[values > 0].sum(), -values[values < 0].sum()
    assert case.cash_after(steps) >= limits.reserve[0] - 1e-9 * total or bought == 0
    assert max(bought, sold) <= limits.max_turnover[0] * total * (1 + 1e-8)
    assert not (steps[limits.no_sell[0]] < 0).any()
    assert not (steps[limits.no_buy[0]] > 0).any()
    assert (case.quantities + steps >= 0).all()
    after = (case.quantities + steps) * case.prices
    assert (after <= limits.max_weight[0] * total * (1 + 1e-8))[steps > 0].all()
    assert ((np.abs(values) >= case.min_trade * (1 - 1e-9)) | (steps <= 0)).all()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=50)
def test_a_row_does_not_depend_on_the_others(seed: int) -> None:
    dice = np.random.default_rng(seed)
    cases = [attrs.evolve(a_case(dice), model=COSTS[seed % 5]) for _ in range(6)]
    alone = [case.made.steps[0] for case in cases]
    slots = 8

    def row(array: Floats, fill: float) -> Floats:
        return np.pad(array, (0, slots - len(array)), constant_values=fill)

    present = np.array([row(np.ones(len(c.prices)), 0.0) > 0 for c in cases])
    book = a_book(
        np.array([row(c.targets, 0.0) for c in cases]),
        np.array([row(c.quantities * c.prices, 0.0) for c in cases]),
        cash=[c.cash for c in cases],
        flow=[c.flow for c in cases],
        as_of="2022-12-30",
        limits={},
        assets=np.zeros(present.shape, dtype=np.intp),
        present=present,
    )
    order_rules = OrderRules(
        quantities=np.array([row(c.quantities, 0.0) for c in cases]),
        prices=np.array([row(c.prices, 1.0) for c in cases]),
        step=np.ones(present.shape),
        sellable=np.array([row(c.quantities, 0.0) for c in cases]),
        min_trade=np.zeros(len(cases)),
        minor_unit=np.full(len(cases), 0.01),
        skip_unprofitable=np.zeros(len(cases), dtype=bool),
        risk_aversion=np.full(len(cases), 3.0),
    )
    charges = cases[0].charges
    wanted = solve_trades(book, Decision(book.targets, np.ones(len(cases), dtype=bool)), charges)
    made = round_trades(book, wanted, order_rules, charges)
    for found, expected in zip(made.steps, alone, strict=True):
        assert found[: len(expected)].tolist() == expected.tolist()


def test_what_was_wanted_is_left_as_it_is() -> None:
    case = case_of([70, 70], [14, 0], [0.5, 0.5], cash=20)
    book, wanted = case.book, case.wanted
    before = wanted.values.copy()
    order_rules = OrderRules(
        quantities=case.quantities[None, :],
        prices=case.prices[None, :],
        step=np.ones((1, 2)),
        sellable=case.quantities[None, :],
        min_trade=np.full(1, 400.0),
        minor_unit=np.full(1, 0.01),
        skip_unprofitable=np.ones(1, dtype=bool),
        risk_aversion=np.full(1, 3.0),
    )
    unprofitable = np.ones((1, 2), dtype=bool)
    made = round_trades(book, wanted, order_rules, case.charges, unprofitable=unprofitable)
    assert made.skipped[0].tolist() == [SkipReason.UNPROFITABLE] * 2
    assert np.array_equal(wanted.values, before)
    assert isinstance(book.limits, Limits)
