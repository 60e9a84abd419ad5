"""Risk profiles: limits on what a portfolio may hold."""

from __future__ import annotations

import attrs

from rebalancer.domain.errors import InvalidRequest

UNPROFILED_RISK_AVERSION = 3.0
"""Relative risk aversion of a portfolio without a profile (Fama and French use 2 to 4)."""


@attrs.frozen
class RiskProfile:
    """Limits on what a portfolio may hold, as fractions of portfolio value.

    Attributes:
        name: One of five, from conservative to aggressive.
        target_volatility: Maximum expected volatility, annual.
        tolerated_drawdown: Maximum drawdown of the proposed mix over the last year.
        equity_ceiling: Maximum in equities and in assets of unknown class.
        cash_floor: Minimum in cash.
        max_weight: Maximum in one asset.
        risk_aversion: Relative risk aversion; weighs drift risk against trading costs.
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
"""The five profiles by name, the most cautious first."""


DEFAULT_PROFILE = "balanced"
"""Profile of backtests and evaluations without a given profile."""


def risk_profile(name: str) -> RiskProfile:
    """Return the profile of this name.

    Raises:
        InvalidRequest: the name is unknown; lists the profiles.
    """
    found = RISK_PROFILES.get(name)
    if found is None:
        raise InvalidRequest(
            f"unknown risk profile {name!r}; choose one of {', '.join(RISK_PROFILES)}",
            field="risk_profile",
            code="unknown_risk_profile",
        )
    return found
