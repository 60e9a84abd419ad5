"""Stress tests of a portfolio, in requests and responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, field

from rebalancer.application.stress import StressReport
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.projection.stress import EPISODES, Shock
from rebalancer.entrypoints.schemas.parameters import CostBps, CostPreset, PolicyName
from rebalancer.entrypoints.schemas.proposal import SketchView, sketch_view
from rebalancer.entrypoints.schemas.wire import (
    MOST_ASSETS,
    MOST_CURRENCIES,
    Body,
    Bounded,
    CurrencyCode,
    Symbol,
    View,
    about,
)

if TYPE_CHECKING:
    EpisodeName = str
    ClassName = str
else:
    EpisodeName = Literal[tuple(EPISODES)]
    ClassName = Literal[tuple(each.value for each in AssetClass)]


class PriceChange(Bounded):
    """A change of a price, as a fraction."""

    low, high = -1.0, 10.0


class FactorBody(Body, frozen=True, kw_only=True):
    """A change of one asset that the others follow by their beta to it."""

    symbol: Symbol
    change: Annotated[PriceChange, Meta(examples=[-0.2])]


class StressBody(Body, frozen=True, kw_only=True):
    """What happens to prices at once; what names an asset most closely counts."""

    episode: Annotated[
        EpisodeName | None,
        about("Each asset and currency moves as it did then."),
        Meta(examples=["rates_2022"]),
    ] = None
    factor: FactorBody | None = None
    classes: Annotated[
        dict[ClassName, PriceChange], about("Change by asset class, such as -0.3.")
    ] = field(default_factory=dict)
    assets: Annotated[
        dict[Symbol, PriceChange], Meta(max_length=MOST_ASSETS), about("Change by symbol.")
    ] = field(default_factory=dict)
    currencies: Annotated[
        dict[CurrencyCode, PriceChange],
        Meta(max_length=MOST_CURRENCIES),
        about("Change of a currency against all others."),
    ] = field(default_factory=dict)
    policy: Annotated[PolicyName, about("Proposes after it.")] = "monthly"
    cost_bps: CostBps = None
    costs: CostPreset = None

    def shock(self) -> Shock:
        """Return the shock.

        Raises:
            InvalidRequest: nothing changes.
        """
        return Shock(
            episode=self.episode,
            assets={symbol: float(change) for symbol, change in self.assets.items()},
            classes={AssetClass(one): float(change) for one, change in self.classes.items()},
            factor=None if self.factor is None else (self.factor.symbol, float(self.factor.change)),
            currencies={code: float(change) for code, change in self.currencies.items()},
        )


class StressedAssetView(View, frozen=True, kw_only=True):
    """An asset under stress."""

    symbol: Annotated[str | None, about("null for cash.")]
    asset_class: str
    move: Annotated[float, about("Change of its value in the base currency, as a fraction.")]
    before: float
    after: float


class StressView(View, frozen=True, kw_only=True):
    """What a shock does to a portfolio; nothing is stored."""

    currency: str
    before: float
    after: float
    change: Annotated[float | None, about("As a fraction; null for a portfolio without value.")]
    assets: Annotated[list[StressedAssetView], about("The largest loss first; cash last.")]
    proposal: Annotated[SketchView, about("What the policy would propose after it.")]
    notes: list[str]


def stress_view(report: StressReport) -> StressView:
    """Show the result of a stress test."""
    before, after = report.before, report.after
    return StressView(
        currency=report.currency,
        before=round(before, 2),
        after=round(after, 2),
        change=after / before - 1.0 if before else None,
        assets=[
            StressedAssetView(
                symbol=one.symbol,
                asset_class=one.asset_class,
                move=one.move,
                before=round(one.before, 2),
                after=round(one.after, 2),
            )
            for one in report.assets
        ],
        proposal=sketch_view(report.proposal, report.currency),
        notes=list(report.notes),
    )
