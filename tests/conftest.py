"""Settings of hypothesis, and real servers for the whole run.

Hypothesis draws the same examples on every machine and has no deadline. `make laws` draws many
others.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.engine import connect
from tests.contracts.databases import OWNER, as_role, create_roles, new_database
from tests.servers import Mongo, Postgres, Valkey, serving

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A background job of a shell ignores Ctrl-C, and the processes of tests would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "rebalancer", derandomize=True, deadline=None, print_blob=True, max_examples=50
)
settings.register_profile("deep", deadline=None, print_blob=True, max_examples=500)
settings.load_profile("rebalancer")


LONG = ("survival", "e2e")
"""Folders of tests that mostly wait; they begin first, and others use the cores meanwhile."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first, so that none of them runs while other workers are idle.

    Each worker begins with an equal part of the list. So half of the files with long tests stand at
    its beginning, and half in its middle: two workers share them.
    """
    long = [item for item in items if item.path.parent.name in LONG]
    others = [item for item in items if item.path.parent.name not in LONG]
    first = set(list(dict.fromkeys(item.path for item in long))[::2])
    begins = [item for item in long if item.path in first]
    middle = [item for item in long if item.path not in first]
    until = max(len(items) // 2 - len(begins), 0)
    items[:] = [*begins, *others[:until], *middle, *others[until:]]


def pytest_collection_finish() -> None:
    """Let the collector of garbage look less often, and no longer at what was imported.

    Imports leave half a million objects, which it need not look through again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True, scope="session")
def _separate_trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Redirect the record of trials, so that no test adds to the committed one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REBALANCER_TRIALS", str(tmp_path_factory.mktemp("record") / "trials.jsonl"))
        yield


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Run a Postgres server; each test creates its own databases (`contracts.databases`)."""
    with serving(Postgres) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Run a Valkey server; each test uses its own key names."""
    with serving(Valkey) as url:
        yield url


@pytest.fixture(scope="session")
def mongo_url() -> Iterator[str]:
    """Run a MongoDB stand-in; each test creates its own databases."""
    with serving(Mongo) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database file with empty tables."""
    path = tmp_path_factory.mktemp("template") / "empty.db"
    engine = connect(f"sqlite:///{path}")
    migrations.upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[str]:
    """Return the URL of a database with empty tables, as the script of roles sets it up."""
    with new_database(postgres_url) as url:
        create_roles(url)
        engine = connect(as_role(url, OWNER))
        migrations.upgrade(engine)
        engine.dispose()
        yield url
