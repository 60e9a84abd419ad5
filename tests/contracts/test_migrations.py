"""The tables as they grow: there and back, and always what `tables` says."""

import shutil
import tomllib
from pathlib import Path

import pytest
from alembic.config import main as alembic
from alembic.script import ScriptDirectory

from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.store import SqlWork
from rebalancer.adapters.sql.tables import metadata
from rebalancer.domain.errors import Conflict, InvalidRequest, Unavailable
from tests.contracts.stores import a_deposit, a_managed, a_proposal, a_user

REPOSITORY = Path(__file__).parents[2]
REVISIONS = [
    script.revision
    for script in ScriptDirectory(str(REPOSITORY / "alembic")).walk_revisions("base", "heads")
][::-1]


@pytest.fixture
def engine(tmp_path):
    engine = connect(f"sqlite:///{tmp_path}/store.db")
    yield engine
    engine.dispose()


def tables_of(engine):
    """Each table and index as the database describes it, in whatever order its parts come."""
    with engine.begin() as connection:
        found = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
        ).all()
    return {
        name: sorted(line.strip().rstrip(",") for line in text.splitlines()) for name, text in found
    }


def test_up_down_and_up_again(engine):
    assert migrations.current(engine) is None
    assert migrations.differences(engine) != []
    migrations.upgrade(engine)
    assert migrations.current(engine) == migrations.head() == REVISIONS[-1]
    assert migrations.differences(engine) == []
    before = tables_of(engine)
    migrations.downgrade(engine, "base")
    assert migrations.current(engine) is None
    assert set(tables_of(engine)) <= {"sqlite_sequence"}
    migrations.upgrade(engine)
    assert tables_of(engine) == before


def test_each_step_can_be_taken_back(engine):
    for revision in REVISIONS:
        before = tables_of(engine)
        migrations.upgrade(engine, revision)
        after = tables_of(engine)
        migrations.downgrade(engine, "-1")
        assert {**tables_of(engine), "sqlite_sequence": []} == {**before, "sqlite_sequence": []}
        migrations.upgrade(engine, revision)
        assert tables_of(engine) == after


def test_the_steps_lead_to_the_tables_checks_included(engine, tmp_path):
    migrations.upgrade(engine)
    fresh = connect(f"sqlite:///{tmp_path}/fresh.db")
    metadata.create_all(fresh)
    assert tables_of(engine) == tables_of(fresh)
    fresh.dispose()


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


def test_what_differs_is_named(engine):
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
def test_a_database_of_a_later_version_is_left_alone(engine, change):
    migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    before = tables_of(engine)
    with pytest.raises(Conflict, match=r"9999.*version"):
        change(engine)
    assert tables_of(engine) == before
    assert migrations.current(engine) == "9999"


def test_a_revision_that_does_not_exist_is_refused(engine):
    for change in (migrations.upgrade, migrations.downgrade):
        with pytest.raises(InvalidRequest, match="nowhere"):
            change(engine, "nowhere")
    assert migrations.current(engine) is None


def test_a_migration_that_fails_leaves_nothing_behind(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE jobs (id TEXT)")  # in the way of the first step
    with pytest.raises(Unavailable):
        migrations.upgrade(engine)
    assert set(tables_of(engine)) == {"jobs"}
    assert migrations.current(engine) is None


def test_no_database_no_migration(tmp_path):
    engine = connect(f"sqlite:///{tmp_path}/no/such/folder/store.db")
    with pytest.raises(Unavailable):
        migrations.upgrade(engine)
    engine.dispose()


def test_the_steps_are_found_beside_the_installed_package(engine, tmp_path, monkeypatch):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    inside = wheel["force-include"]["alembic"]
    assert REPOSITORY / "src" / inside == migrations._INSTALLED
    assert migrations._CHECKOUT == REPOSITORY / "alembic"
    monkeypatch.setattr(migrations, "_INSTALLED", tmp_path / "100% installed")
    monkeypatch.setattr(migrations, "_CHECKOUT", tmp_path / "nowhere")
    shutil.copytree(REPOSITORY / "alembic", migrations._INSTALLED)
    migrations.upgrade(engine)
    assert migrations.current(engine) == REVISIONS[-1]


def test_developers_can_ask_alembic_itself(tmp_path, monkeypatch):
    shutil.copytree(REPOSITORY / "alembic", tmp_path / "alembic")
    shutil.copy(REPOSITORY / "alembic.ini", tmp_path)
    monkeypatch.chdir(tmp_path)
    alembic(["upgrade", "head"])
    alembic(["check"])
    alembic(["revision", "--autogenerate", "-m", "nothing new"])
    alembic(["upgrade", "head"])
    engine = connect("sqlite:///rebalancer.db")
    assert migrations.current(engine) not in {None, *REVISIONS}
    assert migrations.differences(engine) == []
    engine.dispose()
