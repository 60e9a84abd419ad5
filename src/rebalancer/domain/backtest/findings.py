"""All that an evaluation found out: each panel, all panels together, and whom to promote."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from rebalancer.domain.backtest.evaluation import PanelEvaluation, PolicyEvaluation, summary
from rebalancer.domain.backtest.pooling import PooledEvaluation, pool
from rebalancer.domain.backtest.promotion import PromotionDecision, PromotionThresholds, apply_gate
from rebalancer.domain.backtest.selection import RuleChoice

NO_RULE = (
    "No rule was chosen on training data, so the sceptic that counts most is missing and promotion "
    "is not evaluated; name training prices with --chosen-on."
)


@attrs.frozen(eq=False)
class Findings:
    """Policies evaluated on one or more panels of prices.

    Attributes:
        panels: By name, in the order asked for; all of the same policies.
        pooled: Each policy on all panels together.
        promotions: Whether each policy may take the best rule's place.
        choice: The rule that was chosen here on training data; None where none was.
        counted: How the trials came to be so many, in a sentence.
        cautions: What a reader must know before believing any of it.
    """

    panels: Mapping[str, PanelEvaluation]
    pooled: tuple[PooledEvaluation, ...]
    promotions: tuple[PromotionDecision, ...]
    choice: RuleChoice | None
    counted: str
    cautions: tuple[str, ...] = ()

    @property
    def trials(self) -> int:
        """How many policies luck could have chosen from."""
        return next(iter(self.panels.values())).trials

    @property
    def chosen(self) -> str:
        """Which rule was chosen on training data, and on which, in a sentence."""
        choice = self.choice
        if choice is not None:
            panels = "1 panel" if choice.panels == 1 else f"{choice.panels} panels"
            return (
                f"Best rule on training data ({panels}, {choice.first} to {choice.last}): "
                f"{choice.rule}, which gains {choice.gains[0][1]:+.2f} on monthly there (median)."
            )
        own = {each.policy: each.best_rule for each in self.promotions if each.best_rule}
        if not own:
            return NO_RULE
        told = "Best rule on training data, by the policy's own account: " + ", ".join(
            f"{rule} ({policy})" for policy, rule in own.items()
        )
        missing = [each.policy for each in self.promotions if not each.best_rule]
        return f"{told}." + (f" None was chosen for {', '.join(missing)}." if missing else "")

    @property
    def summaries(self) -> tuple[tuple[str, str], ...]:
        """Each policy, and what its panels say of it one by one."""
        return tuple(
            (name, every[0].verdict.sentence if len(every) == 1 else summary(name, every))
            for name, every in self._judged.items()
        )

    @property
    def _judged(self) -> dict[str, list[PolicyEvaluation]]:
        by_policy: dict[str, list[PolicyEvaluation]] = {}
        for panel in self.panels.values():
            for evaluation in panel.policies:
                by_policy.setdefault(evaluation.policy, []).append(evaluation)
        return by_policy


def conclude(
    panels: Mapping[str, PanelEvaluation],
    thresholds: PromotionThresholds,
    *,
    choice: RuleChoice | None = None,
    counted: str = "",
    cautions: tuple[str, ...] = (),
    seed: int = 0,
) -> Findings:
    """What panels come to together.

    Args:
        panels: By name; one or more, all of the same policies, after the same trials.
        thresholds: Of the promotion gate.
        choice: The rule that was chosen on training data, if one was.
        counted: How the trials were counted.
        cautions: What a reader must know.
        seed: Of the resampling behind pooled intervals.
    """
    pooled = pool(list(panels.values()), seed=seed)
    promotions = [
        apply_gate({name: panel.policies[at] for name, panel in panels.items()}, each, thresholds)
        for at, each in enumerate(pooled)
    ]
    return Findings(panels, pooled, tuple(promotions), choice, counted, cautions)
