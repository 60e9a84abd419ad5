"""A portfolio's figures do not depend on the other portfolios of its book, to the last bit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.learned import Influences, LearnedPolicy
from rebalancer.domain.policy.policy import Decision, Policy
from rebalancer.domain.policy.rules import POLICIES, parse_rule
from rebalancer.domain.portfolio.book import Book, find_columns, open_book
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from rebalancer.domain.rebalancing.limits import PortfolioRisk, limit_decision, solve_within_limits
from rebalancer.domain.rebalancing.model import RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose, propose_book
from tests.builders import a_book, a_portfolio, prices
from tests.networks import GRID, a_learned

ASSETS, PORTFOLIOS = 60, 40
RULES = (*POLICIES, "band:edge", "band:relative", "trend:window=60,band=0")
LEARNED = {
    "continuous": a_learned(1),
    "discrete": a_learned(2, name="dqn", grid=GRID),
    "often in disagreement": a_learned(3, most_spread=0.15, rule=parse_rule("risk_parity")),
    "of five networks": a_learned(4, networks=tuple(a_learned(s).networks[0] for s in range(5))),
}
NAMES = [*RULES, *LEARNED]


def chosen(name: str) -> Policy | LearnedPolicy:
    return LEARNED[name] if name in LEARNED else parse_rule(name)


@cache
def market() -> PriceHistory:
    """Sixty assets that move together in part; one is young, and the price of another is fixed."""
    own = np.log(np.array(prices(ASSETS, 330, seed=3, volatility=0.012).closes))
    common = np.log(np.array(prices(1, 330, seed=4, volatility=0.01).closes))
    closes = np.exp(0.5 * own + 0.5 * common)
    closes[:200, 7] = np.nan
    closes[:, 11] = 25.0
    symbols = prices(ASSETS, 2).symbols
    return PriceHistory.of(symbols, prices(1, 330).dates, closes)


@cache
def instruments() -> Instruments:
    classes = (AssetClass.EQUITY, AssetClass.BOND, AssetClass.EQUITY)
    return Instruments.of(
        Instrument(symbol, asset_class=classes[column % 3])
        for column, symbol in enumerate(market().symbols)
    )


@cache
def portfolios() -> tuple[Portfolio, ...]:
    """Forty portfolios of 1 to 40 assets, with and without profiles, limits and cash flows."""
    dice = np.random.default_rng(8)
    profiles = (None, *RISK_PROFILES)
    made = []
    for number in range(PORTFOLIOS):
        size = int(dice.integers(1, 9)) if number % 2 else int(dice.integers(1, 41))
        symbols = [market().symbols[column] for column in dice.permutation(ASSETS)[:size]]
        weights = dice.uniform(0, 1, size)
        weights = np.floor(weights / weights.sum() * 1e6) / 1e6
        weights[0] = round(1.0 - weights[1:].sum(), 6)  # in floats the sum may exceed 1
        weights *= dice.choice([1.0, 1.0, 0.5])
        held = {
            symbol: f"{weight * 1e4 * dice.uniform(0.6, 1.4):.4f}"
            for symbol, weight in zip(symbols, weights, strict=True)
            if dice.random() < 0.9
        }
        limits: dict[str, Any] = {}
        if number % 4 == 1:
            limits = {"do_not_sell": symbols[:1], "max_turnover": 0.2, "cash_reserve": 50}
        if number % 4 == 2:
            limits = {"max_departure": 0.1, "max_weight": 0.5, "band": 0.03}
        made.append(
            a_portfolio(
                held,
                dict(zip(symbols, weights.tolist(), strict=True)),
                cash=round(float(dice.uniform(0, 5000)), 2),
                flow=round(float(dice.choice([0, 0, 700, -200])), 2),
                id=f"P{number}",
                profile=profiles[number % len(profiles)],
                last_rebalance=market().last_date - timedelta(days=int(dice.integers(1, 60))),
                **limits,
            )
        )
    return tuple(made)


def a_book_of(rows: Sequence[int]) -> Book:
    some = [portfolios()[row] for row in rows]
    return open_book(
        some, [find_columns(each, market()) for each in some], market(), instruments()
    )[0]


def books() -> list[list[int]]:
    """Rows of books of several sizes; every portfolio in several positions."""
    dice = np.random.default_rng(9)
    sizes = (2, 3, 5, 7, 8, 9, 16, 17, 33, 40)
    return [dice.permutation(PORTFOLIOS)[:size].tolist() for size in sizes]


def assert_same(alone: Any, together: Any, row: int) -> None:
    """Compare every field of the only row of one object with a row of another, exactly."""
    for field in attrs.fields(type(alone)):
        mine, theirs = getattr(alone, field.name), getattr(together, field.name)
        if isinstance(mine, Influences):
            continue  # measured for explanations, which are compared themselves
        if attrs.has(type(mine)):
            assert_same(mine, theirs, row)
        elif isinstance(mine, np.ndarray) or isinstance(theirs, np.ndarray):
            # None stands for the same value in every row.
            default = True if field.name == "informed" else np.nan
            ours = np.atleast_1d(default if mine is None else mine)[0]
            other = np.atleast_1d(default if theirs is None else theirs)
            other = other[row] if len(other) > 1 else other[0]
            if np.ndim(ours):  # a wider book has more unused slots at the end of each row
                other = other[tuple(slice(0, length) for length in ours.shape)]
            np.testing.assert_array_equal(ours, other, err_msg=field.name)


@pytest.mark.parametrize("name", NAMES)
def test_decision_for_portfolio_is_equal_alone_and_in_any_book(name: str) -> None:
    decides = chosen(name)
    singles = [a_book_of([row]) for row in range(PORTFOLIOS)]
    alone = [decides.decide(book, market()) for book in singles]
    for rows in books():
        book = a_book_of(rows)
        together = decides.decide(book, market())
        for place, row in enumerate(rows):
            assert_same(alone[row], together, place)
            assert not together.targets[place, singles[row].assets.shape[1] :].any()
        place = len(rows) // 2
        assert decides.remarks(together, book, market(), place) == decides.remarks(
            alone[rows[place]], singles[rows[place]], market(), 0
        )


@pytest.mark.parametrize("name", ["monthly", "band", "risk_parity", "continuous"])
def test_limited_trades_are_equal_alone_and_in_any_book(name: str) -> None:
    decides = chosen(name)
    charges = CostModel.flat(10.0).of(market().symbols, instruments())

    def solve(book: Book) -> tuple[Any, Any]:
        decision: Decision = decides.decide(book, market())
        risk = PortfolioRisk(book, market())
        return solve_within_limits(decision, book, risk, charges.at(book.assets))

    alone = [solve(a_book_of([row])) for row in range(PORTFOLIOS)]
    for rows in books():
        limited, trades = solve(a_book_of(rows))
        for place, row in enumerate(rows):
            mine, traded = alone[row]
            assert_same(traded, trades, place)
            assert_same(mine.decision, limited.decision, place)
            assert mine.reductions()[0] == limited.reductions()[place]
            assert (mine.forced[0], mine.departure[0]) == (
                limited.forced[place],
                limited.departure[place],
            )


def test_neighbour_with_profile_does_not_change_targets() -> None:
    book = a_book(
        [[1.0], [1.0]], limits={"cash_floor": [0.0, 0.1], "target_volatility": [np.inf, 0.2]}
    )
    slightly_more = np.full((2, 1), np.nextafter(1.0, 2.0))
    decision = Decision(slightly_more, due=np.ones(2, dtype=bool))
    limited = limit_decision(decision, book, PortfolioRisk(book, prices(1, 300)))
    assert limited.decision.targets[0, 0] == slightly_more[0, 0]
    assert limited.decision.targets[1, 0] <= 0.9


@pytest.mark.parametrize("name", ["band", "volatility_target", "discrete"])
def test_proposal_is_equal_alone_and_in_any_book(name: str) -> None:
    context = RebalanceContext(
        chosen(name), market(), instruments(), CostModel.flat(10.0), portfolios()[0].currency.code
    )

    def answer(portfolio: Portfolio) -> Any:
        try:
            return propose(portfolio, context)
        except RebalancerError as error:
            return str(error)

    alone = {portfolio.id: answer(portfolio) for portfolio in portfolios()}
    for rows in books():
        for found in propose_book([portfolios()[row] for row in rows], context):
            expected = alone[found.portfolio_id]
            assert (str(found.error) if hasattr(found, "error") else found) == expected


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86 kernels")
@pytest.mark.skipif("REBALANCER_TEST_KERNEL" in os.environ, reason="runs inside itself")
@pytest.mark.parametrize("kernel", ["Prescott", "Haswell"])
def test_figures_are_independent_with_another_matrix_kernel(kernel: str) -> None:
    """BLAS chooses a kernel by processor; another one sums in another order."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if kernel == "Haswell" and not ("avx2" in flags and "fma" in flags):
        pytest.skip("this processor cannot run it")
    environment = {**os.environ, "OPENBLAS_CORETYPE": kernel, "REBALANCER_TEST_KERNEL": kernel}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--noconftest", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
