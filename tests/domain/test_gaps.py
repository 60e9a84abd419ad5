import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.market.gaps import Gap, fill_gaps
from rebalancer.domain.market.prices import STALE_AFTER

NAN = np.nan


def column(*values):
    return np.array(values, dtype=np.float64)[:, None]


def test_gap_of_five_rows_repeats_the_last_close():
    closes = column(NAN, 1, *[NAN] * 5, 2, NAN)
    filled, gaps = fill_gaps(closes)
    assert gaps == {}
    assert np.array_equal(filled[:, 0], [NAN, 1, 1, 1, 1, 1, 1, 2, 2], equal_nan=True)


def test_longer_gaps_are_reported_also_at_the_end():
    inside, behind = column(1, *[NAN] * 6, 2), column(NAN, 1, *[NAN] * 6)
    _, gaps = fill_gaps(np.hstack([inside, behind, np.ones((8, 1))]))
    assert gaps == {0: Gap(1, 6), 1: Gap(2, 7)}
    assert [len(gap) for gap in gaps.values()] == [6, 6]


def test_closes_without_gaps_are_returned_as_they_are():
    closes = column(1, 2, 3)
    filled, gaps = fill_gaps(closes)
    assert filled is closes
    assert gaps == {}


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_every_row_is_the_last_close_known_at_that_row(known):
    closes = column(*[float(row + 1) if there else NAN for row, there in enumerate(known)])
    filled, gaps = fill_gaps(closes)
    run, longest, seen = 0, 0, False
    for row, there in enumerate(known):
        seen |= there
        run = 0 if there or not seen else run + 1
        longest = max(longest, run)
        last = [at for at in range(row + 1) if known[at]]
        expected = closes[last[-1], 0] if last else NAN
        assert np.array_equal(filled[row, 0], expected, equal_nan=True)
    assert bool(gaps) == (longest > STALE_AFTER)
