"""Measure projections of 10,000 paths over 30 years, beside a few lines of plain numpy.

Plain numpy rebalances to the targets each month, at proportional costs, without a solver, bands or
limits, on the same simulated months.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from time import perf_counter

import numpy as np

from benchmarks.figures import Figure
from rebalancer.domain.projection.flows import RecurringFlow
from rebalancer.domain.projection.opening import Assumptions, open_projection
from rebalancer.domain.projection.simulation import PATHS_TOGETHER, Setting, simulate_paths
from tests.builders import a_context, a_portfolio, names, prices

PATHS, MONTHS, ASSETS, BPS = 10_000, 360, 8, 10.0
AIM = 3.0
"""Seconds that 10,000 paths over 360 months may take on two cores."""


def figures() -> Iterator[Figure]:
    """Yield the time of projections with a deposit a month, by policy."""
    what = f"{PATHS:,} paths x {MONTHS} months, {ASSETS} assets, deposits"
    plain = _plain(_setting("monthly"))
    with ThreadPoolExecutor(2) as pool:
        for policy in ("monthly", "quarterly", "band"):
            setting = _setting(policy)
            started = perf_counter()
            simulate_paths(setting, PATHS, seed=1, mapper=pool.map)
            took = perf_counter() - started
            yield Figure(
                "projection", f"{what}: {policy}", "s", took, "plain numpy", plain, aim=AIM
            )
        limited = _setting("monthly", profile="balanced")
        started = perf_counter()
        simulate_paths(limited, PATHS_TOGETHER, seed=1, mapper=pool.map)
        took = (perf_counter() - started) * PATHS / PATHS_TOGETHER
        yield Figure("projection", f"{what}: monthly, with a risk profile", "s", took)


def _setting(policy: str, profile: str | None = None) -> Setting:
    history = prices(ASSETS, 2_520)
    targets = dict.fromkeys(names(ASSETS), 1.0 / ASSETS)
    portfolio = a_portfolio(targets=targets, cash=10_000, profile=profile)
    context = a_context(history, policy, costs=BPS)
    assumed = Assumptions(MONTHS, flows=[RecurringFlow(100.0)])
    return open_projection(portfolio, context, assumed, start=date(2026, 1, 31))


def _plain(setting: Setting) -> float:
    """Return the seconds of monthly rebalancing in plain numpy."""
    started = perf_counter()
    growths = setting.returns.draw(np.random.default_rng(1), PATHS)
    targets = setting.book.targets[0, :ASSETS]
    held = np.zeros((PATHS, ASSETS))
    cash, rate = np.full(PATHS, 10_000.0), BPS / 10_000
    for flow in setting.flows:
        total = held.sum(axis=1) + cash + flow
        traded = np.abs(total[:, None] * targets - held).sum(axis=1)
        total -= rate * traded
        held, cash = total[:, None] * targets * next(growths), np.zeros(PATHS)
    return perf_counter() - started
