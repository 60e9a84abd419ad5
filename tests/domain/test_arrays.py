"""Elements at flat positions are those at the positions in each row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.arrays import flat_positions, pick


@given(st.integers(0, 4), st.integers(1, 6), st.integers(0, 5), st.integers(0, 2**32))
def test_pick_takes_elements_along_each_row(rows: int, columns: int, taken: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    positions = dice.integers(columns, size=(rows, taken))
    places = flat_positions(positions, columns)
    amounts = dice.random((3, rows, columns))
    expected = np.take_along_axis(amounts, positions[None], axis=2)
    assert np.array_equal(pick(amounts, places), expected)
    chosen = amounts[0] > 0.5
    assert np.array_equal(pick(chosen, places), np.take_along_axis(chosen, positions, axis=1))
