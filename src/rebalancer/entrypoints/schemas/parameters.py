"""Types of fields that several schemas share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from rebalancer.domain.portfolio.costs import COST_PRESETS
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from rebalancer.entrypoints.schemas.wire import (
    MOST_ASSETS,
    BasisPoints,
    Fraction,
    NonNegative,
    Symbol,
    about,
)

if TYPE_CHECKING:
    ProfileName = str
    PresetName = str
else:
    ProfileName = Literal[tuple(RISK_PROFILES)]
    PresetName = Literal[tuple(COST_PRESETS)]

Weights = Annotated[
    dict[Symbol, Fraction],
    Meta(
        max_length=MOST_ASSETS,
        description="Fractions of portfolio value by symbol, summing to at most 1; the rest is "
        "cash.",
        examples=[{"AAPL": 0.3, "KO": 0.3, "PG": 0.3}],
    ),
]
Quantities = Annotated[
    dict[Symbol, NonNegative],
    Meta(
        max_length=MOST_ASSETS,
        description="Quantities held, by symbol.",
        examples=[{"AAPL": "12", "KO": "40.5"}],
    ),
]
Symbols = Annotated[list[Symbol], Meta(max_length=MOST_ASSETS)]
PolicyName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        description="A policy of GET /api/policies, with parameters if needed.",
        examples=["band", "volatility_target:target=0.10"],
    ),
]
CostBps = Annotated[
    BasisPoints | None,
    about("Cost of trading in basis points of traded value, each side. Default: 10."),
]
CostPreset = Annotated[PresetName | None, about("A typical price list, instead of cost_bps.")]
FxSpread = Annotated[
    BasisPoints | None,
    about("Cost of converting money, in basis points. Default: that of costs, or 0."),
]
