"""What the probe of a store finds: `StoreProbe` in application/ports."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import attrs
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.health import CheckHealth, Dependencies, State, store_dependency
from rebalancer.domain.errors import InvalidRequest, Unavailable
from tests.contracts.stores import a_deposit, a_user, stored_portfolio, stored_user


def health_of(work):
    return CheckHealth(Dependencies((store_dependency(work),)))()


@pytest.fixture
def file(sqlite_template, tmp_path):
    return Path(shutil.copy(sqlite_template, tmp_path / "store.db"))


@pytest.fixture
def work(file):
    engine = connect(f"sqlite:///{file}")
    yield SqlWork(engine)
    engine.dispose()


def test_working_store_is_ready(make):
    store = make()
    for _ in range(2):
        assert health_of(store).parts == {"store": "ok"}


def test_busy_store_is_ready(work):
    impatient = SqlWork(work.engine, lock_timeout=0.01)
    with impatient.begin():
        assert health_of(impatient).state is State.OK


def test_store_without_space_is_not_ready(work):
    with work.begin() as tx, pytest.raises(Unavailable, match="full") as full:
        attrs.evolve(tx.probe, space=2**62).write()
    assert full.value.code == "disk_full"


def test_probe_writes_to_the_disk(work, file):
    log = Path(f"{file}-wal")
    assert health_of(work).state is State.OK
    size = log.stat().st_size
    with work.begin() as tx:
        tx.probe.write()
    assert log.stat().st_size > size  # the probe has really written


@pytest.mark.parametrize("replaced", [False, True])
def test_removed_file_is_not_ready(work, file, replaced):
    assert health_of(work).state is State.OK
    file.rename(file.with_name("moved.db"))
    if replaced:
        shutil.copy(file.with_name("moved.db"), file)
    found = health_of(work)
    assert found.state is State.UNAVAILABLE
    assert "removed or replaced" in found.parts["store"]


def test_damaged_page_is_reported_as_damage(work, file, caplog):
    ada = stored_user(work)
    for number in range(1, 40):
        stored_portfolio(work, ada, a_deposit(number, note="x" * 400))
    work.engine.dispose()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'ledger_entries'"
        ((root,),) = connection.execute(query)
        ((size,),) = connection.execute("PRAGMA page_size")
    with file.open("r+b") as opened:
        opened.seek((root - 1) * size)
        opened.write(b"\xff" * size)
    with caplog.at_level(logging.WARNING):
        found = health_of(work)
    assert found.state is State.UNAVAILABLE
    assert found.parts["store"] == "the database is damaged; stop the service and restore a backup"
    assert {record.levelname for record in caplog.records} == {"ERROR"}


def test_damage_that_a_request_meets_makes_the_store_unready(work):
    assert health_of(work).state is State.OK
    with pytest.raises(Unavailable) as damaged, work.begin() as tx:
        connection = tx.users.connection
        connection.exec_driver_sql("PRAGMA writable_schema = ON")
        connection.exec_driver_sql("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'users'")
        connection.exec_driver_sql("PRAGMA writable_schema = RESET")
        tx.users.by_email("ada@example.org")
    assert damaged.value.code == "database_damaged"
    assert health_of(work).state is State.UNAVAILABLE


def test_file_is_private(tmp_path):
    before = os.umask(0o022)
    try:
        path = tmp_path / "new.db"
        engine = connect(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE t (a)")
            modes = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}
        engine.dispose()
    finally:
        os.umask(before)
    assert set(modes) >= {"new.db", "new.db-wal", "new.db-shm"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_address_that_the_database_refuses_is_invalid(stores_of, kind):
    plain = SqlWork(stores_of(kind).engine)
    with pytest.raises(InvalidRequest) as refused, plain.begin() as tx:
        tx.users.add(attrs.evolve(a_user(), email="Ada@example.org"))
    assert (refused.value.field, refused.value.code) == ("email", "invalid_email")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_unforeseen_error_does_not_show_the_row(stores_of, kind):
    work = stores_of(kind)
    ada = stored_user(work)
    secret = "planted-secret"
    portfolio = stored_portfolio(work, ada, a_deposit())
    with pytest.raises(IntegrityError) as failed, work.engine.begin() as connection:
        connection.execute(
            text("UPDATE portfolios SET version = 0, name = :name"), {"name": secret}
        )
    assert secret not in _everything(failed.value)
    assert str(portfolio.id) not in _everything(failed.value)
    assert "ck_portfolios_version" in _everything(failed.value)


def _everything(error):
    """Return an error as a log shows it, with its causes."""
    formatter = logging.Formatter()
    return formatter.formatException((type(error), error, error.__traceback__))


def test_commit_in_sqlite_waits_for_the_disk_and_deletions_overwrite(stores_of):
    with stores_of("sqlite").engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar() == 1
