"""What the roles of `deployment/postgres` may and may not do.

The contract tests of stores and the tests of the HTTP API on Postgres use the application's role,
so they show that it suffices.
"""

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import text

from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.database import SqlDatabase
from rebalancer.adapters.sql.engine import connect, open_connection
from rebalancer.adapters.sql.tables import metadata
from rebalancer.domain.errors import Unavailable
from tests.contracts.databases import APPLICATION, OWNER, as_role, create_roles, new_database


@pytest.fixture(scope="module")
def database(postgres_url, postgres_template):
    with new_database(postgres_url, postgres_template) as url:
        create_roles(url)  # a copy has the default privileges of the database itself
        yield url


def run(url, role, statement):
    with psycopg.connect(as_role(url, role), autocommit=True) as connection:
        connection.execute(statement)


AUDIT = ("audit_events", "audit_seals", "audit_cuts")


def test_application_may_change_rows_of_every_other_table(database):
    with psycopg.connect(as_role(database, APPLICATION)) as connection:
        for name in metadata.tables.keys() - set(AUDIT):
            assert connection.execute(f"SELECT * FROM {name}").fetchall() == []
            connection.execute(f"DELETE FROM {name}")
            for privilege in ("INSERT", "UPDATE"):
                query = "SELECT has_table_privilege(%s, %s)"
                assert connection.execute(query, (name, privilege)).fetchone() == (True,), name


@pytest.mark.parametrize(
    "statement",
    [
        *(f"UPDATE {name} SET digest = ''" for name in AUDIT[1:]),
        *(f"DELETE FROM {name}" for name in AUDIT),
        *(f"TRUNCATE {name}" for name in AUDIT),
        "UPDATE audit_events SET subject = NULL",
        "INSERT INTO audit_cuts VALUES (1, '', now(), now())",
    ],
)
def test_application_may_not_change_the_audit_trail(database, statement):
    create_roles(database)  # the script grants no more when it runs again
    with pytest.raises(errors.InsufficientPrivilege):
        run(database, APPLICATION, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (id integer)",
        "CREATE TEMPORARY TABLE more (id integer)",
        "CREATE SCHEMA more",
        "CREATE FUNCTION more() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE users ADD COLUMN more integer",
        "ALTER TABLE users DISABLE TRIGGER ALL",
        "ALTER TABLE users OWNER TO rebalancer_app",
        "DROP TABLE reports",
        "TRUNCATE reports",
        "CREATE INDEX more ON users (email)",
        "UPDATE alembic_version SET version_num = '0001'",
        "DELETE FROM alembic_version",
        "CREATE ROLE more",
        "CREATE DATABASE more",
        "SET ROLE rebalancer_owner",
        "COPY users TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/hostname')",
        "SELECT * FROM pg_authid",
    ],
)
def test_application_may_not_change_the_schema_or_leave_its_rows(database, statement):
    with pytest.raises(errors.InsufficientPrivilege):
        run(database, APPLICATION, statement)


@pytest.mark.parametrize("statement", ["CREATE ROLE more", "SELECT * FROM pg_authid"])
def test_owner_is_not_an_administrator(database, statement):
    with pytest.raises(errors.InsufficientPrivilege):
        run(database, OWNER, statement)


def test_roles_may_not_use_a_database_without_a_grant(postgres_url, database):
    with new_database(postgres_url) as other:
        create_roles(other)
        with psycopg.connect(other, autocommit=True) as connection:
            connection.execute(f"REVOKE CONNECT ON DATABASE {connection.info.dbname} FROM {OWNER}")
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            run(other, OWNER, "SELECT 1")


def test_tables_of_later_migrations_are_granted(database):
    run(database, OWNER, "CREATE TABLE later (id serial PRIMARY KEY, note text)")
    run(database, APPLICATION, "INSERT INTO later (note) VALUES ('written')")
    run(database, APPLICATION, "UPDATE later SET note = 'changed'")
    with pytest.raises(errors.InsufficientPrivilege):
        run(database, APPLICATION, "DROP TABLE later")
    run(database, OWNER, "DROP TABLE later")


def test_script_takes_over_tables_of_another_role_and_may_be_repeated(postgres_url):
    with new_database(postgres_url) as url:
        engine = connect(url)
        migrations.upgrade(engine)
        engine.dispose()
        for _ in range(2):
            create_roles(url)
        run(url, APPLICATION, "SELECT * FROM users")
        owner = connect(as_role(url, OWNER))
        migrations.downgrade(owner, "-1")
        migrations.upgrade(owner)
        assert migrations.differences(owner) == []
        owner.dispose()


def test_check_works_and_migration_states_the_missing_privilege(database):
    engine = connect(as_role(database, APPLICATION))
    assert SqlDatabase(engine).findings() == []
    with pytest.raises(Unavailable, match="use the role that owns the tables") as raised:
        migrations.downgrade(engine, "-1")
    assert raised.value.code == "database_privilege_missing"
    with pytest.raises(Unavailable), open_connection(engine) as connection:
        connection.execute(text("DROP TABLE reports"))
    engine.dispose()
