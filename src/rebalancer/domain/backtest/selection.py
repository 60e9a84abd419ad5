"""Selection of the best rule on training data, which a learned policy has to beat.

A rule that is chosen with hindsight, on the window of the evaluation itself, proves nothing. One
that is chosen on earlier data is what a careful investor would use instead of a learned policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import attrs

from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.engine import BASELINE, BacktestSettings, simulate
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.rules import POLICIES, parse_rule

RULES = tuple(name for name in POLICIES if name != "buy_and_hold")
"""Candidates: every rule that rebalances, with its default parameters."""


@attrs.frozen
class RuleChoice:
    """The rule that was chosen, and the figures behind the choice.

    Attributes:
        gains: Every candidate with the median over panels of its annual gain of Sharpe ratio over
            `BASELINE`, the best first.
        panels: Number of panels.
        first: First day of any panel.
        last: Last day of any panel.
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
    """Choose the rule with the highest median gain of Sharpe ratio over the monthly rule.

    The median over panels, so that no single panel decides. Ties go to the first name.

    ``progress`` receives the name of each rule after each panel.

    Raises:
        InvalidRequest: no panel, no name, or an unknown rule.
    """
    if not panels or not names:
        raise InvalidRequest(
            f"{len(panels)} panels and {len(names)} rules are too few; give at least one of each",
            code="no_rule_to_choose",
        )
    gains: dict[str, list[float]] = {name: [] for name in names}
    for settings in panels:
        baseline = _sharpe_of(BASELINE, settings)
        for name in names:
            sharpe = baseline if name == BASELINE else _sharpe_of(name, settings)
            gains[name].append(sharpe - baseline)
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


def _sharpe_of(name: str, settings: BacktestSettings) -> float:
    window = settings.window
    returns = window.returns(simulate(parse_rule(name), settings).values)
    return metrics.sharpe(returns, window.risk_free, window.frequency.periods_per_year)
