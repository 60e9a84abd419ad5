"""New databases on a Postgres server for one test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from sqlalchemy import make_url


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
