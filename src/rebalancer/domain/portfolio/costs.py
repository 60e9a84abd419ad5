"""What trading costs: commission, half the spread, and slippage that grows with size.

One model charges everywhere: in training, in backtests, in a batch and in a single proposal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import Instruments

BASIS_POINT = 1e-4


def _not_negative(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (np.isfinite(value) and value >= 0):
        raise InvalidRequest(f"must be zero or more, got {value}", field=f"costs.{attribute.name}")


@attrs.frozen
class Rates:
    """What one order in one instrument costs.

    ``cost(v) = fixed + max(commission_bps v, minimum) + half_spread_bps v
    + slippage_bps v sqrt(v / daily volume)`` for a traded value v > 0: the square-root law of
    market impact (Almgren, Thum, Hauptmann and Li 2005, "Direct estimation of equity market
    impact"). An instrument of unknown volume has no slippage.

    Attributes:
        fixed: Money per order.
        commission_bps: Basis points of traded value.
        minimum: Least money that the bps commission charges an order.
        half_spread_bps: Basis points lost between mid and fill.
        slippage_bps: Basis points lost by an order of one whole day's volume.
    """

    fixed: float = attrs.field(default=0.0, validator=_not_negative)
    commission_bps: float = attrs.field(default=0.0, validator=_not_negative)
    minimum: float = attrs.field(default=0.0, validator=_not_negative)
    half_spread_bps: float = attrs.field(default=0.0, validator=_not_negative)
    slippage_bps: float = attrs.field(default=0.0, validator=_not_negative)


@attrs.frozen
class CostModel:
    """A broker's price list.

    Attributes:
        label: How people call it, in tables and reports.
        rates: What an order costs unless its instrument has rates of its own.
        overrides: Rates by symbol.
    """

    label: str
    rates: Rates
    overrides: Mapping[str, Rates] = attrs.field(factory=dict)

    @classmethod
    def flat(cls, bps: float) -> CostModel:
        """A share of traded value on each side and nothing else.

        Raises:
            InvalidRequest: ``bps`` is not in [0, 10,000).
        """
        if not (np.isfinite(bps) and 0 <= bps < 10_000):
            raise InvalidRequest(
                f"must be at least 0 and under 10,000 basis points, got {bps}", field="cost_bps"
            )
        return cls(f"{bps:g} bps of traded value, each side", Rates(commission_bps=bps))

    def of(self, symbols: Sequence[str], instruments: Instruments) -> CostSchedule:
        """The price list for the assets of a market, in their order."""
        alike = not self.overrides and not self.rates.slippage_bps
        each = (
            [self.rates]
            if alike
            else [self.overrides.get(symbol, self.rates) for symbol in symbols]
        )
        volumes = [instruments[symbol].daily_volume or np.inf for symbol in symbols]
        return CostSchedule(
            fixed=np.array([rates.fixed for rates in each]),
            commission_bps=np.array([rates.commission_bps for rates in each]),
            minimum=np.array([rates.minimum for rates in each]),
            half_spread_bps=np.array([rates.half_spread_bps for rates in each]),
            slippage_bps=np.array([rates.slippage_bps for rates in each]),
            volume=np.array([np.inf] if alike else volumes),
        )


@attrs.frozen(eq=False)
class CostSchedule:
    """A price list as arrays that broadcast against traded values: (U,), (1,), or (B, K) by slot.

    The attributes are those of `Rates`, plus each asset's daily volume in money (infinite when
    unknown).
    """

    fixed: Floats
    commission_bps: Floats
    minimum: Floats
    half_spread_bps: Floats
    slippage_bps: Floats
    volume: Floats
    _rate: Floats = attrs.field(init=False)
    _simple: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        rate = (self.commission_bps + self.half_spread_bps) * BASIS_POINT
        simple = not (self.fixed.any() or self.minimum.any() or self.slippage_bps.any())
        object.__setattr__(self, "_rate", rate)
        object.__setattr__(self, "_simple", simple)

    @property
    def proportional(self) -> bool:
        """Whether cost is a constant share of traded value, so that doubling a book doubles it."""
        return self._simple

    def at(self, assets: Rows) -> CostSchedule:
        """The same price list by slot, (B, K) as ``assets``; unchanged if all are alike."""
        return self if self.fixed.size == 1 else self._taken(assets)

    def row(self, index: int | Rows) -> CostSchedule:
        """The price list of one portfolio or some, from one by slot."""
        return self if self.fixed.ndim < 2 else self._taken(index)

    def usual_rate(self, present: Bools) -> Floats:
        """(B,) share of traded value that an order of ordinary size costs, over slots in use.

        Commission and half the spread: what depends on an order's size is left out.
        """
        rates = np.where(present, self._rate, 0.0).sum(axis=1)
        usual: Floats = rates / np.maximum(np.count_nonzero(present, axis=1), 1)
        return usual

    def _taken(self, index: Rows | int) -> CostSchedule:
        return CostSchedule(
            self.fixed[index],
            self.commission_bps[index],
            self.minimum[index],
            self.half_spread_bps[index],
            self.slippage_bps[index],
            self.volume[index],
        )

    def __call__(self, traded: Floats) -> Floats:
        """Cost of each order, in the money of ``traded`` (absolute values, any shape)."""
        if self._simple:
            return self._rate * traded
        commission = np.maximum(self.commission_bps * BASIS_POINT * traded, self.minimum)
        spread = self.half_spread_bps * BASIS_POINT * traded
        slippage = self.slippage_bps * BASIS_POINT * traded * np.sqrt(traded / self.volume)
        cost: Floats = np.where(traded > 0, self.fixed + commission + spread + slippage, 0.0)
        return cost


COST_PRESETS = {
    model.label: model
    for model in (
        CostModel("free", Rates()),
        CostModel("zero-commission", Rates(half_spread_bps=2.0, slippage_bps=30.0)),
        CostModel(
            "retail",
            Rates(commission_bps=1.0, minimum=1.0, half_spread_bps=2.0, slippage_bps=30.0),
        ),
        CostModel(
            "full-service",
            Rates(fixed=9.95, commission_bps=10.0, half_spread_bps=5.0, slippage_bps=30.0),
        ),
        CostModel(
            "institutional", Rates(commission_bps=0.5, half_spread_bps=1.0, slippage_bps=50.0)
        ),
    )
}
"""Price lists to choose by name; typical figures, to be replaced by a broker's own."""


def cost_preset(name: str) -> CostModel:
    """The preset of this name.

    Raises:
        InvalidRequest: there is none; lists those that there are.
    """
    found = COST_PRESETS.get(name)
    if found is None:
        raise InvalidRequest(
            f"{name!r} is not a cost preset; choose one of {', '.join(COST_PRESETS)}",
            field="costs",
        )
    return found


DEFAULT_BPS = 10.0
"""Basis points of traded value, each side, where nobody says what trading costs."""


@lru_cache(maxsize=64)
def cost_model(bps: float | None, preset: str | None) -> CostModel:
    """The price list that somebody describes: basis points, a preset's name, or neither.

    Raises:
        InvalidRequest: both are given, or one makes no sense.
    """
    if preset is not None:
        if bps is not None:
            raise InvalidRequest("give either cost_bps or costs, not both", field="costs")
        return cost_preset(preset)
    return CostModel.flat(DEFAULT_BPS if bps is None else bps)
