"""Backtests and evaluations of many policies or panels, as tasks of an engine.

Each task simulates one policy on one panel, and the baselines that it is compared with. Results
equal those of one process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np

from rebalancer.application.ports.engine import Engine
from rebalancer.domain.backtest.engine import BacktestSettings, compare_policies
from rebalancer.domain.backtest.evaluation import CashReturns, PanelEvaluation, evaluate
from rebalancer.domain.backtest.result import Backtest
from rebalancer.domain.market.caution import Caution
from rebalancer.domain.policy.policy import Policy

MOST_TASKS = 256
"""Maximum number of tasks at a time; an engine runs as many as it has cores for."""

_Progress = Callable[[str], None]


@attrs.frozen
class PanelTask:
    """The evaluation of policies on a panel; see `evaluate` for the attributes."""

    policies: Sequence[Policy]
    settings: BacktestSettings
    cash: Sequence[CashReturns]
    against: Sequence[Policy]
    chosen_rule: str | None
    trials: int

    def evaluate(self, policies: Sequence[Policy], progress: _Progress) -> PanelEvaluation:
        """Evaluate some of the policies."""
        return evaluate(
            policies,
            self.settings,
            self.cash,
            against=self.against,
            chosen_rule=self.chosen_rule,
            trials=self.trials,
            progress=progress,
        )


def evaluate_panels(
    panels: Mapping[str, PanelTask], engine: Engine | None, progress: _Progress
) -> dict[str, PanelEvaluation]:
    """Evaluate policies on panels, without an engine in this process.

    Raises:
        InvalidRequest: as `evaluate`.
        Unavailable: as `Engine.map`.
    """
    if engine is None:
        return {name: one.evaluate(one.policies, progress) for name, one in panels.items()}
    tasks = [(name, at) for name, one in panels.items() for at in range(len(one.policies))]
    sent = {
        name: attrs.evolve(one, settings=_keep_layout(one.settings)) for name, one in panels.items()
    }
    mapped = engine.map(_evaluate_policy, tasks, sent, most=MOST_TASKS, progress=progress)
    found = {tasks[index]: result for index, result in mapped}
    return {
        name: attrs.evolve(
            found[name, 0],
            policies=tuple(found[name, at].policies[0] for at in range(len(one.policies))),
        )
        for name, one in panels.items()
    }


def backtest_policies(
    policies: Sequence[Policy],
    settings: BacktestSettings,
    cautions: Sequence[Caution],
    engine: Engine | None,
    progress: _Progress,
) -> Backtest:
    """Simulate policies with the same settings, without an engine in this process.

    Raises:
        InvalidRequest: as `compare_policies`.
        Unavailable: as `Engine.map`.
    """
    if engine is None or len(policies) < 2:
        return compare_policies(policies, settings, cautions=cautions, progress=progress)
    shared = (_keep_layout(settings), cautions)
    mapped = engine.map(_backtest_policy, policies, *shared, most=MOST_TASKS, progress=progress)
    found = dict(mapped)
    results = tuple(found[at].results[0] for at in range(len(policies)))
    return attrs.evolve(found[0], results=results)


def _keep_layout(settings: BacktestSettings) -> BacktestSettings:
    """Return settings whose prices are stored as they are after pickling.

    Pickling a part of an array changes its order in memory, and with it the order and the last
    digit of sums.
    """
    prices = settings.prices
    if prices.closes.strides[0] > prices.closes.strides[1]:
        return settings
    stored = attrs.evolve(prices, closes=np.asfortranarray(prices.closes))
    return attrs.evolve(settings, prices=stored)


def _evaluate_policy(
    task: tuple[str, int], report: _Progress, panels: Mapping[str, PanelTask]
) -> PanelEvaluation:
    panel = panels[task[0]]
    return panel.evaluate([panel.policies[task[1]]], report)


def _backtest_policy(
    policy: Policy, report: _Progress, settings: BacktestSettings, cautions: Sequence[Caution]
) -> Backtest:
    return compare_policies([policy], settings, cautions=cautions, progress=report)
