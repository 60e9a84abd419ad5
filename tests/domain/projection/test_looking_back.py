"""Projections of policies that decide by past closes."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from rebalancer.adapters.rl.catalog import FolderPolicies
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Decision, Frequency, Policy
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.projection import simulation
from rebalancer.domain.projection.flows import RecurringFlow
from rebalancer.domain.projection.opening import Assumptions, open_projection
from rebalancer.domain.projection.simulation import PATHS_LOOKING_BACK, Setting, simulate_paths
from tests.builders import a_context, a_portfolio, prices

START = date(2026, 1, 15)


def opened(*, months: int = 14, uncertain: bool = False) -> Setting:
    history = prices(3, 1_000, start=date(2020, 1, 1))
    portfolio = a_portfolio(targets={"A": 0.5, "B": 0.3, "C": 0.1}, cash=10_000)
    assumed = Assumptions(months, flows=[RecurringFlow(50.0)], uncertain_means=uncertain)
    return open_projection(portfolio, a_context(history), assumed, start=START)


@attrs.define(eq=False)
class Watching:
    """The monthly rule, which keeps the closes that it could look at."""

    rule: Policy = attrs.field(factory=lambda: parse_rule("monthly"))
    seen: list[tuple[PriceHistory, Book]] = attrs.field(factory=list)
    name: str = "watching"
    lookback: int = 64
    frequency: Frequency = Frequency.MONTHLY

    def decide(self, book: Book, market: PriceHistory) -> Decision:
        self.seen.append((market, book))
        return self.rule.decide(book, market)

    def remarks(self, *_: Any) -> list[str]:
        return []


@pytest.mark.parametrize("uncertain", [False, True])
def test_policy_that_ignores_its_closes_gets_the_same_paths(
    uncertain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = opened(uncertain=uncertain)
    watching = attrs.evolve(plain, policy=Watching())
    monkeypatch.setattr(simulation, "PATHS_TOGETHER", PATHS_LOOKING_BACK)  # equal random numbers
    quick, slow = (simulate_paths(one, 40, seed=3).values for one in (plain, watching))
    assert slow == pytest.approx(quick, rel=1e-6)


def test_windows_move_on_with_each_path_and_know_no_later_close() -> None:
    watching = Watching()
    setting = attrs.evolve(opened(months=6), policy=watching)
    simulate_paths(setting, 5, seed=1)
    step = setting.returns.history.step
    first, book = watching.seen[0]
    assert first.closes[:, :3] == pytest.approx(setting.returns.history.closes[-64:])
    assert book.assets[7, :3].tolist() == [21, 22, 23]
    for (before, held), (after, grown) in zip(watching.seen, watching.seen[1:], strict=False):
        assert len(after) == 64
        assert after.closes[:-step] == pytest.approx(before.closes[step:])
        growth = (after.closes[-1] / before.closes[-1]).reshape(-1, 3)
        bought = held.targets[:, :3] * held.total[:, None]
        assert grown.values[:, :3] == pytest.approx(bought * growth, rel=2e-3)  # but for costs
        assert np.ptp(growth, axis=0).min() > 0  # each path has its own months
    days = [str(market.dates[-1]) for market, _ in watching.seen[:3]]
    assert days == ["2026-01-15", "2026-02-13", "2026-03-13"]  # the last weekdays before the 15th


@pytest.mark.parametrize("name", ["risk_parity", "trend:window=60", "ppo"])
def test_policies_that_look_back_are_projected(name: str, tmp_path: Path) -> None:
    policy = FolderPolicies(tmp_path).policy(name) if name == "ppo" else parse_rule(name)
    setting = attrs.evolve(opened(months=3), policy=policy)
    paths = simulate_paths(setting, 12, seed=2)
    assert np.isfinite(paths.values).all()
    assert (simulate_paths(setting, 5, seed=2).values == paths.values[:5]).all()
    assert len(simulate_paths(setting, PATHS_LOOKING_BACK + 1, seed=2)) == PATHS_LOOKING_BACK + 1
