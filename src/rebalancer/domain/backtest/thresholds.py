"""Thresholds: what a policy needs in order to serve, and to count as a proven gain."""

from __future__ import annotations

from collections.abc import Mapping

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
        _check_ranges(self, THRESHOLD_RANGES)


SERVING_RANGES = {
    "margin": (0.0, 1.0),
    "probability": (0.5, 1.0),
    "drawdown": (-1.0, 1.0),
    "drawdown_probability": (0.5, 1.0),
    "orders": (0.0, 100.0),
    "turnover": (0.0, 100.0),
}
"""Lowest and highest value of each of `ServingThresholds`."""


@attrs.frozen
class ServingThresholds:
    """Figures that a procedure must reach by walk-forward for its policy to serve, see `serving`.

    Attributes:
        margin: Loss of annual Sharpe ratio that is tolerated.
        probability: Least probability of a smaller loss, or of a gain, pooled over folds and
            panels.
        drawdown: Highest drawdown beyond exposure, median over folds and panels; -0.1: a tenth
            shallower.
        drawdown_probability: Least probability that this median is below 0.
        orders: Most orders as a multiple of the monthly rule's, median over folds and panels.
        turnover: Highest turnover as a multiple of the monthly rule's, median over folds and
            panels.
    """

    margin: float = 0.10
    probability: float = 0.8
    drawdown: float = -0.10
    drawdown_probability: float = 0.9
    orders: float = 0.6
    turnover: float = 1.5

    def __attrs_post_init__(self) -> None:
        _check_ranges(self, SERVING_RANGES)


def _check_ranges(
    thresholds: PromotionThresholds | ServingThresholds, ranges: Mapping[str, tuple[float, float]]
) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(thresholds, name)
        if not low <= value <= high:
            raise InvalidRequest(
                f"{value} is out of range; enter {low:g} to {high:g}",
                field=name,
                code="threshold_out_of_range",
            )
