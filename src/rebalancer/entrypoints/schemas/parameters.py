"""Types of fields that several requests share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from rebalancer.entrypoints.schemas.wire import MOST_ASSETS, BasisPoints, Fraction, Symbol

Profile = Literal["conservative", "cautious", "balanced", "growth", "aggressive"]
Weights = Annotated[
    dict[Symbol, Fraction],
    Meta(
        max_length=MOST_ASSETS,
        description="Fractions of portfolio value by symbol, summing to at most 1; the rest is "
        "cash.",
        examples=[{"AAPL": 0.3, "KO": 0.3, "PG": 0.3}],
    ),
]
Symbols = Annotated[list[Symbol], Meta(max_length=MOST_ASSETS)]
PolicyName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        description="Who decides: a name of GET /api/policies, with parameters if need be.",
        examples=["band", "volatility_target:target=0.10"],
    ),
]
Costs = Annotated[
    BasisPoints | None,
    Meta(description="Cost of trading in basis points of traded value, each side. Default: 10."),
]
Preset = Annotated[
    Literal["free", "zero-commission", "retail", "full-service", "institutional"] | None,
    Meta(description="A typical price list, instead of cost_bps."),
]
