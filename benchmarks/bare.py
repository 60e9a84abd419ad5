"""The minimal server to compare with: one Litestar route that reads one row of our database."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from litestar import Litestar, get
from sqlalchemy import create_engine, text

_QUERY = "SELECT * FROM portfolios WHERE id = :id"


def through_sqlalchemy() -> Litestar:
    """Build the usual app: an engine's connection in a thread. For granian's factory mode."""
    engine = create_engine(f"sqlite:///{os.environ['BARE_DATABASE']}")
    query = text(_QUERY)

    @get("/{name:str}", sync_to_thread=True)
    def read(name: str) -> dict[str, Any]:
        with engine.connect() as connection:
            return dict(connection.execute(query, {"id": name}).one()._mapping)

    return Litestar([read], openapi_config=None)


def through_the_driver() -> Litestar:
    """Build the fastest app, unsuitable for production: one connection in the event loop."""
    connection = sqlite3.connect(os.environ["BARE_DATABASE"], check_same_thread=False)
    connection.row_factory = sqlite3.Row

    @get("/{name:str}")
    async def read(name: str) -> dict[str, Any]:
        row = connection.execute(_QUERY, {"id": name}).fetchone()
        return dict(zip(row.keys(), row, strict=True))

    return Litestar([read], openapi_config=None)
