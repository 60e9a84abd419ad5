"""Actions that restated closes show, and changes of closes that show none."""

from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.market.actions import (
    INFERRED,
    ActionKind,
    Actions,
    CorporateAction,
    latest_ex_day,
)
from rebalancer.domain.market.restatement import infer_actions

DAYS = np.busday_offset(np.datetime64("2024-01-01"), np.arange(120), roll="forward")
OLD, LATER = DAYS[:60], DAYS[60:]
SPLIT, DIVIDEND = ActionKind.SPLIT, ActionKind.DIVIDEND


def walk(length=60, *, seed=0, decimals=2):
    steps = np.random.default_rng(seed).normal(0, 0.015, length)
    return np.round(100 * np.exp(np.cumsum(steps)), decimals)


def inferred(old, new, *, later=LATER, days=OLD, **options):
    """Return kind, ex-day and value of each inferred action."""
    found = infer_actions(
        "A", days[: len(old)], np.array(old), np.array(new), later=later, **options
    )
    return [(one.kind, one.ex_day, one.value) for one in found.actions]


def test_split_between_two_files_is_inferred_on_the_first_possible_day():
    old = walk()
    assert inferred(old, np.round(old / 4, 4)) == [(SPLIT, LATER[0].item(), Decimal(4))]
    (one,) = infer_actions("A", OLD, old, old / 4, later=LATER).actions
    assert one.source.startswith(INFERRED)
    assert latest_ex_day(one) == LATER[-1].item()


def test_dividend_between_two_files_is_the_last_close_times_the_change():
    old = np.full(60, 100.0)
    assert inferred(old, old * 0.98) == [(DIVIDEND, LATER[0].item(), Decimal(2))]
    old = walk(seed=1)
    new = np.round(old * (1 - 0.24 / old[-1]), 6)
    assert inferred(old, new) == [(DIVIDEND, LATER[0].item(), Decimal("0.24"))]


def test_action_within_the_stored_closes_has_its_ex_day():
    old = walk(seed=2)
    old[40:] = np.round(old[40:] / 4, 2)
    new = old.copy()
    new[:40] = np.round(old[:40] / 4, 4)
    (one,) = infer_actions("A", OLD, old, new, later=LATER).actions
    assert (one.kind, one.ex_day, one.value) == (SPLIT, OLD[40].item(), Decimal(4))
    assert (one.source, latest_ex_day(one)) == (INFERRED, one.ex_day)
    assert inferred(old, new, later=OLD[:0]) == [(SPLIT, OLD[40].item(), Decimal(4))]


def test_several_actions_in_one_restatement():
    old = walk(seed=3)
    new = old.copy()
    new[:50] *= 1 - 0.5 / old[49]
    new[:30] *= 1 / 3
    new[:10] *= 1 - 0.7 / old[9]
    assert inferred(old, np.round(new, 6)) == [
        (DIVIDEND, OLD[10].item(), Decimal("0.7")),
        (SPLIT, OLD[30].item(), Decimal(3)),
        (DIVIDEND, OLD[50].item(), Decimal("0.5")),
    ]


def test_split_and_dividend_between_two_files():
    old = walk(seed=4)
    new = old / 4 * (1 - 1.5 / old[-1])
    assert inferred(old, np.round(new, 6)) == [
        (SPLIT, LATER[0].item(), Decimal(4)),
        (DIVIDEND, LATER[0].item(), Decimal("1.5")),
    ]


@pytest.mark.parametrize(
    ("factor", "ratio"), [(2, "0.5"), (190, None), (0.1, "10"), (2 / 3, "1.5"), (1 / 7, "7")]
)
def test_splits_and_reverse_splits(factor, ratio):
    old = walk(seed=5)
    value = Decimal(1) / Decimal(190) if ratio is None else Decimal(ratio)
    assert inferred(old, np.round(old * factor, 4)) == [(SPLIT, LATER[0].item(), value)]


def test_rounded_closes_of_a_cheap_share():
    old = walk(seed=6) / 50
    old = np.round(old, 2)
    assert inferred(old, np.round(old / 2, 2)) == [(SPLIT, LATER[0].item(), Decimal(2))]
    assert inferred(old, np.round(old, 1)) == []  # the same closes with fewer decimals


def test_dividends_are_stated_per_share_as_traded():
    old = walk(seed=7)
    known = [CorporateAction("A", OLD[30].item(), SPLIT, Decimal(2))]
    traded = np.where(np.arange(60) < 30, old * 2, old)
    new = old.copy()
    new[:20] *= 1 - 3.0 / traded[19]
    assert inferred(old, np.round(new, 7), traded=traded, known=known) == [
        (DIVIDEND, OLD[20].item(), Decimal(3))
    ]


def test_known_actions_are_not_inferred_again():
    old = walk(seed=8)
    split = CorporateAction("A", LATER[20].item(), SPLIT, Decimal(4))
    dividend = CorporateAction("A", LATER[30].item(), DIVIDEND, Decimal("1.5"))
    new = np.round(old / 4 * (1 - 1.5 / old[-1]), 6)
    assert inferred(old, new, known=[split, dividend]) == []
    assert inferred(old, new, known=[split]) == [(DIVIDEND, LATER[0].item(), Decimal("1.5"))]
    assert inferred(old, old / 4, known=[split]) == []


def corrections(old, new, later=LATER):
    found = infer_actions("A", OLD, np.array(old), np.array(new), later=later)
    return len(found.actions), found.corrections


def test_changed_single_closes_are_corrections():
    old = walk(seed=9)
    for rows in ([30], [0], [59], [10, 30], [58, 59], [0, 1]):
        new = old.copy()
        new[rows] *= 1.02
        actions, _ = corrections(old, new)
        assert actions == 0, rows
        new *= 0.25
        assert inferred(old, new) == [(SPLIT, LATER[0].item(), Decimal(4))], rows


def test_another_series_is_a_correction():
    old = walk(seed=10)
    assert corrections(old, walk(seed=11)) == (0, 60)
    assert corrections(old, old * 1.1) == (0, 60)  # no distribution raises earlier closes


def test_changed_unit_is_a_correction():
    old = walk(seed=12)
    assert corrections(old, old / 100) == (0, 60)
    assert corrections(old, old * 1000) == (0, 60)


def test_restated_closes_without_later_ones_are_a_correction():
    old = walk(seed=13)
    assert corrections(old, old * 0.98, later=LATER[:0]) == (0, 60)


def test_same_closes_show_nothing():
    old = walk(seed=14)
    assert corrections(old, old) == (0, 0)
    assert infer_actions("A", OLD[:0], old[:0], old[:0], later=LATER).actions == ()


@given(
    seed=st.integers(0, 1000),
    row=st.integers(5, 55),
    ratio=st.sampled_from([2, 3, 4, 5, 7, 10, 20, 0.5, 0.25, 0.1, 1.5]),
    cents=st.integers(20, 600),
)
@settings(max_examples=60, deadline=None)
def test_a_split_and_a_later_dividend_are_found_again(seed, row, ratio, cents):
    old, dividend = walk(seed=seed, decimals=4), cents / 100
    new = old * (1 - dividend / old[-1])
    new[:row] /= ratio
    assert inferred(old, np.round(new, 7)) == [
        (SPLIT, OLD[row].item(), Decimal(str(ratio))),
        (DIVIDEND, LATER[0].item(), Decimal(cents) / 100),
    ]


def action(day, value, kind=DIVIDEND, source="", **others):
    return CorporateAction("A", date(2024, 1, day), kind, Decimal(value), source=source, **others)


UNTIL = f"{INFERRED}, ex-day until 2024-01-20"


def test_stated_actions_replace_inferred_ones():
    inferred_split = action(2, 4, SPLIT, UNTIL)
    stated = action(15, 4, SPLIT)
    assert list(Actions.of([inferred_split, stated])) == [stated]
    assert len(Actions.of([inferred_split, action(22, 4, SPLIT)])) == 2
    assert len(Actions.of([inferred_split, action(15, 3, SPLIT)])) == 2
    assert list(Actions.of([action(2, "2.1", source=UNTIL), action(9, 2)])) == [action(9, 2)]
    kept = list(Actions.of([action(2, 4, source=UNTIL), action(9, 1), action(14, 1)]))
    assert [(one.ex_day.day, one.value) for one in kept] == [(2, 2), (9, 1), (14, 1)]
    both = [action(2, 2, source=UNTIL), action(9, 200, currency="GBX")]
    assert list(Actions.of(both)) == both[1:]
    pounds = action(9, 2, currency="GBP")
    assert list(Actions.of([action(2, 200, source=UNTIL, currency="GBX"), pounds])) == [pounds]
    quarter = action(9, 1, currency="GBX")
    kept = list(Actions.of([action(2, 4, source=UNTIL, currency="GBX"), quarter]))
    assert [one.value for one in kept] == [3, 1]


def test_new_symbols_and_delistings_remain_with_inferred_actions():
    others = [
        action(9, 0, ActionKind.DELISTING),
        action(8, 0, ActionKind.RENAME, other="B"),
    ]
    found = Actions.of([action(2, 4, SPLIT, UNTIL), *others])
    assert (len(found), found.withdrawn) == (3, ())
