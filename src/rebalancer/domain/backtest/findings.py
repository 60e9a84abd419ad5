"""Findings of an evaluation: each panel, all panels together, and which gains are shown."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from rebalancer.domain.backtest.evaluation import PanelEvaluation, summarize
from rebalancer.domain.backtest.pooling import PooledEvaluation, pool
from rebalancer.domain.backtest.promotion import PromotionDecision, apply_gate
from rebalancer.domain.backtest.selection import RuleChoice
from rebalancer.domain.backtest.thresholds import PromotionThresholds
from rebalancer.domain.market.caution import Caution

NO_RULE = (
    "No rule was chosen on training data. The most important baseline is missing, and a gain "
    "over it is not tested."
)


@attrs.frozen(eq=False)
class Findings:
    """Evaluations of policies on one or more panels of prices.

    Attributes:
        panels: Evaluations by name of the panel, in the requested order; all of the same policies.
        pooled: Evaluation of each policy on all panels together.
        promotions: Whether each policy may replace the best rule.
        choice: The rule that was chosen on training data now; None if no rule was chosen.
        counted: How the trials were counted, in a sentence.
        cautions: Limitations that a reader must know.
    """

    panels: Mapping[str, PanelEvaluation]
    pooled: tuple[PooledEvaluation, ...]
    promotions: tuple[PromotionDecision, ...]
    choice: RuleChoice | None
    counted: str
    cautions: tuple[Caution, ...] = ()

    @property
    def trials(self) -> int:
        """Number of policies tried, for deflated probabilities."""
        return next(iter(self.panels.values())).trials

    @property
    def chosen(self) -> str:
        """The rule that was chosen on training data, in a sentence."""
        choice = self.choice
        if choice is not None:
            panels = "1 panel" if choice.panels == 1 else f"{choice.panels} panels"
            return (
                f"Best rule on training data ({panels}, {choice.first} to {choice.last}): "
                f"{choice.rule}, with a median gain of {choice.gains[0][1]:+.2f} over monthly."
            )
        own = {each.policy: each.best_rule for each in self.promotions if each.best_rule}
        if not own:
            return NO_RULE
        rules = ", ".join(f"{rule} ({policy})" for policy, rule in own.items())
        missing = [each.policy for each in self.promotions if not each.best_rule]
        return f"Best rule on training data, as stored with the policy: {rules}." + (
            f" No rule was chosen for {', '.join(missing)}." if missing else ""
        )

    @property
    def summaries(self) -> tuple[tuple[str, str], ...]:
        """Each policy with a sentence on its panels."""
        by_policy = zip(*(panel.policies for panel in self.panels.values()), strict=True)
        return tuple(
            (
                first.policy,
                summarize(first.policy, [first, *more]) if more else first.verdict.sentence,
            )
            for first, *more in by_policy
        )


def conclude(
    panels: Mapping[str, PanelEvaluation],
    thresholds: PromotionThresholds,
    *,
    choice: RuleChoice | None = None,
    counted: str = "",
    cautions: tuple[Caution, ...] = (),
    seed: int = 0,
) -> Findings:
    """Pool the panels and test the gains over the best rule.

    At least one panel is needed; all have the same policies and trials. The seed is that of the
    bootstrap behind pooled intervals. The other arguments are those of `Findings`.
    """
    pooled = pool(list(panels.values()), seed=seed)
    promotions = [
        apply_gate({name: panel.policies[at] for name, panel in panels.items()}, each, thresholds)
        for at, each in enumerate(pooled)
    ]
    return Findings(panels, pooled, tuple(promotions), choice, counted, cautions)
