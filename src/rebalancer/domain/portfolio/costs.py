"""Trading costs: commission, half the spread, slippage that grows with size, and conversions.

Training, backtests, batches and single proposals use the same model.
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
        raise InvalidRequest(
            f"{value} is not zero or more; enter a finite amount",
            field=f"costs.{attribute.name}",
            code="amount_negative",
        )


@attrs.frozen(repr=False)
class Rates:
    """Cost of one order in one instrument.

    ``cost(v) = fixed + max(commission_bps v, minimum) + half_spread_bps v
    + slippage_bps v sqrt(v / daily volume)`` for a traded value v > 0: the square-root law of
    market impact (Almgren, Thum, Hauptmann and Li 2005, "Direct estimation of equity market
    impact"). An instrument of unknown volume has no slippage. An order in a foreign currency
    costs ``fx_spread_bps v`` more, for the conversion of its money.

    Attributes:
        fixed: Money per order.
        commission_bps: Basis points of traded value.
        minimum: Minimum commission of an order, money.
        half_spread_bps: Basis points between the mid price and the fill.
        slippage_bps: Basis points of slippage of an order as large as a day's volume.
        fx_spread_bps: Basis points of a converted amount between the rate that a conversion gets
            and the exchange rate.
    """

    fixed: float = attrs.field(default=0.0, validator=_not_negative)
    commission_bps: float = attrs.field(default=0.0, validator=_not_negative)
    minimum: float = attrs.field(default=0.0, validator=_not_negative)
    half_spread_bps: float = attrs.field(default=0.0, validator=_not_negative)
    slippage_bps: float = attrs.field(default=0.0, validator=_not_negative)
    fx_spread_bps: float = attrs.field(default=0.0, validator=_not_negative)

    def __repr__(self) -> str:
        """Name the rates; conversions only where they cost something, as digests expect."""
        known = attrs.asdict(self)
        if not self.fx_spread_bps:
            del known["fx_spread_bps"]
        return f"Rates({', '.join(f'{name}={value!r}' for name, value in known.items())})"


_RATES = tuple(attrs.fields_dict(Rates))


@attrs.frozen
class CostModel:
    """Cost model of a broker.

    Attributes:
        label: Name in tables and reports.
        rates: Costs of an order, unless its symbol has an override.
        overrides: Rates by symbol.
    """

    label: str
    rates: Rates
    overrides: Mapping[str, Rates] = attrs.field(factory=dict)

    @classmethod
    def flat(cls, bps: float) -> CostModel:
        """Return a model that charges a share of traded value on each side.

        Raises:
            InvalidRequest: ``bps`` is not in [0, 10,000).
        """
        if not (np.isfinite(bps) and 0 <= bps < 10_000):
            raise InvalidRequest(
                f"{bps} is not at least 0 and under 10,000; enter basis points of traded value",
                field="cost_bps",
                code="cost_bps_out_of_range",
            )
        return cls(f"{bps:g} bps of traded value, each side", Rates(commission_bps=bps))

    def converting(self, fx_spread_bps: float | None) -> CostModel:
        """Return the model with another cost of conversions; the same one for None.

        Raises:
            InvalidRequest: the number is not in [0, 10,000).
        """
        if fx_spread_bps is None:
            return self
        if not (np.isfinite(fx_spread_bps) and 0 <= fx_spread_bps < 10_000):
            raise InvalidRequest(
                f"{fx_spread_bps} is not at least 0 and under 10,000; enter basis points of "
                "converted amounts",
                field="fx_spread_bps",
                code="cost_bps_out_of_range",
            )
        return CostModel(
            f"{self.label}, {fx_spread_bps:g} bps of conversions",
            attrs.evolve(self.rates, fx_spread_bps=fx_spread_bps),
            {
                symbol: attrs.evolve(rates, fx_spread_bps=fx_spread_bps)
                for symbol, rates in self.overrides.items()
            },
        )

    def of(
        self,
        symbols: Sequence[str],
        instruments: Instruments,
        currencies: Sequence[str] | None = None,
        base: str | None = None,
        rates: Floats | None = None,
    ) -> CostSchedule:
        """Return the costs of the assets of a market, in their order.

        Args:
            symbols: N assets.
            instruments: Daily volumes, each in the currency of its asset.
            currencies: ISO 4217 code of each asset's currency; None: all are the base currency.
            base: Currency of the portfolios; orders in another one pay for a conversion.
            rates: (N,) units of the base currency per unit of each asset's; None: all are 1.
        """
        foreign = np.zeros(1, dtype=bool)
        if currencies is not None and any(one.fx_spread_bps for one in self._all_rates):
            foreign = np.array([currency != base for currency in currencies])
        if not self.overrides and not self.rates.slippage_bps and not foreign.any():
            each, volumes = [self.rates], np.array([np.inf])
            foreign = foreign[:1]
        else:
            each = [self.overrides.get(symbol, self.rates) for symbol in symbols]
            volumes = np.array([instruments[symbol].daily_volume or np.inf for symbol in symbols])
            if rates is not None:
                volumes = volumes * np.where(np.isfinite(rates), rates, 1.0)
        arrays = {name: np.array([getattr(one, name) for one in each]) for name in _RATES}
        arrays["fx_spread_bps"] = np.where(foreign, arrays["fx_spread_bps"], 0.0)
        return CostSchedule(**arrays, volume=volumes)

    def figures(self, *, converting: bool) -> tuple[object, ...]:
        """Return what determines the costs, for digests; ``converting``: with conversions.

        Conversions that cost nothing do not appear, so that digests stay as they were.
        """
        own, overrides = self.rates, dict(self.overrides)
        if not converting:
            own = attrs.evolve(own, fx_spread_bps=0.0)
            overrides = {
                symbol: attrs.evolve(rates, fx_spread_bps=0.0)
                for symbol, rates in overrides.items()
            }
        figures = attrs.astuple(own)
        return (figures if own.fx_spread_bps else figures[:-1], sorted(overrides.items()))

    @property
    def _all_rates(self) -> tuple[Rates, ...]:
        return (self.rates, *self.overrides.values())


@attrs.frozen(eq=False)
class CostSchedule:
    """Costs as arrays that broadcast against traded values: (U,), (1,), or (B, K) by slot.

    The attributes are those of `Rates`, with conversions of foreign assets only, and the daily
    volume of each asset in money (infinite if unknown).
    """

    fixed: Floats
    commission_bps: Floats
    minimum: Floats
    half_spread_bps: Floats
    slippage_bps: Floats
    volume: Floats
    fx_spread_bps: Floats = attrs.field(
        default=attrs.Factory(lambda schedule: np.zeros_like(schedule.fixed), takes_self=True)
    )
    _rate: Floats = attrs.field(init=False)
    _simple: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        rate = (self.commission_bps + self.half_spread_bps + self.fx_spread_bps) * BASIS_POINT
        simple = not (self.fixed.any() or self.minimum.any() or self.slippage_bps.any())
        object.__setattr__(self, "_rate", rate)
        object.__setattr__(self, "_simple", simple)

    @property
    def proportional(self) -> bool:
        """Whether cost is a constant share of traded value."""
        return self._simple

    def at(self, assets: Rows) -> CostSchedule:
        """Return the costs by slot, (B, K) as ``assets``; unchanged if equal for all assets."""
        return self if self.fixed.size == 1 else self._taken(assets)

    def row(self, index: int | Rows) -> CostSchedule:
        """Return the costs of one portfolio or some, from costs by slot."""
        return self if self.fixed.ndim < 2 else self._taken(index)

    def at_slots(self, rows: Rows, slots: Rows) -> CostSchedule:
        """Return the costs of single slots, in the shape of both arguments."""
        if self.fixed.size == 1:
            return self
        return self._taken(slots) if self.fixed.ndim < 2 else self._taken((rows, slots))

    def usual_rate(self, present: Bools) -> Floats:
        """(B,) mean rate of the slots in use, as a share of traded value.

        Commission, half spread and conversions.
        """
        rates = np.where(present, self._rate, 0.0).sum(axis=1)
        usual: Floats = rates / np.maximum(np.count_nonzero(present, axis=1), 1)
        return usual

    def _taken(self, index: Rows | int | tuple[Rows, Rows]) -> CostSchedule:
        return CostSchedule(*(getattr(self, name)[index] for name in _ARRAYS))

    @property
    def trading(self) -> CostSchedule:
        """The same costs without those of conversions."""
        if not self.fx_spread_bps.any():
            return self
        return CostSchedule(*(getattr(self, name) for name in _ARRAYS[:-1]))

    def __call__(self, traded: Floats) -> Floats:
        """Return the cost of each order, given absolute traded values of any shape."""
        if self._simple:
            return self._rate * traded
        commission = np.maximum(self.commission_bps * BASIS_POINT * traded, self.minimum)
        spread = (self.half_spread_bps + self.fx_spread_bps) * BASIS_POINT * traded
        slippage = self.slippage_bps * BASIS_POINT * traded * np.sqrt(traded / self.volume)
        cost: Floats = np.where(traded > 0, self.fixed + commission + spread + slippage, 0.0)
        return cost


_ARRAYS = (*(name for name in _RATES if name != "fx_spread_bps"), "volume", "fx_spread_bps")

COST_PRESETS = {
    model.label: model
    for model in (
        CostModel("free", Rates()),
        CostModel(
            "zero-commission",
            Rates(half_spread_bps=2.0, slippage_bps=30.0, fx_spread_bps=15.0),
        ),
        CostModel(
            "retail",
            Rates(
                commission_bps=1.0,
                minimum=1.0,
                half_spread_bps=2.0,
                slippage_bps=30.0,
                fx_spread_bps=3.0,
            ),
        ),
        CostModel(
            "full-service",
            Rates(
                fixed=9.95,
                commission_bps=10.0,
                half_spread_bps=5.0,
                slippage_bps=30.0,
                fx_spread_bps=100.0,
            ),
        ),
        CostModel(
            "institutional",
            Rates(commission_bps=0.5, half_spread_bps=1.0, slippage_bps=50.0, fx_spread_bps=1.0),
        ),
    )
}
"""Cost models by name, with typical figures; replace them by those of a broker."""


def cost_preset(name: str) -> CostModel:
    """Return the preset of this name.

    Raises:
        InvalidRequest: the name is unknown; lists the presets.
    """
    found = COST_PRESETS.get(name)
    if found is None:
        raise InvalidRequest(
            f"unknown cost preset {name!r}; choose one of {', '.join(COST_PRESETS)}",
            field="costs",
            code="unknown_cost_preset",
        )
    return found


DEFAULT_BPS = 10.0
"""Default cost of trading: basis points of traded value, each side."""


@lru_cache(maxsize=64, typed=True)  # 10 and 10.0 differ in digests of settings
def cost_model(
    bps: float | None, preset: str | None, fx_spread_bps: float | None = None
) -> CostModel:
    """Return the cost model for basis points or for a preset's name, or the default.

    ``fx_spread_bps`` replaces its cost of conversions.

    Raises:
        InvalidRequest: both are given, or one is invalid.
    """
    if fx_spread_bps is not None:
        return cost_model(bps, preset).converting(fx_spread_bps)
    if preset is not None:
        if bps is not None:
            raise InvalidRequest(
                "cost_bps and costs exclude each other; enter one of them",
                field="costs",
                code="costs_given_twice",
            )
        return cost_preset(preset)
    return CostModel.flat(DEFAULT_BPS if bps is None else bps)
