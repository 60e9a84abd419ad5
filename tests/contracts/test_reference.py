"""Contract of every store of fundamentals and economic series: `ReferenceStore`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import attrs
import pytest

from rebalancer.adapters.memory.reference import MemoryReference
from rebalancer.adapters.mongo.reference import MongoReference
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.reference import SqlReference
from rebalancer.application.ports.reference import StoredFacts, StoredSeries
from rebalancer.domain.market.economics import EconomicSeries, Observation
from rebalancer.domain.market.fundamentals import Facts
from tests.contracts.documents import mongo_database
from tests.contracts.markets import KINDS

NOW = datetime(2024, 3, 8, 22, 30, 0, 123_456, tzinfo=UTC)
JANUARY, FEBRUARY = date(2024, 1, 1), date(2024, 2, 1)


@pytest.fixture(scope="module", params=KINDS)
def store(request, makers):
    """A store of each kind; tests use names of their own."""
    if request.param == "memory":
        yield MemoryReference()
        return
    with ExitStack() as at_the_end:
        if request.param == "mongo":
            server = request.getfixturevalue("mongo_url")
            found = MongoReference(at_the_end.enter_context(mongo_database(server)))
        else:
            engine = connect(makers[request.param]())
            at_the_end.callback(engine.dispose)
            found = SqlReference(engine)
        found.prepare()
        yield found


@pytest.fixture
def name():
    return f"ÄÖ/{uuid4().hex}"


def some_facts(symbol, **others):
    figures = {"price_to_earnings": 0.1 + 0.2, "a.b": 1e300, "shares": 7.0}
    facts = Facts(symbol, figures, {"sector": "Väter & Söhne"}, date(2024, 3, 1))
    return attrs.evolve(StoredFacts(facts, "yahoo", NOW), **others)


def a_series(id, *observations, provider="fred", fetched=NOW, title="Rate"):
    return StoredSeries(
        EconomicSeries(id, title, "Percent", tuple(observations)), provider, fetched
    )


def test_fundamentals_are_read_as_written(store, name):
    assert store.facts(name) is None
    store.save_facts(some_facts(name))
    assert store.facts(name) == some_facts(name)
    assert store.facts_fetched()[name] == NOW


def test_later_fundamentals_replace_earlier_ones(store, name):
    store.save_facts(some_facts(name))
    later = StoredFacts(Facts(name, {}, {}), "alpha_vantage", NOW + timedelta(days=7))
    store.save_facts(later)
    assert store.facts(name) == later


def test_series_are_read_as_written(store, name):
    observations = (
        Observation(date(1850, 1, 1), -1e-300),
        Observation(JANUARY, 0.1 + 0.2, date(2024, 2, 9)),
        Observation(JANUARY, 0.4, date(2024, 3, 9)),
        Observation(FEBRUARY, 5.0, date(2024, 3, 9)),
    )
    assert store.series(name) is None
    assert store.save_series(a_series(name, *observations)) == a_series(name, *observations)
    assert store.series(name) == a_series(name, *observations)
    assert store.series_fetched()[name] == NOW


def test_series_without_observations_is_stored(store, name):
    store.save_series(a_series(name))
    assert store.series(name) == a_series(name)


def test_later_answer_adds_vintages_and_keeps_earlier_ones(store, name):
    first = Observation(JANUARY, 5.0, FEBRUARY)
    store.save_series(a_series(name, first))
    revised = Observation(JANUARY, 5.5, date(2024, 3, 1))
    later = NOW + timedelta(days=1)
    store.save_series(a_series(name, revised, fetched=later, title="Interest rate"))
    assert store.series(name) == a_series(
        name, first, revised, fetched=later, title="Interest rate"
    )


def test_answer_of_another_provider_replaces_a_series(store, name):
    store.save_series(a_series(name, Observation(JANUARY, 5.0)))
    other = a_series(name, Observation(FEBRUARY, 7.0), provider="nasdaq_data_link")
    assert store.save_series(other) == other
    assert store.series(name) == other


def test_concurrent_answers_lose_no_vintage(store, name):
    vintages = [Observation(JANUARY, float(day), date(2024, 2, day)) for day in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: store.save_series(a_series(name, one)), vintages))
    assert store.series(name).series.observations == tuple(vintages)
