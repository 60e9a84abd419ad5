"""Thresholds of the promotion gate."""

from __future__ import annotations

import attrs

from rebalancer.domain.errors import InvalidRequest

THRESHOLD_RANGES = {
    "probability": (0.5, 1.0),
    "loss": (0.0, 1.0),
    "drawdown": (-1.0, 1.0),
    "turnover": (0.0, 100.0),
}
"""Lowest and highest value of each of `PromotionThresholds`."""


@attrs.frozen
class PromotionThresholds:
    """Figures that a policy must reach for promotion, see `promotion`.

    Attributes:
        probability: Least deflated probability of a gain over the best rule, pooled over panels.
        loss: On no panel may the 95% interval of that gain lie wholly below minus this share of
            the best rule's Sharpe ratio.
        drawdown: Highest drawdown beyond exposure, median over panels; -0.1: a tenth shallower.
        turnover: Highest turnover as a multiple of the monthly rule's, median over panels.
    """

    probability: float = 0.8
    loss: float = 0.05
    drawdown: float = -0.10
    turnover: float = 1.5

    def __attrs_post_init__(self) -> None:
        for name, (low, high) in THRESHOLD_RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidRequest(
                    f"{value} is out of range; enter {low:g} to {high:g}",
                    field=name,
                    code="threshold_out_of_range",
                )
