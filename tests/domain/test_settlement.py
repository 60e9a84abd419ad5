"""Weights of proposals are rounded as `round` does."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rebalancer.domain.rebalancing.settlement import round_weight

weights = st.one_of(
    st.floats(0.0, 2.0),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 10**10).map(lambda number: number / 10**10),
    st.integers(0, 10**10).map(lambda number: (number + 0.5) / 10**10),  # next to a tie
)


@given(weights)
@example(0.00000000005)
@example(99.99999999995)
@example(123456.78901234565)
@example(-0.25)
def test_weights_are_rounded_to_ten_decimals(weight: float) -> None:
    assert round_weight(weight) == round(weight, 10)


@pytest.mark.parametrize("weight", [math.inf, -math.inf])
def test_infinite_weights_stay_infinite(weight: float) -> None:
    assert round_weight(weight) == weight
