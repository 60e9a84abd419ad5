"""New databases on a Postgres server for one test, and the roles of `deployment/postgres`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import Connection, Engine, make_url

from rebalancer.adapters.sql.engine import connect
from tests.servers import postgres_program

OWNER, APPLICATION = "rebalancer_owner", "rebalancer_app"
"""Role of migrations, and role of the API and of workers."""

ROLES = Path(__file__).parents[2] / "deployment" / "postgres" / "roles.sql"
_PASSWORD = "a'b\\c"


@contextmanager
def new_database(url: str, template: str | None = None) -> Iterator[str]:
    """Yield the URL of a new database on a Postgres server; drop it at the end.

    Args:
        url: URL of any database of the server.
        template: URL of a database without connections to copy; None: an empty one.
    """
    name = f"test_{uuid4().hex}"
    copied = f' TEMPLATE "{make_url(template).database}"' if template else ""
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute(f'CREATE DATABASE "{name}"{copied}')
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(url, autocommit=True) as operator:
            operator.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


_EMPTY = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    LOOP EXECUTE 'DELETE FROM ' || name; END LOOP;
    FOR name IN SELECT format('%I.%I', schemaname, sequencename) FROM pg_sequences
    LOOP EXECUTE 'ALTER SEQUENCE ' || name || ' RESTART'; END LOOP;
END $$
"""


def empty_tables(url: str) -> None:
    """Delete all rows, as the administrator and in the database of a URL; end its connections."""
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        operator.execute("SET session_replication_role = replica")  # no trigger objects
        operator.execute(_EMPTY)


class ReusedDatabases:
    """Databases of Postgres that tests empty for later ones, as to create one takes longer.

    Args:
        create: Creates a database with empty tables; returns its URL for the administrator.
    """

    def __init__(self, create: Callable[[], str]) -> None:
        self._create = create
        self._free: list[str] = []
        self._taken: list[str] | None = None

    def take(self) -> str:
        """Return the URL of an empty database; one that is taken within a test ends with it."""
        url = self._free.pop() if self._free else self._create()
        if self._taken is not None:
            self._taken.append(url)
        return as_role(url, APPLICATION)

    @contextmanager
    def test(self) -> Iterator[None]:
        """Empty at the end what is taken meanwhile."""
        self._taken = []
        yield
        for url in self._taken:
            empty_tables(url)
            self._free.append(url)
        self._taken = None


def create_roles(url: str) -> None:
    """Run the script that creates both roles, as the administrator and in the database of a URL.

    Roles belong to the whole server, and stay on one that the environment names.
    """
    target = make_url(url)
    passwords = {"POSTGRES_OWNER_PASSWORD": _PASSWORD, "POSTGRES_APP_PASSWORD": _PASSWORD}
    server = target.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(server) as lock:
        lock.execute("SELECT pg_advisory_xact_lock(1)")  # other processes may run it, too
        done = subprocess.run(
            [postgres_program("psql"), "--no-psqlrc", "--quiet", "--file", ROLES, url],
            env={**os.environ, **passwords},
            capture_output=True,
            encoding="utf-8",
        )
    if done.returncode:
        raise RuntimeError(f"{ROLES.name} failed:\n{done.stderr}")


def as_role(url: str, role: str) -> str:
    """Return the URL of a database for a role; one of SQLite stays as it is."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return url
    return parsed.set(username=role, password=_PASSWORD).render_as_string(hide_password=False)


@contextmanager
def changing_schema(engine: Engine) -> Iterator[Connection]:
    """Yield a transaction of the role that may change tables, on the database of an engine."""
    url = engine.url.set(drivername=engine.url.get_backend_name())
    owner = connect(as_role(url.render_as_string(hide_password=False), OWNER))
    with owner.begin() as connection:
        yield connection
    owner.dispose()
