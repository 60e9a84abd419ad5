"""Economic features: figures of the economy that a learned policy may be trained to observe.

Without a recent figure a policy does not guess: its fallback decides, which is usually the policy
of the same name that was trained without the economy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.market.economics import EconomicSeries
from rebalancer.domain.policy.features import FURTHEST, Feature

OLDEST = 45
"""Days after which a figure is too old: monthly series are published with some delay."""

TEN_YEARS, THREE_MONTHS, CREDIT, VOLATILITY = "DGS10", "DGS3MO", "BAA10Y", "VIXCLS"
"""Identifiers of the series at FRED, in percent."""


@attrs.frozen
class _Definition:
    """An economic feature, the series that it needs, and its formula of their figures."""

    feature: Feature
    series: tuple[str, ...]
    formula: Callable[..., float]


_DEFINITIONS = (
    _Definition(
        Feature(
            "term spread",
            "yield of Treasuries of ten years minus that of three months, points",
            1.5,
            1.2,
            "Fama and French 1989, Business Conditions and Expected Returns on Stocks and Bonds",
        ),
        (TEN_YEARS, THREE_MONTHS),
        lambda long, short: long - short,
    ),
    _Definition(
        Feature(
            "credit spread",
            "yield of Baa corporate bonds minus that of Treasuries of ten years, points",
            2.3,
            0.8,
            "Gilchrist and Zakrajsek 2012, Credit Spreads and Business Cycle Fluctuations",
        ),
        (CREDIT,),
        lambda spread: spread,
    ),
    _Definition(
        Feature(
            "implied volatility",
            "log of the VIX divided by 20",
            -0.05,
            0.35,
            "Whaley 2000, The Investor Fear Gauge",
        ),
        (VOLATILITY,),
        lambda level: float(np.log(max(level, 1.0) / 20.0)),
    ),
)

ECONOMY = {one.feature.name: one.feature for one in _DEFINITIONS}
"""Economic features by name."""

_BY_NAME = {one.feature.name: one for one in _DEFINITIONS}


@attrs.frozen(eq=False)
class Economy:
    """Published economic series, by identifier."""

    series: Mapping[str, EconomicSeries]

    def observe(self, features: tuple[Feature, ...], days: Dates) -> Floats:
        """Return scaled features as they were known at the end of B days, shape (B, E).

        NaN where a series is missing, or its last figure is older than `OLDEST` days.
        """
        unique, places = np.unique(days.astype("datetime64[D]"), return_inverse=True)
        table = np.array(
            [[self._scaled(feature, day.item()) for feature in features] for day in unique]
        )
        observed: Floats = table.reshape(len(unique), len(features))[places]
        return observed

    def _scaled(self, feature: Feature, day: date) -> float:
        definition = _BY_NAME[feature.name]
        figures = [self._latest(name, day) for name in definition.series]
        known = [figure for figure in figures if figure is not None]
        if len(known) < len(figures):
            return float("nan")
        scaled = (definition.formula(*known) - feature.centre) / feature.scale
        return min(max(scaled, -FURTHEST), FURTHEST)

    def _latest(self, name: str, day: date) -> float | None:
        """Return the last figure of a series that was known on a day, if it is recent."""
        if name not in self.series:
            return None
        published = self.series[name].published(known_by=day)
        past = [one for one in published if one.day <= day]
        if not past or (day - past[-1].day).days > OLDEST:
            return None
        return past[-1].value


NO_ECONOMY = Economy({})
"""An economy of which nothing is known."""
