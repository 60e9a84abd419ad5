from __future__ import annotations

from math import sqrt

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.portfolio.costs import (
    COST_PRESETS,
    CostModel,
    CostSchedule,
    Rates,
    cost_model,
    cost_preset,
)

SYMBOLS = ("A", "B", "C")
KNOWN = Instruments.of(
    [Instrument("A", daily_volume=1_000_000.0), Instrument("B", daily_volume=4_000_000.0)]
)
laws = settings(deadline=None)


def charges(rates: Rates, **overrides: Rates) -> CostSchedule:
    return CostModel("mine", rates, overrides).of(SYMBOLS, KNOWN)


def cost(rates: Rates, *traded: float) -> list[float]:
    found: list[float] = charges(rates)(np.array(traded)).tolist()
    return found


# Each component by hand.


def test_a_fixed_fee_is_charged_for_each_order() -> None:
    assert cost(Rates(fixed=9.95), 10, 1_000_000, 0) == [9.95, 9.95, 0]


def test_a_commission_is_a_share_of_traded_value() -> None:
    assert cost(Rates(commission_bps=10), 1_000, 250, 0) == pytest.approx([1, 0.25, 0])


def test_a_commission_has_a_minimum() -> None:
    rates = Rates(commission_bps=10, minimum=1.5)
    assert cost(rates, 1_000, 1_500, 2_000) == pytest.approx([1.5, 1.5, 2])
    assert cost(rates, 0, 0.01, 0) == pytest.approx([0, 1.5, 0])


def test_half_the_spread_is_lost_on_each_side() -> None:
    assert cost(Rates(half_spread_bps=5), 1_000, 0, 0) == pytest.approx([0.5, 0, 0])
    # The minimum is of the commission: the spread comes on top.
    assert cost(Rates(minimum=1, half_spread_bps=5), 1_000, 0, 0) == pytest.approx([1.5, 0, 0])


def test_slippage_grows_with_size_against_volume() -> None:
    rates = Rates(slippage_bps=30)
    # A whole day's volume loses 30 bps, a hundredth of it a tenth of that; C's is unknown.
    assert cost(rates, 1_000_000, 40_000, 1_000_000) == pytest.approx([3_000, 40_000 * 3e-4, 0])
    # Four times the size, eight times the money.
    assert cost(rates, 40_000, 40_000, 0)[0] == pytest.approx(cost(rates, 10_000, 0, 0)[0] * 8)


def test_all_of_it_together() -> None:
    rates = Rates(fixed=1, commission_bps=2, minimum=3, half_spread_bps=4, slippage_bps=50)
    # Of 10,000: 1 + max(2, 3) + 4 + 50 bps of it times sqrt(0.01).
    assert cost(rates, 10_000, 0, 0)[0] == pytest.approx(1 + 3 + 4 + 5)
    # Of 40,000: 1 + max(8, 3) + 16 + 200 times sqrt(0.01).
    assert cost(rates, 0, 40_000, 0)[1] == pytest.approx(1 + 8 + 16 + 20)


def test_an_instrument_may_have_rates_of_its_own() -> None:
    found = charges(Rates(commission_bps=10), B=Rates(fixed=7), C=Rates(half_spread_bps=1))
    assert found(np.full(3, 1_000.0)) == pytest.approx([1, 7, 0.1])
    assert found(np.zeros(3)).tolist() == [0, 0, 0]


def test_by_slot() -> None:
    found = charges(Rates(commission_bps=10), B=Rates(fixed=7))
    slots = np.array([[1, 0], [2, 1]])
    by_slot = found.at(slots)
    assert by_slot(np.full((2, 2), 1_000.0)) == pytest.approx(np.array([[7, 1], [1, 7]]))
    assert by_slot.row(1)(np.full(2, 1_000.0)) == pytest.approx([1, 7])
    alike = charges(Rates(commission_bps=10))
    assert alike.at(slots)(np.full((2, 2), 1_000.0)) == pytest.approx(np.ones((2, 2)))
    assert alike.row(1)(np.full(2, 1_000.0)) == pytest.approx([1, 1])


def test_volumes_follow_the_market_s_order() -> None:
    model = CostModel("mine", Rates(slippage_bps=30))
    found = model.of(("C", "B", "A"), KNOWN)
    assert found(np.full(3, 10_000.0)) == pytest.approx([0, 30 * sqrt(0.0025), 30 * sqrt(0.01)])


# Models.


def test_a_flat_share_and_nothing_else() -> None:
    model = CostModel.flat(12.5)
    assert model.label == "12.5 bps of traded value, each side"
    assert model.of(SYMBOLS, KNOWN)(np.array([1_000.0, 0.0, 8.0])) == pytest.approx([1.25, 0, 0.01])
    assert not CostModel.flat(0).of(SYMBOLS, KNOWN)(np.array([1e9, 1.0, 0.0])).any()


@pytest.mark.parametrize("bps", [-1, -1e-9, 10_000, 1e9, float("nan"), float("inf")])
def test_a_flat_share_is_under_the_whole(bps: float) -> None:
    with pytest.raises(InvalidRequest, match="not at least 0 and under 10,000") as error:
        CostModel.flat(bps)
    assert error.value.field == "cost_bps"


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Rates)])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_no_rate_is_negative_or_infinite(name: str, value: float) -> None:
    with pytest.raises(InvalidRequest, match="is not zero or more") as error:
        Rates(**{name: value})
    assert error.value.field == f"costs.{name}"


def test_presets() -> None:
    assert cost_preset("free") == CostModel("free", Rates())
    assert set(COST_PRESETS) >= {"free", "retail", "institutional"}
    for name, model in COST_PRESETS.items():
        assert cost_preset(name) is model
        assert model.label == name
    # Retail: a bp, at least 1; 2 of spread; 30 bps of a whole day's volume.
    found = cost_preset("retail").of(SYMBOLS, KNOWN)(np.full(3, 10_000.0))
    assert found == pytest.approx([1 + 2 + 3, 1 + 2 + 1.5, 1 + 2])


def test_an_unknown_preset() -> None:
    with pytest.raises(InvalidRequest, match=r"unknown cost preset 'cheap'.*retail") as error:
        cost_preset("cheap")
    assert error.value.field == "costs"


@pytest.mark.parametrize(
    ("rates", "proportional"),
    [
        (Rates(), True),
        (Rates(commission_bps=10, half_spread_bps=2), True),
        (Rates(fixed=1), False),
        (Rates(minimum=1), False),
        (Rates(slippage_bps=1), False),
    ],
)
def test_proportional_means_that_twice_the_trade_costs_twice(
    rates: Rates, proportional: bool
) -> None:
    found = charges(rates)
    assert found.proportional is proportional
    once, twice = found(np.full(3, 1_000.0)), found(np.full(3, 2_000.0))
    assert np.allclose(twice, 2 * once) is proportional


# Conversions.


def test_orders_in_a_foreign_currency_pay_for_a_conversion() -> None:
    model = CostModel("mine", Rates(commission_bps=10, fx_spread_bps=20))
    found = model.of(SYMBOLS, KNOWN, ("EUR", "USD", "JPY"), "EUR")
    assert found(np.full(3, 1_000.0)) == pytest.approx([1.0, 3.0, 3.0])
    assert found.proportional
    assert found.trading(np.full(3, 1_000.0)) == pytest.approx([1.0, 1.0, 1.0])


def test_without_foreign_currencies_conversions_cost_nothing() -> None:
    model = CostModel("mine", Rates(commission_bps=10, fx_spread_bps=20))
    traded = np.full(3, 1_000.0)
    for schedule in (
        model.of(SYMBOLS, KNOWN),
        model.of(SYMBOLS, KNOWN, ("EUR", "EUR", "EUR"), "EUR"),
    ):
        assert schedule(traded) == pytest.approx([1.0, 1.0, 1.0])
        assert schedule.fixed.size == 1


def test_a_volume_is_in_the_currency_of_its_asset() -> None:
    model = CostModel("mine", Rates(slippage_bps=100))
    rates = np.array([1.0, 0.01, 1.0])
    found = model.of(SYMBOLS, KNOWN, ("EUR", "JPY", "USD"), "EUR", rates)
    # Slippage is 1% times the root of the traded share of 1,000,000 and 40,000 a day.
    assert found(np.array([10_000.0, 10_000.0, 10_000.0])) == pytest.approx([10, 50, 0])


def test_another_cost_of_conversions_replaces_that_of_a_model() -> None:
    dearer = cost_model(None, "retail", 50.0)
    assert dearer.rates == attrs.evolve(cost_preset("retail").rates, fx_spread_bps=50.0)
    assert dearer.label == "retail, 50 bps of conversions"
    assert cost_model(5.0, None, None) == cost_model(5.0, None)
    with pytest.raises(InvalidRequest) as raised:
        cost_model(None, None, -1.0)
    assert raised.value.field == "fx_spread_bps"


def test_conversions_that_cost_nothing_leave_texts_and_figures_as_they_were() -> None:
    assert repr(Rates(fixed=1.0)) == (
        "Rates(fixed=1.0, commission_bps=0.0, minimum=0.0, half_spread_bps=0.0, slippage_bps=0.0)"
    )
    model = CostModel("mine", Rates(fx_spread_bps=20), {"A": Rates(fixed=1.0, fx_spread_bps=3)})
    assert model.figures(converting=False) == ((0, 0, 0, 0, 0), [("A", Rates(fixed=1.0))])
    assert model.figures(converting=True) == (
        (0, 0, 0, 0, 0, 20),
        [("A", Rates(fixed=1.0, fx_spread_bps=3))],
    )


# Laws.

amounts = st.floats(0, 1e12) | st.floats(0, 1)
rates = st.builds(
    Rates,
    fixed=st.floats(0, 100),
    commission_bps=st.floats(0, 500),
    minimum=st.floats(0, 100),
    half_spread_bps=st.floats(0, 500),
    slippage_bps=st.floats(0, 500),
)


@given(rates | st.sampled_from([model.rates for model in COST_PRESETS.values()]), amounts, amounts)
@laws
def test_a_cost_is_never_negative_and_grows_with_the_trade(
    price_list: Rates, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    cheap, dear = (np.array(cost(price_list, *[value] * 3)) for value in (small, large))
    assert np.isfinite(dear).all()
    assert (cheap >= 0).all()
    assert (dear >= cheap).all()
    assert not any(cost(price_list, 0, 0, 0))


@given(rates, st.lists(amounts, min_size=3, max_size=3))
@laws
def test_orders_are_charged_one_by_one(price_list: Rates, traded: list[float]) -> None:
    found = charges(price_list)
    together = found(np.array([traded, traded[::-1]]))
    for i in range(3):
        alone = np.zeros(3)
        alone[i] = traded[i]
        assert together[0, i] == found(alone)[i]
        assert found(alone).sum() == found(alone)[i]
    assert together.shape == (2, 3)
