"""The least that could answer: one Litestar route that reads one row of the same database."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from litestar import Litestar, get


def application() -> Litestar:
    """For granian's factory mode; the database's path stands in BARE_DATABASE."""
    connection = sqlite3.connect(os.environ["BARE_DATABASE"], check_same_thread=False)
    connection.row_factory = sqlite3.Row

    @get("/{name:str}")
    async def read(name: str) -> dict[str, Any]:
        row = connection.execute("SELECT * FROM portfolios WHERE id = ?", (name,)).fetchone()
        return {key: row[key] for key in row.keys()}  # noqa: SIM118  # a Row yields its values

    return Litestar([read], openapi_config=None)
