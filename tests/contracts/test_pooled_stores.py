"""The contract of stores through PgBouncer in transaction mode, and what the engine sends to it."""

import shutil
import tempfile
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event

from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.checkpoints import LedgerRules
from rebalancer.adapters.sql.engine import connect, reading, writing
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.domain.errors import Conflict
from tests.contracts.databases import APPLICATION, OWNER, as_role
from tests.contracts.test_stores import *  # noqa: F403  # the contract, with `make` from here
from tests.poolers import PgBouncer, find_pgbouncer


@pytest.fixture(scope="module")
def pooler(postgres_url):
    if find_pgbouncer() is None:
        pytest.skip("PgBouncer is not installed; install Debian's pgbouncer, or set $PGBOUNCER")
    folder = Path(tempfile.mkdtemp(prefix="rebalancer-pgbouncer-"))
    server = PgBouncer(folder, postgres_url, ("postgres", APPLICATION, OWNER))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def make(reused, pooler):
    """Return a function that makes empty stores behind the pooler."""
    engines = []

    def one():
        engines.append(connect(pooler.through(reused.take()), pooled=True))
        return SqlWork(engines[-1], ledgers=LedgerRules(from_count=1, spacing=2))

    yield one
    for engine in engines:
        engine.dispose()


@pytest.mark.parametrize("pooled", [False, True])
def test_session_options_are_sent_without_a_pooler_only(pooled):
    class Sent(Exception):
        pass

    sent = {}

    def keep(_dialect, _record, _arguments, options):
        sent.update(options)
        raise Sent

    engine = connect("postgresql://user@127.0.0.1:1/name", pooled=pooled)
    event.listen(engine, "do_connect", keep)
    with pytest.raises(Sent):
        engine.connect()
    assert ("options" in sent) is not pooled
    assert sent.get("prepare_threshold", 5) == (None if pooled else 5)


def test_limits_behind_a_pooler_are_those_of_the_role(pooler, reused):
    engine = connect(pooler.through(reused.take()), pooled=True, statement_timeout=99)
    names = "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone"
    with reading(engine) as connection:
        found = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]
    engine.dispose()
    assert found == ["30s", "5s", "1min", "UTC"]


def test_transactions_behind_a_pooler_have_different_sessions(pooler, reused):
    """Which the contract relies on to find what a session would have to keep."""
    engine = connect(pooler.through(reused.take()), pooled=True)
    with writing(engine) as one, writing(engine) as two:
        for connection in (one, two):
            connection.exec_driver_sql("SELECT 1")
    found = set()
    for _ in range(10):  # repeated statements are the ones that a driver prepares
        with reading(engine) as connection:
            found.add(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar())
    engine.dispose()
    assert len(found) > 1


def test_pending_migration_through_a_pooler_is_refused(pooler, reused, postgres_url):
    url = reused.take()
    owner = connect(pooler.through(as_role(url, OWNER)), pooled=True)
    migrations.upgrade(owner)  # it is at the newest revision
    with pytest.raises(Conflict, match="use the URL of the server itself"):
        migrations.downgrade(owner, "-1")
    owner.dispose()
    with psycopg.connect(postgres_url) as operator:
        held = operator.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert held.fetchone() == (0,)
