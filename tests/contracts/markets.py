"""Market stores of every kind for one test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

import attrs
import pytest

from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.adapters.mongo.market import MongoMarket
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.market import SqlMarket
from rebalancer.application.stored_market import StoredMarket
from tests.contracts.documents import mongo_database

KINDS = ["memory", "sqlite", "postgres", "mongo"]


@attrs.define
class Clock:
    """A clock in seconds that tests advance."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the current second."""
        return self.now


def market_places(
    request: pytest.FixtureRequest,
    makers: Mapping[str, Callable[[], str]],
    at_the_end: ExitStack,
    kind: str,
) -> Callable[..., StoredMarket]:
    """Return a function that makes stores over one new place of a kind."""
    if kind == "memory":
        memory = MemoryMarket()
        return lambda **options: StoredMarket(memory, **options)
    if kind == "mongo":
        database = at_the_end.enter_context(mongo_database(request.getfixturevalue("mongo_url")))
        MongoMarket(database).prepare()
        return lambda **options: StoredMarket(MongoMarket(database), **options)
    engine = connect(makers[kind]())
    at_the_end.callback(engine.dispose)
    return lambda **options: StoredMarket(SqlMarket(engine), **options)
