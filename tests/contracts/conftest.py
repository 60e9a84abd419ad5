"""Stores on every database for one test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.security.envelope import Envelope
from rebalancer.adapters.security.key_encryption import LocalKeys
from rebalancer.adapters.sql.checkpoints import LedgerRules
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.work import SqlWork
from tests.contracts.databases import APPLICATION, ReusedDatabases, as_role, new_database


@pytest.fixture(scope="module")
def makers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Callable[[], str]]]:
    """For each kind, create a database with empty tables; return its URL for the application."""
    with ExitStack() as at_the_end:

        def sqlite() -> str:
            path = tmp_path_factory.mktemp("sqlite") / "store.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
            return f"sqlite:///{path}"

        def postgres() -> str:
            server = request.getfixturevalue("postgres_url")
            template = request.getfixturevalue("postgres_template")
            url = at_the_end.enter_context(new_database(server, template))
            return as_role(url, APPLICATION)

        yield {"sqlite": sqlite, "postgres": postgres}


@pytest.fixture(scope="session")
def create_postgres(postgres_url: str, postgres_template: str) -> Iterator[Callable[[], str]]:
    """Return a function that creates a database; all of them are dropped with the server."""
    with ExitStack() as at_the_end:
        yield lambda: at_the_end.enter_context(new_database(postgres_url, postgres_template))


@pytest.fixture(scope="session")
def reused(request: pytest.FixtureRequest) -> ReusedDatabases:
    """Return databases for tests that leave the tables as they are; the server starts if used."""
    return ReusedDatabases(lambda: request.getfixturevalue("create_postgres")())


@pytest.fixture(autouse=True)
def _empty_databases(reused: ReusedDatabases) -> Iterator[None]:
    """Empty the databases of a test when it ends."""
    with reused.test():
        yield


@pytest.fixture(scope="module")
def stores_of(makers: dict[str, Callable[[], str]]) -> Iterator[Callable[..., SqlWork]]:
    """Return a function that makes an empty store of a kind, with encryption."""
    with ExitStack() as at_the_end:

        def make(kind: str, url: str | None = None) -> SqlWork:
            engine = connect(url or makers[kind]())
            at_the_end.callback(engine.dispose)
            # Every ledger has checkpoints, and some of them stay.
            rules = LedgerRules(from_count=1, spacing=2)
            return SqlWork(engine, Envelope(LocalKeys({"test": bytes(32)})), ledgers=rules)

        yield make


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgres"])
def make(
    request: pytest.FixtureRequest, stores_of: Callable[..., SqlWork], reused: ReusedDatabases
) -> Callable[[], MemoryWork | SqlWork]:
    """Return a function that makes empty stores of one kind."""
    if request.param == "memory":
        return MemoryWork
    if request.param == "postgres":
        return lambda: stores_of("postgres", reused.take())
    return lambda: stores_of(request.param)
