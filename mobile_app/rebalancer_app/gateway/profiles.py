"""Mapping profiles: how tables of transactions are read."""

from __future__ import annotations

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.pages import Page


@attrs.frozen
class TableFile:
    """A table to look at."""

    file: str
    file_name: str


@attrs.frozen
class TableSketch:
    """The beginning of a table, and what its columns may state."""

    titles: list[str]
    rows: list[list[str]]
    row_count: int
    columns: dict[str, str]
    words: dict[str, str]
    date_format: str
    decimal_mark: str
    signs: str


@attrs.frozen
class Profile:
    """How a table is read."""

    columns: dict[str, str]
    kinds: dict[str, str]
    default_kind: str
    date_format: str
    decimal_mark: str
    signs: str
    amounts: str


@attrs.frozen
class SavedProfile:
    """A profile of the person."""

    name: str


SKETCH = Endpoint("POST", "/api/table-sketches", TableSketch, TableFile, keyed=False)
LIST = Endpoint("GET", "/api/mapping-profiles", Page[SavedProfile])
SAVE = Endpoint("PUT", "/api/mapping-profiles/{name}", SavedProfile, Profile)
