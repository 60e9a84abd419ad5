"""Figures of the first source stay, and disagreements are found once."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.market.actions import INFERRED, ActionKind, CorporateAction
from rebalancer.domain.market.bar_years import BarYear
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.quality import Decision, Rule
from rebalancer.domain.market.source_comparison import compare_sources, update_disagreements

NOW = datetime(2024, 3, 8, 22, tzinfo=UTC)
FIRST = np.datetime64("2024-03-01")
NUMBERS = st.sets(st.integers(0, 12), min_size=1).map(sorted)


def bars(numbers, price=100.0, symbol="A", *, adjusted=False):
    days = FIRST + np.array(numbers, dtype="timedelta64[D]")
    return Bars(symbol, days, np.full(len(days), price), adjusted=adjusted)


def stored(numbers, source="first", **others):
    return [BarYear.of(bars(numbers, **others), 0, source)]


def compare(answer, years, actions=(), known=(), source="second"):
    return compare_sources(answer, actions, years, known, source=source, known=NOW)


def a_dividend(number, amount="0.5", source="", currency="USD"):
    day = (FIRST + number).item()
    return CorporateAction("A", day, ActionKind.DIVIDEND, Decimal(amount), currency, source=source)


@given(NUMBERS, NUMBERS, st.sampled_from([100.0, 100.4, 103.0]))
def test_days_of_the_first_source_are_never_replaced(before, numbers, price):
    found = compare(bars(numbers, price), stored(before))
    both = sorted(set(before) & set(numbers))
    saved = (found.bars.days - FIRST).astype(int).tolist()
    assert saved == sorted(set(numbers) - set(before))
    assert bool(found.findings) == (price == 103.0 and bool(both))
    assert (found.compared - FIRST).astype(int).tolist() == both


@given(NUMBERS, NUMBERS)
def test_source_corrects_its_own_figures(before, numbers):
    answer = bars(numbers, 150.0)
    found = compare(answer, stored(before, "second"))
    assert (len(found.bars), found.findings) == (len(answer), ())


@pytest.mark.parametrize(
    "years",
    [stored([0, 1], ""), stored([0, 1], adjusted=True), []],
    ids=["none", "adjusted", "new"],
)
def test_figures_without_a_source_and_adjusted_ones_are_replaced(years):
    found = compare(bars([0, 1], 300.0), years)
    assert (len(found.bars), found.findings) == (2, ())


def test_exchange_rates_may_differ_by_their_time_of_day():
    years = stored([0], symbol="EURUSD", price=1.10)
    assert not compare(bars([0], 1.11, "EURUSD"), years).findings
    assert compare(bars([0], 1.15, "EURUSD"), years).findings


def test_finding_names_both_figures_and_their_sources():
    (finding,) = compare(bars([0, 1, 2], 51.5), stored([0, 1])).findings
    assert (finding.rule, finding.decision) == (Rule.SOURCES_DISAGREE, Decision.OPEN)
    assert finding.note == (
        "closed on 2024-03-01 at 100 by first, which is used, and at 51.5 by second and 1 more day"
    )


@pytest.mark.parametrize(
    ("given", "known", "saved", "note"),
    [
        ([a_dividend(1)], [a_dividend(1, "0.503", "first")], 0, None),
        ([a_dividend(1, currency=None)], [a_dividend(1, source="first")], 0, None),
        (
            [a_dividend(1, "0.8")],
            [a_dividend(1, source="first")],
            0,
            "has a dividend of 0.5 on 2024-03-02 by first, which is used, and of 0.8 by second",
        ),
        ([a_dividend(1)], [], 0, "has a dividend of 0.5 on 2024-03-02 by second alone, which is"),
        ([], [a_dividend(1, source="first")], 0, "on 2024-03-02 by first, not by second"),
        ([a_dividend(5)], [], 1, None),
        ([a_dividend(1, "0.8")], [a_dividend(1, source="second")], 1, None),
        ([], [a_dividend(1, source=INFERRED)], 0, None),
    ],
    ids=["rounded", "unit", "value", "alone", "lacking", "later", "own", "inferred"],
)
def test_actions_are_compared_within_days_of_both(given, known, saved, note):
    found = compare(bars([0, 1, 2, 5]), stored([0, 1, 2]), given, known)
    assert len(found.actions) == saved
    assert [note in one.note for one in found.findings] == ([] if note is None else [True])


def test_disagreement_is_stored_once_and_resolved_by_agreement():
    differing, same = compare(bars([0], 200.0), stored([0])), compare(bars([0]), stored([0]))
    (opened,) = update_disagreements([], "A", differing, known=NOW)
    assert update_disagreements([opened], "A", differing, known=NOW) == []
    (resolved,) = update_disagreements([opened], "A", same, known=NOW)
    assert resolved.decision is Decision.RESOLVED
    assert update_disagreements([resolved], "A", differing, known=NOW) == [opened]
    accepted = attrs.evolve(opened, decision=Decision.ACCEPT)
    for later in (same, differing):
        assert update_disagreements([accepted], "A", later, known=NOW) == []
    assert opened.day == date(2024, 3, 1)
