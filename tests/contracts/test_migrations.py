"""Migrations: up and down, and always equal to `tables`."""

import os
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import attrs
import numpy as np
import pytest
from alembic.config import main as alembic
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.engine import connect, reading, writing
from rebalancer.adapters.sql.market import SqlMarket
from rebalancer.adapters.sql.tables import metadata
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.domain.errors import Conflict, InvalidRequest, Unavailable
from rebalancer.domain.jobs.job import JobState
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.rebalancing.lifecycle import Stage
from tests.contracts.databases import new_database
from tests.contracts.stores import NOW, a_deposit, a_fill, a_job, a_managed, a_proposal, a_user

REPOSITORY = Path(__file__).parents[2]
REVISIONS = [
    script.revision
    for script in ScriptDirectory(str(REPOSITORY / "alembic")).walk_revisions("base", "heads")
][::-1]


@pytest.fixture(params=["sqlite", "postgres"])
def new(request, tmp_path):
    """Return an empty database."""
    with ExitStack() as at_the_end:

        def make():
            if request.param == "sqlite":
                url = f"sqlite:///{tmp_path}/{uuid4().hex}.db"
            else:
                server = request.getfixturevalue("postgres_url")
                url = at_the_end.enter_context(new_database(server))
            engine = connect(url)
            at_the_end.callback(engine.dispose)
            return engine

        yield make


@pytest.fixture
def engine(new):
    return new()


def tables_of(engine):
    """Describe each table and index, independent of the order of their parts."""
    if engine.dialect.name == "postgresql":
        return postgres_tables_of(engine)
    with engine.begin() as connection:
        found = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
            " AND name <> 'sqlite_sequence' AND type <> 'trigger'"  # see test_audit.py
        ).all()
    return {
        name: sorted(line.strip().rstrip(",").replace('"', "") for line in text.splitlines())
        for name, text in found
    }


def postgres_tables_of(engine):
    found = {}
    with engine.begin() as connection:
        for query in (
            "SELECT table_name, column_name, data_type, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public'",
            # Whether existing rows were checked is tested below.
            "SELECT conrelid::regclass::text, conname,"
            " replace(pg_get_constraintdef(oid), ' NOT VALID', '') FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND contype <> 'n'",
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        ):
            for table, *rest in connection.exec_driver_sql(query):
                if table != "alembic_version":
                    found.setdefault(table, set()).add(tuple(rest))
    return found


def test_up_down_and_up_again(engine):
    assert migrations.current(engine) is None
    assert migrations.differences(engine) != []
    migrations.upgrade(engine)
    assert migrations.current(engine) == migrations.head() == REVISIONS[-1]
    assert migrations.differences(engine) == []
    before = tables_of(engine)
    migrations.downgrade(engine, "base")
    assert migrations.current(engine) is None
    assert tables_of(engine) == {}
    migrations.upgrade(engine)
    assert tables_of(engine) == before


def test_each_migration_can_be_downgraded(engine):
    for revision in REVISIONS:
        before = tables_of(engine)
        migrations.upgrade(engine, revision)
        after = tables_of(engine)
        migrations.downgrade(engine, "-1")
        assert tables_of(engine) == before
        migrations.upgrade(engine, revision)
        assert tables_of(engine) == after


def test_migrations_create_the_tables_with_their_checks(engine, new):
    migrations.upgrade(engine)
    fresh = new()
    metadata.create_all(fresh)
    assert tables_of(engine) == tables_of(fresh)


def test_all_constraints_are_validated_at_the_end(postgres_url):
    with new_database(postgres_url) as url:
        engine = connect(url)
        migrations.upgrade(engine)
        with engine.begin() as connection:
            unchecked = connection.exec_driver_sql(
                "SELECT conname FROM pg_constraint WHERE NOT convalidated"
            ).all()
        engine.dispose()
    assert unchecked == []


def test_tables_of_other_applications_are_ignored(engine):
    migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (id INTEGER)")
    assert migrations.differences(engine) == []


def test_upgrading_twice_changes_nothing(engine):
    migrations.upgrade(engine)
    work, ada, entry = SqlWork(engine), a_user(), a_deposit()
    portfolio = a_managed(ada.id, [entry])
    record = a_proposal(portfolio)
    with work.begin() as tx:
        tx.users.add(ada)
        tx.portfolios.add(portfolio, [entry])
        tx.proposals.add([record])
    migrations.upgrade(engine)
    with work.read() as tx:
        assert tx.portfolios.get(portfolio.id, owner=ada.id) == portfolio
        assert tx.proposals.get(record.id, owner=ada.id) == record
    assert work.check() == []


def test_foreign_keys_are_enforced_again_afterwards(engine):
    migrations.upgrade(engine)
    with pytest.raises(Conflict), SqlWork(engine).begin() as tx:
        tx.portfolios.add(a_managed(a_user().id), [])


def test_differences_are_named(engine):
    migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE users ADD COLUMN nickname TEXT")
        connection.exec_driver_sql("DROP INDEX ix_jobs_state_created")
    said = " ".join(migrations.differences(engine))
    assert "nickname" in said
    assert "ix_jobs_state_created" in said


@pytest.mark.parametrize(
    "change", [migrations.upgrade, lambda engine: migrations.downgrade(engine, "base")]
)
def test_database_of_a_later_version_is_not_changed(engine, change):
    migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    before = tables_of(engine)
    with pytest.raises(Conflict, match=r"9999.*version"):
        change(engine)
    assert tables_of(engine) == before
    assert migrations.current(engine) == "9999"


def test_unknown_revision_is_rejected(engine):
    for change in (migrations.upgrade, migrations.downgrade):
        with pytest.raises(InvalidRequest, match="nowhere"):
            change(engine, "nowhere")
    assert migrations.current(engine) is None


def test_failed_migration_is_rolled_back(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE jobs (id TEXT)")  # in the way of the first step
    with pytest.raises(Conflict, match="from another application; use a separate database"):
        migrations.upgrade(engine)
    assert set(tables_of(engine)) == {"jobs"}
    assert migrations.current(engine) is None


@pytest.mark.parametrize(
    "url", ["sqlite:///no/such/folder/store.db", "postgresql://nobody@127.0.0.1:1/nowhere"]
)
def test_migration_without_a_database_is_unavailable(url):
    engine = connect(url)
    with pytest.raises(Unavailable):
        migrations.upgrade(engine)
    engine.dispose()


def test_data_survive_each_migration_and_the_old_version_runs_on(engine):
    """Write rows as the first version does, before and after the second migration; then go back."""
    migrations.upgrade(engine, "0001")
    ada = uuid4()
    uuid = str if engine.dialect.name == "postgresql" else (lambda id: id.hex)
    job = (
        "INSERT INTO jobs (id, owner, kind, request, state, progress, created) VALUES"
        " ('{}', '{}', 'backtest', '{{}}', 'queued', 0, '2023-01-02 12:30:15.123456')"
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO users (id, email, name, password, created) VALUES"
            f" ('{uuid(ada)}', 'ada@example.org', 'Ada', '$', '2023-01-02 12:30:15.123456')"
        )
        connection.exec_driver_sql(job.format(uuid(uuid4()), uuid(ada)))
    migrations.upgrade(engine, "0002")
    with engine.begin() as connection:
        connection.exec_driver_sql(job.format(uuid(uuid4()), uuid(ada)))
    migrations.upgrade(engine)
    work = SqlWork(engine)
    with work.read() as tx:
        found = tx.jobs.page(limit=9)
    assert [(one.attempts, one.cancelling, one.last_heartbeat) for one in found] == [
        (0, False, None)
    ] * 2
    assert all(one.due < NOW for one in found)
    with work.begin() as tx:  # of which the first version knows neither
        tx.jobs.add(a_job())
        tx.jobs.save(attrs.evolve(found[0], state=JobState.DEAD, finished=NOW))
    migrations.downgrade(engine, "0001")
    with engine.begin() as connection:
        kept = connection.exec_driver_sql("SELECT state FROM jobs ORDER BY state").scalars().all()
    assert kept == ["failed", "queued"]


def test_void_entries_are_removed_by_a_downgrade(engine):
    """The older version counts every entry, and knows no stage of cancelled orders."""
    migrations.upgrade(engine)
    work, paid, slip = SqlWork(engine), a_deposit(1000), a_deposit(7)
    reversal = slip.reversal(recorded=NOW)
    portfolio = a_managed((ada := a_user()).id, [paid, slip, reversal])
    records = [a_proposal(portfolio) for _ in range(3)]
    accepted = [attrs.evolve(one, stage=Stage.ACCEPTED, decided=NOW) for one in records]
    trade = a_fill(accepted[0])
    with work.begin() as tx:
        tx.users.add(ada)
        tx.portfolios.add(portfolio, [paid, slip, reversal])
        tx.proposals.add([*accepted[:2], accepted[2].cancel(NOW)])
        ledger = tx.portfolios.ledger(portfolio.id).extended_by([trade])
        tx.portfolios.save(portfolio.book(ledger, NOW), entries=[trade])
    assert work.check() == []
    migrations.downgrade(engine, "0005")
    with engine.begin() as connection:
        amounts = connection.exec_driver_sql("SELECT kind FROM ledger_entries").scalars().all()
        stages = connection.exec_driver_sql("SELECT stage FROM proposals").scalars().all()
    assert sorted(amounts) == ["buy", "deposit"]
    assert sorted(stages) == ["accepted", "executed", "rejected"]
    migrations.upgrade(engine)
    assert work.check() == []


def test_stored_bars_become_known_always_and_adjusted(engine):
    migrations.upgrade(engine, "0007")
    days, closes = np.array([18631, 18632], "<i4").tobytes(), np.array([1.5, 2.5], "<f8").tobytes()
    row = text("INSERT INTO price_years (symbol, year, days, close) VALUES ('A', 2021, :d, :c)")
    with engine.begin() as connection:
        connection.execute(row, {"d": days, "c": closes})
    migrations.upgrade(engine)
    market = SqlMarket(engine)
    long_ago = datetime(1990, 1, 1, tzinfo=UTC)
    for found in (market.bars(), market.bars(known_by=long_ago)):
        assert found["A"].close.tolist() == [1.5, 2.5]
        assert found["A"].adjusted
    day = np.array(["2021-01-05"], dtype="datetime64[D]")
    market.save_bars([Bars("A", day, np.array([3.5]))], known=NOW)
    assert market.bars(known_by=long_ago)["A"].close.tolist() == [1.5, 2.5]
    market.save_bars([Bars("B", day, np.array([9.0]), adjusted=False)])
    migrations.downgrade(engine, "0007")
    with engine.begin() as connection:
        kept = connection.exec_driver_sql("SELECT symbol FROM price_years").scalars().all()
    assert kept == ["A"]
    migrations.upgrade(engine)
    assert market.bars()["A"].close.tolist() == [1.5, 3.5]


def test_concurrent_migrations_run_one_after_the_other(new):
    engine = new()
    outcomes = []

    def upgrade():
        try:
            migrations.upgrade(engine)
            outcomes.append(None)
        except Unavailable as error:  # SQLite may report one of two writers as busy
            outcomes.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None in outcomes
    if engine.dialect.name == "postgresql":
        assert outcomes == [None] * 3
    assert migrations.current(engine) == migrations.head()
    assert migrations.differences(engine) == []


@pytest.fixture
def server(postgres_url):
    with new_database(postgres_url) as url:
        engine = connect(url)
        yield engine
        engine.dispose()


def test_second_migration_waits_for_the_first(server):
    url = server.url.render_as_string(hide_password=False)
    impatient = connect(url, lock_timeout=0.1)  # of any other statement
    with server.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({migrations.LOCK_KEY})")
        threading.Timer(1.0, connection.invalidate).start()
        migrations.upgrade(impatient)
    impatient.dispose()
    assert migrations.differences(server) == []


def test_migration_lets_users_of_a_table_pass(server):
    options = migrations.Options(table=0.1, pause=0.1)
    migrations.upgrade(server, "0001")
    with reading(server) as connection:
        connection.exec_driver_sql("SELECT * FROM proposals")
        with pytest.raises(Unavailable, match="busy"):
            migrations.upgrade(server, options=options)
        assert migrations.current(server) == "0001"
    reader = server.connect()
    reader.exec_driver_sql("SELECT * FROM ledger_entries")
    threading.Timer(0.5, reader.close).start()
    migrations.upgrade(server, options=options)
    assert migrations.differences(server) == []


def test_constraints_are_validated_while_others_read_and_write(server):
    migrations.upgrade(server)
    work, entry = SqlWork(server), a_deposit()
    with work.begin() as tx:
        tx.users.add(ada := a_user())
        tx.portfolios.add(portfolio := a_managed(ada.id, [entry]), [entry])
        tx.proposals.add([a_proposal(portfolio)])
    migrations.downgrade(server, "0008")
    migrations.upgrade(server, "0009")
    with writing(server) as writer:
        for table in ("portfolios", "proposals", "ledger_entries"):
            writer.exec_driver_sql(f"UPDATE {table} SET id = id")
        with reading(server) as connection:
            for table in inspect(connection).get_table_names():
                connection.exec_driver_sql(f"SELECT * FROM {table}")
            migrations.upgrade(server, "0010", options=migrations.Options(table=0.1))
    assert migrations.current(server) == "0010"
    migrations.upgrade(server)
    assert work.check() == []


def test_migrations_are_found_in_the_installed_package(engine, tmp_path):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    inside = wheel["force-include"]["alembic"]
    assert REPOSITORY / "src" / inside == migrations.INSTALLED
    assert migrations.CHECKOUT == REPOSITORY / "alembic"
    installed = shutil.copytree(REPOSITORY / "alembic", tmp_path / "100% installed")
    migrations.upgrade(engine, options=migrations.Options(scripts=installed))
    assert migrations.current(engine) == REVISIONS[-1]


def test_wheel_contains_the_migrations(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("rebalancer-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    templates = tmp_path / "installed" / "rebalancer" / "adapters" / "report" / "templates"
    assert {path.suffix for path in templates.iterdir()} == {".css", ".j2", ".js", ".toml"}
    program = (
        "import rebalancer; from rebalancer.entrypoints.cli.main import main;"
        " print(rebalancer.__path__[0]); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "db", "upgrade"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "installed"))
    engine = connect(f"sqlite:///{tmp_path}/rebalancer.db")
    assert migrations.current(engine) == REVISIONS[-1]
    engine.dispose()


def test_alembic_command_works_in_the_repository(tmp_path, monkeypatch):
    shutil.copytree(REPOSITORY / "alembic", tmp_path / "alembic")
    shutil.copy(REPOSITORY / "alembic.ini", tmp_path)
    monkeypatch.chdir(tmp_path)
    alembic(["upgrade", "head"])
    engine = connect("sqlite:///rebalancer.db")
    work, entry = SqlWork(engine), a_deposit()
    with work.begin() as tx:  # rows that others refer to, while tables are recreated
        tx.users.add(ada := a_user())
        tx.portfolios.add(a_managed(ada.id, [entry]), [entry])
    alembic(["downgrade", "0001"])
    alembic(["upgrade", "head"])
    assert work.check() == []
    alembic(["check"])
    alembic(["revision", "--autogenerate", "-m", "nothing new"])
    alembic(["upgrade", "head"])
    assert migrations.current(engine) not in {None, *REVISIONS}
    assert migrations.differences(engine) == []
    engine.dispose()
