"""Risk profiles: how much risk a person bears, as limits that a proposal never exceeds."""

from __future__ import annotations

import attrs

from rebalancer.domain.errors import InvalidRequest

UNPROFILED_RISK_AVERSION = 3.0
"""Relative risk aversion assumed of a portfolio without a profile (Fama and French use 2 to 4)."""


@attrs.frozen
class RiskProfile:
    """Limits on what a portfolio may hold. All are fractions of portfolio value, or of it a year.

    Attributes:
        name: One of five, from conservative to aggressive.
        target_volatility: Most expected volatility a year.
        tolerated_drawdown: Deepest fall that the proposed mix may have taken over the last year.
        equity_ceiling: Most in equities and in assets of unknown class.
        cash_floor: Least in cash.
        max_weight: Most in one asset.
        risk_aversion: Relative risk aversion, which weighs drift risk against trading cost.
    """

    name: str
    target_volatility: float
    tolerated_drawdown: float
    equity_ceiling: float
    cash_floor: float
    max_weight: float
    risk_aversion: float


RISK_PROFILES = {
    profile.name: profile
    for profile in (
        RiskProfile("conservative", 0.06, 0.12, 0.25, 0.05, 0.40, 8.0),
        RiskProfile("cautious", 0.09, 0.18, 0.45, 0.03, 0.45, 6.0),
        RiskProfile("balanced", 0.13, 0.25, 0.65, 0.02, 0.50, 4.0),
        RiskProfile("growth", 0.18, 0.35, 0.85, 0.01, 0.60, 3.0),
        RiskProfile("aggressive", 0.28, 0.50, 1.00, 0.00, 1.00, 2.0),
    )
}
"""The five profiles by name, the most careful first."""


DEFAULT_PROFILE = "balanced"
"""The profile assumed where a policy is tried for nobody in particular."""


def risk_profile(name: str) -> RiskProfile:
    """The profile of this name.

    Raises:
        InvalidRequest: there is none; lists those that there are.
    """
    found = RISK_PROFILES.get(name)
    if found is None:
        raise InvalidRequest(
            f"{name!r} is not a risk profile; choose one of {', '.join(RISK_PROFILES)}",
            field="risk_profile",
        )
    return found
