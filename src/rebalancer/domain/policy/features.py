"""Features, sleeves and actions: what the networks of learned policies observe and return.

Market features depend on prices and strategic weights alone, portfolio features also on what is
held. Each feature is centred and scaled to a mean near 0 and a spread near 1, and clipped at
`FURTHEST`. Features depend neither on the order of the assets nor on the unit of prices or money.
`observation` computes them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Floats
from rebalancer.domain.market.frequency import TRADING_DAYS

YEAR = TRADING_DAYS
LOOKBACK = YEAR + 1
"""Daily closes that features need: a year of returns."""

LONGEST = 5 * YEAR
"""Trading days of the longest look-back, of which as many count as there are closes."""

LATELY = 63
"""Trading days of the features of the last quarter."""

FURTHEST = 4.0
"""Features are clipped at plus and minus this value."""

TREND_WINDOW = 200


@attrs.frozen
class Feature:
    """One input of a network.

    Attributes:
        meaning: Definition before scaling, with its unit.
        centre: Subtracted from the raw figure.
        scale: Divisor of the difference; the quotient is clipped at +-`FURTHEST`.
    """

    name: str
    meaning: str
    centre: float
    scale: float
    source: str


_MOREIRA = "Moreira and Muir 2017, Volatility-Managed Portfolios"
_MOSKOWITZ = "Moskowitz, Ooi and Pedersen 2012, Time Series Momentum"
_POLLET = "Pollet and Wilson 2010, Average Correlation and Stock Market Returns"
_HAMILTON = "Hamilton 1989, A New Approach to the Economic Analysis of Nonstationary Time Series"
_GUPTA = "Gupta and Kelly 2019, Factor Momentum Everywhere"
_DYBVIG = "Dybvig and Pezzo 2020, Mean-Variance Portfolio Rebalancing with Transaction Costs"
_SORTINO = "Sortino and van der Meer 1991, Downside Risk"
_TREND_OF_DAYS = "{}-day return divided by its own deviation"

_MARKET_1 = (
    Feature("month's volatility", "log of 21-day over 252-day volatility", 0.0, 0.4, _MOREIRA),
    Feature("quarter's volatility", "log of 63-day over 252-day volatility", 0.0, 0.3, _MOREIRA),
    Feature("volatility", "log of 252-day volatility a year over 15%", -0.3, 0.6, _MOREIRA),
    Feature("month's trend", _TREND_OF_DAYS.format(21), 0.3, 1.0, _MOSKOWITZ),
    Feature("quarter's trend", _TREND_OF_DAYS.format(63), 0.4, 1.0, _MOSKOWITZ),
    Feature("half-year's trend", _TREND_OF_DAYS.format(126), 0.5, 1.0, _MOSKOWITZ),
    Feature("year's trend", _TREND_OF_DAYS.format(252), 0.7, 1.0, _MOSKOWITZ),
    Feature(
        "drawdown",
        "fall from the year's peak divided by a year's deviation",
        0.5,
        0.5,
        "Grossman and Zhou 1993, Optimal Investment Strategies for Controlling Drawdowns",
    ),
    Feature(
        "breadth",
        "share of the targets above their 200-day average",
        0.65,
        0.3,
        "Faber 2007, A Quantitative Approach to Tactical Asset Allocation",
    ),
    Feature("correlation", "mean correlation of the targets over 252 days", 0.35, 0.25, _POLLET),
    Feature(
        "correlation's rise", "the same over 63 days, minus the 252-day figure", 0.0, 0.15, _POLLET
    ),
    Feature(
        "spread of volatilities",
        "deviation of the assets' volatilities divided by their mean",
        0.4,
        0.25,
        "Leote de Carvalho, Lu and Moulin 2012, Demystifying Equity Risk-Based Strategies",
    ),
    Feature(
        "spread of returns",
        "deviation of the assets' 126-day returns, each divided by its own deviation",
        0.8,
        0.4,
        "Stivers and Sun 2010, Cross-Sectional Return Dispersion and Time Variation in Premiums",
    ),
    Feature("calm", "probability of the calmest regime", 0.5, 0.35, _HAMILTON),
    Feature("stressed", "probability of the most stressed regime", 0.2, 0.3, _HAMILTON),
    Feature(
        "risk saved by parity",
        "log of the 252-day volatility of risk parity over the targets'",
        -0.4,
        0.4,
        "Maillard, Roncalli and Teiletche 2010, The Properties of Equally Weighted Risk "
        "Contribution Portfolios",
    ),
    Feature(
        "low risk lately",
        "63-day return of the inverse-volatility mix of that time minus the targets', in "
        "deviations",
        0.0,
        0.4,
        _GUPTA,
    ),
    Feature(
        "momentum lately",
        "63-day return of last year's winners at that time minus the targets', in deviations",
        0.0,
        0.6,
        _GUPTA,
    ),
    Feature(
        "trend lately",
        "63-day return saved by holding cash instead of assets below their average at that time, "
        "in deviations",
        0.0,
        0.5,
        _GUPTA,
    ),
)
"""Features of the mix of the strategic weights, unless their meaning names another one."""

_PORTFOLIO_1 = (
    Feature("invested", "share of the portfolio that is invested", 0.8, 0.2, _DYBVIG),
    Feature(
        "departure", "one-way distance of holdings from the strategic weights", 0.2, 0.2, _DYBVIG
    ),
    Feature("weeks since a trade", "log of 1 + weeks; a year if unknown", 1.2, 0.9, _DYBVIG),
    Feature("cost", "log of the trading cost divided by 10 basis points", 0.0, 0.7, _DYBVIG),
    Feature(
        "risk aversion",
        "log of relative risk aversion divided by 4",
        0.0,
        0.5,
        "Merton 1969, Lifetime Portfolio Selection under Uncertainty",
    ),
    Feature(
        "number of assets",
        "log of 1 / sum of squared targets, divided by 10",
        0.0,
        0.6,
        "Woerheide and Persson 1993, An Index of Portfolio Diversification",
    ),
    Feature(
        "strategic cash",
        "share of cash in the targets",
        0.0,
        0.2,
        "Merton 1969, Lifetime Portfolio Selection under Uncertainty",
    ),
)
"""Features of the portfolio, its costs and its owner."""


@attrs.frozen
class Sleeve:
    """An allocation that a learned policy mixes with the strategic weights.

    Attributes:
        parameters: Parameters that differ from the rule's defaults.
        most: Largest part of a mix. Sleeves that turn a portfolio over many times a year get only a
            small part.
    """

    name: str
    rule: str
    parameters: dict[str, float] = attrs.field(factory=dict, hash=False)
    most: float = 1.0


_SLEEVES_1 = (
    Sleeve("inverse volatility", "inverse_volatility", {"window": 126}),
    Sleeve("risk parity", "risk_parity", {"window": YEAR}),
    Sleeve("momentum", "momentum", most=0.15),
    Sleeve("trend", "trend", {"window": TREND_WINDOW}, most=0.15),
)


@attrs.frozen
class Action:
    """One output of a network, in [-1, 1]: its name in explanations and its effect."""

    name: str
    meaning: str


@attrs.frozen
class InputSet:
    """Features that the networks of a policy observe, and sleeves that their actions mix.

    A policy keeps its set for ever: new features and sleeves belong to new sets.

    Attributes:
        market: Features of the mix of the strategic weights, in the order of the inputs.
        portfolio: Features of the portfolio, its costs and its owner; they follow those of the
            market.
        sleeves: Allocations that the actions mix with the strategic weights.
        economy: Features of the economy, see `economy`; they come last. Where one is unknown, the
            fallback of the policy decides.
    """

    market: tuple[Feature, ...]
    portfolio: tuple[Feature, ...]
    sleeves: tuple[Sleeve, ...]
    economy: tuple[Feature, ...] = ()

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """All features, in the order of the inputs."""
        return self.market + self.portfolio + self.economy

    @cached_property
    def actions(self) -> tuple[Action, ...]:
        """Actions that the networks return, in the order of their outputs."""
        return (
            Action("risk", "share of the mix that is held: 1 for 0 and above, down to 0.5 at -1"),
            *(
                Action(one.name, f"weight of {one.name} in the mix: 0 up to 0, {one.most:.0%} at 1")
                for one in self.sleeves
            ),
            Action(
                "pace",
                "an asset outside its band goes to its target for 0 and below, only to the band's "
                "edge at 1",
            ),
            Action(
                "band",
                "half-width around each target: 2 points at 0, a fifth of that at -1, five times "
                "that at 1",
            ),
            Action("patience", "half-width around cash, on the same scale"),
        )

    @cached_property
    def has_allowance(self) -> bool:
        """Whether the policy's turnover is limited; then the allowance is a feature."""
        return _ALLOWANCE in self.portfolio

    @cached_property
    def lookback(self) -> int:
        """Number of daily closes that features look at, if there are as many."""
        return LONGEST + 1 if _ANCHOR in self.names else LOOKBACK

    @cached_property
    def most(self) -> Floats:
        """(S,) largest part of each sleeve in a mix."""
        return np.array([sleeve.most for sleeve in self.sleeves])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the inputs."""
        return tuple(feature.name for feature in self.features)

    def column(self, name: str) -> int:
        """Return the column of a feature among all features."""
        return self.names.index(name)

    def unscaled(self, features: NDArray[np.floating[Any]], name: str) -> NDArray[np.floating[Any]]:
        """Return the figure behind one scaled feature; ``features`` are the first N, (..., N)."""
        column = self.column(name)
        feature = self.features[column]
        figure: NDArray[np.floating[Any]] = features[..., column] * feature.scale + feature.centre
        return figure


_ANCHOR = "volatility's anchor"

_MARKET_2 = (
    Feature(
        "quarter's downside",
        "log of sqrt(2) times the 63-day downside semi-deviation over 252-day volatility",
        0.0,
        0.4,
        _SORTINO,
    ),
    Feature(
        _ANCHOR,
        "log of the assets' 252-day volatility over that of up to 1,260 days",
        0.0,
        0.3,
        _MOREIRA,
    ),
)

_ALLOWANCE = Feature(
    "allowance",
    "log of 1 + the turnover allowed until the next trade, divided by 5%",
    0.8,
    0.8,
    _DYBVIG,
)

INPUTS_1 = InputSet(_MARKET_1, _PORTFOLIO_1, _SLEEVES_1)
"""Set of the policies ``ppo@1`` and ``dqn@1``."""

INPUTS_2 = InputSet(
    _MARKET_1 + _MARKET_2,
    (*_PORTFOLIO_1, _ALLOWANCE),
    _SLEEVES_1,
)
"""Set that new policies are trained with; it limits their turnover, see `allowance`."""

INPUT_SETS = {1: INPUTS_1, 2: INPUTS_2}
"""Sets by number."""

KNOWN_MARKET = {feature.name: feature for feature in _MARKET_1 + _MARKET_2}
KNOWN_PORTFOLIO = {feature.name: feature for feature in (*_PORTFOLIO_1, _ALLOWANCE)}
KNOWN_SLEEVES = {sleeve.name: sleeve for sleeve in _SLEEVES_1}
"""Everything that a set may contain, by name; a name never changes its definition."""
