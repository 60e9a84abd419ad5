"""Fundamentals and economic series are fetched when they are old, and survive faults."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import pytest

from rebalancer.adapters.memory.reference import MemoryReference
from rebalancer.application.ports.providers import Offer, UnknownSymbol, Unreachable
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.application.reference_data import ReadFacts, ReadSeries
from rebalancer.domain.errors import NotFound
from rebalancer.domain.market.economics import EconomicSeries, Observation
from rebalancer.domain.market.fundamentals import Facts

START = datetime(2024, 3, 8, 22, tzinfo=UTC)
DAY = date(2024, 1, 1)


class Library:
    """Provider that has fundamentals and series of every name but one."""

    title, terms = "The library", "none"
    offers = frozenset({Offer.FACTS, Offer.SERIES})

    def __init__(self, name="library"):
        self.name, self.asked, self.down, self.value = name, 0, False, 5.0

    def facts(self, symbol):
        self._check(symbol)
        return Facts(symbol, {"beta": self.value, "yield": math.inf}, {"sector": "Banks"})

    def series(self, id, *, since):
        self._check(id)
        return EconomicSeries(id, "Rate", "Percent", (Observation(DAY, self.value),))

    def _check(self, name):
        self.asked += 1
        if self.down:
            raise Unreachable("The library did not answer")
        if name == "NOSUCH":
            raise UnknownSymbol("The library does not know NOSUCH")

    def close(self):
        pass


class Clock:
    now = START

    def __call__(self):
        return self.now


@pytest.fixture
def library():
    return Library()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def use(request, library, clock):
    chain = ProviderChain({library.name: library})
    return request.param(MemoryReference(), chain, clock)


BOTH = pytest.mark.parametrize("use", [ReadFacts, ReadSeries], indirect=True)
FACTS = pytest.mark.parametrize("use", [ReadFacts], indirect=True)
SERIES = pytest.mark.parametrize("use", [ReadSeries], indirect=True)


@BOTH
def test_fresh_figures_are_not_fetched_again(use, library, clock):
    first, note = use(" ABC ")
    clock.now += timedelta(hours=23)
    assert use("ABC") == (first, note) == (first, "")
    assert (library.asked, first.provider, first.fetched) == (1, "library", START)


@BOTH
def test_old_figures_are_fetched_again(use, library, clock):
    use("ABC")
    clock.now += timedelta(days=8)
    again, note = use("ABC")
    assert (library.asked, again.fetched, note) == (2, clock.now, "")


@BOTH
def test_old_figures_are_returned_with_a_note_while_the_provider_is_down(use, library, clock):
    first, _ = use("ABC")
    clock.now += timedelta(days=8)
    library.down = True
    assert use("ABC") == (first, "The library did not answer")


@BOTH
def test_unknown_names_are_not_found_and_not_stored(use, library):
    with pytest.raises(NotFound, match="NOSUCH"):
        use("NOSUCH")
    assert use.store.facts_fetched() == use.store.series_fetched() == {}
    library.down = True
    with pytest.raises(Unreachable):
        use("NOSUCH")


@FACTS
def test_figures_that_are_not_finite_are_left_out(use):
    stored, _ = use("ABC")
    assert dict(stored.facts.figures) == {"beta": 5.0}


@SERIES
def test_revised_figure_becomes_a_vintage(use, library, clock):
    use("ABC")
    clock.now += timedelta(days=2)
    library.value = 6.0
    stored, _ = use("ABC")
    revised = Observation(DAY, 6.0, clock.now.date())
    assert stored.series.published() == (revised,)
    assert stored.series.published(known_by=START.date()) == (Observation(DAY, 5.0),)


def test_series_stays_with_its_provider(library, clock):
    other, store = Library("other"), MemoryReference()
    ReadSeries(store, ProviderChain({"library": library}), clock)("ABC")
    clock.now += timedelta(days=2)
    both = ProviderChain({"other": other, "library": library})
    assert ReadSeries(store, both, clock)("ABC")[0].provider == "library"
    clock.now += timedelta(days=2)
    without = ProviderChain({"other": other})
    assert ReadSeries(store, without, clock)("ABC")[0].provider == "other"
