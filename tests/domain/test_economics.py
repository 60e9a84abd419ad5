"""Vintages of economic series."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.market.economics import EconomicSeries, Observation

DAYS = st.dates(date(2024, 1, 1), date(2024, 1, 6))
VALUES = st.integers(0, 3).map(float)
DATED = st.lists(
    st.builds(Observation, DAYS, VALUES, DAYS),
    max_size=12,
    unique_by=lambda one: (one.day, one.known),
)
UNDATED = st.lists(st.builds(Observation, DAYS, VALUES), max_size=12, unique_by=lambda one: one.day)
OBSERVATIONS = DATED | UNDATED
"""Of a provider with vintages, or of one without."""


def series(observations):
    return EconomicSeries("X", "Rate", "Percent", tuple(observations))


JANUARY = date(2024, 1, 1)
FIRST = Observation(JANUARY, 5.0, date(2024, 2, 1))
REVISED = Observation(JANUARY, 5.5, date(2024, 3, 1))


def test_last_vintage_counts_and_earlier_ones_stay_readable():
    rate = series([FIRST, REVISED])
    assert rate.published() == (REVISED,)
    assert rate.published(known_by=date(2024, 2, 29)) == (FIRST,)
    assert rate.published(known_by=date(2024, 1, 31)) == ()
    assert rate.published(since=date(2024, 1, 2)) == ()


def test_changed_figure_without_a_publication_day_becomes_a_vintage():
    before, after = series([Observation(JANUARY, 5.0)]), series([Observation(JANUARY, 6.0)])
    on = date(2024, 4, 1)
    extended = before.extended_by(after, on=on)
    assert extended.published(known_by=on - timedelta(days=1)) == before.observations
    assert extended.published() == (Observation(JANUARY, 6.0, on),)


@given(OBSERVATIONS, DAYS)
def test_what_was_known_never_depends_on_later_publications(observations, day):
    early = [one for one in observations if one.known is None or one.known <= day]
    assert series(observations).published(known_by=day) == series(early).published()


@given(OBSERVATIONS)
def test_repeated_answer_changes_nothing(observations):
    once = series([]).extended_by(series(observations), on=JANUARY)
    again = once.extended_by(series(observations), on=date(2024, 2, 1))
    assert again == once


@given(DATED, DATED)
def test_no_vintage_is_lost(before, later):
    extended = series(before).extended_by(series(later), on=date(2024, 2, 1))
    replaced = {(one.day, one.known) for one in later}
    stays = {one for one in before if (one.day, one.known) not in replaced}
    assert set(extended.observations) == stays | set(later)


@given(UNDATED, UNDATED)
def test_figures_before_a_change_stay_readable(before, later):
    on = date(2024, 2, 1)
    extended = series(before).extended_by(series(later), on=on)
    earlier = {one.day: one.value for one in extended.published(known_by=on - timedelta(days=1))}
    assert earlier.items() >= {one.day: one.value for one in before}.items()
    now = {one.day: one.value for one in extended.published()}
    assert now.items() >= {one.day: one.value for one in later}.items()
