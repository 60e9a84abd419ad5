"""Hypothesis for all: the same examples on every machine, and no clock. And real servers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.engine import connect
from tests.contracts.databases import new_database
from tests.servers import Mongo, Postgres, Valkey, serving

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a shell's background. What tests start would inherit it, and be deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("rebalancer", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("rebalancer")


@pytest.fixture(autouse=True, scope="session")
def _trials_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test adds to the record of trials that is committed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REBALANCER_TRIALS", str(tmp_path_factory.mktemp("record") / "trials.jsonl"))
        yield


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A Postgres server; tests make databases of their own in it, see `contracts.databases`."""
    with serving(Postgres) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Valkey server; tests take names of their own in it."""
    with serving(Valkey) as url:
        yield url


@pytest.fixture(scope="session")
def mongo_url() -> Iterator[str]:
    """A server that speaks as MongoDB does; tests make databases of their own in it."""
    with serving(Mongo) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with tables and nothing in them."""
    path = tmp_path_factory.mktemp("template") / "empty.db"
    engine = connect(f"sqlite:///{path}")
    migrations.upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[str]:
    """A database with tables and nothing in them."""
    with new_database(postgres_url) as url:
        engine = connect(url)
        migrations.upgrade(engine)
        engine.dispose()
        yield url
