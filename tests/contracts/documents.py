"""Databases of MongoDB of a test's own, and the servers under them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from pymongo.database import Database

from rebalancer.adapters.mongo.connection import connect


@contextmanager
def mongo_database(server: str, **options: Any) -> Iterator[Database[dict[str, Any]]]:
    """A new database on a server, gone at the end.

    Args:
        server: Its URL, possibly with path and options.
        options: Of `connect`.
    """
    head, mark, rest = server.partition("?")
    scheme, _, place = head.partition("://")
    hosts = place.partition("/")[0]
    database = connect(f"{scheme}://{hosts}/test_{uuid4().hex}{mark}{rest}", **options)
    try:
        yield database
        database.client.drop_database(database.name)
    finally:
        database.client.close()
