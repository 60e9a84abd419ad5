"""Projections against closed forms, hand computations, and a few lines of plain numpy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import attrs
import numpy as np
import pytest

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.projection.flows import RecurringFlow, total_payments
from rebalancer.domain.projection.opening import Assumptions, open_projection
from rebalancer.domain.projection.returns import MonthlyGrowth, ReturnModel, Returns
from rebalancer.domain.projection.simulation import PATHS_TOGETHER, Setting, simulate_paths
from rebalancer.domain.projection.summary import Goal, summarize_paths
from tests.builders import a_context, a_portfolio, names

START = date(2026, 1, 31)
DATES = np.busday_offset(
    (np.datetime64("2010-01", "M") + np.arange(121)).astype("datetime64[D]"), 0, roll="forward"
)
ROUNDING = 1e-6
"""Relative: values of paths are in single precision."""


def growing(*yearly: float) -> PriceHistory:
    """Ten years of monthly prices that grow by the same factor each month."""
    months = np.arange(len(DATES)) / 12
    closes = 100.0 * np.array([(1.0 + rate) ** months for rate in yearly]).T
    return PriceHistory.of(names(len(yearly)), DATES, closes)


def varying(assets: int, *, seed: int = 3) -> PriceHistory:
    """Ten years of monthly prices."""
    steps = np.random.default_rng(seed).normal(0.006, 0.04, (len(DATES), assets))
    return PriceHistory.of(names(assets), DATES, 100.0 * np.exp(np.cumsum(steps, axis=0)))


def projected(
    prices: PriceHistory,
    portfolio: Portfolio,
    *,
    policy: str = "monthly",
    bps: float = 0.0,
    months: int = 120,
    **assumed: Any,
) -> Setting:
    context = a_context(prices, policy, costs=bps)
    assumed.setdefault("uncertain_means", False)
    return open_projection(portfolio, context, Assumptions(months, **assumed), start=START)


# Closed forms.


def test_deposits_grow_like_an_annuity_that_is_paid_in_advance() -> None:
    monthly = 1.06 ** (1 / 12)
    deposit = RecurringFlow(100.0)
    setting = projected(growing(0.06), a_portfolio(targets={"A": 1.0}), flows=[deposit])
    value = simulate_paths(setting, 3, seed=0).values[:, -1]
    expected = 100.0 * monthly * (monthly**120 - 1.0) / (monthly - 1.0)
    assert value == pytest.approx([expected] * 3, rel=ROUNDING)


def test_deposits_grow_with_inflation_and_begin_and_end_when_stated() -> None:
    flow = RecurringFlow(100.0, every=12, first=13, last=40, growth=0.1)
    assert total_payments([flow], 48)[[12, 24, 36]] == pytest.approx([110.0, 121.0, 133.1])
    assert np.count_nonzero(total_payments([flow], 48)) == 3


def test_a_withdrawal_lasts_as_long_as_the_money() -> None:
    # 1,200 without growth pay 100 a month for a year, and 50 of the first 150 that are missing.
    portfolio = a_portfolio({"A": 10}, {"A": 1.0}, cash=200)
    setting = projected(growing(0.0), portfolio, months=24, flows=[RecurringFlow(-100.0)])
    paths = simulate_paths(setting, 2, seed=0)
    assert paths.values[0, :14].tolist() == [*range(1200, -1, -100), 0]
    assert paths.exhausted.tolist() == [13, 13]
    assert paths.missed.tolist() == [1200.0, 1200.0]
    found = summarize_paths(paths, setting.flows, inflation=0.0)
    assert found.exhausted.probability == 1.0
    assert found.exhausted_year == pytest.approx(13 / 12)


def test_costs_of_deposits_and_withdrawals_are_paid_from_them() -> None:
    # 1,010 buy 1,000 of A at 1%; later 990 come of selling them.
    deposit = RecurringFlow(1010.0, last=1)
    withdrawal = RecurringFlow(-2000.0, first=3)
    setting = projected(
        growing(0.0), a_portfolio(targets={"A": 1.0}), bps=100, months=3,
        flows=[deposit, withdrawal],
    )  # fmt: skip
    paths = simulate_paths(setting, 1, seed=0)
    assert paths.values[0].tolist() == pytest.approx([0, 1000, 1000, 0])
    assert paths.costs.tolist() == pytest.approx([20.0])
    assert paths.missed.tolist() == pytest.approx([2000.0 - 990.0])


def test_lognormal_paths_have_the_distribution_of_the_closed_form() -> None:
    prices, months, count = varying(1), 120, 40_000
    setting = projected(
        prices, a_portfolio({"A": 10}, {"A": 1.0}), months=months, model=ReturnModel.LOGNORMAL
    )
    growth = MonthlyGrowth.of(prices, np.array([0]))
    variance = months * float(growth.log_covariance[0, 0])
    mean = months * float(np.log(growth.factors.mean())) - variance / 2
    found = np.log(simulate_paths(setting, count, seed=1).values[:, -1] / setting.book.total[0])
    assert found.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / count))
    assert found.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / count))


def test_uncertain_means_widen_the_distribution_and_keep_the_expected_month() -> None:
    growth = MonthlyGrowth.of(varying(1), np.array([0]))
    returns = Returns(growth, ReturnModel.LOGNORMAL)
    drawn = returns.draw(np.random.default_rng(0), 100_000)
    months = np.array([next(drawn)[:, 0] for _ in range(24)])
    assert months.mean() == pytest.approx(growth.factors.mean(), abs=0.0005)
    variance = float(growth.log_covariance[0, 0])
    # Two years of months, and the mean of ten years of history: 24 v + 24^2 v / 120.
    expected = 24 * variance + 24**2 * variance / 120
    assert np.log(months).sum(axis=0).var() == pytest.approx(expected, rel=0.03)


def test_resampled_months_are_those_of_history_and_cohere() -> None:
    prices = varying(2)
    growth = MonthlyGrowth.of(prices, np.array([0, 1]))
    drawn = Returns(growth, uncertain_means=False).draw(np.random.default_rng(0), 20_000)
    seen = np.array([next(drawn) for _ in range(30)])
    assert {tuple(row) for row in growth.factors} == {tuple(row) for row in seen.reshape(-1, 2)}
    assert seen.mean(axis=(0, 1)) == pytest.approx(growth.factors.mean(axis=0), abs=0.0005)
    after = {tuple(a): tuple(b) for a, b in zip(growth.factors, growth.factors[1:], strict=False)}
    follows = [after.get(tuple(a)) == tuple(b) for a, b in zip(seen[0], seen[1], strict=True)]
    assert np.mean(follows) == pytest.approx(11 / 12, abs=0.02)  # blocks of a year on average


def test_stated_returns_replace_those_of_history() -> None:
    setting = projected(
        growing(0.10, 0.03), a_portfolio({"A": 10, "B": 10}, {"A": 0.5, "B": 0.5}),
        policy="buy_and_hold", months=12, expected_returns={"A": 0.02},
    )  # fmt: skip
    held = setting.book.values[0, :2]
    value = simulate_paths(setting, 1, seed=0).values[0, -1]
    assert value == pytest.approx(held[0] * 1.02 + held[1] * 1.03, rel=ROUNDING)


# Against plain numpy.


@pytest.mark.parametrize("flow", [0.0, 100.0, -20.0])
def test_monthly_rebalancing_agrees_with_plain_numpy(flow: float) -> None:
    flows = [RecurringFlow(flow)] if flow else []
    portfolio = a_portfolio({"A": 20, "B": 5}, {"A": 0.6, "B": 0.4}, cash=100)
    setting = projected(varying(2), portfolio, bps=20, months=60, flows=flows)
    found = simulate_paths(setting, 50, seed=5).values
    random = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(0,)))
    growths = setting.returns.draw(random, PATHS_TOGETHER)
    held = np.repeat(setting.book.values[:, :2], 50, axis=0)
    cash = np.full(50, 100.0)
    for month in range(1, 61):
        total = held.sum(axis=1) + cash + flow
        after = total
        for _ in range(60):  # costs are a share of what is traded, which depends on the costs
            goal = after[:, None] * np.array([0.6, 0.4])
            after = total - 0.002 * np.abs(goal - held).sum(axis=1)
        held, cash = goal * next(growths)[:50], np.zeros(50)
        assert found[:, month] == pytest.approx(held.sum(axis=1), rel=ROUNDING)


@pytest.mark.parametrize("policy", ["monthly", "band", "buy_and_hold", "quarterly"])
@pytest.mark.parametrize("flow", [100.0, -60.0])
def test_money_is_conserved(policy: str, flow: float) -> None:
    portfolio = a_portfolio({"A": 20, "B": 50}, {"A": 0.5, "B": 0.4}, cash=500)
    setting = projected(
        growing(0.0, 0.0), portfolio, policy=policy, bps=30, months=60, flows=[RecurringFlow(flow)]
    )
    paths = simulate_paths(setting, 2, seed=0)
    begun = float(setting.book.total[0])
    expected = begun + 60 * flow + paths.missed - paths.costs
    assert paths.values[:, -1] == pytest.approx(expected, rel=ROUNDING)


def test_limits_of_the_portfolio_apply_every_month() -> None:
    # Half of it may not be sold, so the withdrawals come from the other half.
    portfolio = a_portfolio({"A": 50, "B": 50}, {"A": 0.5, "B": 0.5}, do_not_sell=["A"])
    prices = growing(0.0, 0.0)
    setting = projected(prices, portfolio, months=6, flows=[RecurringFlow(-100.0)])
    locked = simulate_paths(setting, 1, seed=0)
    free = projected(prices, attrs.evolve(portfolio, preferences=a_portfolio().preferences),
                     months=6, flows=[RecurringFlow(-100.0)])  # fmt: skip
    assert setting.book.limits.bind and not free.book.limits.bind
    assert locked.values[0, -1] == pytest.approx(float(setting.book.total[0]) - 600)


# Laws.


def test_the_first_paths_do_not_depend_on_how_many_follow_or_where_they_are_computed() -> None:
    portfolio = a_portfolio({"A": 10, "B": 10}, {"A": 0.5, "B": 0.5})
    setting = projected(
        varying(2), portfolio, policy="band", months=6, flows=[RecurringFlow(50.0)],
        uncertain_means=True,
    )  # fmt: skip
    seen: list[int] = []
    many = simulate_paths(setting, PATHS_TOGETHER + 10, seed=9, progress=seen.append)
    few = simulate_paths(setting, 10, seed=9)
    assert (many.values[:10] == few.values).all()
    assert seen == [PATHS_TOGETHER, PATHS_TOGETHER + 10]
    with ThreadPoolExecutor(2) as pool:
        threaded = simulate_paths(setting, PATHS_TOGETHER + 10, seed=9, mapper=pool.map)
    assert (threaded.values == many.values).all()
    assert (simulate_paths(setting, 10, seed=10).values != few.values).any()


def test_summary_counts_paths_and_states_today_s_money() -> None:
    setting = projected(growing(0.05), a_portfolio({"A": 10}, {"A": 1.0}), months=24)
    paths = simulate_paths(setting, 10, seed=0)
    half = attrs.evolve(paths, values=paths.values * np.where(np.arange(10) < 5, 1, 2)[:, None])
    value = float(paths.values[0, -1])
    goal = Goal(value * 1.5 / 1.02**2, 24)
    found = summarize_paths(half, setting.flows,
                            inflation=0.02, goal=goal)  # fmt: skip
    assert found.goal is not None
    assert found.goal.probability == 0.5
    assert found.goal.standard_error == pytest.approx(0.1581, abs=1e-4)
    assert found.worst_decile == pytest.approx(value)
    assert found.mean[-1] == pytest.approx(1.5 * value)
    assert found.real_fan[3, -1] == pytest.approx(1.5 * value / 1.02**2)
    nominal = summarize_paths(
        half, setting.flows, inflation=0.02, goal=Goal(value * 2.01, 24, True)
    )
    assert nominal.goal is not None and nominal.goal.probability == 0.0
    assert nominal.goal.standard_error > 0.05  # of ten paths, none is no proof


def test_more_money_never_lowers_a_path() -> None:
    portfolio = a_portfolio({"A": 10, "B": 10}, {"A": 0.5, "B": 0.5})
    few = projected(varying(2), portfolio, months=36, bps=10, flows=[RecurringFlow(50.0)])
    more = attrs.evolve(few, flows=few.flows + 100.0)
    less, greater = (simulate_paths(one, 200, seed=4).values for one in (few, more))
    assert (greater[:, 1:] > less[:, 1:]).all()


# Bad input.


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (lambda: Assumptions(0), "months"),
        (lambda: Assumptions(12, inflation=2.0), "inflation"),
        (lambda: Assumptions(12, cash_rate=-0.9), "cash_rate"),
        (lambda: RecurringFlow(0.0), "flows.amount"),
        (lambda: RecurringFlow(float("nan")), "flows.amount"),
        (lambda: RecurringFlow(1.0, every=5), "flows.every"),
        (lambda: RecurringFlow(1.0, first=0), "flows.first"),
        (lambda: RecurringFlow(1.0, first=5, last=4), "flows.first"),
        (lambda: RecurringFlow(1.0, growth=3.0), "flows.growth"),
        (lambda: Goal(0.0, 1), "goal.amount"),
        (
            lambda: projected(
                growing(0.01), a_portfolio(targets={"A": 1.0}), expected_returns={"B": 0.1}
            ),
            "expected_returns.B",
        ),
        (
            lambda: projected(
                growing(0.01), a_portfolio(targets={"A": 1.0}), expected_returns={"A": 9.0}
            ),
            "expected_returns.A",
        ),
        (
            lambda: projected(
                growing(0.01),
                a_portfolio(targets={"A": 1.0}),
                policy="trend",
                model=ReturnModel.LOGNORMAL,
            ),
            "model",
        ),
        (lambda: projected(growing(0.01), a_portfolio(cash=100)), "targets"),
        (
            lambda: projected(growing(0.01).since(100), a_portfolio(targets={"A": 1.0})),
            "targets",
        ),
    ],
)
def test_bad_input_names_its_field(wrong: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as found:
        wrong()
    assert found.value.field == field


def test_a_goal_after_the_last_month_is_refused() -> None:
    setting = projected(growing(0.05), a_portfolio({"A": 10}, {"A": 1.0}), months=24)
    paths = simulate_paths(setting, 1, seed=0)
    with pytest.raises(InvalidRequest, match="month 25 is not within the projection of 24 months"):
        summarize_paths(paths, setting.flows, inflation=0.0, goal=Goal(1.0, 25))
