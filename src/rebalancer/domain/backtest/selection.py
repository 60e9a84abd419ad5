"""The best rule, chosen on training data: what a learned policy has to beat.

A rule that was chosen with hindsight of the very window that it is evaluated on proves nothing; one
that was chosen before is what a careful person would use instead of learning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import attrs

from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.engine import BASELINE, BacktestSettings, EquityPath, simulate
from rebalancer.domain.backtest.evidence import simple_returns
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.rules import POLICIES
from rebalancer.domain.policy.rules import policy as rule

RULES = tuple(name for name in POLICIES if name != "buy_and_hold")
"""What is chosen from: every rule that rebalances, at its default parameters."""


@attrs.frozen
class RuleChoice:
    """A rule that was chosen, and by what.

    Attributes:
        rule: Its name.
        gains: Every rule and its median over panels of the Sharpe ratio's gain on `BASELINE`, a
            year; the best first.
        panels: How many panels it was chosen on.
        first: The first day of any of them.
        last: The last.
    """

    rule: str
    gains: tuple[tuple[str, float], ...]
    panels: int
    first: str
    last: str


def choose_best_rule(
    panels: Sequence[BacktestSettings],
    names: Sequence[str] = RULES,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> RuleChoice:
    """The rule with the highest median over panels of its gain of Sharpe ratio on the baseline.

    The median, so that no one panel decides. Of rules that gain alike the first by name is chosen.

    Args:
        panels: Training data, and the settings of trying.
        names: Rules to choose from.
        progress: Told the name of each rule when it was tried on a panel.

    Raises:
        InvalidRequest: no panel, no name, or a name is no rule.
    """
    if not panels or not names:
        raise InvalidRequest("a rule is chosen on one panel or more, from one rule or more")
    gains: dict[str, list[float]] = {name: [] for name in names}
    for settings in panels:
        baseline = _sharpe(simulate(rule(BASELINE), settings), settings)
        for name in names:
            made = (
                baseline if name == BASELINE else _sharpe(simulate(rule(name), settings), settings)
            )
            gains[name].append(made - baseline)
            progress(name)
    medians = sorted(
        ((name, median(every)) for name, every in gains.items()),
        key=lambda each: (-each[1], each[0]),
    )
    return RuleChoice(
        rule=medians[0][0],
        gains=tuple(medians),
        panels=len(panels),
        first=str(min(each.prices.dates[each.first] for each in panels)),
        last=str(max(each.prices.dates[-1] for each in panels)),
    )


def _sharpe(path: EquityPath, settings: BacktestSettings) -> float:
    risk_free = settings.risk_free[settings.first :][1:]
    return metrics.sharpe(simple_returns(path.values), risk_free)
